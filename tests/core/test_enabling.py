"""Enable: a cluster that was there before us is surveyed, approved as found, measured, and only ever forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from bot.core.changes import Extend, Verify
from bot.core.desk import Conflict
from bot.core.operator_values import operator_values
from bot.core.policy import Denied
from bot.core.ports import AppView, JobView, Node, Refused, Release, Temporary
from bot.core.records import ClusterState, RequestState
from bot.core.spec import EnablePolicy, Existing, Taint, Team
from bot.core.story import Story
from bot.core.survey import expected_gpus
from handlers.views.changes import done
from tests.core.fakes import MID, OPERATOR, joined, probe_log
from tests.core.stage import BYSTANDER, CATALOGUE, GUEST, LEAD, REQUESTER, Stage

NAME = "ml-lab"
ADOPTED = Release("gpu-operator", "gpu-operator", "gpu-operator", "v26.3.3", "deployed")


@pytest.fixture
def lab(stage: Stage) -> Stage:
    """Rancher has a cluster with one GPU node, in which nothing of NVIDIA's is installed."""
    stage.catalogue = dataclasses.replace(CATALOGUE, enable=EnablePolicy({NAME: "default", "elsewhere": "others"}))
    stage.catalogue.teams.setdefault("others", Team("others", leads=("UOTHERLEAD",), members=("UOTHER",)))
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()
    stage.rancher.existing = True
    stage.rancher.machines = (joined("wk", 0), joined("gpu", 0))
    stage.kube.view = None
    return stage


def surveyed(lab: Stage) -> Story:
    asked = lab.desk.ask_enable(lab.ask(), NAME)
    lab.engine.look_once()
    return lab.story(asked.request_id)


def enabled(lab: Stage) -> Story:
    asked = surveyed(lab)
    assert asked.state == RequestState.AWAITING_APPROVAL, asked.checks
    lab.approve(asked.request_id)
    lab.kube.view = lab.kube.READY
    return lab.finish(asked.request_id)


def said(story: Story) -> str:
    return "; ".join(f"{check.name}: {check.detail}" for check in story.checks)


def test_a_survey_that_gets_no_answer_is_made_again(lab: Stage) -> None:
    lab.outage(Temporary("Rancher answers 503"))
    asked = surveyed(lab)
    assert asked.state == RequestState.CHECKING
    assert said(asked) == "Rancher and AWS: could not check: Rancher answers 503"
    lab.outage(None)
    lab.clock.forward(30.0)
    lab.engine.look_once()
    assert lab.story(asked.request_id).state == RequestState.AWAITING_APPROVAL


def test_from_the_survey_to_ready(lab: Stage) -> None:
    asked = surveyed(lab)
    assert lab.rancher.orders == [] and lab.kube.orders == {} and not lab.kube.namespaces, "a survey changes nothing"
    assert asked.envelope is not None and asked.envelope.existing is not None
    assert asked.envelope.existing.nodes == (("node-gpu-0", None),)
    assert (asked.envelope.operator, asked.envelope.max_cost) == (OPERATOR, 0.0)
    with pytest.raises(Denied, match="asked for this yourself"):
        lab.approve(asked.request_id, REQUESTER)
    lab.approve(asked.request_id)
    lab.kube.view = lab.kube.READY
    story = lab.finish(asked.request_id)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.READY)
    assert story.report is not None and (story.report.good, story.report.expected) == (1, 1)
    assert [step.name for step in story.steps] == [
        "catalog", "operator", "gpu_labels", "policy_ready", "allocatable", "verify", "access",
    ]  # fmt: skip
    assert lab.rancher.made["helm operation"] == 1 and not lab.kube.opened, "no taint of others is touched"
    assert lab.cluster(asked.request_id).management_id == MID and story.expires_at is None


def test_it_is_measured_again_by_what_its_own_nodes_say(lab: Stage) -> None:
    """Two nodes that differ: each is judged by its own count."""
    lab.rancher.machines = (joined("wk", 0), joined("gpu", 0), joined("gpu", 1))
    lab.kube.results["node-gpu-1"] = JobView("succeeded", "", "", probe_log(gpus=2, at="b"))
    asked = surveyed(lab)
    lab.kube.changes["node-gpu-1"] = {"gpus": 2, "gpu_capacity": 2}
    lab.approve(asked.request_id)
    lab.kube.view = lab.kube.READY
    story = lab.finish(asked.request_id)
    assert story.cluster_state == ClusterState.READY, story.report
    again = lab.finish(lab.desk.ask_change(lab.ask(), NAME, Verify("")).request_id)
    assert again.report is not None
    assert (again.report.verdict, again.report.good, again.report.expected) == ("verified", 3, 3), again.report.reasons
    assert again.cluster_state == ClusterState.READY


def test_a_gpu_of_it_that_has_gone_bad_is_told_and_no_node_is_closed(lab: Stage) -> None:
    assert enabled(lab).cluster_state == ClusterState.READY
    lab.kube.results["node-gpu-0"] = JobView("succeeded", "", "", probe_log(ok=False))
    story = lab.finish(lab.desk.ask_change(lab.ask(), NAME, Verify("")).request_id)
    assert story.report is not None and story.report.verdict != "verified"
    assert story.cluster_state == ClusterState.DEGRADED
    assert lab.kube.closed == []
    said = repr(done(story))
    assert "closes no node" in said and "node-gpu-0" in said
    again = lab.finish(lab.desk.ask_change(lab.ask(), NAME, Verify("")).request_id)
    assert again.cluster_state == ClusterState.DEGRADED, "the survey knew no number of GPUs: none is no number to reach"


def test_a_machine_of_it_that_is_gone_is_told_and_no_taint_is_set(lab: Stage) -> None:
    assert enabled(lab).cluster_state == ClusterState.READY
    lab.look(4, every=45)
    with lab.store.reading() as tx:
        (cluster,) = tx.clusters(living=True)
        assert tx.troubles(cluster.id) == []
    lab.rancher.machines = (joined("wk", 0),)
    lab.look(4, every=45)
    with lab.store.reading() as tx:
        (trouble,) = tx.troubles(cluster.id)
    assert (trouble.kind, trouble.told_at is not None) == ("machine-gone", True)
    assert "node-gpu-0 is not in the cluster any more" in trouble.detail
    assert lab.kube.closed == []


def test_an_operator_that_is_there_is_adopted_as_it_is(lab: Stage) -> None:
    lab.rancher.charts_there, lab.rancher.release = (ADOPTED,), AppView("deployed", "v26.3.3", 4)
    story = enabled(lab)
    assert story.state == RequestState.DONE and story.envelope is not None
    assert story.envelope.existing is not None and story.envelope.existing.adopted
    assert lab.rancher.orders == [] and "gpu-operator" not in lab.kube.namespaces


def test_an_operator_that_changed_after_the_approval_is_another_thing(lab: Stage) -> None:
    lab.rancher.charts_there, lab.rancher.release = (ADOPTED,), AppView("deployed", "v26.3.3", 4)
    asked = surveyed(lab)
    lab.approve(asked.request_id)
    lab.rancher.release = AppView("deployed", "v26.7.0", 5)
    story = lab.finish(asked.request_id)
    assert story.state == RequestState.FAILED and "now it is v26.7.0" in story.reason


def _other_release(lab: Stage) -> None:
    lab.rancher.charts_there = (dataclasses.replace(ADOPTED, name="nvidia", namespace="gpu"),)


def _failed_release(lab: Stage) -> None:
    lab.rancher.charts_there = (dataclasses.replace(ADOPTED, status="failed"),)


def _policy_alone(lab: Stage) -> None:
    lab.kube.view = lab.kube.READY


def _device_plugin(lab: Stage) -> None:
    lab.kube.changes["node-gpu-0"] = {"gpu_capacity": 1, "gpus": 1}


def _no_gpus(lab: Stage) -> None:
    lab.rancher.machines = (joined("wk", 0),)


def _not_there(lab: Stage) -> None:
    lab.rancher.existing = False


def _unreachable(lab: Stage) -> None:
    lab.rancher.connected = False


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (_other_release, "as release nvidia in namespace gpu"),
        (_failed_release, "Helm says failed"),
        (_policy_alone, "something else installed the operator"),
        (_device_plugin, "another device plugin"),
        (_no_gpus, "no node shows an NVIDIA GPU"),
        (_not_there, "there is no cluster ml-lab in Rancher"),
        (_unreachable, "cannot be reached"),
    ],
)
def test_what_is_refused_and_frees_the_name(lab: Stage, wrong: Callable[[Stage], None], says: str) -> None:
    wrong(lab)
    story = surveyed(lab)
    assert story.state == RequestState.FAILED and says in story.reason and story.remedy
    assert story.cluster_state == ClusterState.GONE
    lab.desk.ask_enable(lab.ask(), NAME)  # the name is free again


def test_taints_and_a_driver_on_the_host_reach_the_chart(lab: Stage) -> None:
    labels = {"gpu-cluster/pool": "gpu", "nvidia.com/gpu.deploy.driver": "pre-installed"}
    taints = (("team", "ml", "NoSchedule"), ("node.kubernetes.io/unreachable", "", "NoExecute"))
    lab.kube.changes["node-gpu-0"] = {"labels": labels, "taints": taints}
    asked = surveyed(lab)
    assert asked.envelope is not None
    assert asked.envelope.existing == Existing(
        MID, (("node-gpu-0", None),), (Taint("team", "ml"),), adopted=False, host_driver=True
    )
    values = operator_values(asked.envelope)
    wanted = {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}
    for tolerations in (
        values["operator"]["tolerations"],
        values["daemonsets"]["tolerations"],
        values["node-feature-discovery"]["worker"]["tolerations"],
    ):
        assert wanted in tolerations
    assert values["driver"]["enabled"] is False and "without a driver" in said(asked)


@pytest.mark.parametrize(
    ("labels", "capacity", "count"),
    [
        ({"nvidia.com/gpu.count": "8"}, 8, 8),
        ({"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "4"}, 8, 8),
        ({"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.count": "7"}, 7, 7),
        ({"nvidia.com/mig.strategy": "mixed", "nvidia.com/gpu.count": "1", "nvidia.com/mig-1g.10gb.count": "7"}, 0, 7),
        ({}, 0, None),
        ({}, 4, 4),
    ],
)
def test_expected_counts(labels: dict[str, str], capacity: int, count: int | None) -> None:
    assert expected_gpus(Node("n", "u", True, labels, (), capacity, capacity)) == count


def test_under_dra_nobody_can_tell(lab: Stage) -> None:
    lab.kube.classes = ("gpu.nvidia.com",)
    asked = surveyed(lab)
    assert asked.state == RequestState.AWAITING_APPROVAL and "dynamic resource allocation" in said(asked)
    assert any(check.name == "Expected GPUs" and check.state == "unknown" for check in asked.checks)


def test_a_webhook_that_denies_is_a_diagnosis(lab: Stage) -> None:
    asked = surveyed(lab)
    lab.approve(asked.request_id)
    words = 'namespaces is forbidden: admission webhook "validate.kyverno.svc" denied the request: no privileged'

    def denied(*_: object, **__: object) -> None:
        raise Refused(f"The cluster's API answered 403: {words}", "The bot's user must be owner.")

    lab.kube.ensure_namespace = denied  # type: ignore[method-assign]
    story = lab.finish(asked.request_id)
    assert story.state == RequestState.FAILED
    assert story.reason == "The cluster's admission webhook validate.kyverno.svc denied it: no privileged"
    assert "exempt the namespaces" in story.remedy


def test_who_may_ask_and_for_what(lab: Stage) -> None:
    with pytest.raises(Conflict, match="not on the list") as listed:
        lab.desk.ask_enable(lab.ask(), "train-z")
    assert "elsewhere, ml-lab" in listed.value.next_step
    for user in (BYSTANDER, GUEST):
        with pytest.raises(Denied):
            lab.desk.ask_enable(lab.ask(user), NAME)
    with pytest.raises(Denied, match="team others"):
        lab.desk.ask_enable(lab.ask(), "elsewhere")
    asked = surveyed(lab)
    with pytest.raises(Conflict, match="is building already"):
        lab.desk.ask_enable(lab.ask(), NAME)
    with pytest.raises(Denied, match="Only a lead of team default"):
        lab.approve(asked.request_id, "UOTHERLEAD")


def test_small_orders_need_nobody_but_this_does(lab: Stage) -> None:
    policy = dataclasses.replace(CATALOGUE.policy, no_approval_below=1000.0)
    lab.catalogue = dataclasses.replace(lab.catalogue, policy=policy)
    lab.desk, lab.engine = lab.new_desk(), lab.new_engine()
    assert surveyed(lab).state == RequestState.AWAITING_APPROVAL


def test_given_back_it_stays(lab: Stage) -> None:
    enabled(lab)
    with pytest.raises(Conflict, match="was there before this bot and has no end"):
        lab.desk.ask_change(lab.ask(), NAME, Extend(4))
    lab.kube.accounts["person-1"] = REQUESTER
    story = lab.finish(lab.delete(NAME))
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.GONE)
    assert [step.name for step in story.steps] == ["forget"]
    assert lab.rancher.made["delete"] == 0 and not lab.rancher.deleting and lab.rancher.release is not None
    assert lab.rancher.unbound == [""] and lab.kube.accounts == {}


def test_it_costs_nothing_here(lab: Stage) -> None:
    enabled(lab)
    lab.clock.forward(24 * 3600)
    costs = lab.desk.costs(lab.ask(LEAD))
    assert costs.accounts == ()
