"""Verify: measure a cluster in use again, at any time and on a schedule; new nodes pass the same gate."""

from __future__ import annotations

import json
import uuid

from bot.core import lifecycle, plan
from bot.core.changes import Change, Verify, change_from_json, change_to_json
from bot.core.conflict import Conflict
from bot.core.costs import ledger
from bot.core.in_use import troubles
from bot.core.kinds.base import Opening, Plain
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow, RequestState
from bot.core.spec import Catalogue, Invalid, Problem
from bot.core.story import final_report, step_facts
from bot.core.verification import first_day
from bot.core.verification.measuring import LEVELS
from bot.core.verification.verdict import FAILED, UNKNOWN, VERIFIED, Report

_USABLE = (ClusterState.READY, ClusterState.DEGRADED)
FREE = "measuring idle GPUs costs nothing and disturbs nobody"


class VerifyRules(Plain):
    """Needs no approval. What it finds moves the cluster: a new fault to *degraded*, all good to *ready*."""

    kind = Kind.VERIFY

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        if not isinstance(change, Verify):
            raise TypeError(change)
        if change.level and change.level not in LEVELS:
            there = ", ".join(LEVELS)
            raise Invalid(Problem("level", f"“{change.level}” is no level; there are: {there}."))
        envelope = ledger.current_envelope(tx, cluster)
        if envelope is None or cluster.state not in _USABLE:
            raise Conflict(
                f"“{cluster.name}” is {cluster.state}; only a cluster in use can be measured again.",
                f"/gpu-cluster status {cluster.name}",
            )
        first_day.known(tx, cluster)
        return Opening(envelope, free=FREE)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        facts = step_facts(tx, request.id)
        report = final_report(facts)
        if report is None:
            raise ValueError(f"{request.id} has no verdict")
        before = first_day.nodes_of(first_day.known(tx, cluster))
        first_day.remember(tx, cluster, report, facts["verify"]["level"], at)
        worse = [n for n in report.nodes if n.verdict in first_day.BAD and _was_good(before.get(n.uid))]
        for node in worse:
            detail = "; ".join(node.reasons) or f"{node.node} has failed its check"
            troubles.begin_and_tell(tx, cluster, troubles.FAILED_CHECK, node.uid, detail, at)
        slower = dict(json.loads(facts["verify"].get("drift", "[]")))
        for gpu, what in slower.items():
            troubles.begin_and_tell(tx, cluster, troubles.DRIFT, gpu, what, at)
        _end_what_is_over(tx, cluster, report, slower, at)
        settle(tx, request, worse=bool(worse), at=at)
        if reasons := [*report.reasons, *slower.values()]:
            tx.change(request, reason=reasons[0], diagnosis=json.dumps(reasons, ensure_ascii=False))

    def speaks(self, tx: Tx, request: RequestRow) -> bool:
        """A scheduled one that found nothing says nothing: `status` shows when it was."""
        change = change_from_json(request.kind, request.spec)
        if not isinstance(change, Verify) or change.why != "scheduled":
            return True
        facts = step_facts(tx, request.id)
        report = final_report(facts)
        if report is None:
            return False  # it could not be measured: the watch says why, and the next turn comes
        quiet = all(node.verdict in (VERIFIED, UNKNOWN) for node in report.nodes)
        return not quiet or facts["verify"].get("drift", "[]") != "[]"


def begin(tx: Tx, cluster: ClusterRow, change: Verify, catalogue: Catalogue, now: float) -> None:
    """The engine asks by itself, in the owner's name. Raises `Taken` while another change is open."""
    opening = VerifyRules().open(tx, cluster, change, catalogue, now)
    number = len(tx.requests_of(cluster.id))  # two engines at once: the second finds the id taken
    request = RequestRow(
        id="r-" + uuid.uuid5(uuid.NAMESPACE_URL, f"gpu-cluster:engine:{cluster.id}:{number}").hex[:10],
        cluster_id=cluster.id,
        kind=Kind.VERIFY,
        state=RequestState.CHECKING,
        requester=cluster.owner,
        team=cluster.team,
        target=cluster.target,
        channel=cluster.channel,
        spec=change_to_json(change),
        asked_at=now,
        next_look_at=now,
        plan=plan.freeze(plan.plan_for(Kind.VERIFY)),
    )
    lifecycle.open_change(
        tx, cluster, request, approvals_channel="", lapses_at=now + 3600.0,
        envelope=opening.envelope, check=False, free=opening.free, actor=lifecycle.ENGINE,
    )  # fmt: skip


def settle(tx: Tx, request: RequestRow, *, worse: bool, at: float) -> None:
    """The cluster's state by what is known of its nodes now: *ready* once all that was ordered is verified.

    Of a cluster that was there before us nothing was ordered, and the survey may not have known its GPUs: then it is
    ready with some, and none that is bad.
    """
    cluster = tx.cluster(request.cluster_id)
    envelope = ledger.current_envelope(tx, cluster)
    nodes = first_day.nodes_of(tx.verdicts(cluster.id)).values()
    good = sum(node.gpus for node in nodes if node.verdict == VERIFIED)
    bad = any(node.verdict in first_day.BAD for node in nodes)
    whole = envelope is not None and not bad and good >= max(envelope.gpus, 1)
    if whole and cluster.state != ClusterState.READY:
        lifecycle.move_cluster(
            tx, cluster, ClusterState.READY, request=request, at=at, detail=VERIFIED, verdict=VERIFIED
        )
    elif whole:  # a lead had accepted it as it was
        tx.change(cluster, verdict=VERIFIED)
    elif worse and cluster.state == ClusterState.READY:
        lifecycle.move_cluster(
            tx, cluster, ClusterState.DEGRADED, request=request, at=at, detail="degraded", verdict="degraded"
        )
    elif worse:
        tx.change(cluster, verdict="degraded" if good else FAILED)
    elif cluster.state == ClusterState.BUILDING:
        lifecycle.move_cluster(tx, cluster, ClusterState.DEGRADED, request=request, at=at, detail="degraded")


def _was_good(row: object) -> bool:
    """A node that was bad before is no news; a new one that is bad is told with its own measurement."""
    return getattr(row, "verdict", "") == VERIFIED


def _end_what_is_over(tx: Tx, cluster: ClusterRow, report: Report, slower: dict[str, str], at: float) -> None:
    good = {node.uid for node in report.nodes if node.verdict == VERIFIED}
    good |= {gpu.uuid for gpu in report.gpus if gpu.verdict == VERIFIED and gpu.uuid not in slower}
    for row in tx.troubles(cluster.id):
        if row.kind in troubles.MEASURED and row.subject in good:
            troubles.end(tx, cluster, row, at)
