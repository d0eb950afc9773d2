"""What is written into a cluster: namespaces, the verification job, taints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from scripted import Reply, Scripted

from bot.core.ports import Foreign, JobOrder, Permanent, Temporary
from bot.kube import KubeCluster

BASE = "/k8s/clusters/c-m-1"
NAMESPACES = f"{BASE}/api/v1/namespaces"
NODE = f"{BASE}/api/v1/nodes/n1"
CONFIG_MAPS = f"{NAMESPACES}/ns/configmaps"
JOBS = f"{BASE}/apis/batch/v1/namespaces/ns/jobs"
OURS = {"gpu-cluster/managed": "true", "gpu-cluster/request": "r-1"}
MODES = ("enforce", "audit", "warn")
ORDER = JobOrder(
    name="verify-1",
    namespace="ns",
    node="n1",
    image="python@sha256:0",
    gpus=8,
    script="print()\n",
    arguments=("--level", "quick"),
    tolerations=(("nvidia.com/gpu", "present", "NoSchedule"), ("gpu-cluster/unverified", "true", "NoSchedule")),
    labels=OURS,
    deadline_s=300,
)


def security(level: str) -> dict[str, str]:
    return {f"pod-security.kubernetes.io/{mode}": level for mode in MODES}


def namespace(labels: dict[str, str], annotations: dict[str, str] | None = None, **meta: Any) -> Reply:
    return Reply(200, {"metadata": {"name": "ns", "labels": labels, "annotations": annotations, **meta}})


def ensure(kube: KubeCluster, project: str = "c-m-1:p-1", *, privileged: bool = True) -> None:
    kube.ensure_namespace("ns", project=project, privileged=privileged, labels=OURS)


@pytest.mark.parametrize("privileged", [True, False])
def test_a_namespace_is_made_with_its_project_and_its_level(
    server: Scripted, kube: KubeCluster, privileged: bool
) -> None:
    server.on(f"POST {NAMESPACES}", Reply(201, {}))
    ensure(kube, privileged=privileged)
    meta = server.calls(f"POST {NAMESPACES}")[0].json()["metadata"]
    assert meta["labels"] == OURS | security("privileged" if privileged else "restricted")
    assert meta["annotations"] == {"field.cattle.io/projectId": "c-m-1:p-1"}


def test_a_namespace_as_wanted_is_left_alone_whoever_made_it(server: Scripted, kube: KubeCluster) -> None:
    project = {"field.cattle.io/projectId": "c-m-1:p-1"}
    server.on(
        f"GET {NAMESPACES}/ns",
        namespace(security("privileged"), project),
        namespace(OURS | security("privileged"), project),
    )
    ensure(kube)
    ensure(kube)
    assert {asked.method for asked in server.asked} == {"GET"}


def test_ours_is_mended_but_keeps_the_request_that_made_it(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {NAMESPACES}/ns", namespace({"gpu-cluster/managed": "true", "gpu-cluster/request": "r-0"}))
    server.on(f"PATCH {NAMESPACES}/ns", Reply(200, {}))
    ensure(kube)
    (patch,) = server.calls(f"PATCH {NAMESPACES}/ns")
    assert patch.json()["metadata"]["labels"] == security("privileged")
    assert patch.json()["metadata"]["annotations"] == {"field.cattle.io/projectId": "c-m-1:p-1"}


@pytest.mark.parametrize("labels", [{}, security("baseline"), security("privileged")])
def test_another_s_that_would_have_to_change_is_foreign(
    server: Scripted, kube: KubeCluster, labels: dict[str, str]
) -> None:
    server.on(f"GET {NAMESPACES}/ns", namespace(labels))
    with pytest.raises(Foreign) as raised:
        ensure(kube)
    assert "pod-security.kubernetes.io/enforce=privileged" in raised.value.remedy
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "replies",
    [
        {f"GET {NAMESPACES}/ns": namespace(OURS, deletionTimestamp="2026-11-25T10:00:00Z")},
        {f"POST {NAMESPACES}": Reply(409, {"message": 'namespaces "ns" already exists', "reason": "AlreadyExists"})},
    ],
)
def test_a_namespace_that_goes_or_comes_at_this_moment_is_temporary(
    server: Scripted, kube: KubeCluster, replies: dict[str, Reply]
) -> None:
    for call, reply in replies.items():
        server.on(call, reply)
    with pytest.raises(Temporary):
        ensure(kube)


def test_the_job_holds_all_gpus_of_one_node_and_may_do_nothing_else(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"POST {CONFIG_MAPS}", Reply(201, {}))
    server.on(f"POST {JOBS}", Reply(201, {}))
    kube.ensure_job(ORDER)
    config, job = (asked.json() for asked in server.asked)
    assert config["data"] == {"probe.py": "print()\n"}
    assert config["metadata"]["labels"] == job["metadata"]["labels"] == OURS
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 300)
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "n1"}
    assert [(t["key"], t["value"], t["effect"]) for t in pod["tolerations"]] == list(ORDER.tolerations)
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", False)
    assert "runtimeClassName" not in pod
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["command"] == ["python3", "-I", "/probe/probe.py", "--level", "quick"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() & container["resources"]["limits"].keys()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"} in container["env"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/probe", "/tmp"}


EXISTS = Reply(409, {"message": "already exists", "reason": "AlreadyExists"})


def test_a_job_made_before_a_crash_is_found(server: Scripted, kube: KubeCluster) -> None:
    mine = Reply(200, {"metadata": {"labels": OURS}})
    for path in (CONFIG_MAPS, JOBS):
        server.on(f"POST {path}", EXISTS)
        server.on(f"GET {path}/verify-1", mine)
    kube.ensure_job(ORDER)
    with pytest.raises(Foreign, match="ConfigMap verify-1"):
        kube.ensure_job(replace(ORDER, labels={"gpu-cluster/request": "r-2"}))


@pytest.mark.parametrize(
    "there", [Reply(404, {}), Reply(200, {"metadata": {"deletionTimestamp": "now", "labels": OURS}})]
)
def test_a_job_that_is_being_removed_is_temporary(server: Scripted, kube: KubeCluster, there: Reply) -> None:
    server.on(f"POST {CONFIG_MAPS}", EXISTS)
    server.on(f"GET {CONFIG_MAPS}/verify-1", there)
    with pytest.raises(Temporary, match="still being deleted"):
        kube.ensure_job(ORDER)


def test_what_the_client_itself_refuses_is_permanent_and_not_sent(server: Scripted, kube: KubeCluster) -> None:
    with pytest.raises(Permanent, match="client refuses"):
        kube.ensure_job(replace(ORDER, script=None))  # type: ignore[arg-type]
    assert server.asked == []


def tainted(*keys: str) -> Reply:
    return Reply(
        200, {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in keys]}}
    )


def paths(patch: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(step["op"], step["path"]) for step in patch]


def test_only_the_taint_of_that_key_goes(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {NODE}", tainted("unverified", "nvidia.com/gpu", "unverified"))
    server.on(f"PATCH {NODE}", Reply(200, {}))
    kube.remove_taint("n1", "unverified")
    (asked,) = server.calls(f"PATCH {NODE}")
    assert asked.headers["Content-Type"] == "application/json-patch+json"
    assert paths(asked.json()) == [
        ("test", "/spec/taints/2/key"),
        ("remove", "/spec/taints/2"),
        ("test", "/spec/taints/0/key"),
        ("remove", "/spec/taints/0"),
    ]


def seen(name: str, *keys: str) -> dict[str, object]:
    taints = [{"key": key, "effect": "NoSchedule"} for key in keys]
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"taints": taints}, "status": {}}


def test_taints_go_as_the_nodes_were_listed_without_reading_each_again(server: Scripted, kube: KubeCluster) -> None:
    names = ("n1", "n2", "n3")
    server.on(f"GET {NODE[:-3]}", Reply(200, {"items": [seen(name, "unverified", "other") for name in names]}))
    for name in names:
        server.on(f"PATCH {NODE[:-3]}/{name}", Reply(200, seen(name, "other")))
    kube.nodes()
    for name in names:
        kube.remove_taint(name, "unverified")
    assert [[key for key, _, _ in node.taints] for node in kube.nodes()] == [["other"]] * 3
    assert len(server.asked) == 4


@pytest.mark.parametrize("moved", [("other", "unverified"), ()], ids=["elsewhere", "gone"])
def test_a_list_that_is_out_of_date_takes_no_other_taint_off(
    server: Scripted, kube: KubeCluster, moved: tuple[str, ...]
) -> None:
    server.on(f"GET {NODE[:-3]}", Reply(200, {"items": [seen("n1", "unverified", "other")]}))
    server.on(f"GET {NODE}", Reply(200, seen("n1", *moved)))
    server.on(f"PATCH {NODE}", Reply(422, {"message": "test failed"}), Reply(200, seen("n1")))
    kube.nodes()
    kube.remove_taint("n1", "unverified")
    patches = [asked.json()[-1]["path"] for asked in server.calls(f"PATCH {NODE}")]
    assert patches == (["/spec/taints/0", "/spec/taints/1"] if moved else ["/spec/taints/0"])


@pytest.mark.parametrize("refusal", [400, 409, 422])
def test_taints_that_move_meanwhile_are_read_again(server: Scripted, kube: KubeCluster, refusal: int) -> None:
    server.on(f"GET {NODE}", tainted("unverified"), tainted("not-ready", "unverified"))
    server.on(f"PATCH {NODE}", Reply(refusal, {"message": "test failed"}), Reply(200, {}))
    kube.remove_taint("n1", "unverified")
    assert [asked.json()[0]["path"] for asked in server.calls(f"PATCH {NODE}")] == [
        "/spec/taints/0/key",
        "/spec/taints/1/key",
    ]


def test_a_taint_that_is_not_there(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {NODE}", tainted("nvidia.com/gpu"), Reply(200, {"metadata": {"name": "n1"}}))
    kube.remove_taint("n1", "unverified")
    kube.remove_taint("n1", "unverified")
    assert server.calls(f"PATCH {NODE}") == []


def test_a_node_that_goes_or_never_rests_is_temporary(server: Scripted, kube: KubeCluster) -> None:
    with pytest.raises(Temporary, match="n1 is gone"):
        kube.remove_taint("n1", "unverified")
    server.on(f"GET {NODE}", tainted("unverified"))
    server.on(f"PATCH {NODE}", Reply(422, {"message": "test failed"}))
    with pytest.raises(Temporary, match="change all the time"):
        kube.remove_taint("n1", "unverified")


def test_a_job_says_what_its_order_says(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"POST {CONFIG_MAPS}", Reply(201, {}))
    server.on(f"POST {JOBS}", Reply(201, {}))
    any_value = ("gpu-cluster/unverified", "", "NoSchedule")
    order = replace(ORDER, runtime_class="nvidia", pull_secrets=("mirror",), tolerations=(any_value,))
    kube.ensure_job(order)
    pod = server.calls(f"POST {JOBS}")[0].json()["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    assert pod["tolerations"] == [{"key": "gpu-cluster/unverified", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_job_goes_with_its_pod_and_its_script(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"DELETE {JOBS}/verify-1", Reply(200, {}))
    kube.remove_job("ns", "verify-1")
    (asked,) = server.calls(f"DELETE {JOBS}/verify-1")
    assert asked.query["propagationPolicy"] == "Background"
    assert len(server.calls(f"DELETE {CONFIG_MAPS}/verify-1")) == 1, "404 is no error"


def test_jobs_of_requests_go_by_their_label(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {JOBS}", Reply(200, {"items": [{"metadata": {"name": "verify-1"}}], "metadata": {}}))
    kube.remove_jobs_of("ns", ("r-1", "r-2"))
    (asked,) = server.calls(f"GET {JOBS}")
    assert asked.query["labelSelector"] == "gpu-cluster/request in (r-1,r-2)"
    assert len(server.calls(f"DELETE {JOBS}/verify-1")) == len(server.calls(f"DELETE {CONFIG_MAPS}/verify-1")) == 1


def test_only_the_namespace_of_this_request_is_removed(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"DELETE {NAMESPACES}/ns", Reply(200, {}))
    kube.remove_namespace("ns", "r-1")
    server.on(f"GET {NAMESPACES}/ns", namespace({}), namespace({"gpu-cluster/request": "r-2"}), namespace(OURS))
    for _ in range(2):
        kube.remove_namespace("ns", "r-1")
    assert server.calls(f"DELETE {NAMESPACES}/ns") == []
    kube.remove_namespace("ns", "r-1")
    assert len(server.calls(f"DELETE {NAMESPACES}/ns")) == 1


def test_another_image_brings_its_own_command_and_needs_no_script(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"POST {JOBS}", Reply(201, {}))
    kube.ensure_job(replace(ORDER, image="dcgm:4", script="", command=("sh", "-c", "dcgmi diag -r 1 -j")))
    (job,) = (asked.json() for asked in server.asked)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["command"]) == ("dcgm:4", ["sh", "-c", "dcgmi diag -r 1 -j"])
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def versioned(*keys: str, version: str = "7") -> Reply:
    spec = {"taints": [{"key": key, "effect": "NoSchedule"} for key in keys]} if keys else {}
    return Reply(200, {"metadata": {"name": "n1", "resourceVersion": version}, "spec": spec})


def test_a_taint_is_put_beside_others_or_as_the_first(server: Scripted, kube: KubeCluster) -> None:
    taint = {"key": "unverified", "value": "true", "effect": "NoSchedule"}
    server.on(f"GET {NODE}", versioned("nvidia.com/gpu"), versioned(version="8"))
    server.on(f"PATCH {NODE}", Reply(409, {"message": "Conflict"}), Reply(200, {}))
    kube.add_taint("n1", "unverified")
    assert [asked.json() for asked in server.calls(f"PATCH {NODE}")] == [
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/spec/taints/-", "value": taint},
        ],
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "8"},
            {"op": "add", "path": "/spec/taints", "value": [taint]},
        ],
    ]


def test_a_taint_that_is_there_already(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {NODE}", versioned("unverified"))
    kube.add_taint("n1", "unverified")
    assert server.calls(f"PATCH {NODE}") == []
