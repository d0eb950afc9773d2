"""The moves of clusters and requests. Each is one compare-and-set with its audit line in the same transaction.

cluster   building → ready | degraded | failed → deleting → gone; ready ⇄ degraded → building
request   checking → awaiting_approval → approved → running → done | failed | cancelled; also denied, lapsed

A retry takes a failed create back to *running*, and its cluster back to *building*.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from bot.core import plan
from bot.core.checks.refusal import in_one_line, may_pass
from bot.core.ports import Tx
from bot.core.records import (
    OPEN_STATES,
    ApprovalRow,
    AuditRow,
    ClusterRow,
    ClusterState,
    Kind,
    MessageKind,
    MessageRow,
    RequestRow,
    RequestState,
    StepRow,
    StepState,
)
from bot.core.spec import Envelope, Preflight, envelope_from_json, to_json

ENGINE = "engine"
BY_POLICY = "policy"
"""Stands as the approver where the policy asks for nobody's approval."""

CHECK_S = plan.clocks("preflight@1").give_up_s
"""World seconds for which a preflight is asked again where nothing but answers is missing."""

REMINDERS = (("half", 0.5), ("leads", 0.8))
"""What is said, and after which part of the time that there is for a decision."""

_MOVES: dict[RequestState, frozenset[RequestState]] = {
    RequestState.CHECKING: frozenset({RequestState.AWAITING_APPROVAL, RequestState.FAILED, RequestState.CANCELLED}),
    RequestState.AWAITING_APPROVAL: frozenset(
        {RequestState.APPROVED, RequestState.DENIED, RequestState.LAPSED, RequestState.CANCELLED}
    ),
    RequestState.APPROVED: frozenset({RequestState.RUNNING, RequestState.FAILED, RequestState.CANCELLED}),
    RequestState.RUNNING: frozenset({RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED}),
    # A retry goes on under the same approval.
    RequestState.FAILED: frozenset({RequestState.RUNNING}),
}

_CLUSTER_MOVES: dict[ClusterState, frozenset[ClusterState]] = {
    ClusterState.BUILDING: frozenset(
        {ClusterState.READY, ClusterState.DEGRADED, ClusterState.FAILED, ClusterState.DELETING, ClusterState.GONE}
    ),
    # Measured again, and not all of it is good any more.
    ClusterState.READY: frozenset({ClusterState.DEGRADED, ClusterState.DELETING}),
    # Accepted by a lead as it is, or measured again and found whole; building: a machine is being replaced.
    ClusterState.DEGRADED: frozenset({ClusterState.READY, ClusterState.BUILDING, ClusterState.DELETING}),
    ClusterState.FAILED: frozenset({ClusterState.BUILDING, ClusterState.DELETING}),
    # Again: a delete that failed leaves the cluster deleting, and may be asked for once more.
    ClusterState.DELETING: frozenset({ClusterState.DELETING, ClusterState.GONE}),
}


class Impossible(Exception):
    """A move that the lifecycle does not know: a mistake in the code, never a person's."""


def move(
    tx: Tx, request: RequestRow, to: RequestState, *, actor: str, at: float, detail: str = "", **changes: Any
) -> RequestRow:
    """Move a request; raises `Stale` when it has changed meanwhile, `Impossible` for a move there is not."""
    if to not in _MOVES.get(request.state, frozenset()):
        raise Impossible(f"{request.id}: {request.state} → {to}")
    if to not in OPEN_STATES:
        changes.setdefault("finished_at", at)
    moved = tx.change(request, state=to, **changes)
    _audit(tx, moved, actor, f"{request.state} → {to}", detail, at)
    rerender(tx, moved.id, urgent=True)
    return moved


def move_cluster(
    tx: Tx,
    cluster: ClusterRow,
    to: ClusterState,
    *,
    request: RequestRow,
    at: float,
    detail: str = "",
    actor: str = ENGINE,
    **changes: Any,
) -> ClusterRow:
    """Move a cluster, with its audit line; raises as `move` does."""
    if to not in _CLUSTER_MOVES.get(cluster.state, frozenset()):
        raise Impossible(f"{cluster.id}: {cluster.state} → {to}")
    moved = tx.change(cluster, state=to, **changes)
    _audit(tx, request, actor, f"cluster {cluster.state} → {to}", detail, at)
    for other in tx.requests_of(cluster.id):
        rerender(tx, other.id, urgent=False)
    return moved


def open_create(tx: Tx, cluster: ClusterRow, request: RequestRow, *, approvals_channel: str) -> None:
    """Take the name and write the request down with its message; raises `Taken`."""
    tx.add(cluster)
    tx.add(request)
    _audit(tx, request, request.requester, f"asked to {request.kind}", request.spec, request.asked_at)
    _announce(tx, request, approvals_channel)


def open_delete(tx: Tx, cluster: ClusterRow, request: RequestRow, *, approvals_channel: str, lapses_at: float) -> None:
    """Write a delete down; it needs no preflight and waits for a lead at once. Raises `Taken`."""
    tx.add(request)
    _audit(tx, request, request.requester, "asked to delete", cluster.name, request.asked_at)
    _announce(tx, request, approvals_channel)
    move(
        tx,
        request,
        RequestState.AWAITING_APPROVAL,
        actor=request.requester,
        at=request.asked_at,
        envelope_hash=request.cluster_id,
        lapses_at=lapses_at,
        next_look_at=_next_reminder(request.asked_at, lapses_at, request.asked_at),
    )


def open_change(
    tx: Tx,
    cluster: ClusterRow,
    request: RequestRow,
    *,
    approvals_channel: str,
    lapses_at: float,
    envelope: Envelope | None,
    check: bool,
    free: str,
    actor: str = "",
) -> RequestRow:
    """Write a change of a living cluster down. Raises `Taken` while another one is open.

    `check`: the engine asks the outside first. `free`: why nobody has to approve it; then it has no message of its
    own, and what there is to say stands in the cluster's thread. `actor`: who asked, where not the requester.
    """
    actor = actor or request.requester
    tx.add(request)
    _audit(tx, request, actor, f"asked to {request.kind}", f"{cluster.name} {request.spec}", request.asked_at)
    if not free:
        _announce(tx, request, approvals_channel)
    if check:
        return request
    waiting = move(
        tx,
        request,
        RequestState.AWAITING_APPROVAL,
        actor=actor,
        at=request.asked_at,
        envelope=to_json(envelope) if envelope else "",
        envelope_hash=envelope.digest() if envelope else request.cluster_id,
        lapses_at=lapses_at,
        next_look_at=_next_reminder(request.asked_at, lapses_at, request.asked_at),
    )
    if free:
        approve(tx, waiting, BY_POLICY, free, request.asked_at, needed=1)
    return waiting


def approved_envelope(request: RequestRow) -> Envelope:
    """What was approved; raises ValueError or KeyError where there is no envelope."""
    return envelope_from_json(request.envelope)


def home_of(tx: Tx, cluster_id: str) -> RequestRow:
    """The request with which the cluster began: its thread is the cluster's thread."""
    return tx.requests_of(cluster_id)[0]


def checked(tx: Tx, request: RequestRow, found: Preflight, *, at: float, lapses_at: float) -> RequestRow:
    """Preflight has an answer: the request waits for a lead, or fails with what was found; while answers that may come
    yet are all that is missing, it is asked again."""
    checks = json.dumps([json.loads(to_json(check)) for check in found.checks])
    if found.envelope is not None and not found.refusals:
        return move(
            tx,
            request,
            RequestState.AWAITING_APPROVAL,
            actor=ENGINE,
            at=at,
            detail=found.envelope.digest(),
            checks=checks,
            envelope=to_json(found.envelope),
            envelope_hash=found.envelope.digest(),
            plan=_plan_of(request, found.envelope),
            lapses_at=lapses_at,
            next_look_at=_next_reminder(request.asked_at, lapses_at, at),
        )
    age = at - request.asked_at
    if may_pass(found) and age < CHECK_S:
        rerender(tx, request.id, urgent=False)
        return tx.change(request, checks=checks, next_look_at=at + _pause(age))
    reason, remedy = in_one_line(found)
    failed = move(
        tx,
        request,
        RequestState.FAILED,
        actor=ENGINE,
        at=at,
        checks=checks,
        reason=reason,
        remedy=remedy,
    )
    post(tx, failed, MessageKind.OUTCOME, at)
    free_name(tx, failed, at)
    return failed


def _pause(age: float) -> float:
    """As for steps, 2, 4, 8 … at most 30 world seconds with jitter: what has gone by doubles with each try."""
    return min(max(age, 2.0), 30.0) * random.uniform(0.8, 1.2)  # noqa: S311


def _plan_of(request: RequestRow, envelope: Envelope) -> str:
    """The plan for what was resolved; one of another release stays as it is."""
    own = request.plan == plan.freeze(plan.plan_for(request.kind))
    return plan.freeze(plan.plan_for(request.kind, envelope)) if own else request.plan


def approve(tx: Tx, request: RequestRow, user: str, because: str, at: float, *, needed: int) -> int:
    """Count an approval of this very envelope; the last one needed starts the work. Raises `Taken` or `Stale`."""
    tx.add(ApprovalRow(request.id, request.envelope_hash, user, "approve", at, because))
    valid = [
        row
        for row in tx.approvals(request.id)
        if row.decision == "approve" and row.envelope_hash == request.envelope_hash
    ]
    _audit(tx, request, user, "approved", f"{request.envelope_hash} as {because}", at)
    if len(valid) < needed:
        tx.change(request)
        rerender(tx, request.id, urgent=True)
        return len(valid)
    approved = move(
        tx, request, RequestState.APPROVED, actor=user, at=at, approved_at=at, next_look_at=at, decided_by=user
    )
    for position, planned in enumerate(plan.thaw(approved.plan)):
        tx.add(StepRow(approved.id, position, planned.kind))
    if approved.kind == Kind.DELETE:
        _supersede(tx, approved, at)
    return len(valid)


def deny(tx: Tx, request: RequestRow, user: str, because: str, reason: str, at: float) -> RequestRow:
    """One denial ends the request."""
    tx.add(ApprovalRow(request.id, request.envelope_hash, user, "deny", at, because, reason))
    denied = move(tx, request, RequestState.DENIED, actor=user, at=at, detail=reason, decided_by=user, reason=reason)
    post(tx, denied, MessageKind.OUTCOME, at)
    free_name(tx, denied, at)
    return denied


def remind(tx: Tx, request: RequestRow, at: float) -> None:
    """Say that it still waits, each thing once: a store that slept through both says the later one only."""
    if request.lapses_at is None:
        return
    messages = tx.messages(request.id)
    said = {json.loads(m.body)["stage"] for m in messages if m.kind == MessageKind.REMINDER}
    due = [stage for stage, part in REMINDERS if at >= _part_of(request.asked_at, request.lapses_at, part)]
    if due and due[-1] not in said:
        card = next((m for m in messages if m.kind == MessageKind.CARD), None)
        where = card.channel if card else request.channel
        body = json.dumps({"stage": due[-1]})
        tx.add(MessageRow(f"{request.id}-{len(messages):03d}", request.id, MessageKind.REMINDER, where, at, body=body))
        _audit(tx, request, ENGINE, "reminded", due[-1], at)
    tx.change(request, next_look_at=_next_reminder(request.asked_at, request.lapses_at, at))


def _part_of(asked_at: float, lapses_at: float, part: float) -> float:
    return asked_at + part * (lapses_at - asked_at)


def _next_reminder(asked_at: float, lapses_at: float, now: float) -> float:
    """When there is something to say next, or to let lapse (world time)."""
    moments = (_part_of(asked_at, lapses_at, part) for _, part in REMINDERS)
    return next((moment for moment in moments if moment > now), lapses_at)


def lapse(tx: Tx, request: RequestRow, at: float) -> RequestRow:
    """Nobody decided in time."""
    lapsed = move(tx, request, RequestState.LAPSED, actor=ENGINE, at=at)
    post(tx, lapsed, MessageKind.OUTCOME, at)
    free_name(tx, lapsed, at)
    return lapsed


def cancel(tx: Tx, request: RequestRow, user: str, at: float) -> RequestRow:
    """Somebody does not want it any more. What it has made is for the caller to have removed."""
    why = f"Cancelled by <@{user}>."
    cancelled = move(tx, request, RequestState.CANCELLED, actor=user, at=at, reason=why)
    post(tx, cancelled, MessageKind.OUTCOME, at)
    return cancelled


def retry(tx: Tx, request: RequestRow, user: str, at: float) -> RequestRow:
    """A create that failed goes on from the step that failed, under the same approval, with fresh clocks."""
    for row in tx.steps(request.id):
        if row.state in (StepState.FAILED, StepState.RUNNING):
            anew = {"state": StepState.PENDING, "started_at": None, "looked_at": None, "why": "", "progress": ""}
            tx.change(row, **anew, observed_s=0.0, errors=0, broken=0, not_before=0.0, facts=_facts_anew(row))
    running = move(
        tx, request, RequestState.RUNNING, actor=user, at=at, detail="retry", next_look_at=at,
        finished_at=None, reason="", remedy="", diagnosis="[]", incident="", wish="",
    )  # fmt: skip
    cluster = tx.cluster(request.cluster_id)
    move_cluster(
        tx, cluster, ClusterState.BUILDING, request=running, at=at, detail="retry", actor=user,
        due_at=None, kept_until=None,
    )  # fmt: skip
    return running


def _facts_anew(row: StepRow) -> str:
    """What a step remembers into its next try: failures are kept and counted anew; a Job gets another name."""
    facts: dict[str, str] = json.loads(row.facts)
    if row.state != StepState.FAILED:
        return row.facts
    anew = {"retried": "yes", "reopen": "yes"}
    if failures := facts.get("failures") or facts.get("earlier"):
        anew["earlier"] = failures
    attempts = {key.partition(":")[2] for key in facts if key.startswith("since:")}
    return json.dumps(anew | {f"attempt:{uid}": str(int(facts.get(f"attempt:{uid}", "1")) + 1) for uid in attempts})


def not_what_was_approved(tx: Tx, request: RequestRow) -> str | None:
    """Why the engine must refuse: approvals bind one envelope, by its hash."""
    if request.envelope and envelope_from_json(request.envelope).digest() != request.envelope_hash:
        return "What would be made is not what was approved."
    approved = [a for a in tx.approvals(request.id) if a.decision == "approve"]
    if not any(a.envelope_hash == request.envelope_hash for a in approved):
        return "The approval is for something else than what would be made."
    return None


def notice(tx: Tx, cluster: ClusterRow, what: str, at: float, **facts: Any) -> None:
    """Say in the cluster's thread what happens to it by itself, or by somebody's word."""
    post(tx, home_of(tx, cluster.id), MessageKind.NOTICE, at, json.dumps({"what": what, "at": at, **facts}))


def note(tx: Tx, cluster: ClusterRow, actor: str, action: str, detail: str, at: float) -> None:
    """A line of audit about a cluster, for what moves no request."""
    _audit(tx, home_of(tx, cluster.id), actor, action, detail, at)


def start(tx: Tx, request: RequestRow, at: float) -> RequestRow:
    """The first look after approval."""
    return move(tx, request, RequestState.RUNNING, actor=ENGINE, at=at)


def fail(
    tx: Tx, request: RequestRow, *, reason: str, remedy: str, diagnosis: Sequence[str], incident: str, at: float
) -> RequestRow:
    """A step gave up."""
    failed = move(
        tx,
        request,
        RequestState.FAILED,
        actor=ENGINE,
        at=at,
        detail=incident,
        reason=reason,
        remedy=remedy,
        diagnosis=json.dumps(list(diagnosis), ensure_ascii=False),
        incident=incident,
    )
    post(tx, failed, MessageKind.OUTCOME, at)
    return failed


def free_name(tx: Tx, request: RequestRow, at: float) -> None:
    """A create or enable that ended before anything was made leaves nothing behind, nor anything to delete."""
    if request.kind not in (Kind.CREATE, Kind.ENABLE):
        return
    cluster = tx.cluster(request.cluster_id)
    move_cluster(tx, cluster, ClusterState.GONE, request=request, at=at, gone_at=at)
    waiting = tx.open_request(cluster.id)
    if waiting is not None:
        why = "The cluster was never made: there is nothing to delete."
        cancelled = move(tx, waiting, RequestState.CANCELLED, actor=ENGINE, at=at, reason=why)
        post(tx, cancelled, MessageKind.OUTCOME, at)


def rerender(tx: Tx, request_id: str, *, urgent: bool) -> None:
    """The messages that show the request have something new to show."""
    for message in tx.messages(request_id):
        if message.kind in (MessageKind.PARENT, MessageKind.CARD):
            tx.change(message, wanted_rev=message.wanted_rev + 1, urgent=urgent or message.urgent)


def post(tx: Tx, request: RequestRow, kind: MessageKind, at: float, body: str = "", *, urgent: bool = True) -> None:
    """One message of the story, posted once, after the parent; without one of its own, in the cluster's thread."""
    told = tx.messages(request.id)
    own = any(message.kind == MessageKind.PARENT for message in told) or kind == MessageKind.PARENT
    home = request if own else home_of(tx, request.cluster_id)
    tx.add(
        MessageRow(
            f"{request.id}-{len(told):03d}", request.id, kind, home.channel, at, body=body,
            thread="" if own else home.id, urgent=urgent,
        )
    )  # fmt: skip


def _announce(tx: Tx, request: RequestRow, approvals_channel: str) -> None:
    post(tx, request, MessageKind.PARENT, request.asked_at)
    if approvals_channel and approvals_channel != request.channel:
        card = MessageRow(f"{request.id}-001", request.id, MessageKind.CARD, approvals_channel, request.asked_at)
        tx.add(card)


def _supersede(tx: Tx, delete: RequestRow, at: float) -> None:
    """An approved delete ends what else is open on the cluster; what was made is removed by the delete's own plan."""
    other = tx.open_request(delete.cluster_id)
    if other is not None and other.id != delete.id:
        move(tx, other, RequestState.CANCELLED, actor=delete.requester, at=at, reason="The cluster is being deleted.")


def audit(tx: Tx, request: RequestRow, actor: str, action: str, detail: str, at: float) -> None:
    """One line of the audit trail."""
    _audit(tx, request, actor, action, detail, at)


def _audit(tx: Tx, request: RequestRow, actor: str, action: str, detail: str, at: float) -> None:
    tx.add(AuditRow(at, actor, action, request.id, request.cluster_id, detail))
