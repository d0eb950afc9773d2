"""The moves of a cluster that is there, or that failed: its end, keep, retry, cancel, the switch and its history."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.core import expiry
from bot.core.changes import Extend, Scale
from bot.core.desk import Conflict
from bot.core.policy import Denied
from bot.core.ports import JobView, Permanent
from bot.core.records import ClusterRow, ClusterState, Kind, MessageKind, MessageRow, RequestRow, RequestState
from bot.core.spec import Invalid
from tests.core.fakes import probe_log, refused, starting
from tests.core.stage import BYSTANDER, DRAFT, LEAD, REQUESTER, SECOND_LEAD, Stage

NAME = DRAFT.name
HOUR = 3600.0


def policy(stage: Stage, **rules: float) -> None:
    """Other rules, as after a restart."""
    stage.catalogue = replace(stage.catalogue, policy=dataclasses.replace(stage.catalogue.policy, **rules))
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()


def restarted(stage: Stage) -> None:
    """The process is another one: what it knew but did not write down is gone."""
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()


def living(stage: Stage) -> ClusterRow:
    with stage.store.reading() as tx:
        found = tx.living_cluster(NAME)
    assert found is not None
    return found


def requests(stage: Stage, kind: Kind) -> list[RequestRow]:
    with stage.store.reading() as tx:
        rows = [row for cluster in tx.clusters(living=False) for row in tx.requests_of(cluster.id)]
    return [row for row in rows if row.kind == kind]


def notices(stage: Stage) -> list[str]:
    with stage.store.reading() as tx:
        rows: list[MessageRow] = [
            m for c in tx.clusters(living=False) for r in tx.requests_of(c.id) for m in tx.messages(r.id)
        ]
    return [json.loads(row.body)["what"] for row in rows if row.kind == MessageKind.NOTICE]


def until(stage: Stage, at: float) -> None:
    """So late that it is that time."""
    stage.clock.forward(at - stage.clock.now())
    stage.look()


@pytest.fixture
def failed(stage: Stage) -> Stage:
    """With a cluster that failed because the GPU Operator's chart is not there."""
    stage.rancher.charts = ()
    stage.finish(stage.running())
    assert living(stage).state == ClusterState.FAILED
    return stage


# --- the end of the hours -----------------------------------------------------------------------------------------


def test_a_cluster_is_warned_of_its_end_and_then_deleted_across_restarts(ready: Stage) -> None:
    ends = living(ready).expires_at
    assert ends is not None
    until(ready, ends - HOUR - 10)
    assert notices(ready) == []
    until(ready, ends - HOUR + 1)
    ready.engine = ready.new_engine()
    ready.look(3)
    assert notices(ready) == ["expiring"]
    until(ready, ends - 20)
    assert living(ready).state == ClusterState.READY
    until(ready, ends + 1)
    (delete,) = requests(ready, Kind.DELETE)
    assert delete.decided_by == "policy"
    ready.engine = ready.new_engine()
    told = ready.finish(delete.id)
    assert (told.cluster_state, told.because) == (ClusterState.GONE, expiry.HOURS_OVER)
    assert notices(ready) == ["expiring", "expired"]
    assert len(requests(ready, Kind.DELETE)) == 1


def test_a_bot_that_was_down_warns_before_it_deletes(ready: Stage) -> None:
    until(ready, living(ready).expires_at + 5 * HOUR)
    assert (notices(ready), requests(ready, Kind.DELETE)) == (["expiring"], [])
    ready.clock.forward(expiry.GRACE_S)
    ready.look()
    assert len(requests(ready, Kind.DELETE)) == 1


def test_two_engines_end_a_cluster_once(ready: Stage) -> None:
    other = ready.new_engine()
    until(ready, living(ready).expires_at - HOUR + 1)
    other.look_once()
    ready.clock.forward(HOUR)
    other.look_once()
    ready.look()
    assert notices(ready) == ["expiring", "expired"]
    assert len(requests(ready, Kind.DELETE)) == 1


def test_hours_that_were_added_are_warned_of_anew(ready: Stage) -> None:
    first = living(ready).expires_at
    until(ready, first - HOUR + 1)
    asked = ready.desk.ask_change(ready.ask(), NAME, Extend(4))
    ready.approve(asked.request_id)
    restarted(ready)
    ready.look()
    until(ready, first + 1)
    assert living(ready).state == ClusterState.READY
    until(ready, first + 3 * HOUR + 1)
    assert notices(ready) == ["expiring", "expiring"]


def test_a_delete_that_waits_for_a_lead_is_let_through_at_the_end(ready: Stage) -> None:
    until(ready, living(ready).expires_at - HOUR + 1)
    asked = ready.desk.ask_delete(ready.ask(), NAME)
    ready.clock.forward(HOUR)
    assert ready.finish(asked.request_id).cluster_state == ClusterState.GONE
    assert len(requests(ready, Kind.DELETE)) == 1


# --- extend -------------------------------------------------------------------------------------------------------


def test_some_hours_are_free_and_the_sum_of_them_counts(ready: Stage) -> None:
    policy(ready, extend_free_hours=6)
    before = living(ready).expires_at
    first = ready.desk.ask_change(ready.ask(), NAME, Extend(4))
    assert first.state == RequestState.APPROVED
    ready.look()
    assert living(ready).expires_at == before + 4 * HOUR
    with ready.store.reading() as tx:
        (told,) = tx.messages(first.request_id)
    assert (told.kind, told.thread) == (MessageKind.OUTCOME, requests(ready, Kind.CREATE)[0].id)
    second = ready.desk.ask_change(ready.ask(), NAME, Extend(4))
    assert second.state == RequestState.AWAITING_APPROVAL


def test_never_beyond_the_longest_time_without_a_lead(ready: Stage) -> None:
    policy(ready, extend_free_hours=100, max_hours=10)
    assert ready.desk.ask_change(ready.ask(), NAME, Extend(4)).state == RequestState.AWAITING_APPROVAL


@pytest.mark.parametrize("hours", [0, -1, 73, 9999])
def test_hours_that_cannot_be(ready: Stage, hours: int) -> None:
    with pytest.raises(Invalid, match="1 to 72 hours"):
        ready.desk.ask_change(ready.ask(), NAME, Extend(hours))


# --- a failed cluster ---------------------------------------------------------------------------------------------


def test_a_failed_cluster_is_deleted_after_its_hours(failed: Stage) -> None:
    (create,) = requests(failed, Kind.CREATE)
    assert failed.story(create.id).removed_at == create.finished_at + 24 * HOUR
    until(failed, create.finished_at + 24 * HOUR - 10)
    assert living(failed).state == ClusterState.FAILED
    until(failed, create.finished_at + 24 * HOUR + 1)
    (delete,) = requests(failed, Kind.DELETE)
    assert failed.finish(delete.id).cluster_state == ClusterState.GONE


def test_one_that_is_kept_stays_longer_and_is_told_what_it_costs(failed: Stage) -> None:
    kept = failed.desk.keep(failed.ask(), NAME)
    assert kept.until == failed.clock.now() + 168 * HOUR
    assert kept.rate == pytest.approx(0.3)
    restarted(failed)
    until(failed, kept.until - 10)
    assert requests(failed, Kind.DELETE) == []
    until(failed, kept.until + 1)
    assert len(requests(failed, Kind.DELETE)) == 1


def test_keeping_again_at_once_changes_nothing(failed: Stage) -> None:
    for _ in range(5):
        failed.desk.keep(failed.ask(), NAME)
    assert notices(failed) == ["kept"]


def test_never_by_itself_where_the_policy_says_so(failed: Stage) -> None:
    policy(failed, failed_hours=0)
    failed.clock.forward(1000 * HOUR)
    failed.look()
    assert requests(failed, Kind.DELETE) == []


def test_only_what_failed_is_kept_or_retried(ready: Stage) -> None:
    with pytest.raises(Conflict, match="only a failed cluster"):
        ready.desk.keep(ready.ask(), NAME)
    with pytest.raises(Conflict, match="only a create that has failed"):
        ready.desk.retry(ready.ask(), NAME)


def test_a_retry_goes_on_from_the_failed_step_under_the_same_approval(failed: Stage) -> None:
    (create,) = requests(failed, Kind.CREATE)
    done = [row.kind for row in _steps(failed, create.id) if row.state == "done"]
    failed.rancher.charts = ("v26.7.0",)
    failed.desk.retry(failed.ask(), NAME)
    assert living(failed).state == ClusterState.BUILDING
    restarted(failed)
    assert failed.finish(create.id).cluster_state == ClusterState.READY
    assert failed.rancher.made["cluster train-a"] == 1
    assert [row.kind for row in _steps(failed, create.id) if row.state == "done"][: len(done)] != []
    with failed.store.reading() as tx:
        assert len(tx.approvals(create.id)) == 1


def test_a_retry_lets_the_pools_go_on_that_the_failure_has_stopped(failed: Stage) -> None:
    failed.desk.retry(failed.ask(), NAME)
    failed.look()
    assert failed.rancher.sized == [{"cp": 1, "wk": 1, "gpu": 1}]


def test_two_retries_are_one(failed: Stage) -> None:
    failed.desk.retry(failed.ask(), NAME)
    with pytest.raises(Conflict, match="being built; there is nothing to retry"):
        failed.desk.retry(failed.ask(), NAME)


def test_what_was_not_approved_is_not_retried(failed: Stage) -> None:
    (create,) = requests(failed, Kind.CREATE)
    with failed.store.transaction() as tx:
        tx.change(create, envelope=create.envelope.replace('"hours": 8', '"hours": 80'))
    with pytest.raises(Conflict, match="is not what was approved"):
        failed.desk.retry(failed.ask(), NAME)


def test_a_button_of_an_earlier_cluster_of_that_name_does_nothing(failed: Stage) -> None:
    (create,) = requests(failed, Kind.CREATE)
    failed.finish(failed.delete())
    failed.running()
    for press in (failed.desk.retry, failed.desk.keep, failed.desk.ask_delete):
        with pytest.raises(Conflict, match="of an earlier"):
            press(failed.ask(), NAME, meant=create.id)


def _steps(stage: Stage, request_id: str):
    with stage.store.reading() as tx:
        return tx.steps(request_id)


# --- cancel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checked", [False, True])
def test_cancelling_what_waits_frees_the_name_and_closes_the_card(stage: Stage, checked: bool) -> None:
    asked = stage.awaiting() if checked else stage.create()
    result = stage.desk.cancel(stage.ask(), NAME)
    assert (result.story.state, result.removing) == (RequestState.CANCELLED, False)
    with pytest.raises(Conflict, match="was cancelled"):
        stage.approve(asked.request_id)
    stage.create()


def test_cancelling_a_create_that_runs_removes_what_it_made(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    assert stage.desk.cancel(stage.ask(), NAME).removing
    restarted(stage)
    made = dict(stage.rancher.made)
    (delete,) = requests(stage, Kind.DELETE)
    assert stage.finish(delete.id).cluster_state == ClusterState.GONE
    assert {k: v for k, v in stage.rancher.made.items() if k != "delete"} == made, "nothing new was begun"
    assert stage.story(request_id).reason == f"Cancelled by <@{REQUESTER}>."
    stage.create()


def test_a_look_under_way_begins_no_further_step_after_a_cancel(stage: Stage) -> None:
    request_id = stage.running()
    config = stage.rancher.ensure_machine_config

    def cancelled_meanwhile(*given: object) -> None:
        config(*given)  # type: ignore[arg-type]
        if stage.request(request_id).state == RequestState.RUNNING:
            stage.desk.cancel(stage.ask(), NAME)

    stage.rancher.ensure_machine_config = cancelled_meanwhile  # type: ignore[method-assign]
    stage.look()
    assert stage.rancher.made == {"config cp": 1}, "neither the other configs nor the cluster"


READS = ("observe", "app", "system_project", "chart_versions", "nodes", "policy", "jobs")
WRITES = (
    "ensure_machine_config", "ensure_cluster", "size_pools", "ensure_repo", "install_chart", "bind_role",
    "ensure_namespace", "ensure_job", "remove_taint",
)  # fmt: skip


@pytest.mark.parametrize("moment", range(2, 34, 3))
def test_whenever_a_cancel_comes_nothing_new_is_begun(stage: Stage, moment: int) -> None:
    """The cancel comes during some call to Rancher or the cluster: that call ends, and no other effect begins."""
    request_id = stage.running()
    heard: list[str] = []

    def hearing(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def hear(*given: object, **named: object) -> object:
            heard.append(name)
            if len(heard) == moment:
                stage.desk.cancel(stage.ask(), NAME)
            return call(*given, **named)

        return hear

    for seam in (stage.rancher, stage.kube):
        for name in (*READS, *WRITES):
            if hasattr(seam, name):
                setattr(seam, name, hearing(name, getattr(seam, name)))
    for _ in range(200):
        if len(heard) >= moment:
            break
        stage.look()
    assert len(heard) >= moment, "the create came to its end before"
    assert [name for name in heard[moment:] if name in WRITES] == []
    assert stage.request(request_id).state == RequestState.CANCELLED


def test_a_change_that_waits_is_withdrawn_and_the_cluster_stays(ready: Stage) -> None:
    ready.desk.ask_change(ready.ask(), NAME, Extend(4))
    ready.desk.cancel(ready.ask(LEAD), NAME)
    assert living(ready).state == ClusterState.READY
    with pytest.raises(Conflict, match="Nothing is under way"):
        ready.desk.cancel(ready.ask(), NAME)


def test_a_delete_is_withdrawn_while_it_waits_only(ready: Stage) -> None:
    ready.desk.ask_delete(ready.ask(), NAME)
    ready.desk.cancel(ready.ask(), NAME)
    ready.delete()
    with pytest.raises(Conflict, match="cannot be taken back"):
        ready.desk.cancel(ready.ask(), NAME)


# --- scale --------------------------------------------------------------------------------------------------------


def scaled(stage: Stage, gpus: int, pool: str = "") -> str:
    """A scale that a lead has approved; its request's id."""
    asked = stage.desk.ask_change(stage.ask(), NAME, Scale(pool, gpus))
    stage.look()
    stage.approve(asked.request_id)
    return asked.request_id


def test_a_bigger_pool_is_checked_approved_and_only_its_new_nodes_are_measured(ready: Stage) -> None:
    jobs, configs = set(ready.kube.orders), dict(ready.rancher.configs)
    told = ready.finish(scaled(ready, 3))
    assert told.state == RequestState.DONE
    assert {ready.kube.orders[name].node for name in set(ready.kube.orders) - jobs} == {"node-gpu-1", "node-gpu-2"}
    assert ready.kube.opened[-2:] == ["node-gpu-1", "node-gpu-2"]
    assert ready.rancher.sized == [{"gpu": 3}]
    assert ready.rancher.configs == configs
    assert living(ready).state == ClusterState.READY
    assert {check.name: check.state for check in told.checks}["quota"] == "ok"
    assert told.envelope is not None and told.envelope.gpus == 3


def test_a_smaller_pool_loses_those_that_nobody_needs(ready: Stage) -> None:
    ready.finish(scaled(ready, 3))
    ready.kube.gpus_in_use = lambda: {"node-gpu-0": 1, "node-gpu-2": 1}  # type: ignore[method-assign]
    told = ready.finish(scaled(ready, 2))
    assert told.state == RequestState.DONE
    assert (ready.rancher.sized[-1], ready.rancher.marked) == ({"gpu": 2}, ["gpu-1"])
    assert sorted(m.name for m in ready.rancher.machines if m.pool == "gpu") == ["gpu-0", "gpu-2"]


def test_without_capacity_the_pool_goes_back_and_the_cluster_stays_as_it_was(ready: Stage) -> None:
    """After as many refusals for each new machine as the policy says: one, here."""
    rules = dataclasses.replace(ready.catalogue.policy, tries_per_place=1)
    ready.catalogue = dataclasses.replace(ready.catalogue, policy=rules)
    ready.engine = ready.new_engine()
    words = "InsufficientInstanceCapacity: no capacity"
    ready.rancher.newcomers = lambda pool, n: dataclasses.replace(
        refused(pool, n, words), name=f"{pool}-{n}", uid=f"u{n}"
    )
    told = ready.finish(scaled(ready, 4), within_s=600.0)
    assert told.state == RequestState.FAILED
    assert "refused to start a g4dn.xlarge 3 times" in told.reason
    assert "back at 1; the cluster is as it was" in told.remedy
    assert (ready.rancher.sized[-1], ready.rancher.marked) == ({"gpu": 1}, ["gpu-1", "gpu-2", "gpu-3"])
    assert [m.name for m in ready.rancher.machines if m.pool == "gpu"] == ["gpu-0"]
    assert living(ready).state == ClusterState.READY


def test_new_nodes_that_fail_are_given_back(ready: Stage) -> None:
    ready.kube.results["node-gpu-1"] = JobView("succeeded", "", "", probe_log(ok=False, at="x"))
    told = ready.finish(scaled(ready, 2))
    assert told.state == RequestState.FAILED
    assert "new GPUs passed verification" in told.reason
    assert (ready.rancher.sized[-1], ready.rancher.marked) == ({"gpu": 1}, ["gpu-1"])
    assert "node-gpu-1" not in ready.kube.opened


def test_a_scale_cancelled_on_its_way_is_taken_back(ready: Stage) -> None:
    ready.rancher.newcomers = starting
    scaled(ready, 2)
    ready.look(3)
    assert ready.desk.cancel(ready.ask(), NAME).removing
    back = requests(ready, Kind.SCALE)[-1]
    assert back.decided_by == "policy"
    assert ready.finish(back.id).state == RequestState.DONE
    assert [m.name for m in ready.rancher.machines if m.pool == "gpu"] == ["gpu-0"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Scale("", 0), "cannot have 0"),
        (Scale("gpu", 65), "too many: 64 GPUs at most"),
        (Scale("tpu", 2), "no pool “tpu”; there are: wk, gpu"),
        (Scale("cp", 3), "is the control plane"),
        (Scale("wk", 1000), "At most 100 machines"),
    ],
)
def test_sizes_that_cannot_be(ready: Stage, change: Scale, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        ready.desk.ask_change(ready.ask(), NAME, change)


def test_the_size_it_has_already(ready: Stage) -> None:
    with pytest.raises(Conflict, match="has that size already: 1 GPUs"):
        ready.desk.ask_change(ready.ask(), NAME, Scale("gpu", 1))


def test_what_is_not_ready_is_not_scaled(stage: Stage) -> None:
    stage.running()
    with pytest.raises(Conflict, match="can be scaled once it is ready"):
        stage.desk.ask_change(stage.ask(), NAME, Scale("gpu", 2))
    stage.finish(requests(stage, Kind.CREATE)[0].id)
    stage.delete()
    stage.look()
    with pytest.raises(Conflict, match="can be scaled once it is ready"):
        stage.desk.ask_change(stage.ask(), NAME, Scale("gpu", 2))


def test_what_aws_would_not_give_is_refused_with_nothing_changed(ready: Stage) -> None:
    ready.cloud.withdrawn = ("g4dn.xlarge",)
    asked = ready.desk.ask_change(ready.ask(), NAME, Scale("gpu", 2))
    ready.look()
    told = ready.story(asked.request_id)
    assert (told.state, ready.rancher.sized) == (RequestState.FAILED, [])
    assert "offers no g4dn.xlarge" in told.reason


# --- the switch and the history -----------------------------------------------------------------------------------


def test_a_lead_stops_all_new_creates_and_lets_them_through_again(stage: Stage) -> None:
    waiting = stage.awaiting()
    stage.desk.stop_creates(stage.ask(LEAD), "the invoice", stop=True)
    restarted(stage)
    with pytest.raises(Conflict, match=f"<@{LEAD}> has stopped them: the invoice"):
        stage.create(replace(DRAFT, name="train-b"))
    with pytest.raises(Conflict, match="has stopped them"):
        stage.approve(waiting.request_id, SECOND_LEAD)
    with pytest.raises(Conflict, match="stopped already"):
        stage.desk.stop_creates(stage.ask(LEAD), "", stop=True)
    stage.desk.stop_creates(stage.ask(SECOND_LEAD), "", stop=False)
    assert stage.desk.stopped() is None
    stage.approve(waiting.request_id)


def test_nobody_else_turns_the_switch(stage: Stage) -> None:
    with pytest.raises(Denied, match="Only a lead"):
        stage.desk.stop_creates(stage.ask(BYSTANDER), "", stop=True)


def test_no_policy_lets_a_create_through_while_they_are_stopped(stage: Stage) -> None:
    policy(stage, no_approval_below=1e6)
    asked = stage.create()
    stage.desk.stop_creates(stage.ask(LEAD), "", stop=True)
    stage.look()
    assert stage.request(asked.request_id).state == RequestState.AWAITING_APPROVAL


def test_the_history_is_everything_in_order_by_pages(ready: Stage) -> None:
    for _ in range(12):
        ready.desk.ask_change(ready.ask(), NAME, Extend(4))
        ready.desk.cancel(ready.ask(LEAD), NAME)
    first = ready.desk.history(ready.ask(BYSTANDER), NAME)
    assert (first.page, len(first.lines)) == (1, 20)
    assert first.lines[0].action == "asked to create"
    last = ready.desk.history(ready.ask(), NAME, first.pages)
    assert last.lines[-1].actor == LEAD
    with pytest.raises(Conflict, match=f"pages 1 to {first.pages}"):
        ready.desk.history(ready.ask(), NAME, 99)
    with pytest.raises(Conflict, match="never was"):
        ready.desk.history(ready.ask(), "nobody")


def test_an_unreachable_aws_is_told_and_nobody_is_asked_blindly(ready: Stage) -> None:
    asked = ready.desk.ask_change(ready.ask(), NAME, Scale("gpu", 2))
    ready.cloud.trouble = Permanent("AWS says no")
    ready.look()
    told = ready.story(asked.request_id)
    assert {check.state for check in told.checks if check.name != "Rancher"} == {"unknown"}
    assert told.envelope is not None and told.envelope.max_price_per_hour is None
