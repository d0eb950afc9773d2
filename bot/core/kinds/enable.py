"""Enable: a cluster of Rancher that was there before us gets the GPU Operator, and every GPU of it is measured."""

from __future__ import annotations

from bot.core import lifecycle
from bot.core.kinds.base import Asked, Plain
from bot.core.kinds.create import explain_degraded
from bot.core.ports import Permanent, Tx
from bot.core.records import ClusterState, Kind, RequestRow
from bot.core.spec import Check, Preflight
from bot.core.story import final_report, step_facts
from bot.core.survey import survey
from bot.core.verification.verdict import VERIFIED


class Enable(Plain):
    """The survey changes nothing. What it found is what a lead approves, and nothing else is done."""

    kind = Kind.ENABLE

    def check(self, asked: Asked) -> Preflight:
        name, outside = asked.cluster.name, asked.outside
        view = outside.rancher.observe(name, newer_than=0.0)
        if view is None:
            return _no(f"there is no cluster {name} in Rancher", "Mend the name in [enable] clusters.")
        if view.request_label:
            return _no(f"{name} was made by this bot", "It has been enabled when it was made.")
        if not view.management_id or view.deleting or not view.connected:
            said = view.message or ("it is being deleted" if view.deleting else "its agent is not connected")
            return _no(f"{name} cannot be reached: {said}", "Look at it in Rancher; ask again once it is Active.")
        kube = outside.cluster(view.management_id)
        try:
            return survey(name, asked.request.team, asked.request.target, outside.rancher, kube, view, asked.catalogue)
        except Permanent as error:
            return _no(error.reason, error.remedy)

    def started(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        envelope = lifecycle.approved_envelope(request)
        if envelope.existing is not None:
            tx.change(cluster, management_id=envelope.existing.management_id)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        report = final_report(step_facts(tx, request.id))
        if report is None:
            raise ValueError(f"{request.id} has no verdict")
        state = ClusterState.READY if report.verdict == VERIFIED else ClusterState.DEGRADED
        lifecycle.move_cluster(
            tx, tx.cluster(request.cluster_id), state, request=request, at=at, detail=report.verdict,
            verdict=report.verdict, ready_at=at,
        )  # fmt: skip
        if state == ClusterState.DEGRADED:
            explain_degraded(tx, request, "Use the GPUs that passed; mend the machine that did not, or replace it.")

    def failed(self, tx: Tx, request: RequestRow, reason: str, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        lifecycle.move_cluster(tx, cluster, ClusterState.FAILED, request=request, at=at, detail=reason)


def _no(detail: str, remedy: str) -> Preflight:
    return Preflight((Check("Cluster", "no", detail, remedy),))
