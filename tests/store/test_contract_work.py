"""What every store hands out: requests that are due, what Slack delivered, messages to send, leases. Once each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sample_rows as rows
from processes import hear, other_process, rest, start

from bot.core.ports import Store
from bot.core.records import OPEN_STATES, ClusterState, RequestState, SwitchRow


def claimed(store: Store, owner: str, *, now: float = 1e6, real: float = 1000.0, limit: int = 99) -> list[str]:
    with store.transaction() as tx:
        return [row.id for row in tx.claim_requests(now=now, real=real, owner=owner, lease_s=30.0, limit=limit)]


# --- requests ---------------------------------------------------------------------------------------------------


def test_what_is_due_is_claimed_soonest_first(store: Store) -> None:
    ids = rows.fill(store, 5)
    assert claimed(store, "a", now=-1.0) == []
    assert claimed(store, "a", limit=0) == []
    assert claimed(store, "a", now=3.0, limit=2) == ids[:2]
    assert claimed(store, "b", now=3.0) == ids[2:4]
    assert claimed(store, "b") == ids[4:]


@pytest.mark.parametrize("state", RequestState)
def test_only_open_requests_are_due(store: Store, state: RequestState) -> None:
    with store.transaction() as tx:
        tx.add(rows.cluster())
        tx.add(rows.request(state=state))
        due = tx.next_due_at()
    is_open = state in OPEN_STATES
    assert due == (100.0 if is_open else None)
    assert claimed(store, "a") == (["r1"] if is_open else [])


def test_a_lease_runs_out_and_only_its_holder_gives_it_back(store: Store) -> None:
    rows.fill(store, 1)
    assert claimed(store, "a", real=1000.0) == ["r0000"]
    assert claimed(store, "a", real=1029.9) == []
    assert claimed(store, "b", real=1030.0) == ["r0000"]
    with store.transaction() as tx:
        tx.release_request("r0000", "a")
    assert claimed(store, "c", real=1031.0) == []
    with store.transaction() as tx:
        tx.release_request("r0000", "b")
    assert claimed(store, "c", real=1031.0) == ["r0000"]


def test_a_claim_says_who_holds_it_and_leaves_the_revision(store: Store) -> None:
    rows.fill(store, 1)
    with store.transaction() as tx:
        before = tx.request("r0000")
        (row,) = tx.claim_requests(now=1e6, real=1000.0, owner="a", lease_s=30.0, limit=1)
        assert before
        assert (row.lease_owner, row.lease_until_real, row.rev) == ("a", 1030.0, before.rev)
        assert tx.change(before, reason="x").lease_owner == "a"


def test_next_due_is_the_soonest_that_nobody_holds(store: Store) -> None:
    rows.fill(store, 3)
    claimed(store, "a", limit=1)
    with store.transaction() as tx:
        assert tx.next_due_at() == 1.0
        tx.release_request("r0000", "a")
        assert tx.next_due_at() == 0.0


def test_two_threads_claim_every_request_once(store: Store) -> None:
    ids = rows.fill(store, 500)

    def work(owner: str) -> list[str]:
        mine: list[str] = []
        while batch := claimed(store, owner, limit=7):
            mine += batch
        return mine

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, ("a", "b"))
    assert sorted(first + second) == ids


def test_two_processes_claim_every_request_once(store: Store, store_url: str) -> None:
    ids = rows.fill(store, 500)
    with other_process("claim", store_url, "a") as one, other_process("claim", store_url, "b") as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        start(one)
        start(two)
        taken = [rest(one), rest(two)]
    assert sorted(taken[0] + taken[1]) == ids
    with store.reading() as tx:
        held = {row.id: row.lease_owner for number in range(500) for row in tx.requests_of(f"c{number}")}
    assert held == dict.fromkeys(taken[0], "a") | dict.fromkeys(taken[1], "b")


# --- what Slack delivered ---------------------------------------------------------------------------------------


def heard(store: Store, *, real: float, limit: int = 99) -> list[str]:
    with store.transaction() as tx:
        return [row.key for row in tx.claim_inbound(real=real, lease_s=30.0, limit=limit)]


def test_inbound_is_claimed_oldest_first_and_again_when_its_lease_is_over(store: Store) -> None:
    with store.transaction() as tx:
        for key, at in (("k3", 102.0), ("k2", 101.0), ("k1", 101.0)):
            tx.add(rows.inbound(key, received_real=at))
    assert heard(store, real=200.0, limit=0) == []
    assert heard(store, real=200.0, limit=2) == ["k2", "k1"]
    assert heard(store, real=229.9) == ["k3"]
    assert heard(store, real=230.0) == ["k2", "k1"]


def test_what_is_handled_keeps_its_key_and_not_its_payload_until_it_is_forgotten(
    store: Store, count_payloads: Callable[[], int]
) -> None:
    with store.transaction() as tx:
        for key in ("k1", "k2", "k3"):
            tx.add(rows.inbound(key, payload="https://hooks.example/secret"))
        tx.finish_inbound("k1", real=200.0)
        tx.finish_inbound("k2", real=300.0)
    assert count_payloads() == 1
    assert heard(store, real=400.0) == ["k3"]
    with store.transaction() as tx:
        assert tx.forget_inbound(before_real=300.0) == 1
        tx.add(rows.inbound("k1"))
        assert tx.forget_inbound(before_real=1e9) == 1


# --- messages to send -------------------------------------------------------------------------------------------


def test_messages_are_due_until_sent_urgent_first_then_oldest(store: Store) -> None:
    with store.transaction() as tx:
        tx.add(rows.message("progress", urgent=False, created_at=90.0))
        tx.add(rows.message("newer", created_at=101.0))
        tx.add(rows.message("older"))
        tx.add(rows.message("sent", sent_rev=1))
        tx.add(rows.message("refused", failed="channel_not_found"))
        assert [row.id for row in tx.due_messages(99)] == ["older", "newer", "progress"]
        assert [row.id for row in tx.due_messages(1)] == ["older"]
        assert tx.due_messages(0) == []
        sent = tx.due_messages(1)[0]
        tx.change(sent, sent_rev=sent.wanted_rev)
        assert [row.id for row in tx.due_messages(99)] == ["newer", "progress"]


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_named_lease_has_one_holder_who_may_renew_it_or_give_it_back(store: Store) -> None:
    def take(owner: str, real: float, seconds: float = 30.0) -> bool:
        with store.transaction() as tx:
            return tx.take_lease("publisher", owner, real=real, seconds=seconds)

    assert take("a", 1000.0)
    assert not take("b", 1029.9)
    assert take("a", 1029.9)
    assert not take("b", 1030.0)
    assert take("a", 1031.0, seconds=0.0)
    assert take("b", 1031.0)
    assert take("c", 1061.0)


def test_clusters_that_are_due_come_soonest_first_and_gone_ones_never(store: Store) -> None:
    with store.transaction() as tx:
        tx.add(rows.cluster("c1", "one", due_at=30.0))
        tx.add(rows.cluster("c2", "two", due_at=20.0))
        tx.add(rows.cluster("c3", "three", due_at=10.0, state=ClusterState.GONE))
        tx.add(rows.cluster("c4", "four"))
        assert [row.id for row in tx.due_clusters(30.0, 9)] == ["c2", "c1"]
        assert [row.id for row in tx.due_clusters(29.0, 9)] == ["c2"]
        assert len(tx.due_clusters(99.0, 1)) == 1
        assert tx.next_due_at() == 20.0


def test_a_switch_is_as_it_was_turned_last(store: Store) -> None:
    on = SwitchRow("stop-creates", True, "U1", "why", 1.0)
    off = SwitchRow("stop-creates", False, "U2", "", 2.0)
    with store.transaction() as tx:
        assert tx.switch("stop-creates") is None
        tx.turn(on)
        assert tx.switch("stop-creates") == on
        tx.turn(off)
    with store.reading() as tx:
        assert tx.switch("stop-creates") == off


def test_the_trail_of_a_cluster_is_that_of_all_its_requests(store: Store) -> None:
    with store.transaction() as tx:
        for number, of in enumerate(("c1", "c2", "c1")):
            tx.add(rows.audit(f"act {number}", f"r{number}", cluster_id=of))
        assert [row.action for row in tx.audit_of("c1")] == ["act 0", "act 2"]


def test_what_has_changed_outside_is_due_at_once_and_nothing_else_is_touched(store: Store) -> None:
    with store.transaction() as tx:
        assert not tx.anything_running()
        for number, state in enumerate((RequestState.RUNNING, RequestState.RUNNING, RequestState.AWAITING_APPROVAL)):
            tx.add(rows.cluster(id=f"c{number}", name=f"n{number}"))
            tx.add(rows.request(id=f"r{number}", cluster_id=f"c{number}", state=state, next_look_at=100.0))
        assert tx.anything_running()
        before = tx.request("r0")
        assert tx.look_at_once(["n0", "n2", "nobody"], 50.0) == {"c0": "n0"}
        assert tx.look_at_once(["n0"], 70.0) == {"c0": "n0"}, "it is due already"
        after = [tx.request(f"r{number}") for number in range(3)]
    assert [row and row.next_look_at for row in after] == [50.0, 100.0, 100.0]
    assert before and after[0] and after[0].rev == before.rev, "a look under way is not disturbed"
