"""What is read of a cluster: nodes, policy, pods, jobs, storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from scripted import Hands, Reply, Scripted

from bot.core.ports import Foreign, JobView, PodTrouble, PolicyView, Temporary
from bot.kube import KubeCluster

BASE = "/k8s/clusters/c-m-1"
NODES = f"{BASE}/api/v1/nodes"
PODS = f"{BASE}/api/v1/namespaces/ns/pods"
JOB = f"{BASE}/apis/batch/v1/namespaces/ns/jobs/probe"
EVENTS = f"{BASE}/api/v1/namespaces/ns/events"


def items(*objects: dict[str, Any], more: str = "") -> Reply:
    return Reply(200, {"metadata": {"continue": more} if more else {}, "items": list(objects)})


def node(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": status}


def test_nodes_page_by_page_whatever_they_lack(server: Scripted, kube: KubeCluster) -> None:
    full = node("b", allocatable={"nvidia.com/gpu": "7"}, capacity={"nvidia.com/gpu": "8"})
    full["status"]["conditions"] = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
    full["metadata"]["labels"] = {"gpu-cluster/pool": "gpu"}
    full["spec"] = {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}]}
    server.on(f"GET {NODES}", items(node("a"), more="next"), items(full))
    bare, good = kube.nodes()
    assert (bare.ready, bare.gpus, bare.gpu_capacity, bare.taints, bare.labels) == (False, 0, 0, (), {})
    assert (good.name, good.uid, good.ready, good.gpus, good.gpu_capacity) == ("b", "uid-b", True, 7, 8)
    assert good.taints == (("k", "v", "NoSchedule"), ("x", "", "NoExecute"))
    assert [asked.query for asked in server.asked] == [{"limit": "500"}, {"limit": "500", "continue": "next"}]


def test_the_steps_of_one_look_share_a_list_of_nodes(server: Scripted, kube: KubeCluster, hands: Hands) -> None:
    server.on(f"GET {NODES}", items(node("a")))
    server.on(f"GET {NODES}/a", Reply(200, node("a")))
    kube.nodes()
    kube.nodes()
    assert len(server.calls(f"GET {NODES}")) == 1
    kube.remove_taint("a", "k")
    kube.nodes()
    assert len(server.calls(f"GET {NODES}")) == 2, "what we have changed ourselves is read anew"
    hands.world += 2
    kube.nodes()
    assert len(server.calls(f"GET {NODES}")) == 3


@pytest.mark.parametrize(
    ("conditions", "view"),
    [
        (None, PolicyView("", False, "", "")),
        ([{"type": "Ready", "status": "True", "reason": "Reconciled"}], PolicyView("ready", True, "Reconciled", "")),
        (
            [{"type": "Ready", "status": "False", "reason": "OperandNotReady", "message": "states not ready: [x]"}],
            PolicyView("notReady", False, "OperandNotReady", "states not ready: [x]"),
        ),
        (
            [
                {"type": "Ready", "status": "False", "reason": "Error"},
                {"type": "Error", "status": "True", "reason": "ReconcileFailed", "message": "cannot co-exist"},
            ],
            PolicyView("notReady", False, "ReconcileFailed", "cannot co-exist"),
        ),
    ],
)
def test_the_policy(
    server: Scripted, kube: KubeCluster, conditions: list[dict[str, str]] | None, view: PolicyView
) -> None:
    status = {"state": view.state, "conditions": conditions} if conditions else None
    server.on(f"GET {BASE}/apis/nvidia.com/v1/clusterpolicies/cluster-policy", Reply(200, {"status": status}))
    assert kube.policy() == view


def test_the_default_storage_class(server: Scripted, kube: KubeCluster) -> None:
    path = f"GET {BASE}/apis/storage.k8s.io/v1/storageclasses"
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    other = {"metadata": {"name": "slow"}}
    server.on(path, items(other), items(other, {"metadata": {"name": "fast", "annotations": mark}}))
    assert [kube.storage_class(), kube.storage_class()] == ["", "fast"]


# --- pods that do not run ---------------------------------------------------------------------------------------


def pod(name: str, phase: str, **status: Any) -> dict[str, Any]:
    meta = {"name": name, "labels": {"app": f"app-{name}"}, "creationTimestamp": "2026-11-25T10:00:00Z"}
    return {"metadata": meta, "spec": {"nodeName": "n1"}, "status": {"phase": phase, **status}}


def container(name: str, *, last: str = "", **state: Any) -> dict[str, Any]:
    ended = {"lastState": {"terminated": {"reason": last, "exitCode": 1}}} if last else {}
    return {"name": name, "ready": "running" in state, "state": state, **ended}


def crashing(name: str, last: str) -> dict[str, Any]:
    return container(name, last=last, waiting=waiting("CrashLoopBackOff", "back-off"))


def waiting(reason: str, message: str = "") -> dict[str, str]:
    return {"reason": reason, "message": message}


READY, UNREADY = {"type": "Ready", "status": "True"}, {"type": "Ready", "status": "False", "message": "unready: [c]"}
NO_ROOM = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
DONE = {"exitCode": 0, "reason": "Completed"}


@pytest.mark.parametrize(
    ("found", "reason", "message", "log_of"),
    [
        (pod("p", "Succeeded"), None, "", None),
        (pod("p", "Running", conditions=[READY], containerStatuses=[container("c", running={})]), None, "", None),
        (
            pod("p", "Running", conditions=[UNREADY], containerStatuses=[container("c", running={}), container("d")]),
            "NotReady",
            "unready: [c]",
            ("d", False),
        ),
        (
            pod("p", "Running", containerStatuses=[crashing("c", "Error")]),
            "CrashLoopBackOff",
            "back-off",
            ("c", True),
        ),
        (
            pod("p", "Running", containerStatuses=[crashing("c", "OOMKilled")]),
            "CrashLoopBackOff",
            "back-off (OOMKilled)",
            ("c", True),
        ),
        (
            pod("p", "Pending", containerStatuses=[container("c", waiting=waiting("ImagePullBackOff", "not found"))]),
            "ImagePullBackOff",
            "not found",
            ("c", False),
        ),
        (
            pod(
                "p",
                "Pending",
                initContainerStatuses=[container("i", terminated=DONE), container("j", running={})],
                containerStatuses=[container("c", waiting=waiting("PodInitializing"))],
            ),
            "Init:1/2",
            "",
            ("j", False),
        ),
        (
            pod(
                "p",
                "Pending",
                initContainerStatuses=[crashing("i", "Error")],
                containerStatuses=[container("c", waiting=waiting("PodInitializing"))],
            ),
            "Init:CrashLoopBackOff",
            "back-off",
            ("i", True),
        ),
        (
            pod("p", "Pending", conditions=[NO_ROOM]),
            "Unschedulable",
            "0/3 nodes",
            None,
        ),
        (
            pod("p", "Failed", containerStatuses=[container("c", terminated={"exitCode": 3, "reason": "Error"})]),
            "Error",
            "exit code 3",
            ("c", False),
        ),
        (pod("p", "Failed", reason="Evicted", message="low on disk"), "Evicted", "low on disk", None),
        (
            pod("p", "Pending", containerStatuses=[container("c", waiting=waiting("ContainerCreating"))]),
            "Pending",
            "",
            ("c", False),
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_running(
    server: Scripted,
    kube: KubeCluster,
    found: dict[str, Any],
    reason: str | None,
    message: str,
    log_of: tuple[str, bool] | None,
) -> None:
    server.on(f"GET {PODS}", items(found))
    server.on(f"GET {PODS}/p/log", Reply(200, "last words\n"))
    log = "last words\n" if log_of else ""
    expected = () if reason is None else (PodTrouble("p", "app-p", "n1", reason, message, log),)
    assert kube.pod_troubles("ns") == expected
    queries = [
        (asked.query["container"], asked.query.get("previous") == "true") for asked in server.calls(f"GET {PODS}/p/log")
    ]
    assert queries == ([log_of] if log_of else [])


def test_the_worst_pods_come_first_and_their_logs_are_best_effort(server: Scripted, kube: KubeCluster) -> None:
    waits = pod("a", "Pending", initContainerStatuses=[container("i", running={})])
    crashed = pod("b", "Running", containerStatuses=[crashing("c", "Error")])
    compiling = {**container("c", running={}), "ready": False}
    slow = pod("c", "Running", conditions=[UNREADY], containerStatuses=[compiling])
    server.on(f"GET {PODS}", items(waits, slow, crashed))
    server.on(f"GET {PODS}/a/log", Reply(400, {"message": "is waiting to start"}))
    server.on(f"GET {PODS}/b/log", Reply(500, "kubelet is not reachable"))
    server.on(f"GET {PODS}/c/log", Reply(200, "compiling\n"))
    assert [(t.pod, t.log) for t in kube.pod_troubles("ns")] == [("b", ""), ("c", "compiling\n"), ("a", "")]


# --- the verification job ---------------------------------------------------------------------------------------


def job(*conditions: tuple[str, str, str]) -> Reply:
    listed = [{"type": kind, "status": "True", "reason": why, "message": text} for kind, why, text in conditions]
    return Reply(200, {"metadata": {"name": "probe"}, "status": {"conditions": listed}})


DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
DEAD_NODE = "the pod does not finish terminating: its node may be dead"
BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


def ended(name: str, code: int, reason: str = "Error") -> dict[str, Any]:
    phase = "Failed" if code else "Succeeded"
    return pod(name, phase, containerStatuses=[container("probe", terminated={"exitCode": code, "reason": reason})])


JOBS = f"{BASE}/apis/batch/v1/namespaces/ns/jobs"
OF_JOB = "batch.kubernetes.io/job-name"


def of_job(job: str, found: dict[str, Any]) -> dict[str, Any]:
    found["metadata"]["labels"][OF_JOB] = job
    return found


def dying(name: str) -> dict[str, Any]:
    found = pod(name, "Running", containerStatuses=[container("probe", running={})])
    found["metadata"]["deletionTimestamp"] = "2026-11-25T10:10:00Z"
    return found


@pytest.mark.parametrize(
    ("reply", "pods", "view"),
    [
        (job(), [pod("p", "Running", containerStatuses=[container("probe", running={})])], JobView("", "", "", "")),
        (
            job(),
            [pod("p", "Pending", containerStatuses=[container("probe", waiting=waiting("ContainerCreating"))])],
            JobView("", "", "", ""),
        ),
        (
            job(),
            [pod("p", "Pending", containerStatuses=[container("probe", waiting=waiting("ErrImagePull", "no host"))])],
            JobView("", "ErrImagePull", "no host", ""),
        ),
        (job(("SuccessCriteriaMet", "CompletionsReached", "")), [ended("p", 0)], JobView("", "", "", "document\n")),
        (
            job(("SuccessCriteriaMet", "x", ""), ("Complete", "CompletionsReached", "")),
            [ended("p", 0)],
            JobView("succeeded", "CompletionsReached", "", "document\n"),
        ),
        (
            job(("FailureTarget", *BACKOFF), ("Failed", *BACKOFF)),
            [ended("p", 1)],
            JobView("failed", BACKOFF[0], f"{BACKOFF[1]}; the probe ended with exit code 1", "document\n"),
        ),
        (
            job(("Failed", *BACKOFF)),
            [ended("p", 137, "OOMKilled")],
            JobView("failed", "OOMKilled", f"{BACKOFF[1]}; the probe ended with exit code 137", "document\n"),
        ),
        (
            job(("Failed", *BACKOFF)),
            [pod("p", "Failed", reason="UnexpectedAdmissionError", message="no devices")],
            JobView("failed", "UnexpectedAdmissionError", f"{BACKOFF[1]}; no devices", "document\n"),
        ),
        (job(("Failed", *DEADLINE)), [], JobView("failed", *DEADLINE, "")),
        (
            job(("FailureTarget", *DEADLINE)),
            [dying("p")],
            JobView("failed", DEADLINE[0], f"{DEADLINE[1]}; {DEAD_NODE}", ""),
        ),
    ],
)  # fmt: skip
def test_how_a_job_stands(
    server: Scripted, kube: KubeCluster, reply: Reply, pods: list[dict[str, Any]], view: JobView
) -> None:
    server.on(f"GET {JOB}", reply)
    server.on(f"GET {PODS}", items(*(of_job("probe", found) for found in pods)))
    server.on(f"GET {EVENTS}", items())
    server.on(f"GET {PODS}/p/log", Reply(200, "document\n"))
    assert kube.job("ns", "probe") == view
    assert server.calls(f"GET {PODS}")[0].query["labelSelector"] == f"{OF_JOB}=probe"
    server.on(f"GET {JOBS}", items({**reply.body, "metadata": {"name": "probe"}}))
    assert kube.jobs("ns", "r-1", {"probe"}) == {"probe": view}


def listed(name: str, *conditions: tuple[str, str, str]) -> dict[str, Any]:
    return {**job(*conditions).body, "metadata": {"name": name}}


def test_jobs_of_a_request_are_one_question_and_one_for_each_log(server: Scripted, kube: KubeCluster) -> None:
    done = ("Complete", "CompletionsReached", "")
    server.on(f"GET {JOBS}", items(listed("a", done), listed("b", done), listed("c"), listed("read-before", done)))
    pods = [of_job("a", ended("pa", 0)), of_job("b", ended("pb", 0)), of_job("read-before", ended("pr", 0))]
    server.on(f"GET {PODS}", items(*pods, of_job("c", pod("pc", "Running"))))
    server.on(f"GET {PODS}/pa/log", Reply(200, "document\n"))
    server.on(f"GET {PODS}/pb/log", Reply(502, "tunnel disconnect"))
    seen = kube.jobs("ns", "r-1", {"a", "b", "c", "not-made-yet"})
    assert seen["a"] == JobView("succeeded", "CompletionsReached", "", "document\n")
    assert "tunnel disconnect" in seen["b"].unread and seen["b"].log == ""
    assert (seen["c"], sorted(seen)) == (JobView("", "", "", ""), ["a", "b", "c"])
    assert server.calls(f"GET {JOBS}")[0].query["labelSelector"] == "gpu-cluster/request=r-1"
    assert server.calls(f"GET {PODS}")[0].query["labelSelector"] == "gpu-cluster/request=r-1"
    assert len(server.asked) == 4


def test_why_jobs_make_no_pods_is_one_question(server: Scripted, kube: KubeCluster) -> None:
    def warning(name: str) -> dict[str, Any]:
        about = {"kind": "Job", "name": name}
        return {"type": "Warning", "reason": "FailedCreate", "message": f"{name} is forbidden", "involvedObject": about}

    server.on(f"GET {JOBS}", items(listed("a"), listed("b")))
    server.on(f"GET {PODS}", items())
    server.on(f"GET {EVENTS}", items(warning("a"), warning("b"), warning("another")))
    seen = kube.jobs("ns", "r-1", {"a", "b"})
    assert [seen[name].message for name in "ab"] == ["a is forbidden", "b is forbidden"]
    assert server.calls(f"GET {EVENTS}")[0].query["fieldSelector"] == "involvedObject.kind=Job,type=Warning"
    assert len(server.asked) == 3


def test_nothing_made_yet_is_one_question(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {JOBS}", items())
    assert kube.jobs("ns", "r-1", {"a"}) == {}
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("found", "at"),
    [
        ([pod("p", "Running", startTime="2026-11-25T10:00:00Z",
              containerStatuses=[container("ctr", running={"startedAt": "2026-11-25T10:04:00Z"})])], 240.0),
        ([pod("p", "Pending", startTime="2026-11-25T10:00:00Z",
              containerStatuses=[container("ctr", waiting=waiting("PodInitializing"))])], 0.0),
        ([pod("p", "Pending")], None),
        ([], None),
    ],
    ids=["it runs", "it waits for the driver", "it has no node yet", "there is none"],
)  # fmt: skip
def test_when_the_toolkit_started(
    server: Scripted, kube: KubeCluster, found: list[dict[str, Any]], at: float | None
) -> None:
    server.on(f"GET {BASE}/api/v1/pods", items(*found))
    ten = datetime(2026, 11, 25, 10, tzinfo=UTC).timestamp()
    assert kube.started_at("toolkit", "n1") == (None if at is None else ten + at)
    (asked,) = server.asked
    assert (asked.query["labelSelector"], asked.query["fieldSelector"]) == ("app=toolkit", "spec.nodeName=n1")


def test_who_may_not_read_pods_knows_no_start(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {BASE}/api/v1/pods", Reply(403, {"reason": "Forbidden", "message": "pods is forbidden"}))
    assert kube.started_at("toolkit", "n1") is None


def test_a_job_that_is_not_there(server: Scripted, kube: KubeCluster) -> None:
    assert kube.job("ns", "probe") is None


def test_a_result_that_cannot_be_read_now_is_not_an_empty_result(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {JOB}", job(("Complete", "CompletionsReached", "")))
    server.on(f"GET {PODS}", items(of_job("probe", ended("p", 0))))
    server.on(f"GET {PODS}/p/log", Reply(502, "tunnel disconnect"))
    with pytest.raises(Temporary, match="tunnel disconnect"):
        kube.job("ns", "probe")


def test_why_a_job_makes_no_pod(server: Scripted, kube: KubeCluster) -> None:
    refused = 'pods "probe-x" is forbidden: violates PodSecurity "restricted:latest"'
    old = {"type": "Warning", "reason": "Other", "message": "older", "lastTimestamp": "2026-11-25T09:00:00Z"}
    new = {"type": "Warning", "reason": "FailedCreate", "message": refused, "lastTimestamp": "2026-11-25T10:00:00Z"}
    of_it = {"involvedObject": {"kind": "Job", "name": "probe"}}
    server.on(f"GET {JOB}", job())
    server.on(f"GET {PODS}", items())
    server.on(f"GET {EVENTS}", items(new | of_it, old | of_it))
    assert kube.job("ns", "probe") == JobView("", "FailedCreate", refused, "")
    those = server.calls(f"GET {EVENTS}")[0].query["fieldSelector"].split(",")
    assert {"involvedObject.name=probe", "involvedObject.kind=Job", "type=Warning"} == set(those)


def holding(node: str, *gpus: int, init: tuple[int, ...] = ()) -> dict[str, object]:
    def containers(counts: tuple[int, ...]) -> list[dict[str, object]]:
        return [{"resources": {"limits": {"nvidia.com/gpu": str(count)} if count else {}}} for count in counts]

    spec = {"containers": containers(gpus), "initContainers": containers(init)}
    return {"spec": spec | ({"nodeName": node} if node else {})}


def test_gpus_in_use_by_node(server: Scripted, kube: KubeCluster) -> None:
    pods = [holding("n1", 1, 2), holding("n1", 1), holding("n2", 0), holding("", 8), holding("n3", 1, init=(4, 2))]
    server.on(f"GET {BASE}/api/v1/pods", Reply(200, {"items": pods}))
    assert kube.gpus_in_use() == {"n1": 4, "n3": 4}
    (asked,) = server.asked
    assert asked.query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"


def test_runtime_classes(server: Scripted, kube: KubeCluster) -> None:
    items = [{"metadata": {"name": name}} for name in ("nvidia", "kata")]
    server.on(f"GET {BASE}/apis/node.k8s.io/v1/runtimeclasses", Reply(200, {"items": items}))
    assert kube.runtime_classes() == ("nvidia", "kata")


# --- logs for people --------------------------------------------------------------------------------------------

NAMESPACE = f"{BASE}/api/v1/namespaces/ns"
OURS = Reply(200, {"metadata": {"name": "ns", "labels": {"gpu-cluster/managed": "true"}}})


def a_pod(name: str, app: str, phase: str = "Running", **status: Any) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]} if phase == "Running" else {}
    spec = {"nodeName": "n1", "containers": [{"name": "main"}]}
    return {
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": spec,
        "status": {"phase": phase, **ready, **status},
    }


def test_logs_are_read_of_the_apps_asked_for_those_in_trouble_first(server: Scripted, kube: KubeCluster) -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    crashed = {"name": "main", "state": {"waiting": waiting}, "lastState": {"terminated": {"exitCode": 1}}}
    bad = a_pod("driver-b", "driver", containerStatuses=[crashed])
    server.on(f"GET {NAMESPACE}", OURS)
    server.on(f"GET {PODS}", items(a_pod("driver-a", "driver"), bad, a_pod("other", "dcgm")))
    server.on(f"GET {PODS}/driver-b/log", Reply(200, "no headers\n"))
    server.on(f"GET {PODS}/driver-a/log", Reply(404, "gone"))
    found = kube.pod_logs("ns", ("driver",), 12, 6)
    assert [(log.pod, log.state, log.container, log.text) for log in found] == [
        ("driver-b", "CrashLoopBackOff", "main", "no headers\n"),
        ("driver-a", "Running", "main", ""),
    ]
    (asked,) = server.calls(f"GET {PODS}/driver-b/log")
    assert asked.query == {"container": "main", "previous": "true", "tailLines": "12"}
    assert len(kube.pod_logs("ns", (), 12, 1)) == 1


def test_another_s_namespace_is_not_read(server: Scripted, kube: KubeCluster) -> None:
    assert kube.pod_logs("ns", (), 12, 6) == ()
    assert kube.kernel_log("ns", "driver") == {}
    server.on(f"GET {NAMESPACE}", Reply(200, {"metadata": {"name": "ns"}}))
    for read in (lambda: kube.pod_logs("ns", (), 12, 6), lambda: kube.kernel_log("ns", "driver")):
        with pytest.raises(Foreign, match="ns was not made by the bot"):
            read()
    assert server.calls(f"GET {PODS}") == []


def test_a_driver_pod_that_lets_nobody_in_is_left_out(server: Scripted, kube: KubeCluster) -> None:
    server.on(f"GET {NAMESPACE}", OURS)
    server.on(f"GET {PODS}", items(a_pod("a", "driver"), a_pod("b", "driver", "Pending")))
    server.on(f"GET {PODS}/a/exec", Reply(403, {"message": "pods/exec is forbidden"}))
    assert kube.kernel_log("ns", "driver") == {}
    (asked,) = server.calls(f"GET {PODS}/a/exec")
    assert asked.query == {"command": "dmesg", "container": "main", "stdout": "true", "stderr": "false"}
    assert asked.headers["authorization"] == "Bearer token-bot:secret"
    assert not server.calls(f"GET {PODS}/b/exec")


def test_a_driver_that_may_not_be_asked_says_nothing(server: Scripted, kube: KubeCluster) -> None:
    asked = ("ns", "driver", "n1", ("nvidia-smi", "-L"))
    server.on(f"GET {PODS}", Reply(403, {"message": "pods is forbidden"}))
    assert kube.ask_driver(*asked) == ""
    server.on(f"GET {PODS}", items(a_pod("a", "driver", "Pending"), a_pod("b", "driver")))
    server.on(f"GET {PODS}/b/exec", Reply(403, {"message": "pods/exec is forbidden"}))
    assert kube.ask_driver(*asked) == ""
    assert len(server.calls(f"GET {PODS}/b/exec")) == 1
    assert kube.ask_driver("ns", "driver", "another", ("nvidia-smi", "-L")) == ""
    assert len(server.calls(f"GET {PODS}/b/exec")) == 1
