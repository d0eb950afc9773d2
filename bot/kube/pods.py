"""Pods that do not run, in Kubernetes' own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.core.ports import GpuUse, PodTrouble
from bot.core.spec import GPU_RESOURCE
from bot.kube.client import Json

_ROUTINE = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class Culprit:
    """The container that keeps a pod from running; `crashed`: its last words are in the log of the run before."""

    container: str
    reason: str
    message: str
    crashed: bool


def gpu_use(pods: Iterable[Json]) -> GpuUse:
    """GPUs that unfinished pods ask for, and when the last one that asked for any has ended."""
    asked, ended = 0, []
    for pod in pods:
        gpus, status = _gpus(pod), pod.get("status") or {}
        if gpus and status.get("phase") in ("Succeeded", "Failed"):
            ended += [datetime.fromisoformat(at).timestamp() for at in _ends(status)]
        else:
            asked += gpus
    return GpuUse(asked, max(ended, default=None))


def _gpus(pod: Json) -> int:
    """What the containers ask for together; the API server has copied limits to requests."""
    containers = (pod.get("spec") or {}).get("containers") or []
    requests = ((container.get("resources") or {}).get("requests") or {} for container in containers)
    return sum(int(request.get(GPU_RESOURCE) or 0) for request in requests)


def _ends(status: Json) -> Iterable[str]:
    for container in status.get("containerStatuses") or []:
        if at := ((container.get("state") or {}).get("terminated") or {}).get("finishedAt"):
            yield str(at)


def culprit(pod: Json) -> Culprit | None:
    """What keeps a pod from running, None when it runs or has succeeded."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return None
    if status.get("reason"):  # Evicted, UnexpectedAdmissionError, NodeLost: the pod as a whole
        return Culprit("", str(status["reason"]), str(status.get("message") or ""), crashed=False)
    inits = status.get("initContainerStatuses") or []
    for container in inits:
        if (found := _of_container(container)) is not None:
            return Culprit(found.container, f"Init:{found.reason}", found.message, found.crashed)
    for container in status.get("containerStatuses") or []:
        if (found := _of_container(container)) is not None:
            return found
    return _of_pod(pod, inits)


def _of_container(status: Json) -> Culprit | None:
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated")
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in _ROUTINE:
        reason, message = str(waiting.get("reason") or "Waiting"), str(waiting.get("message") or "")
        if last and last.get("reason") == "OOMKilled":
            message = f"{message} (OOMKilled)".strip()
        return Culprit(status["name"], reason, message, crashed=bool(last))
    if ended and ended.get("exitCode"):
        message = str(ended.get("message") or f"exit code {ended['exitCode']}")
        return Culprit(status["name"], str(ended.get("reason") or "Error"), message, crashed=False)
    return None


def _of_pod(pod: Json, inits: list[Json]) -> Culprit | None:
    """No container is at fault: the pod is not scheduled, still in its init containers, or not ready."""
    status = pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return Culprit(
            "", str(scheduled.get("reason") or "Pending"), str(scheduled.get("message") or ""), crashed=False
        )
    done = sum(bool(((c.get("state") or {}).get("terminated") or {}).get("exitCode") == 0) for c in inits)
    if status.get("phase") == "Pending" and done < len(inits):
        return Culprit(inits[done]["name"], f"Init:{done}/{len(inits)}", "", crashed=False)
    ready = conditions.get("Ready") or {}
    if status.get("phase") == "Running" and ready.get("status") != "False":
        return None
    unready = [c["name"] for c in status.get("containerStatuses") or [] if not c.get("ready")]
    reason = "NotReady" if status.get("phase") == "Running" else str(status.get("phase") or "Pending")
    return Culprit(unready[0] if unready else "", reason, str(ready.get("message") or ""), crashed=False)


def waiting_word(pod: Json) -> tuple[str, str]:
    """(reason, message) for a pod that ought to start: Unschedulable, ImagePullBackOff, …; ('', '') in the routine."""
    found = culprit(pod)
    routine = found is None or found.reason in ("Pending", "NotReady")
    return ("", "") if found is None or routine else (found.reason, found.message)


def severity(found: Culprit) -> int:
    """Order of telling: what broke, then what cannot start, then what only waits for those."""
    if found.reason.startswith("Init:") and "/" in found.reason:
        return 2
    return 1 if found.reason in ("NotReady", "Pending") else 0


def troubles(pods: list[Json], read_log: Callable[[str, Culprit], str], logs: int) -> tuple[PodTrouble, ...]:
    """Those that do not run, the worst first; `read_log(pod, culprit)` is asked for the first `logs` of them."""
    found = [(pod, what) for pod in pods if (what := culprit(pod)) is not None]
    found.sort(key=lambda pair: (severity(pair[1]), pair[0]["metadata"]["name"]))
    return tuple(
        PodTrouble(
            pod=pod["metadata"]["name"],
            app=app_of(pod),
            node=str((pod.get("spec") or {}).get("nodeName") or ""),
            reason=what.reason,
            message=what.message,
            log=read_log(pod["metadata"]["name"], what) if index < logs and what.container else "",
        )
        for index, (pod, what) in enumerate(found)
    )


def worth_reading(pods: Iterable[Json], most: int) -> list[tuple[Json, Culprit | None]]:
    """At most so many pods, those in trouble first, then by name; with what keeps them from running."""
    found = [(pod, culprit(pod)) for pod in pods]
    found.sort(key=lambda pair: (severity(pair[1]) if pair[1] else 3, pair[0]["metadata"]["name"]))
    return found[:most]


def started_at(pod: Json) -> float | None:
    """When its container began to run this time; before that, when the pod was taken in by its node (Unix seconds)."""
    status = pod.get("status") or {}
    running = [(c.get("state") or {}).get("running") or {} for c in status.get("containerStatuses") or []]
    at = next((r["startedAt"] for r in running if r.get("startedAt")), status.get("startTime"))
    return datetime.fromisoformat(at).timestamp() if at else None


def main_of(pod: Json) -> str:
    """The name of a pod's first container."""
    return str(pod["spec"]["containers"][0]["name"])


def gpus_of(pod: Json) -> int:
    """How many GPUs a pod holds: its containers' together, or its greediest init container's where that is more."""
    spec = pod.get("spec") or {}

    def asked(kind: str) -> list[int]:
        limits = [(container.get("resources") or {}).get("limits") or {} for container in spec.get(kind) or []]
        return [int(limit.get(GPU_RESOURCE) or 0) for limit in limits]

    return max(sum(asked("containers")), *asked("initContainers"), 0)


def app_of(pod: Json) -> str:
    """What a pod belongs to, by its labels; '' where it does not say."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("app") or labels.get("app.kubernetes.io/name") or "")
