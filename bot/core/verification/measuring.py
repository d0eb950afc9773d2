"""Measuring one GPU node: a Job that holds its idle GPUs, looked at until it has said what there is to say.

Used by the step that verifies a new cluster and by `gpu-cluster verify`. What it remembers between looks is in `facts`,
so that a restart loses nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from bot.core.operator_values import NAMESPACE as OPERATOR_NAMESPACE
from bot.core.ports import Cluster, JobOrder, JobView, Node
from bot.core.spec import GPU_TAINT, UNVERIFIED_TAINT, GpuExpectation
from bot.core.verification import passive
from bot.core.verification.extras import Extra, Remark
from bot.core.verification.probe_document import Unreadable, document_line, pack, read_document, unpack
from bot.core.verification.sight import NAMESPACE, Sight
from bot.core.verification.verdict import (
    FAILED,
    UNKNOWN,
    NodeResult,
    Report,
    busy_node,
    judge,
    judge_node,
    node_from_json,
    node_to_json,
    not_known,
    unmeasured_node,
    with_faults,
    with_remarks,
)

LEVELS = ("quick", "standard", "burn")
DEADLINE_S = {"quick": 300, "standard": 420, "burn": 1500}
"""Of the Job, its image's pull included. A level's own time is in docs/probe.md."""

_TRIES = 2
"""A Job that ended without the probe's document (evicted, killed) proves nothing about the GPU: it is run once more."""

_SETTLING_S = 300.0
"""So long after the container toolkit has started on a node it is no verdict that a Job is refused at admission or
that the node is not Ready or has no GPU: the toolkit restarts containerd, and the device plugin registers anew
(gpu-operator#432)."""

_ADMISSION = ("UnexpectedAdmissionError", "OutOf", "NodeAffinity", "NodeShutdown", "NodeLost")
_RUNTIME_CLASS = "nvidia"
_NO_DRIVER = "libcuda.so.1 not found"
_DRIVER = "nvidia-driver-daemonset"
_TOOLKIT = "nvidia-container-toolkit-daemonset"
_REPLICAS = "nvidia.com/gpu.replicas"

Facts = MutableMapping[str, str]


@dataclass(frozen=True)
class Measuring:
    """What is run, for whom. `id` goes into the Jobs' names; `expect` says what a node should have."""

    id: str
    labels: Mapping[str, str]
    image: str
    pull_secrets: tuple[str, ...]
    script: str
    level: str
    expect: Callable[[Node], GpuExpectation]
    extras: tuple[Extra, ...] = ()

    @property
    def patience_s(self) -> float:
        """World seconds that all of it may take longer than the standard level alone."""
        return float(DEADLINE_S[self.level] - DEADLINE_S["standard"] + sum(extra.deadline_s for extra in self.extras))

    @property
    def fingerprint(self) -> str:
        """What the probe's documents name as their probe."""
        return hashlib.sha256(self.script.encode()).hexdigest()[:12]

    def see(self, cluster: Cluster, nodes: Iterable[Node], facts: Mapping[str, str]) -> Sight:
        """What a look at these nodes goes by."""
        without = [node for node in nodes if f"node:{node.uid}" not in facts]
        return Sight(cluster, self.labels, {name for node in without for name in self._still_to_read(node, facts)})

    def look(self, sight: Sight, node: Node, facts: Facts, now: float) -> str:
        """Start or look at the node's Job; what came of it becomes a fact. Returns what is waited for, or ''.

        `now` in world seconds. Raises the `WorldError`s of the cluster.
        """
        if f"node:{node.uid}" in facts:
            return ""
        if not node.gpus and _has_just_started(sight.cluster, node, now):
            return f"{node.name} hands out no GPU yet: its container toolkit has just started"
        if (problem := _not_measurable(node)) is not None:
            reason, verdict = problem
            keep(facts, unmeasured_node(node.name, node.uid, self.expect(node), reason, verdict))
            return ""
        if f"probe:{node.uid}" not in facts and (why := self._run_probe(sight, node, facts, now)):
            return why
        if f"node:{node.uid}" in facts:  # all its GPUs are in use
            return ""
        if why := self._run_extras(sight, node, facts):
            return why
        keep(facts, _looked_at(sight.cluster, self._with_extras(node, facts)))
        return ""

    def _still_to_read(self, node: Node, facts: Mapping[str, str]) -> Iterable[str]:
        """The names of the Jobs that have not said yet what they have to say, whether they were made or not."""
        if f"probe:{node.uid}" not in facts:
            yield self._name(node, facts)
            return
        for extra in self.extras:
            if f"extra:{extra.name}:{node.uid}" not in facts:
                yield f"{self._name(node, facts)}-{extra.name}"

    def _run_probe(self, sight: Sight, node: Node, facts: Facts, now: float) -> str:
        """Start or look at the probe's Job; what it said becomes a fact. Returns what is waited for, or ''."""
        job = sight.jobs.get(self._name(node, facts))
        if job is None:
            return self._start(sight, node, facts, now)
        if (why := _unfinished(job)) is not None:
            return f"{node.name}: {why}" if why else f"the probe measures {node.name}"
        if why := self._again(sight.cluster, node, job, facts, now):
            return why
        facts[f"probe:{node.uid}"] = node_to_json(self._judged(node, job, facts))
        return ""

    def _run_extras(self, sight: Sight, node: Node, facts: Facts) -> str:
        """One after the other, on the GPUs that the probe held; where it could measure none they say nothing more."""
        gpus = len(node_from_json(facts[f"probe:{node.uid}"]).gpus)
        for extra in self.extras if gpus else ():
            if (key := f"extra:{extra.name}:{node.uid}") in facts:
                continue
            name = f"{self._name(node, facts)}-{extra.name}"
            job = sight.jobs.get(name)
            if job is None:
                plain = self._order(node, facts, gpus)
                order = dataclasses.replace(plain, name=name, image=extra.image, script="", arguments=(),
                                            command=extra.command(gpus), deadline_s=extra.deadline_s)  # fmt: skip
                sight.cluster.ensure_job(order)
                return f"{extra.name} is starting on {node.name}"
            if (why := _unfinished(job)) is not None:
                return f"{node.name}: {why}" if why else f"{extra.name} runs on {node.name}"
            remarks = [dataclasses.astuple(r) for r in extra.read(job.log, gpus)] if job.log.strip() else None
            facts[key] = json.dumps({"remarks": remarks, "why": f"{job.reason} {job.message}".strip()})
        return ""

    def _with_extras(self, node: Node, facts: Facts) -> NodeResult:
        result = node_from_json(facts[f"probe:{node.uid}"])
        for extra in self.extras:
            said = facts.get(f"extra:{extra.name}:{node.uid}")
            found = json.loads(said) if said else {"remarks": []}
            if found["remarks"] is None:
                result = not_known(result, f"{extra.name} ended without a result: {found['why']}")
            else:
                result = with_remarks(result, [Remark(*remark) for remark in found["remarks"]])
        return result

    def jobs(self, nodes: Iterable[Node], facts: Mapping[str, str]) -> list[str]:
        """The names of all Jobs that were started on these nodes."""
        return [
            self._name(node, {f"attempt:{node.uid}": str(attempt)}) + suffix
            for node in nodes
            if f"since:{node.uid}" in facts
            for attempt in range(1, int(facts.get(f"attempt:{node.uid}", "1")) + 1)
            for suffix in ("", *(f"-{extra.name}" for extra in self.extras))
        ]

    def _name(self, node: Node, facts: Mapping[str, str]) -> str:
        return f"verify-{self.id}-{node.uid[:8]}-{facts.get(f'attempt:{node.uid}', '1')}"

    def _start(self, sight: Sight, node: Node, facts: Facts, now: float) -> str:
        in_use = sight.in_use.get(node.name, 0)
        if in_use >= node.gpus:
            keep(facts, _looked_at(sight.cluster, busy_node(node.name, node.uid, node.gpus)))
            return ""
        facts[f"busy:{node.uid}"] = str(in_use)
        facts.setdefault(f"since:{node.uid}", str(now))
        sight.ensure_namespace()
        sight.cluster.ensure_job(self._order(node, facts, node.gpus - in_use))
        return f"the probe is starting on {node.name}"

    def _order(self, node: Node, facts: Mapping[str, str], gpus: int) -> JobOrder:
        ours = [(key, "", "NoSchedule") for key in (GPU_TAINT, UNVERIFIED_TAINT)]
        return JobOrder(
            name=self._name(node, facts),
            namespace=NAMESPACE,
            node=node.name,
            image=self.image,
            gpus=gpus,
            script=self.script,
            arguments=("--level", self.level),
            tolerations=(*node.taints, *ours),
            labels=self.labels,
            deadline_s=DEADLINE_S[self.level],
            runtime_class=facts.get("runtime", ""),
            pull_secrets=self.pull_secrets,
        )

    def _again(self, cluster: Cluster, node: Node, job: JobView, facts: Facts, now: float) -> str:
        """Why the Job is run once more, or '' when what it said stands."""
        said = _error_in(job.log)
        if said is not None:
            if not said.startswith(_NO_DRIVER) or facts.get("runtime") or not _has_runtime_class(cluster):
                return ""
            facts["runtime"] = _RUNTIME_CLASS  # the node's default runtime gives pods no driver
            return _next_attempt(node, facts, f"{node.name} needs runtimeClassName {_RUNTIME_CLASS}; once more with it")
        if _admission(node, job) and now - _settling_since(cluster, node, facts) < _SETTLING_S:
            return _next_attempt(node, facts, f"{node.name} is still settling ({job.reason}); the probe is run again")
        tries = int(facts.get(f"tries:{node.uid}", "1"))
        if tries >= _TRIES:
            return ""
        facts[f"tries:{node.uid}"] = str(tries + 1)
        return _next_attempt(node, facts, f"the probe on {node.name} ended without a result ({job.reason}); once more")

    def _judged(self, node: Node, job: JobView, facts: Facts) -> NodeResult:
        expect = self.expect(node)
        if not job.log.strip():
            reason = f"the probe ended without a result: {job.reason} {job.message}".strip()
            return unmeasured_node(node.name, node.uid, expect, reason, UNKNOWN)
        busy = int(facts.get(f"busy:{node.uid}", "0"))
        if _error_in(job.log) is not None:
            facts[f"document:{node.uid}"] = pack(document_line(job.log))
        return judge_node(node.name, node.uid, job.log, expect, unmeasured=busy, probe=self.fingerprint)


def keep(facts: Facts, result: NodeResult) -> None:
    """Remember a node's result."""
    facts[f"node:{result.uid}"] = node_to_json(result)


def measured(facts: Mapping[str, str]) -> list[NodeResult]:
    """The results so far, by node name."""
    results = [node_from_json(value) for key, value in facts.items() if key.startswith("node:")]
    return sorted(results, key=lambda result: result.node)


def documents(facts: Mapping[str, str]) -> dict[str, Any]:
    """What the probes printed, by node name, as they printed it; nodes whose output could not be read are missing."""
    return {
        result.node: unpack(facts[f"document:{result.uid}"])
        for result in measured(facts)
        if f"document:{result.uid}" in facts
    }


def conclude(facts: Mapping[str, str], nodes: Iterable[Node], expected: int) -> Report:
    """The verdict on what was measured. A result belongs to a node's UID: of one that is gone it counts no more, which
    is said where the order is short without it."""
    there, results = {node.uid for node in nodes}, measured(facts)
    report = judge([result for result in results if result.uid in there], expected)
    gone = [result.node for result in results if result.uid not in there]
    if report.good + report.unmeasured >= expected or not gone:
        return report
    lost = tuple(f"{node}: gone since it was measured: renamed or replaced" for node in gone)
    return dataclasses.replace(report, reasons=(*lost, *report.reasons))


def give_up(facts: Facts, nodes: Iterable[Node], expect: Callable[[Node], GpuExpectation], why: str) -> None:
    """No more time: of nodes without a result nothing is known."""
    for node in nodes:
        if f"node:{node.uid}" not in facts:
            reason = f"the probe gave no result: {why}"
            keep(facts, unmeasured_node(node.name, node.uid, expect(node), reason, UNKNOWN))


def _looked_at(cluster: Cluster, result: NodeResult) -> NodeResult:
    """The GPUs that are in use, as the driver's own tool sees them; nothing is run on them."""
    if not result.unmeasured:
        return result
    printed = cluster.ask_driver(OPERATOR_NAMESPACE, _DRIVER, result.node, passive.COMMAND)
    return with_faults(result, passive.faults(printed, {gpu.uuid for gpu in result.gpus}))


def _next_attempt(node: Node, facts: Facts, why: str) -> str:
    facts[f"attempt:{node.uid}"] = str(int(facts.get(f"attempt:{node.uid}", "1")) + 1)
    return why


def _not_measurable(node: Node) -> tuple[str, str] | None:
    """(why, verdict) for a node on which a Job would prove nothing; None for one that can be measured."""
    if node.gpus == 0:
        return "no GPU that Kubernetes can hand out: none is on the PCI bus, or the device plugin lost it", FAILED
    if (replicas := node.labels.get(_REPLICAS, "1")) not in ("0", "1"):
        return f"its GPUs are shared ({replicas} shares each), and a share cannot be measured", UNKNOWN
    return None


def _admission(node: Node, job: JobView) -> bool:
    return not node.ready or job.reason.startswith(_ADMISSION)


def _has_just_started(cluster: Cluster, node: Node, now: float) -> bool:
    started = cluster.started_at(_TOOLKIT, node.name)
    return started is not None and now - started < _SETTLING_S


def _settling_since(cluster: Cluster, node: Node, facts: Mapping[str, str]) -> float:
    """When the toolkit started there; with none of the operator's (it came with the image), the node's first Job."""
    started = cluster.started_at(_TOOLKIT, node.name)
    return float(facts[f"since:{node.uid}"]) if started is None else started


def _unfinished(job: JobView) -> str | None:
    """Why there is no result yet, '' where it takes its time; None where there is one."""
    return job.unread or (None if job.finished else job.reason)


def _has_runtime_class(cluster: Cluster) -> bool:
    return _RUNTIME_CLASS in cluster.runtime_classes()


def _error_in(log: str) -> str | None:
    """Why the probe could use no GPU, '' where it could; None where there is no document."""
    try:
        return read_document(log).error
    except Unreadable:
        return None
