"""The scheduler: node names for pending pods, or the reason why there is none.

It honours node selector, required node affinity, taints and the GPUs that are free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Engine
from bot.sandbox.world.kube.admission import GPU, requested_gpus
from bot.sandbox.world.kube.kinds import NODE, POD
from bot.sandbox.world.kube.objects import Change, Obj, ObjectStore
from bot.sandbox.world.kube.selectors import matches_expressions

Record = Callable[[Obj, str, str, str], None]


def tolerates(tolerations: list[Obj], taint: Obj) -> bool:
    """Whether one of ``tolerations`` covers ``taint``."""
    return any(_covers(t, taint) for t in tolerations)


def _covers(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint["key"]
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(tolerations: list[Obj], node: Obj) -> Obj | None:
    """The first taint of ``node`` that keeps such a pod away, or None."""
    for taint in node.get("spec", {}).get("taints") or []:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
            return dict(taint)
    return None


def is_ready(node: Obj) -> bool:
    """Whether the node's Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


class Scheduler:
    """Looks at the pending pods whenever a pod or node has changed, ``delay`` world seconds later.

    ``record(pod, type, reason, message)`` writes an event.
    """

    def __init__(self, engine: Engine, store: ObjectStore, delay: float, record: Record) -> None:
        self._engine = engine
        self._store = store
        self._delay = delay
        self._record = record
        self._due = False
        store.subscribe(self._changed)

    def _changed(self, change: Change) -> None:
        if change.kind in (POD, NODE) and not self._due:
            self._due = True
            self._engine.call_at(self._engine.now + self._delay, self._run)

    def _run(self) -> None:
        self._due = False
        pending = [p for p in self._store.all(POD) if _waits(p)]
        if not pending:
            return
        nodes = self._store.all(NODE)
        used: Counter[str] = Counter()
        for pod in self._store.all(POD):
            if pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                used[pod["spec"]["nodeName"]] += requested_gpus(pod["spec"])
        for pod in pending:
            self._place(pod, nodes, used)

    def _place(self, pod: Obj, nodes: list[Obj], used: Counter[str]) -> None:
        reasons: Counter[str] = Counter()
        for node in nodes:
            reason = _unfit(pod, node, used[node["metadata"]["name"]])
            if reason is None:
                used[node["metadata"]["name"]] += requested_gpus(pod["spec"])
                self._bind(pod, node["metadata"]["name"])
                return
            reasons[reason] += 1
        self._refuse(pod, len(nodes), reasons)

    def _bind(self, pod: Obj, node: str) -> None:
        def bind(new: Obj) -> None:
            new["spec"]["nodeName"] = node
            _set_scheduled(new, "True", None, None, self._engine.now)

        meta = pod["metadata"]
        self._store.edit(POD, meta["name"], meta["namespace"], bind)
        self._record(pod, "Normal", "Scheduled", f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}")

    def _refuse(self, pod: Obj, nodes: int, reasons: Counter[str]) -> None:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        message = f"0/{nodes} nodes are available: {listed}." if nodes else "no nodes available to schedule pods"
        known = [c.get("message") for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        if known == [message]:
            return
        meta = pod["metadata"]
        now = self._engine.now
        self._store.edit(
            POD,
            meta["name"],
            meta["namespace"],
            lambda new: _set_scheduled(new, "False", "Unschedulable", message, now),
        )
        self._record(pod, "Warning", "FailedScheduling", message)


def _waits(pod: Obj) -> bool:
    return (
        not pod["spec"].get("nodeName")
        and pod["status"].get("phase") == "Pending"
        and "deletionTimestamp" not in pod["metadata"]
    )


def _set_scheduled(pod: Obj, status: str, reason: str | None, message: str | None, now: float) -> None:
    condition: dict[str, Any] = {"type": "PodScheduled", "status": status, "lastTransitionTime": timestamp(now)}
    if reason:
        condition |= {"reason": reason, "message": message}
    others = [c for c in pod["status"].get("conditions", []) if c["type"] != "PodScheduled"]
    pod["status"]["conditions"] = [*others, condition]


def _unfit(pod: Obj, node: Obj, used: int) -> str | None:
    """Why ``pod`` cannot go to ``node``, in the scheduler's words; None if it can."""
    spec = pod["spec"]
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not is_ready(node):
        return "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
    if taint := untolerated(spec.get("tolerations") or [], node):
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    if not selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    free = int(node["status"].get("allocatable", {}).get(GPU, 0)) - used
    if requested_gpus(spec) > free:
        return f"Insufficient {GPU}"
    return None


def selected(spec: Obj, node: Obj) -> bool:
    """Whether node selector and required node affinity of a pod spec admit ``node``."""
    labels = node["metadata"].get("labels", {})
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    name = {"metadata.name": node["metadata"]["name"]}
    return any(
        matches_expressions(term.get("matchExpressions") or [], labels)
        and matches_expressions(term.get("matchFields") or [], name)
        for term in affinity["nodeSelectorTerms"]
    )
