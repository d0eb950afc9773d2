"""Rancher's own words: its planner's as sentences, its complaints once they last, its silence about a cluster."""

from __future__ import annotations

import dataclasses

import pytest

from bot.core.causes.planner import phase, sentence
from bot.core.done_rule import unmet
from bot.core.ports import ClusterView, Temporary
from bot.core.records import ClusterState, RequestState
from tests.core.stage import Stage
from tests.core.test_trouble import until_cluster

AWAY = Temporary("no route to host")
DONE = ClusterView(
    "train-a", "r-1", "c-m-1", deleting=False, ready=True, updated=True, observed=True, connected=True, state="active",
    transitioning=False, error=False, message="", machines=(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("message", "key", "words"),
    [
        ("CAPI cluster does not exist", "accepted", "has the order"),
        ("waiting for infrastructure ready", "infrastructure", "preparing"),
        ("waiting for at least one control plane, etcd, and worker node to be registered", "registering", "every role"),
        ("waiting for viable init node", "init-node", "first control-plane machine"),
        (
            "configuring bootstrap node(s) a-cp-x: waiting for agent to check in and apply initial plan",
            "agent",
            "asked",
        ),
        ("configuring bootstrap node(s) a-cp-x: waiting for plan to be applied", "plan", "being installed"),
        (
            "configuring bootstrap node(s) x: waiting for probes: calico, etcd, kubelet",
            "probes",
            "calico, etcd, kubelet",
        ),
        (
            "x: waiting for probes: kubelet and join url to be available on bootstrap node",
            "probes",
            "not ready yet: kubelet",
        ),
        ("configuring control plane node(s) a: waiting for cluster agent to connect", "cluster-agent", "connecting"),
        ("marking control plane as initialized", "control-plane", "nearly up"),
        ("configuring etcd node(s) a,b,c", "etcd", "etcd machines"),
        ("configuring worker node(s) a,b,c and 2 more", "workers", "joining"),
        ("draining worker node(s) a", "draining", "one by one"),
        ("non-ready worker machine(s) a: b", "unready-machine", "not ready"),
        ("failing bootstrap machine(s) a: CreateError", "failing-machine", "failed"),
        ("CAPI cluster or RKEControlPlane is paused", "paused", "paused"),
        ("KDM release data is empty for v1.99", "no-release", "does not know"),
        ("rkecontrolplane was already initialized but no etcd machines exist that have plans", "etcd-lost", "lost"),
        ("waiting for machine [a] to delete", "removing-machine", "removed"),
        ("error deleting machine [a], machine must be deleted manually", "removal-failed", "could not remove"),
    ],
)
def test_the_planners_messages_are_sentences(message: str, key: str, words: str) -> None:
    found = phase(message)
    assert found is not None
    assert found.key == key
    assert words in sentence(message)
    assert found.likely and found.action


def test_a_message_that_nobody_knows_is_told_as_it_is() -> None:
    assert phase("a wholly new message") is None
    assert sentence("a wholly new message") == "a wholly new message"
    assert sentence("") == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observed": False}, "present order"),
        ({"updated": None}, "has not said"),
        ({"updated": False, "message": "waiting for viable init node"}, "first control-plane machine"),
        ({"connected": None}, "not connected"),
        ({"ready": False}, "does not call the cluster ready"),
        ({"state": "updating"}, "its state in Rancher is updating"),
        ({"state": "something-new"}, "something-new"),
        ({"transitioning": True}, "active"),
        ({"error": True, "message": "boom"}, "boom"),
    ],
)
def test_done_is_every_condition_at_once(changes: dict[str, object], words: str) -> None:
    assert unmet(DONE, 0, 0) == ()
    missing = unmet(dataclasses.replace(DONE, **changes), 0, 0)  # type: ignore[arg-type]
    assert missing and any(words in what for what in missing)
    assert "0 of 2 machines are nodes" in unmet(DONE, 0, 2)


@pytest.mark.parametrize("state", ["waiting", "unavailable", "a-state-of-tomorrow", ""])
def test_a_state_that_is_on_no_list_is_work_under_way(stage: Stage, state: str) -> None:
    """A list of the states that may come broke others' clients (terraform-provider-rancher2 1353, 1250)."""
    request_id = stage.running()
    stage.rancher.says = {"state": state, "transitioning": False}
    stage.look(40)
    assert stage.request(request_id).state == RequestState.RUNNING
    assert f"its state in Rancher is {state or 'not known'}" in stage.step(request_id, "settled").why
    stage.rancher.says = {}
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_nodes_stay_closed_until_rancher_calls_the_cluster_done_three_times_in_a_row(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.says = {"state": "updating", "transitioning": True}
    stage.look(40)
    assert stage.step(request_id, "verify").state == "done"
    assert stage.step(request_id, "gate").state == "pending"
    for _ in range(3):  # it flips: active, updating, active
        stage.rancher.says = {}
        stage.look(2)
        stage.rancher.says = {"updated": None}
        stage.look(1)
    assert stage.step(request_id, "settled").state == "running"
    stage.rancher.says = {}
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_cluster_that_rancher_never_calls_done_fails_with_its_words(stage: Stage) -> None:
    request_id = stage.running()
    stage.rancher.says = {"updated": False, "message": "non-ready worker machine(s) train-a-wk-1: kubelet"}
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "did not call the cluster ready in 20 minutes: a machine is not ready" in story.reason


@pytest.mark.parametrize(
    ("says", "after_s", "words"),
    [
        ({"stalled": "invalid machinePool [gpu] missing name or valid config"}, 60, "invalid machinePool [gpu]"),
        ({"error": True, "message": "failing etcd machine(s) x: boom"}, 180, "boom"),
        ({"message": "rkecontrolplane was already initialized but no etcd machines exist that have plans"}, 60, "lost"),
    ],
)
def test_what_rancher_complains_of_is_believed_once_it_lasts(
    stage: Stage, says: dict[str, object], after_s: int, words: str
) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    stage.look(3)
    stage.rancher.says = says
    stage.look(after_s // 5 - 2)
    assert stage.request(request_id).finished_at is None
    stage.rancher.says = {}
    stage.look(2)
    stage.rancher.says = says
    stage.look(after_s // 5 - 2)
    assert stage.request(request_id).finished_at is None, "it had taken it back in between"
    story = stage.finish(request_id, within_s=60)
    assert words in story.reason
    assert story.remedy


def test_an_outage_does_not_count_as_lasting(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected, stage.rancher.says = False, {"error": True, "message": "boom"}
    stage.look(4)
    stage.outage(AWAY)
    stage.look(3, every=600.0)
    stage.outage(None)
    stage.look(2)
    assert stage.request(request_id).finished_at is None


def test_no_machine_of_it_after_two_minutes_is_said(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected, stage.rancher.machines = False, ()
    stage.look(20)
    assert "no machine" not in stage.step(request_id, "control_plane").why
    stage.look(6)
    assert "Rancher has made no machine in 2 minutes" in stage.step(request_id, "control_plane").why


def test_missing_is_not_gone_while_ec2_has_its_machines(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    stage.look(3)
    label, stage.rancher.label = stage.rancher.label, ""
    stage.look(70)
    why = stage.step(request_id, "control_plane").why
    assert "cannot see the cluster train-a in Rancher, but EC2 still has 3 of its machines" in why
    assert stage.request(request_id).finished_at is None
    stage.rancher.label = label
    stage.look(13)
    assert "cannot see" not in stage.step(request_id, "control_plane").why
    stage.rancher.label = ""
    stage.cloud.left = ()
    stage.look(20)
    assert stage.request(request_id).finished_at is None, "five minutes from the second time"
    assert "has disappeared from Rancher" in stage.finish(request_id, within_s=400).reason


def test_missing_is_not_believed_while_ec2_cannot_be_asked(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    stage.look(3)
    stage.rancher.label, stage.cloud.trouble = "", AWAY
    stage.look(100)
    assert stage.request(request_id).finished_at is None
