"""A degraded cluster: accepted as it is, its bad machine replaced, or given back; who may, and what a repeat does."""

from __future__ import annotations

import itertools

import pytest

from bot.core.conflict import Conflict
from bot.core.kinds.replace import _room
from bot.core.policy import Denied
from bot.core.ports import JobView, Temporary
from bot.core.records import ClusterState, MessageKind, RequestState, TroubleRow
from bot.core.spec import Pool
from bot.core.story import Story
from tests.core.fakes import probe_log, refused
from tests.core.stage import BYSTANDER, DRAFT, GUEST, LEAD, REQUESTER, SECOND_LEAD, Stage
from tests.core.test_watch import TWO, kinds, pair, state, until_told, verify

__all__ = ["pair"]

BAD = JobView("succeeded", "", "", probe_log(ok=False, at="bad"))


@pytest.fixture
def degraded(stage: Stage) -> Stage:
    """With one cluster of two GPU machines, of which the first has not passed."""
    stage.kube.results["node-gpu-0"] = BAD
    assert stage.finish(stage.running(TWO)).cluster_state == ClusterState.DEGRADED
    stage.look(1, every=45)
    return stage


def button(stage: Stage, trouble: str = "") -> str:
    with stage.store.reading() as tx:
        return f"{tx.clusters(living=False)[0].id}.{trouble}"


def troubles_of(stage: Stage) -> list[TroubleRow]:
    with stage.store.reading() as tx:
        return tx.troubles(tx.clusters()[0].id)


def replaced(stage: Stage, user: str = REQUESTER) -> Story:
    asked = stage.desk.care.replace_clicked(stage.ask(user), button(stage))
    stage.look()
    stage.desk.decide(LEAD, asked.request_id, approve=True)
    return stage.finish(asked.request_id)


def test_a_replacement_that_cannot_be_checked_is_checked_again(degraded: Stage) -> None:
    asked = degraded.desk.care.replace_clicked(degraded.ask(), button(degraded))
    degraded.outage(Temporary("Rancher answers 503"))
    degraded.look()
    assert degraded.request(asked.request_id).state == RequestState.CHECKING
    degraded.outage(None)
    degraded.look(2, every=30)
    assert degraded.request(asked.request_id).state == RequestState.AWAITING_APPROVAL


# --- accept -----------------------------------------------------------------------------------------------------


def test_a_lead_accepts_and_the_verdict_stays(degraded: Stage) -> None:
    assert degraded.desk.care.accept(degraded.ask(LEAD), button(degraded)) == DRAFT.name
    with degraded.store.reading() as tx:
        (cluster,) = tx.clusters()
        (line,) = [row for row in tx.audit_trail(tx.requests_of(cluster.id)[0].id) if "degraded → ready" in row.action]
    assert (cluster.state, cluster.verdict) == (ClusterState.READY, "degraded")
    assert (line.actor, line.detail) == (LEAD, "accepted as it is")
    assert kinds(degraded) == ["accepted"]
    degraded.look(20, every=45)
    assert kinds(degraded) == ["accepted"], "what was accepted is no trouble"


def test_a_second_click_changes_nothing(degraded: Stage) -> None:
    degraded.desk.care.accept(degraded.ask(LEAD), button(degraded))
    with pytest.raises(Conflict, match="nothing to accept"):
        degraded.desk.care.accept(degraded.ask(SECOND_LEAD), button(degraded))
    assert kinds(degraded) == ["accepted"]


def test_nobody_accepts_their_own(degraded: Stage) -> None:
    with pytest.raises(Denied, match="another lead"):
        degraded.desk.care.accept(degraded.ask(REQUESTER), button(degraded))


@pytest.mark.parametrize(("what", "user"), list(itertools.product(["accept", "replace", "ignore"], [BYSTANDER, GUEST])))
def test_who_has_no_part_in_it_is_refused(degraded: Stage, what: str, user: str) -> None:
    care, value = degraded.desk.care, button(degraded)
    act = {"accept": care.accept, "replace": care.replace_clicked, "ignore": care.ignore}[what]
    with pytest.raises(Denied):
        act(degraded.ask(user), value)
    assert state(degraded) == ClusterState.DEGRADED


def test_status_still_says_how_to_get_in_after_a_measurement(pair: Stage) -> None:
    pair.finish(verify(pair))
    story = pair.desk.story_of(pair.ask(), DRAFT.name)
    assert story.kind == "create" and story.access is not None


# --- replace ----------------------------------------------------------------------------------------------------


def test_a_new_machine_first_then_exactly_the_bad_one_goes(degraded: Stage) -> None:
    story = replaced(degraded)
    assert story.state == RequestState.DONE
    assert degraded.rancher.sized == [{"gpu": 3}, {"gpu": 2}]
    assert degraded.rancher.marked == ["gpu-0"] and degraded.rancher.gone == []
    assert sorted(m.name for m in degraded.rancher.machines if m.pool == "gpu") == ["gpu-1", "gpu-2"]
    assert "node-gpu-2" in degraded.kube.opened
    assert story.cluster_state == ClusterState.READY
    assert story.envelope is not None and story.envelope.gpu_pools[0].count == 3, "approved: the order and one more"


def test_one_that_was_accepted_as_it_is_becomes_verified_when_its_bad_machine_is_replaced(degraded: Stage) -> None:
    degraded.desk.care.accept(degraded.ask(LEAD), button(degraded))
    replaced(degraded)
    with degraded.store.reading() as tx:
        (cluster,) = tx.clusters()
    assert (cluster.state, cluster.verdict) == (ClusterState.READY, "verified")


@pytest.mark.parametrize(("ok", "verdict"), [(True, "verified"), (False, "failed")])
def test_what_the_new_machine_showed_stands_in_the_thread(degraded: Stage, ok: bool, verdict: str) -> None:
    degraded.kube.results["node-gpu-2"] = JobView("succeeded", "", "", probe_log(ok=ok, at="another"))
    story = replaced(degraded)
    assert story.report is not None
    assert [(node.node, node.verdict) for node in story.report.nodes] == [("node-gpu-2", verdict)]
    with degraded.store.reading() as tx:
        posted = [message.kind for message in tx.messages(story.request_id)]
    assert posted.count(MessageKind.RESULTS) == posted.count(MessageKind.FILES) == 1


def test_it_is_building_meanwhile_and_the_bad_node_stays_closed(degraded: Stage) -> None:
    asked = degraded.desk.care.replace_clicked(degraded.ask(), button(degraded))
    degraded.look()
    degraded.desk.decide(LEAD, asked.request_id, approve=True)
    degraded.look()
    assert state(degraded) == ClusterState.BUILDING
    assert degraded.kube.closed == ["node-gpu-0"]


def test_without_quota_the_bad_one_goes_first_and_the_card_says_what_is_lost(degraded: Stage) -> None:
    degraded.cloud.limit = 3.0
    story = replaced(degraded)
    assert "are lost at once" in story.checks[0].detail
    assert degraded.rancher.gone == ["gpu-0"]
    assert max(sizes["gpu"] for sizes in degraded.rancher.sized) == 2, "never more than approved"
    assert story.cluster_state == ClusterState.READY


def test_when_aws_has_none_the_pool_goes_back_and_nothing_is_lost(degraded: Stage) -> None:
    words = "InsufficientInstanceCapacity: none left"
    degraded.rancher.newcomers = lambda pool, number: refused(pool, number, words)
    story = replaced(degraded)
    assert story.state == RequestState.FAILED
    assert "nothing was lost" in story.reason
    assert degraded.rancher.sized[-1] == {"gpu": 2}
    assert {"gpu-0", "gpu-1"} <= {m.name for m in degraded.rancher.machines}
    assert story.cluster_state == ClusterState.DEGRADED


def test_a_new_machine_that_is_no_better_goes_again(degraded: Stage) -> None:
    degraded.kube.results["node-gpu-2"] = JobView("succeeded", "", "", probe_log(ok=False, at="worse"))
    story = replaced(degraded)
    assert story.state == RequestState.FAILED and "did not pass either" in story.reason
    assert sorted(m.name for m in degraded.rancher.machines if m.pool == "gpu") == ["gpu-0", "gpu-1"]
    assert story.cluster_state == ClusterState.DEGRADED


def test_a_lead_asks_in_the_owners_name_and_may_approve(degraded: Stage) -> None:
    asked = degraded.desk.care.replace_clicked(degraded.ask(LEAD), button(degraded))
    assert asked.requester == REQUESTER
    degraded.look()
    degraded.desk.decide(LEAD, asked.request_id, approve=True)
    assert degraded.finish(asked.request_id).state == RequestState.DONE


def test_a_replayed_click_is_one_request_and_two_clicks_are_told(degraded: Stage) -> None:
    ask = degraded.ask(key="once")
    first = degraded.desk.care.replace_clicked(ask, button(degraded))
    assert degraded.desk.care.replace_clicked(ask, button(degraded)).request_id == first.request_id
    with pytest.raises(Conflict, match="one change at a time"):
        degraded.desk.care.replace_clicked(degraded.ask(), button(degraded))


def test_what_is_all_good_needs_a_node_to_be_named(pair: Stage) -> None:
    with pytest.raises(Conflict, match="say which one"):
        pair.desk.care.replace(pair.ask(), DRAFT.name, "")
    with pytest.raises(Conflict, match="not there any more"):
        pair.desk.care.replace(pair.ask(), DRAFT.name, "node-gpu-77")


def test_the_node_of_a_trouble_is_the_one_that_goes(pair: Stage) -> None:
    pair.kube.results["node-gpu-1"] = BAD
    pair.finish(verify(pair))
    (trouble,) = troubles_of(pair)
    asked = pair.desk.care.replace_clicked(pair.ask(), button(pair, trouble.id))
    pair.look()
    pair.desk.decide(LEAD, asked.request_id, approve=True)
    pair.finish(asked.request_id)
    assert pair.rancher.marked == ["gpu-1"]
    assert kinds(pair) == ["failed-check", "over failed-check"]


def test_clean_up_asks_to_delete(degraded: Stage) -> None:
    asked = degraded.desk.care.clean_up(degraded.ask(LEAD), button(degraded))
    degraded.desk.decide(LEAD, asked.request_id, approve=True)
    assert degraded.finish(asked.request_id).cluster_state == ClusterState.GONE
    for act in (degraded.desk.care.accept, degraded.desk.care.ignore):
        with pytest.raises(Conflict, match="gone already"):
            act(degraded.ask(LEAD), button(degraded))


# --- ignore -----------------------------------------------------------------------------------------------------


def test_ignored_once_by_one(pair: Stage) -> None:
    pair.kube.changes["node-gpu-1"] = {"gpus": 0}
    until_told(pair, 180)
    (trouble,) = troubles_of(pair)
    value = button(pair, trouble.id)
    pair.desk.care.ignore(pair.ask(), value)
    with pytest.raises(Conflict, match="already said to ignore"):
        pair.desk.care.ignore(pair.ask(LEAD), value)
    pair.kube.changes.clear()
    pair.look(6, every=45)
    with pytest.raises(Conflict, match="over already"):
        pair.desk.care.ignore(pair.ask(), value)
    with pytest.raises(Conflict, match="over already"):
        pair.desk.care.replace_clicked(pair.ask(), value)


def running_replace(stage: Stage) -> str:
    asked = stage.desk.care.replace_clicked(stage.ask(REQUESTER), button(stage))
    stage.look()
    stage.desk.decide(LEAD, asked.request_id, approve=True)
    stage.look()
    assert state(stage) == ClusterState.BUILDING
    return asked.request_id


def test_a_replacement_that_has_begun_is_not_cancelled(degraded: Stage) -> None:
    running_replace(degraded)
    with pytest.raises(Conflict, match="has begun"):
        degraded.desk.cancel(degraded.ask(REQUESTER), DRAFT.name)
    assert state(degraded) == ClusterState.BUILDING


def test_a_replacement_that_waits_for_a_lead_can_be_withdrawn(degraded: Stage) -> None:
    degraded.desk.care.replace_clicked(degraded.ask(REQUESTER), button(degraded))
    degraded.look()
    cancelled = degraded.desk.cancel(degraded.ask(REQUESTER), DRAFT.name)
    assert (cancelled.story.state, cancelled.removing) == (RequestState.CANCELLED, False)
    assert state(degraded) == ClusterState.DEGRADED


def test_its_hours_end_a_cluster_of_which_a_machine_is_being_replaced(degraded: Stage) -> None:
    running_replace(degraded)
    with degraded.store.transaction() as tx:
        (cluster,) = tx.clusters()
        tx.change(cluster, expires_at=degraded.clock.now() + 60, due_at=degraded.clock.now())
    degraded.look()
    with degraded.store.reading() as tx:
        (cluster,) = tx.clusters()
    assert cluster.warned_for == cluster.expires_at and cluster.due_at is not None


@pytest.mark.parametrize(("bid", "machines", "fits"), [("", 3, True), ("0.526", 2, True), ("0.526", 3, False)])
def test_spot_machines_have_a_quota_of_their_own(stage: Stage, bid: str, machines: int, fits: bool) -> None:
    """What runs as spot is not told by AWS, so all of the pool's count; of others the one that is added."""
    codes: list[str] = []
    stage.cloud.limit = 8.0
    quota = stage.cloud.quota
    stage.cloud.quota = lambda code: codes.append(code) or quota(code)  # type: ignore[method-assign,func-returns-value]
    place = Pool("gpu", "g4dn.xlarge", machines, False, True, True, 120, "a", "subnet-1", "ami-1", spot_price=bid)
    assert _room(stage.cloud, place, machines) is fits
    assert codes == ["L-3819A6DF" if bid else "L-DB2E81BA"]
