"""A cluster is gone when Rancher says so twice, and EC2 has the last word."""

from __future__ import annotations

import pytest

from bot.core.engine import LEASE_S
from bot.core.ports import Instance, Temporary
from bot.core.records import ClusterState, RequestState
from tests.core.stage import Stage

LEFT = (Instance("i-0abc", "train-a-gpu-1", "g4dn.xlarge", "shutting-down", "us-east-1a"),)


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """A cluster that is ready."""
    stage.finish(stage.running())
    return stage


def test_a_cluster_is_removed_and_its_name_is_free(ready: Stage) -> None:
    story = ready.finish(ready.delete())
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.GONE)
    assert ready.rancher.label == ""
    assert [(row.actor, row.action) for row in ready.audit(story.request_id)] == [
        ("UREQUESTER", "asked to delete"),
        ("UREQUESTER", "checking → awaiting_approval"),
        ("ULEAD", "approved"),
        ("ULEAD", "awaiting_approval → approved"),
        ("engine", "approved → running"),
        ("engine", "cluster ready → deleting"),
        ("engine", "running → done"),
        ("engine", "cluster deleting → gone"),
    ]
    ready.create()


def test_it_waits_for_rancher(ready: Stage) -> None:
    ready.rancher.lingers = 6
    deletion = ready.delete()
    ready.look(5)
    assert ready.story(deletion).state == RequestState.RUNNING
    assert ready.story(deletion).cluster_state == ClusterState.DELETING
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_once_absent_is_not_gone(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    assert ready.step(deletion, "remove_cluster").why == "Rancher says it is gone; looking once more"
    assert ready.step(deletion, "remove_cluster").state == "running"
    ready.look()
    assert ready.step(deletion, "remove_cluster").state == "done"


def test_an_absence_that_was_a_mistake_is_counted_from_the_start_again(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    ready.rancher.label, ready.rancher.lingers = deletion, 1
    ready.look(2, every=30.0)
    assert "looking once more" in ready.step(deletion, "remove_cluster").why
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_ranchers_own_record_must_go_too(ready: Stage) -> None:
    ready.rancher.management_gone = False
    deletion = ready.delete()
    ready.look(10)
    assert ready.story(deletion).state == RequestState.RUNNING
    ready.rancher.management_gone = True
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_ec2_has_the_last_word(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    ready.cloud.left = LEFT
    ready.look(10)
    assert ready.story(deletion).cluster_state == ClusterState.DELETING
    assert "i-0abc" in ready.step(deletion, "no_instances").why
    ready.cloud.left = ()
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_machines_that_stay_are_named_with_a_command_and_the_name_stays_taken(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    ready.cloud.left = LEFT
    story = ready.finish(deletion, every=10.0)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.DELETING)
    assert "still has 1 machines of it, and they cost money" in story.reason
    assert "aws ec2 terminate-instances --instance-ids i-0abc" in story.remedy
    assert story.diagnosis == ("i-0abc train-a-gpu-1 g4dn.xlarge shutting-down us-east-1a",)


def test_a_delete_that_failed_can_be_asked_for_again(ready: Stage) -> None:
    first = ready.delete()
    ready.look()
    ready.cloud.left = LEFT
    ready.finish(first, every=10.0)
    ready.cloud.left = ()
    assert ready.finish(ready.delete()).cluster_state == ClusterState.GONE


def test_a_cluster_of_that_name_that_is_not_ours_is_left_alone(ready: Stage) -> None:
    ready.rancher.label = "r-somebody"
    ready.cloud.left = ()
    story = ready.finish(ready.delete())
    assert story.cluster_state == ClusterState.GONE
    assert ready.rancher.label == "r-somebody"
    assert ready.rancher.made["delete"] == 0
    assert "not ours" in ready.step(story.request_id, "remove_cluster").facts


def test_an_outage_does_not_make_a_cluster_gone(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    ready.outage(Temporary("503"))
    ready.look(50, every=60.0)
    assert ready.story(deletion).cluster_state == ClusterState.DELETING
    ready.outage(None)
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_a_look_that_is_still_under_way_is_waited_for(stage: Stage) -> None:
    """The superseded create may still be making things until its lease is over: nothing is removed before."""
    create = stage.running()
    stage.look(1)
    with stage.store.transaction() as tx:
        (held,) = tx.claim_requests(
            now=stage.clock.now(), real=stage.clock.real(), owner="slow", lease_s=LEASE_S, limit=1
        )
    assert held.id == create
    until = stage.clock.real() + LEASE_S
    deletion = stage.delete()
    while stage.clock.real() < until:
        stage.look(every=3.0)
        if stage.clock.real() < until:
            assert stage.rancher.made["delete"] == 0
    assert stage.story(deletion).state == RequestState.RUNNING
    assert stage.finish(deletion).cluster_state == ClusterState.GONE
    assert stage.rancher.made["delete"] > 0


def test_killed_in_the_middle_of_a_removal(ready: Stage) -> None:
    ready.rancher.lingers = 5
    deletion = ready.delete()
    while ready.request(deletion).finished_at is None:
        ready.engine = ready.new_engine()
        ready.look()
    assert ready.story(deletion).cluster_state == ClusterState.GONE


def test_a_failed_cluster_can_be_removed(stage: Stage) -> None:
    request_id = stage.running()
    stage.look()
    stage.rancher.charts = ()
    assert stage.finish(request_id).cluster_state == ClusterState.FAILED
    assert stage.finish(stage.delete()).cluster_state == ClusterState.GONE
    assert stage.cloud.left == ()
