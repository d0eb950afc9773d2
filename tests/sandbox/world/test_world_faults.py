"""Each fault, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import kubernetes.client as k8s
import pytest
from test_world_happy_path import SCRIPT, probe_job

from bot.sandbox.world import World, WorldClock
from tests.sandbox.world.rig import Rig

MACHINES = "/v1/cluster.x-k8s.io.machines/fleet-default"
INFRA = "/v1/rke-machine.cattle.io.amazonec2machines/fleet-default"


def gpu_machines(rig: Rig, kind: str = MACHINES) -> list[dict]:
    return [m for m in rig.get(kind)["data"] if "-gpu-" in m["metadata"]["name"]]


def policy(rig: Rig) -> dict:
    api = k8s.CustomObjectsApi(rig.client())
    return api.get_cluster_custom_object("nvidia.com", "v1", "clusterpolicies", "cluster-policy")["status"]


def test_unknown_fault_is_refused_with_the_list(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c.json", manual=True)
    with pytest.raises(ValueError, match=r"(?s)unknown fault nonsense.*no-capacity, .*slack-429"):
        World(clock, ec2_endpoint="http://127.0.0.1:1", faults=["nonsense"])


def test_no_capacity_fails_wipes_and_tries_again_for_ever(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("no-capacity")
    rig.order()
    rig.forward(30)
    (machine,) = gpu_machines(rig)
    (infra,) = gpu_machines(rig, INFRA)
    text = infra["status"]["failureMessage"]
    assert "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity" in text
    assert infra["status"]["failureReason"] == "CreateError"
    ready = {c["type"]: c for c in infra["status"]["conditions"]}["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "CreateError")
    assert machine["status"]["phase"] == "Failed"
    assert "InsufficientInstanceCapacity" in machine["status"]["deprecated"]["v1beta1"]["failureMessage"]
    assert "InsufficientInstanceCapacity" not in json.dumps(rig.cluster())
    seen = {machine["metadata"]["uid"]}
    for _ in range(20):
        rig.forward(10)
        seen |= {m["metadata"]["uid"] for m in gpu_machines(rig)}
    assert len(seen) >= 5
    rig.forward(500)
    cluster = rig.cluster()
    assert cluster["metadata"]["state"]["name"] == "active"  # a short worker pool does not keep it from that
    assert len(rig.core().list_node().items) == 2


def test_a_pool_that_is_held_stops_the_loop(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("no-capacity")
    rig.order()
    rig.forward(200)
    path = "/v1/provisioning.cattle.io.clusters/fleet-default/gpu01"
    patch = [
        {"op": "test", "path": "/spec/rkeConfig/machinePools/2/name", "value": "gpu"},
        {"op": "replace", "path": "/spec/rkeConfig/machinePools/2/quantity", "value": 0},
    ]
    headers = {"Content-Type": "application/json-patch+json"}
    rig.call("PATCH", path, data=json.dumps(patch), headers=headers)
    rig.forward(100)
    assert gpu_machines(rig) == []


def test_never_joins_runs_and_says_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("never-joins")
    rig.order()
    rig.forward(3000)
    (machine,) = gpu_machines(rig)
    assert machine["status"]["phase"] == "Provisioned"
    assert "nodeRef" not in machine["status"]
    assert machine["metadata"]["state"]["message"] == "waiting for agent to check in and apply initial plan"
    (infra,) = gpu_machines(rig, INFRA)
    assert infra["status"]["ready"] is True
    instance = infra["spec"]["providerID"].split("/")[-1]
    described = rig.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert described["State"]["Name"] == "running"
    assert len(rig.core().list_node().items) == 2


def test_policy_not_ready_names_the_driver(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("policy-not-ready")
    rig.order()
    rig.forward(600)
    rig.install_operator()
    rig.forward(1500)
    status = policy(rig)
    condition = status["conditions"][0]
    assert (status["state"], condition["status"], condition["reason"]) == ("notReady", "False", "OperandNotReady")
    assert "states not ready: [state-driver " in condition["message"]
    core = rig.core()
    (pod,) = core.list_namespaced_pod("gpu-operator", label_selector="app=nvidia-driver-daemonset").items
    (container,) = pod.status.container_statuses
    assert container.state.waiting.reason == "CrashLoopBackOff"
    assert container.restart_count > 3
    log = core.read_namespaced_pod_log(pod.metadata.name, "gpu-operator", container="nvidia-driver-ctr")
    assert "Could not resolve Linux kernel version" in log
    (daemon_set,) = [
        d for d in k8s.AppsV1Api(core.api_client).list_namespaced_daemon_set("gpu-operator").items
        if d.metadata.name == "nvidia-driver-daemonset"
    ]  # fmt: skip
    assert (daemon_set.status.desired_number_scheduled, daemon_set.status.number_ready) == (1, 0)


def test_gpu_missing_leaves_the_last_node_without(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("gpu-missing")
    rig.order(gpus=2)
    rig.forward(600)
    rig.install_operator()
    rig.forward(600)
    assert policy(rig)["conditions"][0]["reason"] == "Reconciled"
    nodes = rig.core().list_node(label_selector="gpu-cluster/pool=gpu").items
    gpus = [node.status.allocatable.get("nvidia.com/gpu", "0") for node in nodes]
    labels = [node.metadata.labels.get("feature.node.kubernetes.io/pci-10de.present", "") for node in nodes]
    assert sorted(zip(gpus, labels, strict=True)) == [("0", ""), ("1", "true")]
    assert all("feature.node.kubernetes.io/kernel-version.full" in node.metadata.labels for node in nodes)


def test_gpu_bad_computes_wrong_results(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("gpu-bad")
    rig.order(gpu_type="g4dn.12xlarge")
    rig.forward(600)
    rig.install_operator()
    rig.forward(600)
    core = rig.core()
    core.create_namespace({"metadata": {"name": "check"}})
    core.create_namespaced_config_map("check", {"metadata": {"name": "probe"}, "data": {"probe.py": SCRIPT}})
    batch = k8s.BatchV1Api(core.api_client)
    batch.create_namespaced_job("check", probe_job(4))
    rig.forward(60)
    job = batch.read_namespaced_job("probe", "check")
    assert [c.type for c in job.status.conditions] == ["FailureTarget", "Failed"]
    (pod,) = core.list_namespaced_pod("check").items
    assert pod.status.container_statuses[0].state.terminated.exit_code == 1
    document = json.loads(core.read_namespaced_pod_log(pod.metadata.name, "check"))
    bad = [[c for c in gpu["checks"] if not c["ok"]] for gpu in document["gpus"]]
    assert bad[:3] == [[], [], []]
    assert [c["name"] for c in bad[3]] == ["matmul"]
    assert bad[3][0]["detail"] == "3 of 262144 elements wrong, first at (17, 301)"


def test_rancher_503_is_down_for_half_a_minute(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("rancher-503")
    rig.order()
    rig.forward(59)
    rig.get("/ping")
    rig.forward(2)
    for path in ("/ping", "/v3/users?me=true", "/v1/provisioning.cattle.io.clusters/fleet-default/gpu01"):
        rig.get(path, expect=503)
    rig.forward(30)
    assert rig.cluster()["metadata"]["name"] == "gpu01"
