"""From the cluster's POST to a verified GPU and back to nothing, over HTTP."""

from __future__ import annotations

import hashlib
import json

import kubernetes.client as k8s

from tests.sandbox.world.rig import Rig

SCRIPT = "print('probe')\n"


def probe_job(gpus: int = 1) -> dict:
    container = {
        "name": "probe",
        "image": "python@sha256:" + "0" * 64,
        "command": ["python3", "/probe/probe.py", "--json"],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        "volumeMounts": [{"name": "script", "mountPath": "/probe"}],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "tolerations": [{"key": "gpu-cluster/unverified", "operator": "Exists"}],
        "volumes": [{"name": "script", "configMap": {"name": "probe"}}],
    }
    return {"metadata": {"name": "probe"}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def test_create_verify_delete(rig: Rig) -> None:
    created = rig.order()
    assert created["metadata"]["state"]["name"] == "reconciling"
    rig.forward(10)
    assert rig.cluster()["metadata"]["state"]["transitioning"] is True
    assert rig.cluster()["status"]["clusterName"].startswith("c-m-")
    rig.forward(600)
    cluster = rig.cluster()
    assert cluster["metadata"]["state"]["name"] == "active"
    assert cluster["status"]["ready"] is True
    core = rig.core()
    nodes = core.list_node().items
    assert len(nodes) == 3

    answer = rig.install_operator()
    rig.forward(60)
    base = f"/k8s/clusters/{rig.mid()}/v1"
    app = rig.get(f"{base}/catalog.cattle.io.apps/gpu-operator/gpu-operator")
    assert app["spec"]["info"]["status"] == "deployed"
    operation = rig.get(f"{base}/catalog.cattle.io.operations/gpu-operator/{answer['operationName']}")
    assert {c["type"]: c["status"] for c in operation["status"]["conditions"]} == {
        "Reconciling": "False",
        "Stalled": "False",
    }
    rig.forward(500)
    policies = k8s.CustomObjectsApi(core.api_client)
    policy = policies.get_cluster_custom_object("nvidia.com", "v1", "clusterpolicies", "cluster-policy")
    assert policy["status"]["conditions"][0]["reason"] == "Reconciled"
    gpu_node = core.list_node(label_selector="nvidia.com/gpu.present=true").items[0]
    assert gpu_node.status.allocatable["nvidia.com/gpu"] == "1"

    core.create_namespace({"metadata": {"name": "gpu-cluster"}})
    core.create_namespaced_config_map("gpu-cluster", {"metadata": {"name": "probe"}, "data": {"probe.py": SCRIPT}})
    batch = k8s.BatchV1Api(core.api_client)
    batch.create_namespaced_job("gpu-cluster", probe_job())
    rig.forward(60)
    job = batch.read_namespaced_job("probe", "gpu-cluster")
    assert [c.type for c in job.status.conditions] == ["SuccessCriteriaMet", "Complete"]
    pod = core.list_namespaced_pod("gpu-cluster", label_selector="job-name=probe").items[0]
    document = json.loads(core.read_namespaced_pod_log(pod.metadata.name, "gpu-cluster").splitlines()[-1])
    assert document["probe"] == hashlib.sha256(SCRIPT.encode()).hexdigest()[:12]
    assert [gpu["name"] for gpu in document["gpus"]] == ["Tesla T4"]
    assert all(check["ok"] for gpu in document["gpus"] for check in gpu["checks"])
    path = rig.world.critical_path("gpu01")
    assert 400 < path < rig.clock.now() - 1_795_600_000

    mid = rig.mid()
    instances = [node.spec.provider_id.split("/")[-1] for node in nodes]
    running = rig.ec2.describe_instances(InstanceIds=instances)["Reservations"]
    tags = {tag["Key"]: tag["Value"] for tag in running[0]["Instances"][0]["Tags"]}
    assert tags[f"kubernetes.io/cluster/{mid}"] == "owned"
    assert tags["gpu-cluster/cluster"] == "gpu01"
    deleted = rig.call("DELETE", "/v1/provisioning.cattle.io.clusters/fleet-default/gpu01")
    assert deleted["metadata"]["state"]["name"] == "removing"
    rig.forward(300)
    rig.get("/v1/provisioning.cattle.io.clusters/fleet-default/gpu01", expect=404)
    rig.get(f"/v1/management.cattle.io.clusters/{mid}", expect=404)
    ended = rig.ec2.describe_instances(InstanceIds=instances)["Reservations"]
    assert {r["Instances"][0]["State"]["Name"] for r in ended} == {"terminated"}
