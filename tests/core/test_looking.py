"""A create from approval to ready, cut short anywhere; outages; mistakes of our own; and who may act."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pytest import MonkeyPatch

from bot.core import engine as engines
from bot.core.operator_values import NAMESPACE
from bot.core.ports import Busy, Permanent, Temporary, Tx, Unread
from bot.core.records import ClusterState, MessageKind, RequestState, StepState
from bot.core.spec import UNVERIFIED_TAINT, to_json
from bot.core.steps import operator as operators
from bot.core.verification.verdict import VERIFIED
from tests.core.fakes import MID, KilledHere
from tests.core.stage import Stage

ONCE = {"config cp": 1, "config wk": 1, "config gpu": 1, "cluster train-a": 1, "helm operation": 1}


def test_from_approval_to_ready(stage: Stage) -> None:
    story = stage.finish(stage.running())
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.READY)
    assert all(step.state == StepState.DONE for step in story.steps)
    assert story.report is not None
    assert (story.report.verdict, story.report.good, story.report.expected) == (VERIFIED, 1, 1)
    assert story.ready_at == story.finished_at
    assert story.expires_at == (story.ready_at or 0) + 8 * 3600
    assert story.access is not None
    assert (story.access.bound_to, story.access.storage_class) == ("local://u-abcde", "ebs-gp3")
    assert stage.rancher.bound == [("local://u-abcde", "gpu-cluster-user")]
    assert stage.cluster(story.request_id).management_id == MID
    assert dict(stage.rancher.made) == ONCE
    assert list(stage.kube.made.values()) == [1]


def test_the_thread_gets_results_and_one_outcome(stage: Stage) -> None:
    request_id = stage.running()
    stage.finish(request_id)
    stage.look(5)
    with stage.store.reading() as tx:
        kinds = [message.kind for message in tx.messages(request_id)]
    assert (kinds[0], kinds[-1]) == (MessageKind.PARENT, MessageKind.OUTCOME)
    assert kinds.count(MessageKind.RESULTS) == kinds.count(MessageKind.OUTCOME) == 1


def test_nothing_is_made_before_a_lead_has_approved(stage: Stage) -> None:
    stage.awaiting()
    stage.look(20)
    assert not stage.rancher.made
    assert not stage.kube.made


def test_the_gate_opens_only_after_the_probe(stage: Stage) -> None:
    request_id = stage.running()
    while not stage.kube.orders:
        assert stage.kube.opened == []
        stage.look()
    (order,) = stage.kube.orders.values()
    assert (order.gpus, order.node) == (1, "node-gpu-0")
    assert {taint[0] for taint in order.tolerations} == {"nvidia.com/gpu", UNVERIFIED_TAINT}
    stage.finish(request_id)
    assert stage.kube.opened == ["node-gpu-0"]


def test_the_operator_gets_its_namespace_version_and_tolerations(stage: Stage) -> None:
    stage.finish(stage.running())
    (order,) = stage.rancher.orders
    assert (order.namespace, order.project, order.version) == (NAMESPACE, f"{MID}:p-system", "v26.7.0")
    assert stage.kube.namespaces[NAMESPACE] is True, "privileged"
    taints = {"nvidia.com/gpu", UNVERIFIED_TAINT}
    for where in (
        order.values["operator"],
        order.values["daemonsets"],
        order.values["node-feature-discovery"]["worker"],
    ):
        assert taints <= {toleration["key"] for toleration in where["tolerations"]}
    assert order.values["driver"]["upgradePolicy"] == {"autoUpgrade": False}


def test_somebody_without_a_rancher_account_gets_a_cluster_all_the_same(stage: Stage) -> None:
    stage.principals.clear()
    story = stage.finish(stage.running())
    assert story.access is not None
    assert (story.access.bound_to, story.access.role, stage.rancher.bound) == ("", "", [])


# --- killed, and started again --------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(1, 8))
def test_a_new_process_goes_on_after_any_look_and_nothing_is_made_twice(stage: Stage, after: int) -> None:
    request_id = stage.running()
    stage.look(after)
    stage.engine = stage.new_engine()
    story = stage.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert dict(stage.rancher.made) == ONCE
    assert set(stage.kube.made.values()) == {1}


@pytest.mark.parametrize("doomed", ["ensure_cluster", "ensure_machine_config", "ensure_repo", "bind_role"])
def test_a_process_killed_right_after_it_made_something(stage: Stage, doomed: str) -> None:
    """The effect is there, the look is not written down: the next process finds it and makes no other."""
    request_id = stage.running()
    real = getattr(stage.rancher, doomed)

    def killed(*args: object, **options: object) -> None:
        real(*args, **options)
        raise KilledHere

    setattr(stage.rancher, doomed, killed)
    with pytest.raises(KilledHere):
        stage.look(20)
    setattr(stage.rancher, doomed, real)
    stage.engine = stage.new_engine()
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert dict(stage.rancher.made) == ONCE


def test_a_process_killed_between_helms_start_and_its_own_note_of_it(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.crash_after_install = True
    stage.rancher.helm_seconds = 60.0
    with pytest.raises(KilledHere):
        stage.look(20)
    assert stage.rancher.made["helm operation"] == 1
    stage.engine = stage.new_engine()
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.rancher.made["helm operation"] == 1


def test_looks_that_always_come_late_still_get_there(stage: Stage) -> None:
    assert stage.finish(stage.running(), every=60.0).cluster_state == ClusterState.READY
    assert stage.rancher.made["helm operation"] == 1


def test_looks_that_come_late_still_get_helm_started(stage: Stage) -> None:
    """Between the intent and the look that acts on it, a busy process or a fast clock may let time go by."""
    request_id = stage.running()
    while "intent_at" not in stage.step(request_id, "operator").facts:
        stage.look()
    stage.clock.world += 900
    stage.look()
    assert stage.rancher.made["helm operation"] == 1
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_an_intent_counts_as_untouched_only_while_a_dead_looks_lease_would_keep_us_out() -> None:
    assert operators._FRESH_REAL_S < engines.LEASE_S


def test_a_crash_that_left_no_trace_of_helm_is_made_good_after_a_while(stage: Stage) -> None:
    """Rancher took the order and lost it: no release ever shows, so it is asked for once more."""
    request_id = stage.running()
    stage.rancher.crash_after_install = True
    with pytest.raises(KilledHere):
        stage.look(20)
    stage.rancher.release = None
    stage.engine = stage.new_engine()
    killed_at = stage.clock.now()
    stage.look(20)
    assert stage.rancher.made["helm operation"] == 1, "not while Helm may be at work"
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.rancher.made["helm operation"] == 2
    assert stage.rancher.installed_at >= killed_at + 100


def test_a_release_that_failed_is_not_installed_again(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.helm_seconds = 1e9
    while stage.rancher.release is None:
        stage.look()
    stage.rancher.release = dataclasses.replace(stage.rancher.release, status="failed")
    stage.rancher.helm_log = "Error: INSTALLATION FAILED: timed out waiting for the condition\n"
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert story.reason == "Helm could not install the GPU Operator."
    assert story.diagnosis == ("Error: INSTALLATION FAILED: timed out waiting for the condition",)
    assert stage.rancher.made["helm operation"] == 1


# --- leases ---------------------------------------------------------------------------------------------------


def test_what_one_engine_holds_another_leaves_alone_until_the_lease_is_over(stage: Stage) -> None:
    request_id = stage.running()
    with stage.store.transaction() as tx:
        (held,) = tx.claim_requests(
            now=stage.clock.now(), real=stage.clock.real(), owner="dead", lease_s=engines.LEASE_S, limit=1
        )
    assert held.id == request_id
    assert stage.new_engine().look_once() == 0
    stage.clock.forward(engines.LEASE_S - 1)
    assert stage.new_engine().look_once() == 0
    stage.clock.forward(1)
    assert stage.new_engine().look_once() == 1
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_lease_is_given_back_after_each_look(stage: Stage) -> None:
    request_id = stage.running()
    stage.look()
    row = stage.request(request_id)
    assert (row.lease_owner, row.lease_until_real) == ("", 0.0)


def test_what_a_look_found_is_dropped_when_the_request_was_cancelled_meanwhile(stage: Stage) -> None:
    request_id = stage.running()
    stage.look()
    real = stage.rancher.observe

    def while_looking(name: str, *, newer_than: float) -> object:
        stage.rancher.observe = real  # type: ignore[method-assign]
        stage.delete()
        return real(name, newer_than=newer_than)

    before = stage.step(request_id, "cluster_object")
    stage.rancher.observe = while_looking  # type: ignore[assignment, method-assign]
    stage.engine.look_once()
    assert stage.story(request_id).state == RequestState.CANCELLED
    assert stage.step(request_id, "cluster_object") == before
    assert stage.request(request_id).lease_owner == "", "the lease is given back all the same"


# --- what was approved ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hash_too", [False, True])
def test_an_envelope_that_is_not_the_approved_one_is_refused(stage: Stage, hash_too: bool) -> None:
    request_id = stage.running()
    row = stage.request(request_id)
    envelope = stage.story(request_id).envelope
    assert envelope is not None
    larger = dataclasses.replace(envelope, hours=envelope.hours + 1)
    changes = {"envelope_hash": larger.digest()} if hash_too else {}
    with stage.store.transaction() as tx:
        tx.change(row, envelope=to_json(larger), **changes)
    stage.look()
    story = stage.story(request_id)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.FAILED)
    assert "approv" in story.reason
    assert not stage.rancher.made


def test_what_the_card_promised_is_checked_again_before_anything_is_made(stage: Stage) -> None:
    request_id = stage.running()
    stage.cloud.withdrawn = ("g4dn.xlarge",)
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "lists no g4dn.xlarge" in story.reason
    assert not stage.rancher.made


def test_an_object_of_our_name_that_is_not_ours_is_left_alone(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.label = "r-somebody"
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "another's" in story.reason
    assert stage.rancher.made["cluster train-a"] == 0


# --- errors ---------------------------------------------------------------------------------------------------


def test_an_outage_of_hours_does_not_fail_a_request(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    observed = stage.step(request_id, "operator").observed_s
    stage.outage(Temporary("503 Service Unavailable"))
    ended = stage.clock.now() + 3 * 3600
    stage.look(40, every=1.0)
    assert "503" in stage.step(request_id, "operator").why
    while stage.clock.now() < ended:
        stage.look(every=60.0)
    stage.outage(None)
    stage.look(1)
    assert stage.step(request_id, "operator").observed_s - observed < 60
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_not_even_the_first_look_that_saw_nothing_counts(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    before = stage.step(request_id, "operator").observed_s
    stage.clock.forward(50.0)
    stage.outage(Temporary("503 Service Unavailable"))
    stage.look()
    assert stage.step(request_id, "operator").observed_s == before


def test_after_days_of_errors_the_back_off_is_what_it_was_after_minutes(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    step = stage.step(request_id, "operator")
    with stage.store.transaction() as tx:
        tx.change(step, errors=100_000)
    stage.outage(Temporary("503 Service Unavailable"))
    stage.engine.look_once()
    assert stage.step(request_id, "operator").errors == 100_001
    assert stage.request(request_id).next_look_at <= stage.clock.now() + 36


def test_waiting_for_a_world_that_can_be_seen_does_fail_it(stage: Stage) -> None:
    """The same wait, with a Rancher that answers: the clock runs."""
    request_id = stage.running()
    stage.rancher.connected = False
    story = stage.finish(request_id, every=30.0)
    assert story.state == RequestState.FAILED
    assert "The control plane did not answer in 3" in story.reason
    assert "waiting for viable init node" in story.reason
    assert (story.finished_at or 0) - story.asked_at < 1800 + 120


def test_an_answer_that_says_not_yet_is_an_answer(stage: Stage) -> None:
    """A Rancher that is busy with something of ours can be seen: the clock runs, and gives up in the end."""
    request_id = stage.running()
    stage.look(2)
    stage.kube.trouble = Busy("the namespace is being removed")
    story = stage.finish(request_id, every=30.0)
    assert story.state == RequestState.FAILED
    assert "the namespace is being removed" in story.reason


def test_an_outage_right_after_the_approval_is_waited_for(stage: Stage) -> None:
    request_id = stage.running()
    stage.outage(Temporary("503 Service Unavailable"))
    stage.look(60, every=60.0)
    assert stage.step(request_id, "preflight").state == StepState.RUNNING
    stage.outage(None)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_mistake_of_ours_after_a_long_outage_is_tried_again_too(stage: Stage) -> None:
    request_id = stage.running()
    stage.look()
    stage.outage(Temporary("503 Service Unavailable"))
    stage.look(20, every=40.0)
    stage.outage(None)
    real = stage.rancher.observe

    def broken_once(name: str, *, newer_than: float) -> object:
        stage.rancher.observe = real  # type: ignore[method-assign]
        raise KeyError("metadata")

    stage.rancher.observe = broken_once  # type: ignore[assignment, method-assign]
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_back_off_grows_to_half_a_minute_and_no_further(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    stage.outage(Temporary("no answer"))
    waits = []
    for _ in range(12):
        stage.engine.look_once()
        with stage.store.reading() as tx:
            late = next(row for row in tx.steps(request_id) if row.errors)
        waits.append(late.not_before - stage.clock.now())
        stage.clock.forward(max(waits[-1], 0.0) + 1)
    assert 1.6 <= waits[0] <= 2.4
    assert 3.2 <= waits[1] <= 4.8
    assert all(24 <= wait <= 36 for wait in waits[5:])


def test_a_permanent_error_ends_it_with_its_remedy(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    stage.rancher.trouble = Permanent("403: namespaces is forbidden", "Ask whoever keeps Rancher.")
    story = stage.finish(request_id)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.FAILED)
    assert (story.reason, story.remedy) == ("403: namespaces is forbidden", "Ask whoever keeps Rancher.")


def test_a_mistake_of_ours_is_tried_again_and_then_given_up_with_the_id_that_the_log_has(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = stage.running()

    def broken(*_: object) -> None:
        raise KeyError("metadata")

    stage.rancher.ensure_repo = broken  # type: ignore[method-assign, assignment]
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert stage.step(request_id, "catalog").broken == 5
    assert story.reason == "Something in the bot broke."
    said = [r.getMessage() for r in caplog.records if story.incident in r.getMessage() and r.exc_info]
    assert said == [f"incident {story.incident}: step catalog@1 of {request_id} broke"]


def test_a_mistake_that_goes_away_costs_nothing(stage: Stage) -> None:
    request_id = stage.running()
    real, left = stage.rancher.ensure_repo, [3]

    def broken(*args: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise KeyError("metadata")
        return real(*args)  # type: ignore[arg-type]

    stage.rancher.ensure_repo = broken  # type: ignore[method-assign, assignment]
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.step(request_id, "catalog").broken == 0


@pytest.mark.parametrize(
    ("plan", "says"),
    [('[{"kind": "unheard_of@9", "after": []}]', "does not know"), ("{", "incident i-")],
)
def test_a_plan_that_this_release_cannot_follow_is_left_alone_and_looked_at_again(
    stage: Stage, caplog: pytest.LogCaptureFixture, plan: str, says: str
) -> None:
    request_id = stage.running()
    row = stage.request(request_id)
    with stage.store.transaction() as tx:
        changed = tx.change(row, plan=plan)
    stage.look(every=0)
    assert says in caplog.text
    now = stage.request(request_id)
    assert (now.state, now.lease_owner) == (changed.state, "")
    assert 20 <= now.next_look_at - stage.clock.now() <= 40
    with stage.store.transaction() as tx:
        tx.change(now, plan=row.plan)
    stage.clock.forward(40)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_step_that_is_late_is_spoken_of_once(stage: Stage) -> None:
    request_id = stage.running()
    stage.kube.view = None
    stage.look(150)
    with stage.store.reading() as tx:
        lines = [m.body for m in tx.messages(request_id) if "stalled" in m.body]
    assert len(lines) == 1
    assert "policy_ready" in lines[0]
    assert stage.story(request_id).current is not None


def test_a_look_never_trusts_a_snapshot_older_than_its_own_write(stage: Stage) -> None:
    request_id = stage.running()
    written = stage.clock.real()
    stage.look(every=7.0)
    stage.finish(request_id)
    assert set(stage.rancher.observed) <= {written, 0.0}, "0: the watch of the ready cluster has written nothing"


# --- when what is looked at -----------------------------------------------------------------------------------


def test_a_step_that_waits_for_the_cluster_is_left_alone_until_it_is_due(stage: Stage) -> None:
    """What changes in Rancher meanwhile is looked at, without asking the cluster's own API once more."""
    request_id = stage.running()
    stage.rancher.helm_seconds = 3600.0
    stage.rancher.says = {"updated": False}
    until_it_waits = 0
    while not (asked := stage.step(request_id, "operator")).not_before > stage.clock.now():
        stage.look(every=1.0)
        until_it_waits += 1
        assert until_it_waits < 40, stage.whys(request_id)
    assert asked.not_before - (asked.looked_at or 0.0) == pytest.approx(10.0)
    stage.rancher.says = {"updated": False, "message": "waiting for something else"}
    seen = stage.step(request_id, "settled").looked_at or 0.0
    stage.look(every=1.0)
    assert (stage.step(request_id, "settled").looked_at or 0.0) > seen
    assert stage.step(request_id, "operator") == asked
    assert stage.request(request_id).next_look_at <= asked.not_before
    stage.clock.forward(10.0)
    stage.look()
    assert (stage.step(request_id, "operator").looked_at or 0.0) >= asked.not_before


def test_what_changes_while_it_is_looked_at_is_looked_at_again(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.connected = False
    stage.look(4)
    real = stage.rancher.observe

    def while_looking(name: str, *, newer_than: float) -> object:
        stage.rancher.observe = real  # type: ignore[method-assign]
        view = real(name, newer_than=newer_than)
        stage.clock.wall += 1.0
        stage.rancher.connected = True
        stage.engine.notice()
        return view

    stage.clock.forward(60.0)
    stage.rancher.observe = while_looking  # type: ignore[assignment, method-assign]
    stage.engine.look_once()
    assert stage.step(request_id, "control_plane").state == StepState.RUNNING, "it saw what was so before"
    assert stage.request(request_id).next_look_at <= stage.clock.now()
    stage.engine.look_once()
    assert stage.step(request_id, "control_plane").state == StepState.DONE


def test_a_look_that_ends_while_something_is_being_noticed_knows_of_it(stage: Stage, monkeypatch: MonkeyPatch) -> None:
    """The notice is written, and the look writes after it: when it is to be looked at next is the look's last word."""
    request_id = stage.running()
    stage.rancher.connected = False
    stage.look(4)
    real, transaction = stage.rancher.observe, stage.store.transaction
    noticing = threading.Thread(target=stage.engine.notice)
    written, looked = threading.Event(), threading.Event()

    @contextmanager
    def lingering(*, first: bool = False) -> Iterator[Tx]:
        with transaction(first=first) as tx:
            yield tx
        if threading.current_thread() is noticing:
            written.set()
            assert looked.wait(10)

    def while_looking(name: str, *, newer_than: float) -> object:
        stage.rancher.observe = real  # type: ignore[method-assign]
        view = real(name, newer_than=newer_than)
        stage.clock.wall += 1.0
        stage.rancher.connected = True
        monkeypatch.setattr(stage.store, "transaction", lingering)
        noticing.start()
        assert written.wait(10)
        return view

    stage.clock.forward(60.0)
    stage.rancher.observe = while_looking  # type: ignore[assignment, method-assign]
    try:
        stage.engine.look_once()
    finally:
        looked.set()
        noticing.join()
    assert stage.step(request_id, "control_plane").state == StepState.RUNNING, "it saw what was so before"
    assert stage.request(request_id).next_look_at <= stage.clock.now()


def test_that_rancher_has_not_been_read_yet_is_no_error(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.connected = False
    stage.look(4)
    before = stage.step(request_id, "control_plane")
    stage.rancher.trouble = Unread(3.0)
    stage.clock.forward(30.0)
    stage.look(every=0.0)
    after = stage.step(request_id, "control_plane")
    assert (after.errors, after.why) == (0, before.why)
    assert after.not_before - stage.clock.now() == pytest.approx(3.0)
    assert after.observed_s > before.observed_s, "the time counts, for nothing is wrong"
