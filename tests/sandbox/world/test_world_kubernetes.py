"""The downstream API server, through the official client and raw."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import kubernetes.client as k8s
import pytest
from kubernetes import watch
from kubernetes.client.exceptions import ApiException

from tests.sandbox.world.rig import Rig

GPU = "nvidia.com/gpu"


@pytest.fixture
def core(rig: Rig) -> k8s.CoreV1Api:
    """A cluster that is up; its GPU node has four GPUs as a device plugin would announce them."""
    rig.order(gpu_type="g4dn.12xlarge")
    rig.forward(600)
    core = rig.core()
    name = gpu_node(core).metadata.name
    gpus = {"capacity": {GPU: "4"}, "allocatable": {GPU: "4"}}
    core.patch_node_status(name, {"status": gpus})
    return core


def gpu_node(core: k8s.CoreV1Api) -> Any:
    (node,) = core.list_node(label_selector="gpu-cluster/pool=gpu").items
    return node


def pod(name: str = "p", *, gpus: int = 0, command: list[str] | None = None, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "ubuntu"}
    if command:
        container["command"] = command
    if gpus:
        container["resources"] = {"limits": {GPU: str(gpus)}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], "restartPolicy": "Never", **spec}}


def refusal(call: Any) -> dict[str, Any]:
    with pytest.raises(ApiException) as caught:
        call()
    try:
        return json.loads(caught.value.body)
    except ValueError:
        return {"code": caught.value.status, "message": caught.value.body}


def unverify(core: k8s.CoreV1Api) -> None:
    taints = [{"key": "gpu-cluster/unverified", "$patch": "delete"}]
    core.patch_node(gpu_node(core).metadata.name, {"spec": {"taints": taints}})


def test_errors_are_worded_as_by_a_real_server(core: k8s.CoreV1Api) -> None:
    core.create_namespace({"metadata": {"name": "n1"}})
    again = refusal(lambda: core.create_namespace({"metadata": {"name": "n1"}}))
    assert (again["code"], again["reason"], again["message"]) == (
        409,
        "AlreadyExists",
        'namespaces "n1" already exists',
    )
    missing = refusal(lambda: core.read_node("none"))
    assert (missing["code"], missing["reason"], missing["message"]) == (404, "NotFound", 'nodes "none" not found')
    nowhere = refusal(lambda: core.create_namespaced_pod("nope", pod()))
    assert (nowhere["code"], nowhere["message"]) == (404, 'namespaces "nope" not found')
    custom = k8s.CustomObjectsApi(core.api_client)
    unknown = refusal(lambda: custom.list_cluster_custom_object("nvidia.com", "v1", "clusterpolicies"))
    assert unknown == {"code": 404, "message": "404 page not found\n"}
    node = core.read_node(gpu_node(core).metadata.name)
    core.patch_node(node.metadata.name, {"metadata": {"labels": {"a": "b"}}})
    stale = refusal(lambda: core.replace_node(node.metadata.name, node))
    assert (stale["code"], stale["reason"]) == (409, "Conflict")
    assert stale["message"].startswith(
        f'Operation cannot be fulfilled on nodes "{node.metadata.name}": the object has been'
    )
    bad = refusal(lambda: core.create_namespaced_config_map("default", {"metadata": {"name": "Bad_Name"}}))
    assert (bad["code"], bad["reason"]) == (422, "Invalid")


def test_patches_merge_as_a_real_server_does(core: k8s.CoreV1Api) -> None:
    name = gpu_node(core).metadata.name
    taints = [{"key": "extra", "effect": "NoSchedule"}]
    patched = core.patch_node(name, {"spec": {"taints": taints}, "status": {"allocatable": {GPU: "9"}}})
    assert [t.key for t in patched.spec.taints] == ["extra", "nvidia.com/gpu", "gpu-cluster/unverified"]
    assert patched.status.allocatable[GPU] == "4"
    status = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}, "spec": {"taints": []}}
    patched = core.patch_node_status(name, status)
    assert next((c.type, c.status) for c in patched.status.conditions) == ("Ready", "False")
    assert len(patched.status.conditions) == 4
    assert len(patched.spec.taints) == 3
    patched = core.patch_node(name, {"metadata": {"labels": {"gpu-cluster/pool": None}}})
    assert "gpu-cluster/pool" not in patched.metadata.labels
    assert patched.metadata.generation is None
    assert patched.metadata.managed_fields


def test_lists_select_and_page(core: k8s.CoreV1Api) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        core.create_namespaced_config_map("default", {"metadata": {"name": name, "labels": labels}})

    def names(**query: Any) -> list[str]:
        return [c.metadata.name for c in core.list_namespaced_config_map("default", **query).items]

    assert names(label_selector="x=1") == ["a"]
    assert names(label_selector="x!=1") == ["b", "c"]
    assert names(label_selector="!x") == ["c"]
    assert names(label_selector="x in (1, 2)") == ["a", "b"]
    assert names(label_selector="x notin (1)") == ["b", "c"]
    assert names(field_selector="metadata.name=b") == ["b"]
    assert refusal(lambda: names(field_selector="data.x=b"))["code"] == 400
    assert refusal(lambda: names(label_selector="x in"))["code"] == 400
    page = core.list_namespaced_config_map("default", limit=2)
    rest = core.list_namespaced_config_map("default", limit=2, _continue=page.metadata._continue)
    assert [len(page.items), [c.metadata.name for c in rest.items]] == [2, ["c"]]
    assert page.metadata.remaining_item_count == 1
    future = str(int(page.metadata.resource_version) + 1000)
    assert refusal(lambda: names(resource_version=future))["code"] == 504


def test_every_list_passes_the_clients_own_validation(rig: Rig, core: k8s.CoreV1Api) -> None:
    rig.install_operator()
    rig.forward(500)
    core.create_namespaced_pod("default", pod(command=["sleep", "3600"]))
    rig.forward(30)
    assert {p.metadata.name.split("-")[0] for p in core.list_pod_for_all_namespaces().items} >= {"p", "helm", "nvidia"}
    assert core.list_event_for_all_namespaces().items
    assert len(core.list_node().items) == 3
    assert {n.metadata.name for n in core.list_namespace().items} >= {"default", "kube-system", "cattle-system"}
    apps = k8s.AppsV1Api(core.api_client)
    assert all(d.status.desired_number_scheduled >= 1 for d in apps.list_daemon_set_for_all_namespaces().items)
    assert all(d.status.ready_replicas == 1 for d in apps.list_deployment_for_all_namespaces().items)
    (runtime,) = k8s.NodeV1Api(core.api_client).list_runtime_class().items
    assert runtime.handler == "nvidia"
    assert k8s.StorageV1Api(core.api_client).list_storage_class().items == []
    assert k8s.VersionApi(core.api_client).get_code().git_version == "v1.34.6+rke2r1"
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    allowed = k8s.AuthorizationV1Api(core.api_client).create_self_subject_access_review(review)
    assert allowed.status.allowed is True


def test_a_pod_that_asks_for_a_gpu_and_nothing_else(rig: Rig, core: k8s.CoreV1Api) -> None:
    made = core.create_namespaced_pod("default", pod(gpus=1, command=["nvidia-smi", "-L"]))
    assert [t.key for t in made.spec.tolerations if t.effect == "NoSchedule"] == [GPU]
    rig.forward(60)
    waiting = core.read_namespaced_pod("p", "default")
    (condition,) = waiting.status.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert condition.message.startswith("0/3 nodes are available: ")
    assert "1 node(s) had untolerated taint {gpu-cluster/unverified: true}" in condition.message
    assert core.read_namespaced_pod_log("p", "default") == ""
    unverify(core)
    rig.forward(60)
    assert core.read_namespaced_pod("p", "default").status.phase == "Succeeded"
    assert core.read_namespaced_pod_log("p", "default").startswith("GPU 0: Tesla T4 (UUID: GPU-")


def test_without_the_admission_plugin_there_is_no_toleration(rig: Rig) -> None:
    rig.order(toleration=False)
    rig.forward(600)
    made = rig.core().create_namespaced_pod("default", pod(gpus=1))
    assert [t.key for t in made.spec.tolerations] == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]


def test_gpus_are_counted_and_given_back(rig: Rig, core: k8s.CoreV1Api) -> None:
    unverify(core)
    core.create_namespaced_pod("default", pod("three", gpus=3, command=["sleep", "600"]))
    core.create_namespaced_pod("default", pod("two", gpus=2, command=["nvidia-smi", "-L"]))
    rig.forward(60)
    message = core.read_namespaced_pod("two", "default").status.conditions[0].message
    assert "2 Insufficient nvidia.com/gpu" in message
    core.delete_namespaced_pod("three", "default")
    rig.forward(60)
    assert core.read_namespaced_pod("two", "default").status.phase == "Succeeded"
    assert core.read_namespaced_pod_log("two", "default").count("Tesla T4") == 2
    assert refusal(lambda: core.read_namespaced_pod("three", "default"))["code"] == 404
    fixed = pod("fixed", gpus=5, nodeName=gpu_node(core).metadata.name)
    core.create_namespaced_pod("default", fixed)
    rig.forward(5)
    assert core.read_namespaced_pod("fixed", "default").status.reason == "UnexpectedAdmissionError"


@pytest.mark.parametrize(
    "containers",
    [
        [],
        [{"image": "a"}],
        [{"name": "a", "image": "a", "resources": {"requests": {GPU: "1"}}}],
        [{"name": "a", "image": "a", "resources": {"limits": {GPU: "0.5"}}}],
    ],
)
def test_bad_pods_are_refused(rig: Rig, containers: list[dict[str, Any]]) -> None:
    rig.order()
    rig.forward(600)
    body = {"metadata": {"name": "bad"}, "spec": {"containers": containers}}
    refused = rig.post(f"/k8s/clusters/{rig.mid()}/api/v1/namespaces/default/pods", body, expect=422)
    assert (refused["kind"], refused["reason"]) == ("Status", "Invalid")


def test_logs_wait_for_the_container(rig: Rig, core: k8s.CoreV1Api) -> None:
    core.create_namespaced_pod("default", pod(command=["sleep", "30"]))
    rig.forward(5)
    early = refusal(lambda: core.read_namespaced_pod_log("p", "default"))
    assert (early["code"], early["reason"]) == (400, "BadRequest")
    assert early["message"] == 'container "main" in pod "p" is waiting to start: ContainerCreating'
    rig.forward(20)
    running = core.read_namespaced_pod("p", "default")
    assert running.status.phase == "Running"
    assert running.status.container_statuses[0].state.running.started_at
    rig.forward(30)
    assert core.read_namespaced_pod("p", "default").status.phase == "Succeeded"


def test_a_pod_waits_for_its_config_map(rig: Rig, core: k8s.CoreV1Api) -> None:
    mount = {"volumes": [{"name": "s", "configMap": {"name": "late"}}]}
    core.create_namespaced_pod("default", pod(**mount))
    rig.forward(60)
    assert core.read_namespaced_pod("p", "default").status.phase == "Pending"
    events = core.list_namespaced_event("default", field_selector="involvedObject.name=p").items
    assert any(e.reason == "FailedMount" and 'configmap "late" not found' in e.message for e in events)
    core.create_namespaced_config_map("default", {"metadata": {"name": "late"}})
    rig.forward(60)
    assert core.read_namespaced_pod("p", "default").status.phase == "Succeeded"


def test_probe_without_script_or_gpu_says_so(rig: Rig, core: k8s.CoreV1Api) -> None:
    core.create_namespaced_config_map("default", {"metadata": {"name": "s"}, "data": {"probe.py": "pass"}})
    script = {"volumes": [{"name": "s", "configMap": {"name": "s"}}]}
    command = ["python3", "/probe/probe.py"]
    core.create_namespaced_pod("default", pod("unmounted", command=command, **script))
    mounted = pod("mounted", command=command, **script)
    mounted["spec"]["containers"][0]["volumeMounts"] = [{"name": "s", "mountPath": "/probe"}]
    core.create_namespaced_pod("default", mounted)
    rig.forward(60)
    codes = {}
    for name in ("unmounted", "mounted"):
        (status,) = core.read_namespaced_pod(name, "default").status.container_statuses
        codes[name] = status.state.terminated.exit_code
    assert codes == {"unmounted": 2, "mounted": 3}
    assert "can't open file '/probe/probe.py'" in core.read_namespaced_pod_log("unmounted", "default")
    document = json.loads(core.read_namespaced_pod_log("mounted", "default"))
    assert document["error"].startswith("libcuda.so.1 not found")


def job(name: str, command: list[str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"template": {"spec": pod(command=command)["spec"]}, **spec}}


def test_jobs_retry_up_to_their_limit(rig: Rig, core: k8s.CoreV1Api) -> None:
    batch = k8s.BatchV1Api(core.api_client)
    batch.create_namespaced_job("default", job("fails", ["nvidia-smi"], backoffLimit=2))
    rig.forward(20)
    assert batch.read_namespaced_job("fails", "default").status.failed == 1
    rig.forward(200)
    status = batch.read_namespaced_job("fails", "default").status
    assert status.failed == 3
    assert [(c.type, c.reason) for c in status.conditions] == [
        ("FailureTarget", "BackoffLimitExceeded"),
        ("Failed", "BackoffLimitExceeded"),
    ]
    assert len(core.list_namespaced_pod("default", label_selector="job-name=fails").items) == 3


def test_what_runs_cannot_be_changed(rig: Rig, core: k8s.CoreV1Api) -> None:
    core.create_namespaced_pod("default", pod(command=["sleep", "60"]))
    refused = refusal(lambda: core.patch_namespaced_pod("p", "default", {"spec": {"nodeName": "other"}}))
    assert (refused["code"], refused["message"].startswith('Pod "p" is invalid: spec: Forbidden')) == (422, True)
    batch = k8s.BatchV1Api(core.api_client)
    batch.create_namespaced_job("default", job("j", ["true"]))
    template = {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}
    refused = refusal(lambda: batch.patch_namespaced_job("j", "default", template))
    assert (refused["code"], "spec.template: Invalid value" in refused["message"]) == (422, True)


def test_deadline_sets_failure_target_and_then_failed(rig: Rig, core: k8s.CoreV1Api) -> None:
    batch = k8s.BatchV1Api(core.api_client)
    batch.create_namespaced_job("default", job("slow", ["sleep", "infinity"], activeDeadlineSeconds=60))
    rig.forward(59)
    assert batch.read_namespaced_job("slow", "default").status.active == 1
    rig.forward(1.1)
    conditions = batch.read_namespaced_job("slow", "default").status.conditions
    assert [(c.type, c.reason) for c in conditions] == [("FailureTarget", "DeadlineExceeded")]
    rig.forward(10)
    conditions = batch.read_namespaced_job("slow", "default").status.conditions
    assert [c.type for c in conditions] == ["FailureTarget", "Failed"]
    assert core.list_namespaced_pod("default").items == []


def test_deleting_a_job_orphans_its_pods_unless_told_otherwise(rig: Rig, core: k8s.CoreV1Api) -> None:
    batch = k8s.BatchV1Api(core.api_client)
    for name in ("kept", "taken"):
        batch.create_namespaced_job("default", job(name, ["true"]))
    rig.forward(60)
    batch.delete_namespaced_job("kept", "default")
    batch.delete_namespaced_job("taken", "default", propagation_policy="Background")
    rig.forward(10)
    left = core.list_namespaced_pod("default").items
    assert [p.metadata.labels["job-name"] for p in left] == ["kept"]
    batch.create_namespaced_job("default", job("brief", ["true"], ttlSecondsAfterFinished=30))
    rig.forward(60)
    assert refusal(lambda: batch.read_namespaced_job("brief", "default"))["code"] == 404


def test_namespaces_end_slowly(rig: Rig, core: k8s.CoreV1Api) -> None:
    project = {"field.cattle.io/projectId": f"{rig.mid()}:p-abcde"}
    core.create_namespace({"metadata": {"name": "work", "annotations": project}})
    assert core.list_namespaced_service_account("work").items[0].metadata.name == "default"
    rig.forward(1)
    assert core.read_namespace("work").metadata.labels["field.cattle.io/projectId"] == "p-abcde"
    core.create_namespaced_config_map("work", {"metadata": {"name": "a"}})
    core.delete_namespace("work")
    rig.forward(1)
    assert core.read_namespace("work").status.phase == "Terminating"
    refused = refusal(lambda: core.create_namespaced_config_map("work", {"metadata": {"name": "b"}}))
    assert (refused["code"], "being terminated" in refused["message"]) == (403, True)
    rig.forward(10)
    assert refusal(lambda: core.read_namespace("work"))["code"] == 404
    core.create_namespace({"metadata": {"name": "work"}})
    assert core.list_namespaced_config_map("work").items == []


def test_events_belong_to_their_namespace(core: k8s.CoreV1Api) -> None:
    event = {
        "metadata": {"name": "e1"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "other"},
        "reason": "Test",
    }
    assert refusal(lambda: core.create_namespaced_event("default", event))["code"] == 422


def test_tokens_for_service_accounts(rig: Rig, core: k8s.CoreV1Api) -> None:
    core.create_namespaced_service_account("default", {"metadata": {"name": "user"}})
    request = {"spec": {"expirationSeconds": 7200, "audiences": ["a"]}}
    answer = core.create_namespaced_service_account_token("user", "default", request)
    payload = answer.status.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["sub"] == "system:serviceaccount:default:user"
    assert claims["exp"] == int(answer.status.expiration_timestamp.timestamp()) == int(rig.world.engine.now) + 7200


def test_watch_sees_exactly_what_changes(core: k8s.CoreV1Api) -> None:
    since = core.list_namespaced_config_map("default").metadata.resource_version
    seen: list[tuple[str, str]] = []

    def look() -> None:
        stream = watch.Watch().stream(
            core.list_namespaced_config_map, "default", resource_version=since, timeout_seconds=5
        )
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    thread = threading.Thread(target=look)
    thread.start()
    core.create_namespaced_config_map("default", {"metadata": {"name": "w"}})
    core.create_namespaced_config_map("kube-system", {"metadata": {"name": "elsewhere"}})
    core.patch_namespaced_config_map("w", "default", {"data": {"a": "b"}})
    core.delete_namespaced_config_map("w", "default")
    thread.join(10)
    assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


def test_custom_objects_take_merge_patches_only(rig: Rig, core: k8s.CoreV1Api) -> None:
    rig.install_operator()
    rig.forward(500)
    custom = k8s.CustomObjectsApi(core.api_client)
    where = ("nvidia.com", "v1", "clusterpolicies", "cluster-policy")
    patched = custom.patch_cluster_custom_object(*where, {"spec": {"driver": {"enabled": True}}})
    assert patched["spec"] == {"driver": {"enabled": True}}
    url = f"/k8s/clusters/{rig.mid()}/apis/nvidia.com/v1/clusterpolicies/cluster-policy"
    refused = rig.call("PATCH", url, 415, json={}, headers={"Content-Type": "application/strategic-merge-patch+json"})
    assert refused["reason"] == "UnsupportedMediaType"


def test_discovery_names_what_is_served(rig: Rig, core: k8s.CoreV1Api) -> None:
    base = f"/k8s/clusters/{rig.mid()}"
    assert "batch" in {group["name"] for group in rig.get(f"{base}/apis")["groups"]}
    assert {"pods", "nodes"} <= {resource["name"] for resource in rig.get(f"{base}/api/v1")["resources"]}
    assert rig.get(f"{base}/apis/nvidia.com/v1", expect=404) == "404 page not found\n"
