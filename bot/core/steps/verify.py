"""Measure every GPU: one Job a GPU node, holding its idle GPUs, and a verdict from what it prints."""

from __future__ import annotations

from bot.core.measuring import Measuring, conclude, give_up
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_REQUEST
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.verdict import DEGRADED, UNKNOWN, VERIFIED, Report, report_to_json


class Verify:
    kind = "verify@1"

    def ensure(self, look: Look) -> Outcome:
        nodes, measuring = look.gpu_nodes(), _measuring(look)
        facts = dict(look.own)
        looked = [measuring.look(look.downstream, node, facts, look.clock.now()) for node in nodes]
        if waiting := [why for why in looked if why]:
            done = len(nodes) - len(waiting)
            return Wait(waiting[0], 4.0, facts, f"{done} of {len(nodes)} GPU nodes measured")
        return _concluded(look, facts)

    def give_up(self, look: Look) -> Done | Fail:
        """Judge what has been measured; a node that never answered counts against the order."""
        facts = dict(look.own)
        give_up(facts, look.gpu_nodes(), look.expected, look.row.why)
        return _concluded(look, facts)


def _measuring(look: Look) -> Measuring:
    return Measuring(
        id=look.request.id[2:],
        labels={LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id, LABEL_CLUSTER: look.order.name},
        image=look.order.probe_image,
        pull_secrets=look.catalogue.probe_image.pull_secrets,
        script=look.probe_script,
        level=look.catalogue.probe_image.level,
        expect=look.expected,
    )


def _concluded(look: Look, facts: dict[str, str]) -> Done | Fail:
    report = conclude(facts, look.gpu_nodes(), look.order.gpus)
    facts["report"] = report_to_json(report)
    if report.verdict in (VERIFIED, DEGRADED):
        return Done(facts, short="; ".join(report.reasons))
    return Fail(_failed_because(report), _remedy(report), report.reasons, facts)


def _failed_because(report: Report) -> str:
    first = report.reasons[0] if report.reasons else "nothing could be measured"
    if report.verdict == UNKNOWN:
        return f"Whether the {report.expected} GPUs work could not be found out: {first}"
    return f"None of the {report.expected} GPUs passed verification: {first}"


def _remedy(report: Report) -> str:
    if report.gpus:
        return "The hardware is not to be trusted: delete the cluster and ask again, so that AWS gives another machine."
    return (
        "Look at the pods of namespace gpu-cluster-verify; after mending the cause, delete the cluster and ask again."
    )
