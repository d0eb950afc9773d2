"""Extend: the same cluster for more hours. Nothing outside changes; the money does."""

from __future__ import annotations

import dataclasses

from bot.core import expiry, lifecycle
from bot.core.changes import Change, Extend, change_from_json
from bot.core.conflict import Conflict
from bot.core.costs import ledger, spending
from bot.core.costs.money import dollars
from bot.core.costs.spending import OverBudget
from bot.core.kinds.base import Opening, Plain
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow, RequestState
from bot.core.spec import Catalogue, Envelope, Invalid, Problem, envelope_from_json


class ExtendRules(Plain):
    """The envelope is the cluster's own with more hours, so that the hash binds what is added."""

    kind = Kind.EXTEND

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        if not isinstance(change, Extend):
            raise TypeError(change)
        if cluster.enabled:
            raise Conflict(
                f"“{cluster.name}” was there before this bot and has no end.", f"/gpu-cluster status {cluster.name}"
            )
        if not 1 <= change.hours <= catalogue.policy.max_hours:
            at_once = f"“{change.hours}” will not do: at once, 1 to {catalogue.policy.max_hours} hours can be added."
            raise Invalid(Problem("hours", at_once))
        before = ledger.current_envelope(tx, cluster)
        if before is None or cluster.state not in (ClusterState.READY, ClusterState.DEGRADED):
            raise Conflict(
                f"“{cluster.name}” is {cluster.state}; hours can be added once it is ready, as they count from then.",
                f"/gpu-cluster status {cluster.name}",
            )
        after = dataclasses.replace(before, hours=before.hours + change.hours)
        try:
            free = _why_free(tx, cluster, before, after, catalogue, now)
        except OverBudget as over:
            raise Conflict(over.why, over.remedy) from over
        return Opening(after, free=free)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        expires = (cluster.ready_at or at) + envelope_from_json(request.envelope).hours * 3600.0
        tx.change(cluster, expires_at=expires, due_at=expires - expiry.WARN_S)


def _why_free(tx: Tx, cluster: ClusterRow, before: Envelope, after: Envelope, catalogue: Catalogue, now: float) -> str:
    """Why nobody has to approve it, or ''. Raises `OverBudget`, for then nobody can.

    Within the preset's hours, the hours that are free, and the number of approvals that the create got.
    """
    policy, preset = catalogue.policy, catalogue.presets.get(after.preset)
    held = ledger.committed(tx, catalogue.teams[cluster.team], now)
    added = spending.added_cost(before, after, cluster.ready_at, now)
    spending.must_afford(held, added, cluster.team)
    most = min(policy.max_hours, (preset.max_hours if preset else 0) or policy.max_hours)
    needed = spending.approvals_for(policy, held, added) if policy.by_cost else policy.approvals
    if after.hours > most:
        return ""
    if needed == 0:
        return f"below {dollars(policy.no_approval_below)} a month"
    enough = needed <= _approvals_of(tx, lifecycle.home_of(tx, cluster.id))
    if enough and _free_so_far(tx, cluster) + after.hours - before.hours <= policy.extend_free_hours:
        return f"up to {policy.extend_free_hours} hours may be added without approval"
    return ""


def _approvals_of(tx: Tx, request: RequestRow) -> int:
    """How many people have approved it."""
    return sum(row.decision == "approve" and row.approver != lifecycle.BY_POLICY for row in tx.approvals(request.id))


def _free_so_far(tx: Tx, cluster: ClusterRow) -> int:
    """Hours that were added to the cluster and that nobody approved."""
    hours = 0
    for request in tx.requests_of(cluster.id):
        counts = request.state in (RequestState.APPROVED, RequestState.RUNNING, RequestState.DONE)
        change = change_from_json(request.kind, request.spec) if request.decided_by == lifecycle.BY_POLICY else None
        if counts and isinstance(change, Extend):
            hours += change.hours
    return hours
