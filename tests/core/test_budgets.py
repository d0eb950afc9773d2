"""Money: what is counted, how many must approve, and that a budget is promised once only."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import replace

import pytest

from bot.core import lifecycle
from bot.core.changes import Extend, Scale
from bot.core.costs import ledger
from bot.core.costs.ledger import Committed
from bot.core.costs.money import dollars
from bot.core.costs.spending import approvals_for
from bot.core.desk import Conflict, Desk
from bot.core.records import RequestState
from bot.core.spec import Policy
from tests.core.fakes import FakeKube, FakeRancher
from tests.core.stage import CATALOGUE, DRAFT, LEAD, REQUESTER, SECOND_LEAD, Stage

HOURLY = 0.1 + 0.1 + 0.5
"""Two t3.large and one g4dn.xlarge; disks are free in the scripted world."""
ORDER = HOURLY * 8


@pytest.fixture
def priced(stage: Stage) -> Stage:
    stage.cloud.prices["g4dn.xlarge"] = 0.5
    return stage


def limit(stage: Stage, budget: float | None = None, **policy: float) -> None:
    """Give the team a budget and the policy thresholds, as after a restart."""
    team = replace(CATALOGUE.teams["default"], budget_per_month=budget)
    rules = dataclasses.replace(stage.catalogue.policy, **policy)
    stage.catalogue = replace(CATALOGUE, teams={"default": team}, policy=rules)
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()


def held(stage: Stage) -> Committed:
    with stage.store.reading() as tx:
        return ledger.committed(tx, stage.catalogue.teams["default"], stage.clock.now())


def named(name: str):
    return replace(DRAFT, name=name)


def both(stage: Stage) -> list[RequestState]:
    """Two orders that are checked in one look, one after the other."""
    asked = [stage.create(named(f"train-{letter}")).request_id for letter in "ab"]
    stage.engine.look_once()
    return sorted(stage.request(request).state for request in asked)


# --- what is counted ----------------------------------------------------------------------------------------------


def test_what_waits_is_not_promised_and_what_is_approved_is(priced):
    asked = priced.awaiting()
    assert held(priced).total == 0
    priced.approve(asked.request_id)
    assert held(priced).promised == pytest.approx(ORDER)
    assert held(priced).spent == 0, "nothing has been made yet"


def test_a_life_is_paid_from_the_order_to_the_end(priced):
    request = priced.running()
    priced.finish(request)
    built = priced.cluster(request).ready_at - priced.step(request, "cluster_object").started_at
    priced.clock.forward(3600)
    (bill,) = priced.desk.costs(priced.ask()).accounts
    assert bill.spent == pytest.approx(HOURLY * bill.hours)
    assert bill.hours == pytest.approx((priced.clock.now() - priced.step(request, "cluster_object").started_at) / 3600)
    assert bill.unusable == pytest.approx(0.5 * built / 3600), "GPUs were paid and not usable while it was built"
    assert bill.promised == pytest.approx(HOURLY * (priced.cluster(request).expires_at - priced.clock.now()) / 3600)
    priced.finish(priced.delete())
    gone = held(priced)
    assert gone.promised == 0
    priced.clock.forward(86400)
    assert held(priced).spent == gone.spent, "what is gone costs no more"


def test_a_failed_cluster_goes_on_costing_and_none_of_it_is_usable(priced):
    request = priced.running()
    priced.look(1)
    with priced.store.transaction() as tx:
        row = tx.request(request)
        lifecycle.fail(tx, row, reason="r", remedy="m", diagnosis=(), incident="i", at=priced.clock.now())
    priced.clock.forward(7200)
    (bill,) = priced.desk.costs(priced.ask()).accounts
    assert bill.spent == pytest.approx(HOURLY * bill.hours)
    assert bill.hours >= 2
    assert bill.unusable == pytest.approx(0.5 * bill.hours)
    assert bill.promised == 0


def test_last_month_is_not_this_months(priced):
    request = priced.running()
    priced.finish(request)
    spent = held(priced).spent
    assert spent > 0
    priced.finish(priced.delete())
    priced.clock.forward(32 * 86400)
    assert held(priced).total == 0
    with pytest.raises(Conflict, match="Nothing has been spent"):
        priced.desk.costs(priced.ask(), "other")
    assert priced.desk.costs(priced.ask()).accounts == ()
    assert len(priced.desk.costs(priced.ask(), "train-a").accounts) == 1, "by name it is still there"


def test_without_prices_nothing_is_made_up(stage):
    stage.cloud.unpriced = True
    request = stage.running()
    stage.finish(request)
    (bill,) = stage.desk.costs(stage.ask()).accounts
    assert (bill.spent, bill.unusable, bill.promised) == (None, None, None)
    assert held(stage).unknown


# --- how many approve ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "cost", "needed"),
    [(0.0, 4.9, 0), (0.1, 4.9, 1), (94.0, 5.0, 1), (96.0, 5.0, 2), (0.0, None, 2)],
)
def test_by_what_is_committed_with_this(committed, cost, needed):
    policy = Policy(no_approval_below=5.0, two_approvals_above=100.0)
    assert approvals_for(policy, Committed(committed, 0.0, None), cost) == needed


def test_an_unknown_price_among_what_runs_counts_as_much():
    policy = Policy(no_approval_below=5.0, two_approvals_above=100.0)
    assert approvals_for(policy, Committed(0.0, 0.0, None, unknown=True), 1.0) == 2
    assert approvals_for(Policy(), Committed(0.0, 0.0, None, unknown=True), 1.0) == 1


def test_what_is_small_needs_nobody(priced):
    limit(priced, no_approval_below=ORDER + 0.01)
    story = priced.awaiting()
    assert story.state == RequestState.APPROVED
    assert [(one.approver, one.decision) for one in story.decisions] == [("policy", "approve")]
    with pytest.raises(Conflict, match="already approved by the policy"):
        priced.approve(story.request_id)
    assert priced.finish(story.request_id).state == RequestState.DONE


def test_small_ones_add_up(priced):
    limit(priced, no_approval_below=ORDER * 1.5)
    assert both(priced) == [RequestState.APPROVED, RequestState.AWAITING_APPROVAL]


def test_a_large_commitment_needs_two(priced):
    limit(priced, two_approvals_above=ORDER * 1.5)
    first, second = priced.awaiting(), priced.awaiting(named("train-b"))
    assert (first.approvals_needed, second.approvals_needed) == (1, 1)
    assert priced.approve(first.request_id).final
    assert priced.story(second.request_id).approvals_needed == 2
    assert not priced.approve(second.request_id, LEAD).final
    assert priced.approve(second.request_id, SECOND_LEAD).final


def test_without_a_price_the_larger_number_applies(stage):
    stage.cloud.unpriced = True
    limit(stage, two_approvals_above=1000.0)
    story = stage.awaiting()
    assert (story.state, story.approvals_needed) == (RequestState.AWAITING_APPROVAL, 2)
    price = next(check for check in story.checks if check.name == "price")
    assert (price.state, "larger number of approvals" in price.remedy) == ("unknown", True)


# --- one budget ---------------------------------------------------------------------------------------------------


def test_an_order_beyond_the_budget_ends_with_the_hours_that_would_do(priced):
    limit(priced, budget=HOURLY * 5)
    story = priced.awaiting()
    assert story.state == RequestState.FAILED
    assert dollars(ORDER) in story.reason
    assert story.remedy.startswith("Ask for 5 hours or fewer")


def test_what_was_checked_before_another_was_approved_is_refused_at_the_click(priced):
    limit(priced, budget=ORDER * 1.5)
    first, second = priced.awaiting(), priced.awaiting(named("train-b"))
    assert second.state == RequestState.AWAITING_APPROVAL
    priced.approve(first.request_id)
    with pytest.raises(Conflict, match="left this month"):
        priced.approve(second.request_id)
    assert priced.story(second.request_id).state == RequestState.AWAITING_APPROVAL
    priced.finish(first.request_id)
    priced.finish(priced.delete())
    assert priced.approve(second.request_id).final, "what was given back can be promised again"


@pytest.mark.parametrize("orders", [2, 6])
def test_approvals_racing_for_one_budget_do_not_both_win(priced, orders):
    limit(priced, budget=ORDER * 1.5)
    asked = [priced.awaiting(named(f"train-{number}")).request_id for number in range(orders)]
    together, won = threading.Barrier(orders), []

    def click(desk: Desk, request_id: str) -> None:
        together.wait(timeout=10)
        try:
            won.append(desk.decide(LEAD, request_id, approve=True))
        except Conflict as conflict:
            assert "left this month" in conflict.why

    threads = [threading.Thread(target=click, args=(priced.new_desk(), request)) for request in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(won) == 1
    assert held(priced).promised == pytest.approx(ORDER)


def test_a_small_order_beyond_the_budget_is_not_let_through_by_policy(priced):
    limit(priced, budget=ORDER * 1.5, no_approval_below=1000.0)
    assert both(priced) == [RequestState.APPROVED, RequestState.FAILED]


def test_the_requester_may_see_the_bill(priced):
    priced.finish(priced.running())
    told = priced.desk.costs(priced.ask(REQUESTER), "train-a")
    assert [(bill.cluster, bill.requester, bill.team) for bill in told.accounts] == [("train-a", REQUESTER, "default")]
    assert [name for name, _ in told.teams] == ["default"]


# --- changes count against the same total -------------------------------------------------------------------------


def twice_ready(stage: Stage) -> list[str]:
    """Two clusters that are ready."""
    for letter in "ab":
        stage.cloud.left = ()
        stage.rancher = FakeRancher(stage.cloud, stage.clock)
        stage.kube = FakeKube(stage.rancher)
        stage.finish(stage.running(named(f"train-{letter}")))
    return ["train-a", "train-b"]


def test_two_extends_racing_for_one_budget_do_not_both_win(priced):
    names = twice_ready(priced)
    limit(priced, budget=held(priced).total + HOURLY * 6)
    asked = [priced.desk.ask_change(priced.ask(), name, Extend(4)) for name in names]
    priced.approve(asked[0].request_id)
    with pytest.raises(Conflict, match="left this month"):
        priced.approve(asked[1].request_id)


def test_an_extend_is_reserved_before_it_is_done_and_afterwards(priced):
    (name, _) = twice_ready(priced)
    before = held(priced).promised
    asked = priced.desk.ask_change(priced.ask(), name, Extend(4))
    assert held(priced).promised == pytest.approx(before), "what waits is not promised"
    priced.approve(asked.request_id)
    assert held(priced).promised == pytest.approx(before + HOURLY * 4)
    priced.engine.look_once()
    assert priced.story(asked.request_id).state == RequestState.DONE
    assert held(priced).promised == pytest.approx(before + HOURLY * 4)


def test_extending_again_and_again_reaches_the_same_threshold(priced):
    priced.finish(priced.running())
    limit(priced, no_approval_below=ORDER + HOURLY * 5, two_approvals_above=ORDER + HOURLY * 9, extend_free_hours=100)
    needed = []
    for _ in range(10):
        asked = priced.desk.ask_change(priced.ask(), DRAFT.name, Extend(1))
        needed.append(0 if asked.state == RequestState.APPROVED else asked.approvals_needed)
        for lead in (LEAD, SECOND_LEAD)[: needed[-1]]:
            priced.approve(asked.request_id, lead)
        priced.engine.look_once()
    # Between the thresholds the free hours hold: one approval was given to the create.
    assert needed == sorted(needed)
    assert (needed[0], needed[-1]) == (0, 2)


def test_scaling_by_one_reaches_the_same_threshold(priced):
    priced.finish(priced.running())
    limit(priced, two_approvals_above=ORDER + 0.5 * 8 * 1.5)
    needed = []
    for gpus in (2, 3):
        asked = priced.desk.ask_change(priced.ask(), DRAFT.name, Scale("", gpus))
        priced.look()
        needed.append(priced.story(asked.request_id).approvals_needed)
        for lead in (LEAD, SECOND_LEAD)[: needed[-1]]:
            priced.approve(asked.request_id, lead)
        priced.finish(asked.request_id)
    assert needed == [1, 2]


def test_a_scale_is_paid_from_its_approval_and_less_once_it_is_done(priced):
    priced.finish(priced.running())
    rate = HOURLY
    asked = priced.desk.ask_change(priced.ask(), DRAFT.name, Scale("", 3))
    priced.look()
    priced.approve(asked.request_id)
    before, at = held(priced).spent, priced.clock.now()
    priced.finish(asked.request_id)
    priced.clock.forward(3600)
    assert held(priced).spent - before == pytest.approx((rate + 1.0) * (priced.clock.now() - at) / 3600)
    smaller = priced.desk.ask_change(priced.ask(), DRAFT.name, Scale("", 1))
    priced.approve(smaller.request_id)
    priced.finish(smaller.request_id)
    before, at = held(priced).spent, priced.clock.now()
    priced.clock.forward(3600)
    assert held(priced).spent - before == pytest.approx(rate, rel=0.01)


def test_what_no_budget_can_bear_is_refused_when_it_is_asked(priced):
    priced.finish(priced.running())
    limit(priced, budget=held(priced).total + 1.0, extend_free_hours=100)
    for change in (Extend(4), Scale("", 3)):
        with pytest.raises(Conflict, match="left this month"):
            priced.desk.ask_change(priced.ask(), DRAFT.name, change)


def test_what_is_kept_is_promised(priced):
    priced.rancher.charts = ()
    priced.finish(priced.running())
    assert held(priced).promised == 0
    priced.desk.keep(priced.ask(), DRAFT.name)
    assert held(priced).promised == pytest.approx(HOURLY * 168)
