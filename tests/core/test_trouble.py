"""What goes wrong outside, and what people are told: the true cause, a remedy, and nothing bought unseen."""

from __future__ import annotations

import dataclasses
import re

import pytest

from bot.core.ports import AppView, JobView, PodTrouble, PolicyView, RepoView, Temporary
from bot.core.records import ClusterState, RequestState
from bot.core.spec import Draft
from bot.core.story import Story
from bot.core.verification.verdict import DEGRADED, FAILED, UNKNOWN, VERIFIED
from tests.core.fakes import joined, probe_log, refused, starting
from tests.core.stage import DRAFT, Stage

TWO = dataclasses.replace(DRAFT, gpus="2")
NO_CAPACITY = (
    "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity in the "
    "Availability Zone you requested (us-east-1a)."
)
NO_QUOTA = "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows"
NO_HEADERS = PodTrouble(
    "nvidia-driver-daemonset-x",
    "nvidia-driver-daemonset",
    "node-gpu-0",
    "CrashLoopBackOff",
    "back-off restarting failed container",
    "Installing Linux kernel headers...\nE: Unable to locate package linux-headers-6.8.0-9999-aws\n",
)
NO_RUNTIME = PodTrouble(
    "gpu-feature-discovery-y",
    "gpu-feature-discovery",
    "node-gpu-0",
    "FailedCreatePodSandBox",
    'no runtime for "nvidia" is configured',
    "",
)
NOT_READY = PolicyView("notReady", False, "OperandNotReady", "states not ready: [state-driver]")


def until_cluster(stage: Stage, draft: Draft = DRAFT) -> str:
    """A create whose cluster object is there."""
    request_id = stage.running(draft)
    stage.engine.look_once()
    assert stage.rancher.label
    return request_id


def refuse_one_after_the_other(stage: Stage, request_id: str, words: str, *, beside: int = 0) -> Story:
    """As Rancher does: each refused machine is seen for one look, then wiped and tried anew under another name."""
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    others += [joined("gpu", n) for n in range(beside)]
    tries = 0
    while stage.request(request_id).finished_at is None and tries < 10:
        tries += 1
        stage.rancher.machines = (*others, refused("gpu", tries, words))
        stage.look(4 if tries == 3 else 2)
        if not stage.rancher.held:
            stage.rancher.machines = (*others, dataclasses.replace(starting("gpu", 90 + tries), created=False))
            stage.look()
        elif beside:
            break
    assert tries == 3
    return stage.finish(request_id)


# --- machines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [NO_CAPACITY, NO_QUOTA])
def test_after_three_refusals_it_fails_in_aws_own_words_and_the_pool_is_emptied(stage: Stage, words: str) -> None:
    story = refuse_one_after_the_other(stage, until_cluster(stage), words)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.FAILED)
    assert words in story.reason
    assert "refused to start a g4dn.xlarge 3 times" in story.reason
    assert "request id" not in story.reason
    assert "pool has been stopped" in story.remedy
    assert story.diagnosis[0].startswith(words.partition(":")[0])
    assert stage.rancher.held == [("gpu", True)]


def test_one_refused_machine_seen_many_times_is_one_refusal(stage: Stage) -> None:
    request_id = until_cluster(stage)
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    stage.rancher.machines = (*others, refused("gpu", 1, NO_CAPACITY))
    stage.look(30)
    assert "1 of at most 3 tries" in stage.step(request_id, "machines").why
    stage.rancher.machines = (*others, joined("gpu", 0))
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.rancher.held == []


def test_only_refusals_of_one_kind_add_up(stage: Stage) -> None:
    request_id = until_cluster(stage)
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    for number, words in enumerate((NO_CAPACITY, NO_QUOTA, NO_CAPACITY, NO_QUOTA)):
        stage.rancher.machines = (*others, refused("gpu", number, words))
        stage.look(2)
    assert stage.rancher.held == []
    stage.rancher.machines = (*others, joined("gpu", 0))
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_machine_that_has_started_is_waited_for_when_the_other_is_refused(stage: Stage) -> None:
    request_id = until_cluster(stage, TWO)
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    for number in range(3):
        stage.rancher.machines = (*others, starting("gpu", 0), refused("gpu", number, NO_CAPACITY))
        stage.look(2)
    assert stage.step(request_id, "machines").state == "running"
    assert stage.rancher.held == [], "a pool that shrinks loses first what has not joined"
    stage.rancher.machines = (*others, joined("gpu", 0))
    assert stage.finish(request_id).cluster_state == ClusterState.DEGRADED
    assert stage.rancher.held == [("gpu", False)], "held once"


def test_refusals_are_remembered_across_a_restart(stage: Stage) -> None:
    request_id = until_cluster(stage)
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    for number in range(3):
        stage.rancher.machines = (*others, refused("gpu", number, NO_CAPACITY))
        stage.engine = stage.new_engine()
        stage.look(2)
    assert NO_CAPACITY in stage.finish(request_id).reason


def test_two_machines_ordered_one_refused_for_good_the_other_is_used(stage: Stage) -> None:
    story = refuse_one_after_the_other(stage, until_cluster(stage, TWO), NO_CAPACITY, beside=1)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.DEGRADED)
    assert story.reason.startswith("1 of 2 gpu machines: InsufficientInstanceCapacity: We currently")
    assert story.report is not None
    assert (story.report.verdict, story.report.good, story.report.expected) == (DEGRADED, 1, 2)
    assert stage.rancher.held == [("gpu", False)], "what is there is kept"


def test_machines_of_the_control_plane_that_are_refused_fail_it_too(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    for number in range(3):
        stage.rancher.machines = (refused("cp", number, NO_QUOTA),)
        stage.look(2)
    story = stage.story(request_id)
    assert story.state == RequestState.FAILED
    assert "refused to start a t3.large 3 times: VcpuLimitExceeded" in story.reason
    assert "quota" in story.remedy


def test_a_machine_that_starts_and_never_joins(stage: Stage) -> None:
    request_id = until_cluster(stage)
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    words = "waiting for agent to check in and apply initial plan"
    stage.rancher.machines = (*others, starting("gpu", 0, words))
    story = stage.finish(request_id, every=20.0)
    assert story.state == RequestState.FAILED
    assert re.search("1 machine of pool gpu started in EC2 but never joined the cluster in 2[01] minutes", story.reason)
    assert words in story.reason
    assert "port 443" in story.remedy
    assert stage.rancher.held == [("gpu", True)], "it costs nothing more"


def test_one_of_two_that_never_joins_is_borne(stage: Stage) -> None:
    request_id = until_cluster(stage, TWO)
    stage.rancher.machines = tuple(starting("gpu", 1) if m.name == "gpu-1" else m for m in stage.rancher.machines)
    story = stage.finish(request_id, every=20.0)
    assert story.cluster_state == ClusterState.DEGRADED
    assert story.reason == "1 of 2 gpu machines joined"
    assert stage.rancher.held == [("gpu", False)]


# --- GPUs -----------------------------------------------------------------------------------------------------


def test_two_machines_one_without_its_gpu_is_degraded_and_says_which(stage: Stage) -> None:
    request_id = until_cluster(stage, TWO)
    stage.kube.changes["node-gpu-1"] = {"gpus": 0, "gpu_capacity": 0, "labels": {"gpu-cluster/pool": "gpu"}}
    story = stage.finish(request_id)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.DEGRADED)
    assert story.reason == "no GPU on the PCI bus of node-gpu-1"
    assert story.report is not None
    assert [(n.node, n.verdict) for n in story.report.nodes] == [("node-gpu-0", VERIFIED), ("node-gpu-1", FAILED)]
    assert stage.kube.opened == ["node-gpu-0"], "the other stays behind its taint"
    assert len(stage.kube.orders) == 1


def test_a_gpu_that_computes_wrongly_fails_a_cluster_of_one(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.results["node-gpu-0"] = JobView("failed", "BackoffLimitExceeded", "", probe_log(ok=False))
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "None of the 1 GPUs passed verification" in story.reason
    assert "3 of 16777216 sums differ" in story.reason
    assert "not to be trusted" in story.remedy
    assert story.report is not None, "the table is shown all the same"
    assert stage.kube.opened == []


def test_two_faults_are_both_told(stage: Stage) -> None:
    """One machine never joins, and the GPU of another computes wrongly; a third is good."""
    request_id = until_cluster(stage, dataclasses.replace(DRAFT, gpus="3"))
    stage.rancher.machines = tuple(starting("gpu", 2) if m.name == "gpu-2" else m for m in stage.rancher.machines)
    stage.kube.results["node-gpu-1"] = JobView("failed", "", "", probe_log(ok=False, at="b"))
    story = stage.finish(request_id, every=20.0)
    assert story.cluster_state == ClusterState.DEGRADED
    assert story.reason == "2 of 3 gpu machines joined"
    said = "\n".join(story.diagnosis)
    assert "2 of 3 gpu machines joined" in said
    assert "node-gpu-1 GPU 0: vector_add failed" in said
    assert stage.kube.opened == ["node-gpu-0"]


def test_a_capacity_fault_and_a_broken_driver_name_the_one_that_ended_it(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.view, stage.kube.troubles = NOT_READY, (NO_HEADERS,)
    story = refuse_one_after_the_other(stage, request_id, NO_CAPACITY)
    assert "InsufficientInstanceCapacity" in story.reason


def test_a_probe_that_ends_without_a_result_is_run_once_more(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.results["node-gpu-0"] = JobView("failed", "Evicted", "", "")
    while len(stage.kube.orders) < 2:
        stage.look()
    del stage.kube.results["node-gpu-0"]
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert sorted(name[-2:] for name in stage.kube.orders) == ["-1", "-2"]


def test_a_probe_that_never_gives_a_result_is_no_pass(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.results["node-gpu-0"] = JobView("failed", "Evicted", "the node was low on disk", "")
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "Evicted the node was low on disk" in story.reason
    assert len(stage.kube.orders) == 2


def test_a_job_that_never_ends_is_given_up_and_is_no_pass(stage: Stage) -> None:
    request_id = until_cluster(stage, TWO)
    stage.kube.results["node-gpu-1"] = JobView("", "ImagePullBackOff", "", "")
    story = stage.finish(request_id, every=10.0)
    assert story.cluster_state == ClusterState.DEGRADED
    assert story.report is not None
    assert [node.verdict for node in story.report.nodes] == [VERIFIED, UNKNOWN]
    assert "ImagePullBackOff" in story.report.reasons[0]


def test_a_node_that_was_replaced_after_its_measurement_does_not_count(stage: Stage) -> None:
    """Two good measurements of which one machine is gone are one good GPU, not two."""
    request_id = until_cluster(stage, TWO)
    stage.kube.results["node-gpu-1"] = JobView("", "", "", "")
    while not any("node:" in key for key in stage.step(request_id, "verify").facts.split('"')):
        stage.look()
    stage.rancher.machines = tuple(m for m in stage.rancher.machines if m.name != "gpu-0")
    del stage.kube.results["node-gpu-1"]
    story = stage.finish(request_id)
    assert story.report is not None
    assert (story.report.good, story.report.verdict) == (1, DEGRADED)
    assert [node.node for node in story.report.nodes] == ["node-gpu-1"]


def test_gpus_that_kubernetes_cannot_hand_out(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.changes["node-gpu-0"] = {"gpus": 0, "gpu_capacity": 1}
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "0 of the 1 GPUs can be handed out" in story.reason
    assert story.diagnosis == ("node-gpu-0: 1 GPU(s) marked unhealthy",)


def test_a_node_whose_runtime_restarts_is_waited_for(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.changes["node-gpu-0"] = {"ready": False}
    stage.look(10)
    assert "not Ready" in stage.step(request_id, "allocatable").why
    stage.kube.changes.clear()
    assert stage.finish(request_id).cluster_state == ClusterState.READY


# --- the operator ---------------------------------------------------------------------------------------------


def test_a_driver_that_does_not_build_is_the_cause_not_what_follows_from_it(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.view, stage.kube.troubles = NOT_READY, (NO_RUNTIME, NO_HEADERS)
    story = stage.finish(request_id, every=20.0)
    assert story.state == RequestState.FAILED
    assert "not ready after 20 minutes" in story.reason
    assert "the driver does not build: no headers for this kernel" in story.reason
    assert "kernel" in story.remedy
    assert story.diagnosis[0] == "ClusterPolicy: OperandNotReady: states not ready: [state-driver]"
    assert any("linux-headers-6.8.0-9999-aws" in line for line in story.diagnosis)


def test_the_cause_is_told_while_it_is_still_waited_for(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.view, stage.kube.troubles = NOT_READY, (NO_HEADERS,)
    stage.look(5)
    stage.look(20, every=40.0)
    assert "the driver does not build" in stage.step(request_id, "policy_ready").why


@pytest.mark.parametrize("reason", ["NoGPUNodes", "NFDLabelsMissing", ""])
def test_a_policy_that_is_ready_for_the_wrong_reason_is_not(stage: Stage, reason: str) -> None:
    request_id = until_cluster(stage)
    stage.kube.view = PolicyView("ready", True, reason, "")
    stage.look(30)
    assert stage.step(request_id, "policy_ready").state == "running"
    assert stage.kube.orders == {}


def test_a_gpu_that_no_bus_shows(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.changes["node-gpu-0"] = {"labels": {"gpu-cluster/pool": "gpu"}, "gpus": 0}
    story = stage.finish(request_id, every=10.0)
    assert story.state == RequestState.FAILED
    assert "No GPU is on the PCI bus of node-gpu-0" in story.reason


def test_a_chart_version_that_is_not_there_names_those_that_are(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.charts = ("v26.3.3", "v25.10.1")
    story = stage.finish(request_id)
    assert "gpu-operator v26.7.0 is not in" in story.reason
    assert "v26.3.3, v25.10.1" in story.remedy


def test_a_repository_that_cannot_be_downloaded(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.repo = RepoView(False, "dial tcp: lookup helm.ngc.nvidia.com: no such host", "")
    story = stage.finish(request_id, every=15.0)
    assert "no such host" in story.reason
    assert "DNS" in story.remedy


def test_helm_that_never_ends(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.helm_seconds = 1e9
    story = stage.finish(request_id, every=15.0)
    assert "was not installed in 20 minutes: Helm: pending-install" in story.reason


def test_another_version_of_the_chart_is_not_what_was_ordered(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.release = AppView("deployed", "v25.3.0", 1)
    stage.look(10)
    assert stage.step(request_id, "operator").state == "running"


# --- the cluster ----------------------------------------------------------------------------------------------


def test_a_cluster_that_somebody_deletes_in_rancher_while_it_is_made(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    stage.look()
    stage.rancher.deleting, stage.rancher.lingers = True, 99
    assert "Somebody deletes the cluster in Rancher" in stage.finish(request_id).reason


def test_a_cluster_that_disappears_from_rancher(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    stage.look(3)
    stage.rancher.label, stage.cloud.left = "", ()
    assert "has disappeared from Rancher" in stage.finish(request_id).reason


def test_a_downstream_cluster_that_stops_answering_is_waited_for(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.look()
    stage.kube.trouble = Temporary("no route to host")
    stage.look(10, every=300.0)
    stage.kube.trouble = None
    assert stage.finish(request_id).cluster_state == ClusterState.READY
