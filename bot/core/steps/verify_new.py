"""The nodes that a bigger pool has brought are measured and let in like those of a new cluster; others stay as is."""

from __future__ import annotations

import json

from bot.core.ports import Node
from bot.core.spec import UNVERIFIED_TAINT
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.steps.verify import measure
from bot.core.verification.measuring import conclude, give_up
from bot.core.verification.verdict import DEGRADED, VERIFIED, Report, report_from_json, report_to_json


class VerifyNew:
    """Nothing new, nothing to measure: a pool that got smaller, or one without GPUs."""

    kind = "verify_new@1"

    def ensure(self, look: Look) -> Outcome:
        nodes, facts = _new(look), dict(look.own)
        if not nodes:
            return Done()
        return measure(look, nodes, facts) or _concluded(look, nodes, facts)

    def give_up(self, look: Look) -> Done | Fail:
        nodes, facts = _new(look), dict(look.own)
        give_up(facts, nodes, look.expected, look.row.why)
        return _concluded(look, nodes, facts)


class GateNew:
    """Opens those that passed."""

    kind = "gate_new@1"

    def ensure(self, look: Look) -> Outcome:
        passed = _passed(look)
        there = {node.uid for node in look.gpu_nodes() if node.ready}
        if away := [name for uid, name in passed.items() if uid not in there]:
            return Wait(f"{', '.join(away)} passed, but is not there or not Ready now", 10.0)
        return _open(look, passed)

    def give_up(self, look: Look) -> Done:
        passed, there = _passed(look), {node.uid for node in look.gpu_nodes() if node.ready}
        away = ", ".join(name for uid, name in passed.items() if uid not in there)
        _open(look, {uid: name for uid, name in passed.items() if uid in there})
        return Done(short=f"{away} passed, and has gone since")


def _open(look: Look, nodes: dict[str, str]) -> Done:
    for name in nodes.values():
        look.must_be_wanted()
        look.downstream.remove_taint(name, UNVERIFIED_TAINT)
    return Done({"opened": ",".join(nodes.values())})


def _new(look: Look) -> list[Node]:
    before = set(json.loads(look.facts["scale_pool"]["nodes"]))
    return [node for node in look.gpu_nodes() if node.uid not in before]


def _passed(look: Look) -> dict[str, str]:
    text = look.facts["verify_new"].get("report")
    nodes = report_from_json(text).nodes if text else ()
    return {node.uid: node.node for node in nodes if node.verdict == VERIFIED}


def _concluded(look: Look, nodes: list[Node], facts: dict[str, str]) -> Done | Fail:
    report = conclude(facts, nodes, sum(look.expected(node).count for node in nodes))
    facts["report"] = report_to_json(report)
    if report.verdict in (VERIFIED, DEGRADED):
        return Done(facts, short="; ".join(report.reasons))
    return Fail(
        f"None of the {report.expected} new GPUs passed verification: {_first(report)}",
        "The hardware is not to be trusted: scale again later, so that AWS gives other machines.",
        report.reasons,
        facts,
    )


def _first(report: Report) -> str:
    return report.reasons[0] if report.reasons else "nothing could be measured"
