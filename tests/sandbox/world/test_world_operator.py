"""The GPU Operator reads its values as the real one does, and the ClusterPolicy says ready too easily."""

from __future__ import annotations

import copy
import json
from typing import Any

import kubernetes.client as k8s
import pytest
from kubernetes.client.exceptions import ApiException

from tests.sandbox.world.rig import TAINTS, TOLERATIONS, VALUES, Rig


def changed(path: str, value: Any) -> dict[str, Any]:
    values: dict[str, Any] = copy.deepcopy(VALUES)
    inner = values
    *parents, last = path.split(".")
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return values


def installed(rig: Rig, *, gpu_type: str = "g4dn.xlarge", seconds: float = 700, **operator: Any) -> k8s.CoreV1Api:
    rig.order(gpu_type=gpu_type)
    rig.forward(600)
    rig.install_operator(**operator)
    rig.forward(seconds)
    return rig.core()


def reason(core: k8s.CoreV1Api) -> tuple[str, str]:
    api = k8s.CustomObjectsApi(core.api_client)
    status = api.get_cluster_custom_object("nvidia.com", "v1", "clusterpolicies", "cluster-policy")["status"]
    return status["state"], status["conditions"][0]["reason"]


def gpu_node(core: k8s.CoreV1Api) -> Any:
    (node,) = core.list_node(label_selector="gpu-cluster/pool=gpu").items
    return node


def gpus(core: k8s.CoreV1Api) -> str | None:
    return gpu_node(core).status.allocatable.get("nvidia.com/gpu")


def pods(core: k8s.CoreV1Api, app: str) -> list[Any]:
    return core.list_namespaced_pod("gpu-operator", label_selector=f"app={app}").items


def log(core: k8s.CoreV1Api, app: str) -> str:
    (pod,) = pods(core, app)
    return core.read_namespaced_pod_log(pod.metadata.name, "gpu-operator", container=pod.spec.containers[0].name)


def test_nfd_worker_without_our_toleration_leaves_nodes_unlabelled(rig: Rig) -> None:
    values = changed("node-feature-discovery.worker.tolerations", TOLERATIONS[:1])
    core = installed(rig, values=values)
    assert "feature.node.kubernetes.io/pci-10de.present" not in gpu_node(core).metadata.labels
    assert reason(core) == ("ready", "NoGPUNodes")
    assert gpus(core) is None


def test_daemonsets_without_our_toleration_are_not_desired(rig: Rig) -> None:
    core = installed(rig, values=changed("daemonsets.tolerations", TOLERATIONS[:1]))
    assert gpu_node(core).metadata.labels["nvidia.com/gpu.present"] == "true"
    assert gpus(core) is None
    assert pods(core, "nvidia-driver-daemonset") == []
    assert reason(core) == ("ready", "Reconciled")  # ready, and no GPU to be had
    base = {"op": "remove", "path": "/spec/taints/1"}
    test = {"op": "test", "path": "/spec/taints/1/key", "value": "gpu-cluster/unverified"}
    core.patch_node(gpu_node(core).metadata.name, [test, base], _content_type="application/json-patch+json")
    rig.forward(400)
    assert gpus(core) == "1"


def test_without_the_socket_of_rke2_the_toolkit_fails(rig: Rig) -> None:
    core = installed(rig, values=changed("toolkit.env", []))
    assert "unable to dial: dial unix /run/containerd/containerd.sock" in log(
        core, "nvidia-container-toolkit-daemonset"
    )
    assert gpus(core) is None
    assert reason(core) == ("notReady", "OperandNotReady")


def test_values_put_right_by_an_upgrade_mend_it(rig: Rig) -> None:
    core = installed(rig, values=changed("toolkit.env", []))
    chart = {"chartName": "gpu-operator", "version": "v26.3.3", "releaseName": "gpu-operator", "values": VALUES}
    body = {"namespace": "gpu-operator", "charts": [chart]}
    rig.post(f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.clusterrepos/nvidia?action=upgrade", body)
    rig.forward(500)
    assert gpus(core) == "1"
    assert reason(core) == ("ready", "Reconciled")
    app = rig.get(f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.apps/gpu-operator/gpu-operator")
    assert app["spec"]["version"] == 2


@pytest.mark.parametrize(
    ("version", "driver", "works"),
    [("v26.7.0", None, False), ("v26.7.0", "580.173.02", True), ("v26.3.3", None, True)],
)
def test_v100_needs_a_driver_up_to_580(rig: Rig, version: str, driver: str | None, works: bool) -> None:
    values = changed("driver.version", driver) if driver else VALUES
    core = installed(rig, gpu_type="p3dn.24xlarge", version=version, values=values)
    if works:
        assert gpus(core) == "8"
        assert gpu_node(core).metadata.labels["nvidia.com/gpu.product"] == "Tesla-V100-SXM2-32GB"
    else:
        assert gpus(core) is None
        assert "supported through the NVIDIA 580.xx Legacy drivers" in log(core, "nvidia-driver-daemonset")


def test_driver_switched_off_on_a_stock_image_waits_for_ever(rig: Rig) -> None:
    core = installed(rig, values=changed("driver.enabled", False))
    (pod,) = pods(core, "nvidia-container-toolkit-daemonset")
    assert pod.status.phase == "Pending"
    assert gpus(core) is None


def test_node_is_not_ready_while_containerd_restarts(rig: Rig) -> None:
    core = installed(rig, seconds=60)
    seen = set()
    for _ in range(120):
        rig.forward(4)
        ready = next(c for c in gpu_node(core).status.conditions if c.type == "Ready")
        seen.add(ready.status)
    assert seen == {"True", "Unknown"}
    assert gpus(core) == "1"


def test_restricted_cluster_refuses_operands_without_privileged_labels(rig: Rig) -> None:
    rig.order(defaultPodSecurityAdmissionConfigurationTemplateName="rancher-restricted")
    rig.forward(600)
    core = rig.core()
    with pytest.raises(ApiException) as refused:
        pod = {"containers": [{"name": "a", "image": "busybox"}]}
        core.create_namespaced_pod("default", {"metadata": {"name": "plain"}, "spec": pod})
    assert refused.value.status == 403
    assert 'violates PodSecurity "restricted:latest"' in json.loads(refused.value.body)["message"]
    core.create_namespace({"metadata": {"name": "gpu-operator"}})
    base = f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.clusterrepos"
    rig.post(base, {"metadata": {"name": "nvidia"}, "spec": {"url": "https://helm.ngc.nvidia.com/nvidia"}})
    rig.forward(15)
    chart = {"chartName": "gpu-operator", "version": "v26.3.3", "releaseName": "gpu-operator", "values": VALUES}
    rig.post(f"{base}/nvidia?action=upgrade", {"namespace": "gpu-operator", "charts": [chart]})
    rig.forward(300)
    assert gpus(core) is None
    events = core.list_namespaced_event("gpu-operator", field_selector="reason=FailedCreate").items
    assert any("violates PodSecurity" in event.message for event in events)
    core.patch_namespace("gpu-operator", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}})
    rig.forward(600)
    assert gpus(core) == "1"


def test_a_node_that_comes_later_gets_its_gpu_too(rig: Rig) -> None:
    core = installed(rig)
    path = "/v1/provisioning.cattle.io.clusters/fleet-default/gpu01"
    cluster = rig.get(path)
    cluster["spec"]["rkeConfig"]["machinePools"][2]["quantity"] = 2
    rig.call("PUT", path, json=cluster)
    rig.forward(700)
    nodes = core.list_node(label_selector="gpu-cluster/pool=gpu").items
    assert [n.status.allocatable["nvidia.com/gpu"] for n in nodes] == ["1", "1"]
    assert all({t.key for t in n.spec.taints} == {t["key"] for t in TAINTS} for n in nodes)
    assert reason(core) == ("ready", "Reconciled")


def test_uninstall_takes_the_gpus_away(rig: Rig) -> None:
    core = installed(rig)
    rig.post(f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.apps/gpu-operator/gpu-operator?action=uninstall", {})
    rig.forward(60)
    rig.get(f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.apps/gpu-operator/gpu-operator", expect=404)
    assert gpus(core) == "0"
    assert pods(core, "nvidia-driver-daemonset") == []
