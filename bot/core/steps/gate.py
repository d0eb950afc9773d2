"""The gate: the taint of the unverified comes off, node by node, where the probe has passed."""

from __future__ import annotations

from bot.core.spec import UNVERIFIED_TAINT
from bot.core.steps.base import Done, Fail, Look, Outcome
from bot.core.verdict import VERIFIED, report_from_json


class Gate:
    kind = "gate@1"

    def ensure(self, look: Look) -> Outcome:
        report = report_from_json(look.facts["verify"]["report"])
        passed = {node.uid for node in report.nodes if node.verdict == VERIFIED}
        opened = [node for node in look.gpu_nodes() if node.uid in passed]
        for node in opened:
            look.downstream.remove_taint(node.name, UNVERIFIED_TAINT)
        return Done({"opened": ",".join(node.name for node in opened)})

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"The taint {UNVERIFIED_TAINT} could not be removed: {look.row.why}.",
            f"kubectl taint node NODE {UNVERIFIED_TAINT}- on the nodes that passed.",
        )
