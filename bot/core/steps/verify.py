"""Measure every GPU: one Job a GPU node, holding all its GPUs, and a verdict from what it prints."""

from __future__ import annotations

from bot.core.ports import JobOrder, JobView, Node
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_REQUEST
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.verdict import (
    DEGRADED,
    VERIFIED,
    NodeResult,
    Report,
    judge,
    judge_node,
    node_from_json,
    node_to_json,
    report_to_json,
    unmeasured_node,
)

NAMESPACE = "gpu-cluster-verify"
_DEADLINE_S = 300
_ATTEMPTS = 2
"""A Job that ended without the probe's document (evicted, refused at admission while the container toolkit restarts
containerd) proves nothing about the GPU: it is run once more (gpu-operator#432)."""


class Verify:
    kind = "verify@1"

    def ensure(self, look: Look) -> Outcome:
        nodes = look.gpu_nodes()
        facts = dict(look.own)
        waiting = []
        for node in nodes:
            if f"node:{node.uid}" not in facts and (why := self._measure(look, node, facts)):
                waiting.append(why)
        if waiting:
            done = sum(key.startswith("node:") for key in facts)
            return Wait(waiting[0], 4.0, facts, f"{done} of {len(nodes)} GPU nodes measured")
        # Only what is there now counts: a machine may have been replaced after it was measured.
        return _conclude(look, [node_from_json(facts[f"node:{node.uid}"]) for node in nodes])

    def _measure(self, look: Look, node: Node, facts: dict[str, str]) -> str:
        """Start or look at the node's Job; a finished one becomes a fact. Returns what is waited for, or ''."""
        expect = look.order.gpu
        if node.gpus == 0:
            reason = "no GPU that Kubernetes can hand out: none is on the PCI bus, or the device plugin lost it"
            facts[f"node:{node.uid}"] = node_to_json(unmeasured_node(node.name, node.uid, expect, reason))
            return ""
        attempt = int(facts.get(f"attempt:{node.uid}", "1"))
        order = _job(look, node, attempt)
        job = look.downstream.job(order.namespace, order.name)
        if job is None:
            look.downstream.ensure_namespace(
                NAMESPACE,
                project="",
                privileged=False,
                labels={LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id},
            )
            look.downstream.ensure_job(order)
            return f"the probe is starting on {node.name}"
        if not job.finished:
            return f"{node.name}: {job.reason}" if job.reason else f"the probe measures {node.name}"
        if _proves_nothing(job) and attempt < _ATTEMPTS:
            facts[f"attempt:{node.uid}"] = str(attempt + 1)
            return f"the probe on {node.name} ended without a result ({job.reason}); it is run once more"
        facts[f"node:{node.uid}"] = node_to_json(_judged(node, job, look))
        return ""

    def give_up(self, look: Look) -> Done | Fail:
        """Judge what has been measured; a node that never answered counts against the order."""
        results = []
        for node in look.gpu_nodes():
            known = look.own.get(f"node:{node.uid}")
            reason = f"the probe gave no result: {look.row.why}"
            missing = unmeasured_node(node.name, node.uid, look.order.gpu, reason)
            results.append(node_from_json(known) if known else missing)
        return _conclude(look, results)


def _judged(node: Node, job: JobView, look: Look) -> NodeResult:
    if _proves_nothing(job):
        reason = f"the probe ended without a result: {job.reason} {job.message}".strip()
        return unmeasured_node(node.name, node.uid, look.order.gpu, reason)
    return judge_node(node.name, node.uid, job.log, look.order.gpu)


def _proves_nothing(job: JobView) -> bool:
    return job.finished == "failed" and '"schema"' not in job.log


def _conclude(look: Look, nodes: list[NodeResult]) -> Done | Fail:
    report = judge(nodes, look.order.gpus)
    facts = {**look.own, "report": report_to_json(report)}
    facts |= {f"node:{node.uid}": node_to_json(node) for node in nodes}
    if report.verdict in (VERIFIED, DEGRADED):
        return Done(facts, short="; ".join(report.reasons))
    return Fail(_failed_because(report), _remedy(report), report.reasons, facts)


def _failed_because(report: Report) -> str:
    first = report.reasons[0] if report.reasons else "nothing could be measured"
    return f"None of the {report.expected} GPUs passed verification: {first}"


def _remedy(report: Report) -> str:
    if report.gpus:
        return "The hardware is not to be trusted: delete the cluster and ask again, so that AWS gives another machine."
    return (
        "Look at the pods of namespace gpu-cluster-verify; after mending the cause, delete the cluster and ask again."
    )


def _job(look: Look, node: Node, attempt: int) -> JobOrder:
    return JobOrder(
        name=f"verify-{look.request.id[2:]}-{node.uid[:8]}-{attempt}",
        namespace=NAMESPACE,
        node=node.name,
        image=look.order.probe_image,
        gpus=node.gpus,
        script=look.probe_script,
        arguments=("--level", "quick"),
        tolerations=node.taints,
        labels={LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id, LABEL_CLUSTER: look.order.name},
        deadline_s=_DEADLINE_S,
    )
