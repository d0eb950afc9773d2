"""Both adapters against the simulated world: a cluster is made, proved and deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from living import REQUEST, TOKEN, Living

from bot.core.capacity.places import gpu_places
from bot.core.operator_values import operator_values
from bot.core.ports import ChartOrder, ClusterView, Foreign, JobOrder, Permanent, Temporary, TokenRefused
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_REQUEST
from bot.rancher import RancherAdapter
from bot.sandbox.world.rancher.release import PLAYED

OURS = {LABEL_MANAGED: "true", LABEL_REQUEST: REQUEST}
NVIDIA = "https://helm.ngc.nvidia.com/nvidia"


def look(living: Living, name: str = "train-a") -> ClusterView:
    view = living.rancher.observe(name, newer_than=living.hand.real())
    assert view is not None
    return view


def connected(living: Living, name: str = "train-a") -> ClusterView:
    living.forward(700)
    view = look(living, name)
    assert view.connected
    return view


def chart_order(living: Living, project: str, version: str = "v26.7.0") -> ChartOrder:
    values = operator_values(living.envelope())
    return ChartOrder("nvidia", "gpu-operator", version, "gpu-operator", "gpu-operator", project, values)


def job_order(node: str, taints: tuple[tuple[str, str, str], ...], name: str = "verify-1") -> JobOrder:
    return JobOrder(
        name=name,
        namespace="gpu-cluster-verify",
        node=node,
        image="python@sha256:" + "0" * 64,
        gpus=1,
        script="print('probe')\n",
        arguments=("--level", "quick"),
        tolerations=taints,
        labels={**OURS, LABEL_CLUSTER: "train-a"},
        deadline_s=300,
    )


@pytest.mark.parametrize(
    ("version", "token"), [("2.11", TOKEN), ("2.13", "ext/bot-x7k2p:secret"), ("2.15", TOKEN), ("2.15", "ext/bot:s")]
)
def test_about_versions_and_credentials(make_living: Callable[..., Living], version: str, token: str) -> None:
    living = make_living(version=version, token=token)
    about = living.rancher.about()
    assert about.version.startswith(f"v{version}.")
    assert about.user_id
    assert about.token_expires_at == pytest.approx(living.clock.now() + 90 * 86400, abs=5)
    versions = living.rancher.kubernetes_versions()
    assert living.rancher.default_kubernetes() in versions
    assert not any("-rc" in version for version in versions), "a release without arguments cannot be installed"
    assert living.rancher.has_credential("cattle-global-data:cc-sandbox")
    assert not living.rancher.has_credential("cattle-global-data:cc-nobody")


def test_a_wrong_token_is_refused_with_a_remedy(living: Living) -> None:
    stranger = RancherAdapter(living.url, "token-bot:wrong", clock=living.hand)
    with pytest.raises(TokenRefused) as refused:
        stranger.about()
    stranger.close()
    assert "must authenticate" in refused.value.reason
    assert "RANCHER_TOKEN" in refused.value.remedy
    assert "wrong" not in refused.value.reason + refused.value.remedy


@pytest.mark.parametrize("version", PLAYED)
def test_a_whole_life(make_living: Callable[..., Living], version: str) -> None:
    living = make_living(version=version)
    envelope = living.envelope()
    rancher = living.rancher
    assert rancher.observe("train-a", newer_than=0) is None
    living.order(envelope)
    living.order(envelope)  # as after a crash: everything is found there

    living.forward(8)
    early = look(living)
    assert early.management_id.startswith("c-m-")
    assert not early.connected
    assert early.request_label == REQUEST
    assert {machine.pool for machine in early.machines} == {"cp", "wk", "gpu"}
    assert not any(machine.created or machine.node for machine in early.machines)

    living.forward(60)
    assert all(machine.created and not machine.node for machine in look(living).machines)

    view = connected(living)
    assert view.ready and view.updated and view.observed
    assert (view.state, view.transitioning, view.error) == ("active", False, False)
    kube = living.kube(view.management_id)
    assert kube.version() == living.kubernetes
    assert {node.name for node in kube.nodes()} == {machine.node for machine in view.machines}
    assert kube.storage_class() == ""

    gpu_node = install_operator(living, view.management_id)
    verify(living, view.management_id, gpu_node)
    rancher.bind_role(view.management_id, "local://u-requester", "cluster-member")
    rancher.bind_role(view.management_id, "local://u-requester", "cluster-member")
    counts = living.world.call_counts()["management"]
    assert counts["POST /v3/clusterroletemplatebindings"] == 1

    with pytest.raises(Foreign):
        rancher.delete_cluster("train-a", ("r-other",))
    rancher.delete_cluster("train-a", (REQUEST,))
    assert look(living).deleting
    rancher.delete_cluster("train-a", (REQUEST,))
    with pytest.raises(Temporary, match="still being deleted"):
        rancher.ensure_cluster(envelope, REQUEST)
    assert not rancher.management_cluster_gone(view.management_id)
    living.forward(600)
    assert rancher.observe("train-a", newer_than=living.hand.real()) is None
    assert rancher.management_cluster_gone(view.management_id)
    rancher.delete_cluster("train-a", (REQUEST,))
    living.order(envelope, "r-next")  # its machine configs went with it


def install_operator(living: Living, mid: str) -> str:
    """Repo, namespace, chart; returns the GPU node's name once its GPU can be handed out."""
    rancher, kube = living.rancher, living.kube(mid)
    project = rancher.system_project(mid)
    assert project is not None and project.startswith(f"{mid}:")
    assert not rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST).ready
    living.forward(20)
    repo = rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST)
    assert repo.ready and repo.request_label == REQUEST
    assert "v26.7.0" in rancher.chart_versions(mid, "nvidia", "gpu-operator")
    assert kube.policy() is None, "a CRD that is not there answers with a text 404"

    for _ in range(2):
        kube.ensure_namespace("gpu-operator", project=project, privileged=True, labels=OURS)
    assert rancher.app(mid, "gpu-operator", "gpu-operator") is None
    operation = rancher.install_chart(mid, chart_order(living, project))
    living.forward(8)
    assert rancher.app(mid, "gpu-operator", "gpu-operator") is None
    living.forward(60)
    app = rancher.app(mid, "gpu-operator", "gpu-operator")
    assert app is not None
    assert (app.status, app.version, app.revision) == ("deployed", "v26.7.0", 1)
    assert "SUCCESS" in rancher.operation_log(mid, "gpu-operator", operation)
    assert rancher.operation_log(mid, "gpu-operator", "helm-operation-zzzzz") == ""

    unready = kube.policy()
    assert unready is not None and unready.reason != "Reconciled"
    living.forward(600)
    policy = kube.policy()
    assert policy is not None
    assert (policy.state, policy.ready, policy.reason) == ("ready", True, "Reconciled")
    assert kube.pod_troubles("gpu-operator") == ()
    (gpu_node,) = [node for node in kube.nodes() if node.gpus]
    assert (gpu_node.gpus, gpu_node.gpu_capacity, gpu_node.ready) == (1, 1, True)
    assert gpu_node.labels["gpu-cluster/pool"] == "gpu"
    assert {taint[0] for taint in gpu_node.taints} == {"nvidia.com/gpu", "gpu-cluster/unverified"}
    return gpu_node.name


def verify(living: Living, mid: str, node_name: str) -> None:
    kube = living.kube(mid)
    (node,) = [node for node in kube.nodes() if node.name == node_name]
    kube.ensure_namespace("gpu-cluster-verify", project="", privileged=False, labels=OURS)
    order = job_order(node.name, node.taints)
    assert kube.job(order.namespace, order.name) is None
    kube.ensure_job(order)
    kube.ensure_job(order)
    running = kube.job(order.namespace, order.name)
    assert running is not None and running.finished == ""
    living.forward(60)
    done = kube.job(order.namespace, order.name)
    assert done is not None and done.finished == "succeeded"
    assert json.loads(done.log.splitlines()[-1])["gpus"][0]["name"] == "Tesla T4"

    kube.remove_taint(node.name, "gpu-cluster/unverified")
    kube.remove_taint(node.name, "gpu-cluster/unverified")
    (opened,) = [found for found in kube.nodes() if found.name == node.name]
    assert [taint[0] for taint in opened.taints] == ["nvidia.com/gpu"]


def test_objects_of_another_request_are_foreign(living: Living) -> None:
    envelope = living.envelope()
    living.order(envelope)
    with pytest.raises(Foreign, match="nc-train-a-cp"):
        living.rancher.ensure_machine_config(envelope, envelope.pools[0], "r-other")
    with pytest.raises(Foreign, match="Cluster train-a"):
        living.rancher.ensure_cluster(envelope, "r-other")
    mid = connected(living).management_id
    kube = living.kube(mid)
    with pytest.raises(Foreign, match="not made by the bot"):
        kube.ensure_namespace("default", project="", privileged=True, labels=OURS)
    kube.ensure_namespace("gpu-cluster-verify", project="", privileged=False, labels=OURS)
    node = kube.nodes()[0]
    kube.ensure_job(job_order(node.name, node.taints))
    theirs = job_order(node.name, node.taints)
    with pytest.raises(Foreign, match="verify-1"):
        kube.ensure_job(JobOrder(**{**vars(theirs), "labels": {**theirs.labels, LABEL_REQUEST: "r-other"}}))
    with pytest.raises(Permanent, match="elsewhere"):
        living.rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST)
        living.rancher.ensure_repo(mid, "nvidia", "https://elsewhere.example", REQUEST)


def test_machine_configs_of_a_cluster_that_was_never_made_go_with_its_removal(living: Living) -> None:
    envelope = living.envelope()
    for pool in envelope.pools:
        living.rancher.ensure_machine_config(envelope, pool, REQUEST)
    other = living.envelope("train-b")
    living.rancher.ensure_machine_config(other, other.pools[0], REQUEST)
    living.rancher.delete_cluster("train-a", ("r-other",))
    with pytest.raises(Foreign):
        living.rancher.ensure_machine_config(envelope, envelope.pools[0], "r-next")
    living.rancher.delete_cluster("train-a", ("r-other", REQUEST))
    for pool in envelope.pools:
        living.rancher.ensure_machine_config(envelope, pool, "r-next")
    with pytest.raises(Foreign):
        living.rancher.ensure_machine_config(other, other.pools[0], "r-next")


def test_what_rancher_refuses_is_permanent_and_in_its_own_words(living: Living) -> None:
    with pytest.raises(Permanent) as refused:
        living.rancher.ensure_cluster(living.envelope("c-abcde"), REQUEST)
    assert "c-abcde" in refused.value.reason


@pytest.mark.parametrize("version", PLAYED)
def test_ec2s_refusal_is_seen_word_for_word_and_the_pool_is_held(
    make_living: Callable[..., Living], version: str
) -> None:
    living = make_living("no-capacity", version=version)
    living.order(living.envelope())
    failures: dict[str, str] = {}
    for _ in range(40):
        living.forward(5)
        failures |= {m.uid: m.failure for m in look(living).machines if m.failure}
    assert len(failures) >= 2, "each machine that Rancher makes anew fails anew"
    assert all("InsufficientInstanceCapacity: We currently do not have" in text for text in failures.values())

    lowered = ("pool gpu: 1 machines, 0 approved",)
    assert living.rancher.trim_pools("train-a", {"cp": 1, "wk": 1, "gpu": 0}) == lowered
    assert living.rancher.trim_pools("train-a", {"cp": 1, "wk": 1, "gpu": 0}) == ()
    assert living.rancher.trim_pools("gone", {}) == ()
    living.forward(120)
    assert look(living).pool("gpu") == ()
    patches = living.world.call_counts()["management"]
    assert sum(n for call, n in patches.items() if call.startswith("PATCH")) == 1


def instances(living: Living, name: str = "train-a") -> list[dict[str, Any]]:
    """EC2's own view of a cluster's machines."""
    tagged = living.ec2.describe_instances(Filters=[{"Name": f"tag:{LABEL_CLUSTER}", "Values": [name]}])
    return [instance for reservation in tagged["Reservations"] for instance in reservation["Instances"]]


def test_a_sibling_pool_makes_the_machine_in_another_zone_and_goes_with_the_cluster(
    make_living: Callable[..., Living],
) -> None:
    living = make_living("no-capacity-first-zone")
    envelope = living.envelope("train-s", zones="ab")
    first, sibling = gpu_places(envelope)
    living.order(envelope)
    for _ in range(20):
        living.forward(5)
    assert not any(machine.created for machine in look(living, "train-s").pool("gpu"))
    living.rancher.size_pools(envelope, (replace(first, count=0),), REQUEST)
    living.forward(30)
    assert look(living, "train-s").pool("gpu") == ()
    for _ in range(2):  # the second time as after a crash: nothing is made again
        living.rancher.size_pools(envelope, (replace(first, count=0), sibling), REQUEST)
    living.forward(900)
    (machine,) = look(living, "train-s").pool("gpu-2")
    assert machine.node
    kube = living.kube(look(living, "train-s").management_id)
    (node,) = [node for node in kube.nodes() if node.labels["gpu-cluster/pool"] == "gpu"]
    assert node.name == machine.node
    assert {key for key, _, _ in node.taints} >= {"nvidia.com/gpu", "gpu-cluster/unverified"}
    (instance,) = [i for i in instances(living, "train-s") if i["InstanceType"] == "g4dn.xlarge"]
    assert instance["Placement"]["AvailabilityZone"] == "us-east-1b"
    living.rancher.delete_cluster("train-s", (REQUEST,))
    living.forward(900)
    living.rancher.ensure_machine_config(envelope, sibling, "r-next")
    assert {i["State"]["Name"] for i in instances(living, "train-s")} == {"terminated"}


def test_machines_that_never_join_are_created_and_say_what_they_wait_for(make_living: Callable[..., Living]) -> None:
    living = make_living("never-joins")
    living.order(living.envelope())
    view = connected(living)
    (machine,) = view.pool("gpu")
    assert machine.created and not machine.node and not machine.failure
    assert "waiting for agent to check in" in machine.message


def test_a_young_cluster_is_temporary_everywhere(living: Living) -> None:
    living.order(living.envelope())
    living.forward(8)
    mid = look(living).management_id
    kube = living.kube(mid)
    for ask in (
        kube.version,
        kube.nodes,
        lambda: living.rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST),
        lambda: living.rancher.app(mid, "gpu-operator", "gpu-operator"),
    ):
        with pytest.raises(Temporary):
            ask()
    assert living.rancher.system_project(mid) is None


def test_a_repo_that_cannot_be_downloaded_is_asked_for_again_but_not_at_every_look(living: Living) -> None:
    living.order(living.envelope())
    mid = connected(living).management_id
    wrong = "https://charts.example/none"
    living.rancher.ensure_repo(mid, "nvidia", wrong, REQUEST)
    for _ in range(12):
        living.forward(5)
        repo = living.rancher.ensure_repo(mid, "nvidia", wrong, REQUEST)
        assert not repo.ready
    assert repo.message
    calls = living.world.call_counts()["downstream"]
    assert [n for call, n in calls.items() if call.startswith("PATCH")] == [2]


def test_a_driver_that_does_not_build_is_read_from_its_pod(make_living: Callable[..., Living]) -> None:
    living = make_living("policy-not-ready")
    living.order(living.envelope())
    mid = connected(living).management_id
    kube = living.kube(mid)
    living.rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST)
    living.forward(20)
    project = living.rancher.system_project(mid) or ""
    kube.ensure_namespace("gpu-operator", project=project, privileged=True, labels=OURS)
    living.rancher.install_chart(mid, chart_order(living, project))
    living.forward(900)
    policy = kube.policy()
    assert policy is not None
    assert policy.reason == "OperandNotReady" and "state-driver" in policy.message
    worst, *others = kube.pod_troubles("gpu-operator")
    assert worst.app == "nvidia-driver-daemonset"
    assert worst.reason == "CrashLoopBackOff"
    assert worst.node
    assert "Could not resolve Linux kernel version" in worst.log
    assert all(other.reason.startswith("Init:") for other in others)


def test_a_job_without_room_says_why_it_waits_and_how_it_ended(living: Living) -> None:
    living.order(living.envelope())
    mid = connected(living).management_id
    kube = living.kube(mid)
    kube.ensure_namespace("gpu-cluster-verify", project="", privileged=False, labels=OURS)
    node = next(node for node in kube.nodes() if node.labels.get("gpu-cluster/pool") == "gpu")
    kube.ensure_job(job_order(node.name, node.taints))
    living.forward(10)
    waiting = kube.job("gpu-cluster-verify", "verify-1")
    assert waiting is not None
    assert (waiting.finished, waiting.reason) == ("", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in waiting.message
    living.forward(320)
    ended = kube.job("gpu-cluster-verify", "verify-1")
    assert ended is not None
    assert (ended.finished, ended.reason, ended.log) == ("failed", "DeadlineExceeded", "")


def test_an_outage_is_temporary_and_passes(make_living: Callable[..., Living], tmp_path: Path) -> None:
    living = make_living("rancher-503")
    living.order(living.envelope())
    living.forward(70)
    with pytest.raises(Temporary, match="503"):
        look(living)
    living.forward(30)
    assert look(living).name == "train-a"
    assert TOKEN not in repr(living.rancher)
