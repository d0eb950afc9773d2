"""What every store keeps: rows as they were written, unique rules, compare-and-set, transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import sample_rows as rows
from hypothesis import HealthCheck, given, settings
from processes import hear, other_process

from bot.core.ports import Stale, Store, Taken, Tx
from bot.core.records import (
    OPEN_STATES,
    ApprovalRow,
    AuditRow,
    ClusterRow,
    ClusterState,
    CredentialRow,
    CredentialState,
    InboundRow,
    Kind,
    MessageKind,
    MessageRow,
    RequestRow,
    RequestState,
    StepRow,
    StepState,
)
from bot.store import open_store


class Undo(Exception):
    """Leaves a transaction without a trace."""


@pytest.fixture
def filled(store: Store) -> Store:
    """One cluster with one request."""
    with store.transaction() as tx:
        tx.add(rows.cluster())
        tx.add(rows.request())
    return store


# --- rows come back as they were written ------------------------------------------------------------------------

READ_BACK: list[tuple[type[Any], dict[str, Any], Callable[[Tx, Any], Any]]] = [
    (ClusterRow, {}, lambda tx, row: tx.cluster(row.id)),
    (RequestRow, {"cluster_id": "parent"}, lambda tx, row: tx.request(row.id)),
    (StepRow, {"request_id": "parent"}, lambda tx, row: tx.steps("parent")[0]),
    (ApprovalRow, {"request_id": "parent"}, lambda tx, row: tx.approvals("parent")[0]),
    (MessageRow, {}, lambda tx, row: tx.messages(row.request_id)[0]),
    (
        CredentialRow,
        {"cluster_id": "parent", "state": CredentialState.HANDED},
        lambda tx, row: tx.credential(row.id),
    ),
    (AuditRow, {}, lambda tx, row: tx.audit_trail(row.request_id)[0]),
    (
        InboundRow,
        {"handled_real": None, "lease_until_real": 0.0},
        lambda tx, row: replace(tx.claim_inbound(real=0.0, lease_s=1.0, limit=1)[0], lease_until_real=0.0),
    ),
]


@pytest.mark.parametrize(("row_type", "fixed", "read"), READ_BACK, ids=lambda value: getattr(value, "__name__", ""))
def test_rows_come_back_as_they_were_written(
    store: Store, row_type: type[Any], fixed: dict[str, Any], read: Callable[[Tx, Any], Any]
) -> None:
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(row=rows.any_row(row_type, **fixed))
    def check(row: Any) -> None:
        with suppress(Undo), store.transaction() as tx:
            if row_type in (RequestRow, StepRow, ApprovalRow, CredentialRow):
                tx.add(rows.cluster("parent"))
            if row_type in (StepRow, ApprovalRow):
                tx.add(rows.request("parent", "parent"))
            tx.add(row)
            back = read(tx, row)
            assert back == row
            assert {k: type(v) for k, v in vars(back).items()} == {k: type(v) for k, v in vars(row).items()}
            raise Undo

    check()


def test_what_a_change_returns_has_the_types_of_the_fields(filled: Store) -> None:
    with filled.transaction() as tx:
        row = tx.request("r1")
        assert row
        changed = tx.change(row, next_look_at=7, state=RequestState.RUNNING)
        tx.add(rows.message())
        told = tx.change(tx.messages("r1")[0], urgent=False)
    assert (type(changed.next_look_at), changed.state, changed.lapses_at) == (float, RequestState.RUNNING, None)
    assert told.urgent is False
    assert told.kind is MessageKind.PARENT


# --- unique rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (rows.cluster("c1", "other"), "cluster"),
        (rows.cluster("c2", "blog"), "cluster_name"),
        (rows.request("r1", "c2"), "request"),
        (rows.request("r2", "c1"), "open_request"),
        (rows.step(), "step"),
        (rows.approval(), "approval"),
        (rows.message(), "message"),
        (rows.inbound(), "seen"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_taken_row_is_refused_by_the_name_of_its_index(filled: Store, row: Any, what: str) -> None:
    with filled.transaction() as tx:
        tx.add(rows.cluster("c2", "second"))
        for first in (rows.step(), rows.approval(), rows.message(), rows.inbound()):
            tx.add(first)
    with pytest.raises(Taken) as refused, filled.transaction() as tx:
        tx.add(row)
    assert refused.value.what == what


def test_after_taken_the_transaction_goes_on(filled: Store) -> None:
    with filled.transaction() as tx:
        tx.add(rows.inbound())
        with pytest.raises(Taken):
            tx.add(rows.inbound())
        tx.add(rows.inbound("k2"))
    with filled.transaction() as tx:
        assert [row.key for row in tx.claim_inbound(real=100.0, lease_s=1.0, limit=9)] == ["k1", "k2"]


@pytest.mark.parametrize("state", ClusterState)
def test_a_name_is_free_again_only_when_its_cluster_is_gone(store: Store, state: ClusterState) -> None:
    with store.transaction() as tx:
        tx.add(rows.cluster("c1", "blog", state=state))
    with store.transaction() as tx:
        if state is ClusterState.GONE:
            assert tx.living_cluster("blog") is None
            tx.add(rows.cluster("c2", "blog"))
        else:
            with pytest.raises(Taken):
                tx.add(rows.cluster("c2", "blog"))


@pytest.mark.parametrize("state", RequestState)
def test_a_second_request_waits_until_the_first_is_closed(store: Store, state: RequestState) -> None:
    with store.transaction() as tx:
        tx.add(rows.cluster())
        tx.add(rows.request("r1", state=state))
        if state in OPEN_STATES:
            with pytest.raises(Taken):
                tx.add(rows.request("r2"))
        else:
            tx.add(rows.request("r2"))


def test_a_delete_waits_beside_the_request_that_it_will_supersede(filled: Store) -> None:
    with filled.transaction() as tx:
        tx.add(rows.request("d1", kind=Kind.DELETE, asked_at=50.0))
        superseded = tx.open_request("c1")
        with pytest.raises(Taken) as refused:
            tx.add(rows.request("d2", kind=Kind.DELETE))
        assert superseded
        tx.change(superseded, state=RequestState.CANCELLED)
        left = tx.open_request("c1")
    assert refused.value.what == "open_request"
    assert (superseded.id, left and left.id) == ("r1", "d1")


def test_a_change_can_be_refused_by_a_unique_rule_too(store: Store) -> None:
    with store.transaction() as tx:
        tx.add(rows.cluster())
        tx.add(rows.request("r1", state=RequestState.FAILED))
        tx.add(rows.request("r2"))
        failed = tx.request("r1")
        assert failed
        with pytest.raises(Taken, match="open_request"):
            tx.change(failed, state=RequestState.RUNNING)


# --- compare-and-set --------------------------------------------------------------------------------------------


def test_of_two_who_read_the_same_revision_one_wins(filled: Store) -> None:
    with filled.reading() as tx:
        first, second = tx.request("r1"), tx.request("r1")
    assert first
    assert second
    with filled.transaction() as tx:
        won = tx.change(first, state=RequestState.APPROVED, decided_by="U2")
    with pytest.raises(Stale), filled.transaction() as tx:
        tx.change(second, state=RequestState.DENIED, decided_by="U3")
    with filled.reading() as tx:
        assert tx.request("r1") == won == replace(first, state=RequestState.APPROVED, decided_by="U2", rev=1)


def test_clusters_too_and_a_change_without_fields_moves_the_revision(filled: Store) -> None:
    with filled.transaction() as tx:
        old = tx.cluster("c1")
        assert tx.change(old) == replace(old, rev=1)
        with pytest.raises(Stale):
            tx.change(old, verdict="verified")


def test_steps_and_messages_are_written_whatever_was_read(filled: Store) -> None:
    with filled.transaction() as tx:
        tx.add(rows.step())
        tx.add(rows.message())
        step, message = tx.steps("r1")[0], tx.messages("r1")[0]
        tx.change(step, why="waiting")
        tx.change(message, sent_rev=1, ts="1.2")
        assert tx.change(step, state=StepState.RUNNING) == replace(step, state=StepState.RUNNING, why="waiting")
        assert tx.change(message, wanted_rev=2) == replace(message, wanted_rev=2, sent_rev=1, ts="1.2")
        assert tx.change(step) == step


def test_a_change_of_a_row_that_is_not_there_is_stale(filled: Store) -> None:
    with pytest.raises(Stale), filled.transaction() as tx:
        tx.change(rows.step(7), why="nobody")


@pytest.mark.parametrize("field", ["colour", "rev", "id"])
def test_a_field_that_cannot_be_changed_is_a_type_error(filled: Store, field: str) -> None:
    with pytest.raises(TypeError, match=field), filled.transaction() as tx:
        tx.change(tx.cluster("c1"), **{field: "x"})


# --- reading ----------------------------------------------------------------------------------------------------


def test_lists_are_in_the_order_of_the_story(filled: Store) -> None:
    with filled.transaction() as tx:
        tx.add(rows.cluster("c0", "older", created_at=50.0))
        tx.add(rows.cluster("c9", "gone", created_at=60.0, state=ClusterState.GONE))
        tx.add(rows.request("r0", state=RequestState.FAILED, asked_at=50.0))
        for position in (2, 0, 1):
            tx.add(rows.step(position))
        for name in ("m2", "m1"):
            tx.add(rows.message(name))
        tx.add(rows.message("m0", created_at=99.0))
        tx.add(rows.approval("U3"))
        tx.add(rows.approval("U2"))
        for action in ("asked", "approved"):
            tx.add(rows.audit(action))
    with filled.reading() as tx:
        assert [row.id for row in tx.clusters()] == ["c0", "c1"]
        assert [row.id for row in tx.clusters(living=False)] == ["c0", "c9", "c1"]
        assert [row.id for row in tx.requests_of("c1")] == ["r0", "r1"]
        assert [row.position for row in tx.steps("r1")] == [0, 1, 2]
        assert [row.id for row in tx.messages("r1")] == ["m0", "m2", "m1"]
        assert [row.approver for row in tx.approvals("r1")] == ["U3", "U2"]
        assert [row.action for row in tx.audit_trail("r1")] == ["asked", "approved"]


def test_what_many_are_made_of_is_read_at_once_as_one_by_one(filled: Store) -> None:
    with filled.transaction() as tx:
        tx.add(rows.cluster("c2", "other"))
        tx.add(rows.request("r0", state=RequestState.FAILED, asked_at=50.0))
        tx.add(rows.request("r2", "c2"))
        for position, kind in ((2, "verify@3"), (0, "verify_all@1"), (1, "machines@1")):
            tx.add(rows.step(position, kind=kind))
    with filled.reading() as tx:
        assert tx.requests_by_cluster(["c1", "c2", "c3"]) == {name: tx.requests_of(name) for name in ("c1", "c2")}
        steps = tx.steps_by_request(["r1", "r2", "r3"], ["verify", "machines"])
        assert {of: [step.kind for step in found] for of, found in steps.items()} == {"r1": ["machines@1", "verify@3"]}
        assert (tx.requests_by_cluster([]), tx.steps_by_request(["r1"], [])) == ({}, {})


def test_what_is_not_there(store: Store) -> None:
    with store.reading() as tx:
        assert (tx.request("r1"), tx.open_request("c1"), tx.living_cluster("blog")) == (None, None, None)
        assert (tx.message_at("C1", ""), tx.next_due_at()) == (None, None)
        with pytest.raises(LookupError, match="c1"):
            tx.cluster("c1")


def test_a_message_is_found_by_its_timestamp_once_it_has_one(store: Store) -> None:
    with store.transaction() as tx:
        tx.add(rows.message("m1"))
        tx.add(rows.message("m2", ts="1.5"))
        tx.add(rows.message("m3", ts="1.5", channel="C2"))
        found = tx.message_at("C1", "1.5")
        assert found
        assert found.id == "m2"
        assert tx.message_at("C1", "") is None


# --- transactions -----------------------------------------------------------------------------------------------


def test_an_exception_undoes_everything_and_passes_through(filled: Store) -> None:
    with pytest.raises(Undo), filled.transaction() as tx:
        tx.add(rows.cluster("c2", "other"))
        tx.change(tx.cluster("c1"), verdict="verified")
        raise Undo
    with filled.reading() as tx:
        assert [(row.id, row.verdict) for row in tx.clusters()] == [("c1", "")]


WRITES: list[Callable[[Tx], object]] = [
    lambda tx: tx.add(rows.inbound()),
    lambda tx: tx.change(tx.cluster("c1"), verdict="verified"),
    lambda tx: tx.claim_requests(now=1e6, real=1e6, owner="a", lease_s=30.0, limit=1),
    lambda tx: tx.release_request("r1", "a"),
    lambda tx: tx.claim_inbound(real=1e6, lease_s=30.0, limit=1),
    lambda tx: tx.finish_inbound("k1", real=1e6),
    lambda tx: tx.forget_inbound(before_real=1e6),
    lambda tx: tx.take_lease("publisher", "a", real=1.0, seconds=30.0),
]


@pytest.mark.parametrize("write", WRITES)
def test_reading_cannot_write(filled: Store, write: Callable[[Tx], object]) -> None:
    with filled.reading() as tx, pytest.raises(RuntimeError, match="only reads"):
        write(tx)
    with filled.transaction() as tx:
        write(tx)


def test_a_reader_sees_one_state_and_holds_nobody_up(filled: Store) -> None:
    def meanwhile() -> None:
        with filled.transaction() as tx:
            tx.change(tx.cluster("c1"), verdict="verified")

    with filled.reading() as tx:
        before = tx.cluster("c1")
        writer = threading.Thread(target=meanwhile)
        writer.start()
        writer.join()
        assert tx.cluster("c1") == before
    with filled.reading() as tx:
        assert tx.cluster("c1").verdict == "verified"


def test_transactions_do_not_nest(store: Store) -> None:
    with store.transaction(), pytest.raises(RuntimeError, match="do not nest"), store.reading():
        pass
    with store.reading(), pytest.raises(RuntimeError, match="do not nest"), store.transaction():
        pass


def test_a_transaction_that_is_over_is_of_no_use(filled: Store) -> None:
    with filled.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="is over"):
        tx.add(rows.inbound())
    with pytest.raises(RuntimeError, match="is over"):
        tx.cluster("c1")


def test_killed_in_the_middle_of_a_transaction_nothing_is_half_written(store: Store, store_url: str) -> None:
    with other_process("hang", store_url) as process:
        assert hear(process) == "written"
        process.kill()
        process.wait()
    with store.transaction() as tx:
        assert tx.clusters(living=False) == []
        tx.add(rows.cluster())
        tx.add(rows.request())


def test_killed_while_busy_what_was_committed_stays_and_pairs_stay_together(store_url: str) -> None:
    with other_process("write", store_url) as process:
        told = [hear(process) for _ in range(25)]
        process.kill()
        process.wait()
    with open_store(store_url).reading() as tx:
        stored = {row.id for row in tx.clusters()}
        assert stored >= set(told)
        assert {row.cluster_id for row in tx.audit_trail("all")} == stored
