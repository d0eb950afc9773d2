"""Create: from nothing to a cluster whose every GPU has been measured."""

from __future__ import annotations

import json

from bot.core import expiry, lifecycle
from bot.core.causes.diagnosis import codes_in
from bot.core.checks.preflight import preflight
from bot.core.kinds.base import Asked, Plain
from bot.core.ports import Tx
from bot.core.records import ClusterState, Kind, RequestRow
from bot.core.spec import Preflight, envelope_from_json, spec_from_json
from bot.core.story import final_report, step_facts
from bot.core.verification.verdict import VERIFIED


class Create(Plain):
    """Hours count from the moment at which the cluster is ready."""

    kind = Kind.CREATE

    def check(self, asked: Asked) -> Preflight:
        return preflight(
            spec_from_json(asked.request.spec),
            asked.catalogue,
            cloud=asked.outside.cloud,
            rancher=asked.outside.rancher,
            committed=asked.committed,
        )

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        report = final_report(step_facts(tx, request.id))
        if report is None:
            raise ValueError(f"{request.id} has no verdict")
        state = ClusterState.READY if report.verdict == VERIFIED else ClusterState.DEGRADED
        hours = envelope_from_json(request.envelope).hours
        lifecycle.move_cluster(
            tx, tx.cluster(request.cluster_id), state, request=request, at=at, detail=report.verdict,
            verdict=report.verdict, ready_at=at, expires_at=at + hours * 3600, due_at=at + hours * 3600 - expiry.WARN_S,
        )  # fmt: skip
        if state == ClusterState.DEGRADED:
            explain_degraded(tx, request, "Use the GPUs that passed, or delete the cluster and ask again for others.")

    def failed(self, tx: Tx, request: RequestRow, reason: str, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        lifecycle.move_cluster(tx, cluster, ClusterState.FAILED, request=request, at=at, detail=reason, due_at=at)


def explain_degraded(tx: Tx, request: RequestRow, remedy: str) -> None:
    """What is short, in the order in which it was found, onto the request's row; causes of the catalogue first."""
    steps = tx.steps(request.id)
    shorts = [row.why for row in steps if row.why]
    said = [line for row in steps for line in json.loads(row.facts).get("causes", row.why).splitlines()]
    lines = sorted(dict.fromkeys(said), key=lambda line: not codes_in([line]))
    tx.change(
        request,
        reason=shorts[0] if shorts else "Not every GPU passed verification.",
        remedy=remedy,
        diagnosis=json.dumps(lines, ensure_ascii=False),
    )
