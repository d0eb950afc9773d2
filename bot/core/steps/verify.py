"""Measure every GPU: one Job a GPU node, holding its idle GPUs, and a verdict from what it prints."""

from __future__ import annotations

from bot.core.causes.diagnosis import cause_lines, cause_of, probe_signals, recognise
from bot.core.ports import Node
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_REQUEST
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.verification.extras import extras_of
from bot.core.verification.measuring import Measuring, conclude, give_up
from bot.core.verification.verdict import DEGRADED, UNKNOWN, VERIFIED, Report, report_to_json


class Verify:
    kind = "verify@1"

    def ensure(self, look: Look) -> Outcome:
        facts = dict(look.own)
        return measure(look, look.gpu_nodes(), facts) or _concluded(look, facts)

    def give_up(self, look: Look) -> Done | Fail:
        """Judge what has been measured; a node that never answered counts against the order."""
        facts = dict(look.own)
        give_up(facts, look.gpu_nodes(), look.expected, look.row.why)
        return _concluded(look, facts)


def measure(look: Look, nodes: list[Node], facts: dict[str, str]) -> Wait | None:
    """Look at the Jobs of these nodes; what came of them goes into `facts`. None when every node has been measured."""
    measuring = _measuring(look)
    sight = measuring.see(look.downstream, nodes, facts)
    looked: list[str] = []
    for node in nodes:
        look.must_be_wanted()
        looked.append(measuring.look(sight, node, facts, look.clock.now()))
    if waiting := [why for why in looked if why]:
        done = len(nodes) - len(waiting)
        return Wait(waiting[0], 10.0, facts, f"{done} of {len(nodes)} GPU nodes measured", measuring.patience_s)
    return None


def _measuring(look: Look) -> Measuring:
    return Measuring(
        id=look.request.id[2:],
        labels={LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id, LABEL_CLUSTER: look.order.name},
        image=look.order.probe_image,
        pull_secrets=look.catalogue.probe_image.pull_secrets,
        script=look.probe_script,
        level=look.catalogue.probe_image.level,
        expect=look.expected,
        extras=extras_of(look.catalogue.probe_image),
    )


def _concluded(look: Look, facts: dict[str, str]) -> Done | Fail:
    report = conclude(facts, look.gpu_nodes(), look.gpus_wanted)
    facts["report"] = report_to_json(report)
    causes = cause_lines(map(cause_of, recognise(probe_signals(report))))
    facts["level"] = look.catalogue.probe_image.level
    if report.verdict in (VERIFIED, DEGRADED):
        short = "; ".join(report.reasons)
        return Done({**facts, "causes": "\n".join((*causes, short))} if short else facts, short=short)
    return Fail(_failed_because(report), _remedy(report), (*causes, *report.reasons), facts)


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
