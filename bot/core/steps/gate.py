"""The gate: the taint of the unverified comes off, node by node, where the probe has passed and the node is there."""

from __future__ import annotations

from bot.core.ports import Node
from bot.core.spec import UNVERIFIED_TAINT
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.verification.verdict import (
    DEGRADED,
    FAILED,
    VERIFIED,
    NodeResult,
    judge,
    report_from_json,
    report_to_json,
)


class Gate:
    """A verdict is about nodes that exist: one that has gone since it was measured is waited for, then counted out."""

    kind = "gate@1"

    def ensure(self, look: Look) -> Outcome:
        there = _ready(look)
        passed = [node for node in _measured(look) if node.verdict == VERIFIED]
        away = [node.node for node in passed if node.uid not in there]
        if away:
            return Wait(f"{', '.join(away)} passed, but is not there or not Ready now", 10.0)
        for node in passed:
            look.must_be_wanted()
            look.downstream.remove_taint(node.node, UNVERIFIED_TAINT)
        return Done({"opened": ",".join(node.node for node in passed)})

    def give_up(self, look: Look) -> Done | Fail:
        """Judge again, with what is left, and open that."""
        there = _ready(look)
        nodes = [node if node.uid in there or node.verdict == FAILED else _gone(node) for node in _measured(look)]
        report = judge(nodes, look.order.gpus)
        facts = {"report": report_to_json(report)}
        if report.verdict not in (VERIFIED, DEGRADED):
            return Fail(
                f"The GPU nodes went away after they had passed: {report.reasons[0]}",
                "Look at the machines in Rancher and EC2; delete the cluster and ask again.",
                report.reasons,
                facts,
            )
        opened = [node.node for node in nodes if node.verdict == VERIFIED]
        for name in opened:
            look.downstream.remove_taint(name, UNVERIFIED_TAINT)
        return Done({**facts, "opened": ",".join(opened)}, short="; ".join(report.reasons))


def _measured(look: Look) -> tuple[NodeResult, ...]:
    return report_from_json(look.facts["verify"]["report"]).nodes


def _ready(look: Look) -> dict[str, Node]:
    return {node.uid: node for node in look.gpu_nodes() if node.ready}


def _gone(node: NodeResult) -> NodeResult:
    return NodeResult(node.node, node.uid, FAILED, node.expected, (), (f"{node.node}: it passed, and has gone since",))
