"""The moves there are, and those there are not; each with one line of audit, or none at all."""

from __future__ import annotations

import itertools

import pytest

from bot.core import lifecycle
from bot.core.desk import Desk
from bot.core.lifecycle import Impossible
from bot.core.ports import Stale
from bot.core.records import OPEN_STATES, ClusterState, MessageKind, RequestRow, RequestState
from tests.core.stage import DRAFT, Stage

R, C = RequestState, ClusterState
MOVES = {
    R.CHECKING: {R.AWAITING_APPROVAL, R.FAILED, R.CANCELLED},
    R.AWAITING_APPROVAL: {R.APPROVED, R.DENIED, R.LAPSED, R.CANCELLED},
    R.APPROVED: {R.RUNNING, R.FAILED, R.CANCELLED},
    R.RUNNING: {R.DONE, R.FAILED, R.CANCELLED},
    R.FAILED: {R.RUNNING},
}
CLUSTER_MOVES = {
    C.BUILDING: {C.READY, C.DEGRADED, C.FAILED, C.DELETING, C.GONE},
    C.READY: {C.DEGRADED, C.DELETING},
    C.DEGRADED: {C.READY, C.BUILDING, C.DELETING},
    C.FAILED: {C.BUILDING, C.DELETING},
    C.DELETING: {C.DELETING, C.GONE},
}


class Undone(Exception):
    """Thrown to roll a transaction back."""


def put(stage: Stage, state: RequestState) -> RequestRow:
    """A request that is in that state, however it got there."""
    asked = stage.request(stage.create().request_id)
    with stage.store.transaction() as tx:
        return tx.change(asked, state=state)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(RequestState, RequestState)))
def test_a_request_moves_by_the_table_with_one_line_of_audit_or_not_at_all(
    stage: Stage, before: RequestState, after: RequestState
) -> None:
    row = put(stage, before)
    trail = len(stage.audit(row.id))
    if after not in MOVES.get(before, set()):
        with pytest.raises(Impossible), stage.store.transaction() as tx:
            lifecycle.move(tx, row, after, actor="U1", at=5.0)
        assert stage.request(row.id) == row
        assert len(stage.audit(row.id)) == trail
        return
    with stage.store.transaction() as tx:
        moved = lifecycle.move(tx, row, after, actor="U1", at=5.0, detail="why")
    assert stage.request(row.id) == moved
    assert (moved.state, moved.rev) == (after, row.rev + 1)
    assert (moved.finished_at is None) == (after in OPEN_STATES)
    (line,) = stage.audit(row.id)[trail:]
    assert (line.at, line.actor, line.action, line.detail) == (5.0, "U1", f"{before} → {after}", "why")


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ClusterState, ClusterState)))
def test_a_cluster_moves_by_the_table_with_one_line_of_audit_or_not_at_all(
    stage: Stage, before: ClusterState, after: ClusterState
) -> None:
    request = stage.request(stage.create().request_id)
    cluster = stage.cluster(request.id)
    with stage.store.transaction() as tx:
        cluster = tx.change(cluster, state=before)
    trail = len(stage.audit(request.id))
    if after not in CLUSTER_MOVES.get(before, set()):
        with pytest.raises(Impossible), stage.store.transaction() as tx:
            lifecycle.move_cluster(tx, cluster, after, request=request, at=5.0)
        assert stage.cluster(request.id) == cluster
        return
    with stage.store.transaction() as tx:
        moved = lifecycle.move_cluster(tx, cluster, after, request=request, at=5.0)
    assert stage.cluster(request.id) == moved
    (line,) = stage.audit(request.id)[trail:]
    assert (line.actor, line.action) == ("engine", f"cluster {before} → {after}")


def test_a_move_that_is_rolled_back_leaves_neither_state_nor_line(stage: Stage) -> None:
    row = put(stage, R.AWAITING_APPROVAL)
    trail = stage.audit(row.id)
    with pytest.raises(Undone), stage.store.transaction() as tx:
        lifecycle.move(tx, row, R.DENIED, actor="U1", at=5.0)
        assert len(tx.audit_trail(row.id)) == len(trail) + 1
        raise Undone
    assert stage.request(row.id) == row
    assert stage.audit(row.id) == trail


def test_a_move_from_an_old_row_is_stale_and_leaves_no_line(stage: Stage) -> None:
    old = put(stage, R.AWAITING_APPROVAL)
    with stage.store.transaction() as tx:
        lifecycle.move(tx, old, R.DENIED, actor="U1", at=5.0)
    trail = stage.audit(old.id)
    with pytest.raises(Stale), stage.store.transaction() as tx:
        lifecycle.move(tx, old, R.APPROVED, actor="U2", at=6.0)
    assert stage.request(old.id).state == R.DENIED
    assert stage.audit(old.id) == trail


def test_every_move_has_the_parent_message_drawn_anew(stage: Stage) -> None:
    row = put(stage, R.AWAITING_APPROVAL)
    with stage.store.transaction() as tx:
        (before,) = tx.messages(row.id)
        lifecycle.move(tx, row, R.APPROVED, actor="U1", at=5.0)
        (after,) = tx.messages(row.id)
    assert (after.wanted_rev, after.urgent) == (before.wanted_rev + 1, True)


def test_a_whole_life_is_told_by_the_audit(stage: Stage) -> None:
    request_id = stage.running()
    stage.finish(request_id)
    assert [(row.actor, row.action) for row in stage.audit(request_id)] == [
        ("UREQUESTER", "asked to create"),
        ("engine", "checking → awaiting_approval"),
        ("ULEAD", "approved"),
        ("ULEAD", "awaiting_approval → approved"),
        ("engine", "approved → running"),
        ("engine", "running → done"),
        ("engine", "cluster building → ready"),
    ]


def test_an_approvals_channel_gets_a_card_of_its_own(stage: Stage) -> None:
    desk = Desk(
        store=stage.store,
        clock=stage.clock,
        catalogue=stage.catalogue,
        directory=stage.directory,
        approvals_channel="CLEADS",
    )
    asked = desk.ask_create(stage.ask(), DRAFT)
    with stage.store.reading() as tx:
        kinds = [(m.kind, m.channel) for m in tx.messages(asked.request_id)]
    assert kinds == [(MessageKind.PARENT, "CROOM"), (MessageKind.CARD, "CLEADS")]
