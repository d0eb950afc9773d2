"""Measure what can be measured of a cluster in use: idle GPUs only, and nothing waits for those that are busy."""

from __future__ import annotations

import json

from bot.core.changes import Verify, change_from_json
from bot.core.ports import Node
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_REQUEST, UNVERIFIED_TAINT
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.verification import first_day
from bot.core.verification.measuring import Measuring, conclude, give_up, keep
from bot.core.verification.sight import Sight
from bot.core.verification.verdict import UNKNOWN, VERIFIED, Report, report_from_json, report_to_json, unmeasured_node

_NOW_NODES = "nodes"


class Remeasure:
    """Which nodes, is decided at the first look, so that one which joins meanwhile is measured for itself."""

    kind = "verify@2"

    def ensure(self, look: Look) -> Outcome:
        facts = dict(look.own)
        nodes = _nodes(look, facts)
        measuring = measuring_for(look, facts["level"])
        sight = measuring.see(look.downstream, nodes, facts)
        waiting = [why for node in nodes if (why := _look_at(look, measuring, sight, node, facts))]
        if waiting:
            done = len(nodes) - len(waiting)
            return Wait(waiting[0], 10.0, facts, f"{done} of {len(nodes)} GPU nodes measured")
        return _concluded(look, nodes, facts)

    def give_up(self, look: Look) -> Done | Fail:
        """No more time: of nodes without a result nothing new is known."""
        facts = dict(look.own)
        nodes = _nodes(look, facts)
        give_up(facts, nodes, look.expected, look.row.why)
        return _concluded(look, nodes, facts)


class Regate:
    """The gate again: nodes that passed are open, nodes that did not are closed. What runs there goes on.

    A cluster that was there before us has no gate of ours: its nodes are told about, not closed.
    """

    kind = "gate@2"

    def ensure(self, look: Look) -> Outcome:
        if look.order.existing is not None:
            return Done({"opened": "", "closed": ""})
        there = {node.uid: node for node in look.gpu_nodes()}
        opened, closed = [], []
        for result in report_from_json(look.facts["verify"]["report"]).nodes:
            node = there.get(result.uid)
            if node is None:
                continue
            shut = any(key == UNVERIFIED_TAINT for key, _, _ in node.taints)
            if result.verdict == VERIFIED and shut:
                look.downstream.remove_taint(node.name, UNVERIFIED_TAINT)
                opened.append(node.name)
            elif result.verdict in first_day.BAD and not shut:
                look.downstream.add_taint(node.name, UNVERIFIED_TAINT)
                closed.append(node.name)
        return Done({"opened": ",".join(opened), "closed": ",".join(closed)})

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"The taints of the nodes could not be set: {look.row.why}",
            f"/gpu-cluster verify {look.cluster.name} once the cluster answers again.",
        )


def measuring_for(look: Look, level: str) -> Measuring:
    """As the create measures, under this request's id."""
    return Measuring(
        id=look.request.id[2:],
        labels={LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id, LABEL_CLUSTER: look.cluster.name},
        image=look.order.probe_image,
        pull_secrets=look.catalogue.probe_image.pull_secrets,
        script=look.probe_script,
        level=level,
        expect=look.expected,
    )


def level_of(look: Look) -> str:
    """The level that was asked for, else the configured one."""
    change = change_from_json(look.request.kind, look.request.spec)
    asked = change.level if isinstance(change, Verify) else ""
    return asked or look.catalogue.probe_image.level


def _nodes(look: Look, facts: dict[str, str]) -> list[Node]:
    """Those that this request is about, as they are now."""
    nodes = look.gpu_nodes()
    if _NOW_NODES not in facts:
        change = change_from_json(look.request.kind, look.request.spec)
        judged = first_day.nodes_of(look.known)
        new = isinstance(change, Verify) and change.why == "new"
        wanted = [node for node in nodes if not new or node.uid not in judged]
        facts[_NOW_NODES] = ",".join(node.uid for node in wanted)
        facts["level"] = level_of(look)
    uids = facts[_NOW_NODES].split(",")
    return [node for node in nodes if node.uid in uids]


def _look_at(look: Look, measuring: Measuring, sight: Sight, node: Node, facts: dict[str, str]) -> str:
    """What is waited for, or ''. A node that is not Ready would keep a Job waiting until its deadline."""
    if not node.ready and f"since:{node.uid}" not in facts:
        reason = "it is not Ready, so nothing was measured"
        keep(facts, unmeasured_node(node.name, node.uid, look.expected(node), reason, UNKNOWN))
        return ""
    return measuring.look(sight, node, facts, look.clock.now())


def _concluded(look: Look, nodes: list[Node], facts: dict[str, str]) -> Done:
    change = change_from_json(look.request.kind, look.request.spec)
    new = isinstance(change, Verify) and change.why == "new"
    expected = sum(look.expected(node).count for node in nodes) if new else look.gpus_wanted
    report = conclude(facts, nodes, expected)
    drifts = first_day.drifts(look.known, report, facts["level"])
    facts["report"] = report_to_json(report)
    facts["drift"] = json.dumps([[drift.gpu, drift.what] for drift in drifts], ensure_ascii=False)
    _tidy(look, nodes, facts, report)
    return Done(facts)


def _tidy(look: Look, nodes: list[Node], facts: dict[str, str], report: Report) -> None:
    """Jobs of nodes that passed go: with a schedule they would pile up. Of the others the logs are evidence."""
    passed = {result.uid for result in report.nodes if result.verdict == VERIFIED}
    measuring = measuring_for(look, facts["level"])
    for name in measuring.jobs([node for node in nodes if node.uid in passed], facts):
        look.downstream.remove_job("gpu-cluster-verify", name)
