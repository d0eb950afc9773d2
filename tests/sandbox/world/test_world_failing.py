"""The operator's failures as the sandbox plays them are recognised through the cluster's API, by the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bot.core.causes.diagnosis import Signal, node_signals, plugin_signals, pod_signals, policy_signals, recognise
from bot.core.ports import Foreign
from bot.kube import KubeCluster
from bot.sandbox.world.nvidia.failing import FAILING
from tests.sandbox.world.rig import TOKEN, Rig


class Hand:
    def now(self) -> float:
        return 0.0

    def real(self) -> float:
        return 0.0

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds


def named(rig: Rig, *, labelled: bool = True) -> tuple[list[str], Any]:
    cluster = KubeCluster(rig.url, TOKEN, rig.mid(), clock=Hand())
    try:
        policy = cluster.policy()
        nodes = [node for node in cluster.nodes() if node.labels.get("gpu-cluster/pool") == "gpu"]
        seen = node_signals(nodes, 0.0 if policy and policy.ready else 900.0) if labelled else ()
        plugin: tuple[Signal, ...] = ()
        if any(node.gpu_capacity > node.gpus for node in nodes):
            plugin = plugin_signals(cluster.pod_logs("gpu-operator", ("nvidia-device-plugin-daemonset",), 50, 6))
        pods = pod_signals(cluster.pod_troubles("gpu-operator"))
        findings = recognise((*pods, *policy_signals(policy), *seen, *plugin))
        return [finding.mode.code for finding in findings], policy
    finally:
        cluster.close()


QUIET = ("diag-09", "diag-19", "diag-24", "diag-28")


@pytest.mark.parametrize("fault", sorted([*FAILING, "diag-09", "diag-19", "diag-22", "diag-24", "diag-26", "diag-28"]))
def test_a_failure_is_recognised(make_rig: Callable[..., Rig], fault: str) -> None:
    rig = make_rig(fault)
    rig.order()
    rig.forward(600)
    rig.install_operator()
    rig.forward(900)
    codes, policy = named(rig)
    assert codes == [fault]
    assert policy is not None
    assert not policy.ready or fault in QUIET, "DaemonSets without pods satisfy the operator"


def test_a_healthy_cluster_names_nothing_at_any_time(rig: Rig) -> None:
    rig.order()
    rig.forward(600)
    rig.install_operator()
    for _ in range(24):
        rig.forward(30)
        assert named(rig, labelled=False)[0] == []
    codes, policy = named(rig)
    assert (codes, policy.ready) == ([], True)


def test_the_kernel_s_log_is_read_through_the_driver_s_pods(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("diag-20")
    rig.order()
    rig.forward(600)
    rig.install_operator()
    rig.forward(900)
    cluster = KubeCluster(rig.url, TOKEN, rig.mid(), clock=Hand())
    try:
        read = cluster.kernel_log("gpu-operator", "nvidia-driver-daemonset")
        gpu_nodes = {node.name for node in cluster.nodes() if node.labels.get("gpu-cluster/pool") == "gpu"}
        assert set(read) == gpu_nodes
        said = "\n".join(read.values())
        assert "Linux version" not in said, "only what is about GPUs"
        assert [finding.mode.code for finding in recognise([Signal("log", said)])] == ["diag-20"]
        assert cluster.kernel_log("gpu-operator", "nvidia-device-plugin-daemonset") == {}, "no right to read it there"
        logs = cluster.pod_logs("gpu-operator", ("gpu-operator", "nvidia-driver-daemonset"), 5, 6)
        assert {log.app for log in logs} == {"gpu-operator", "nvidia-driver-daemonset"}
        assert cluster.pod_logs("gpu-cluster-verify", (), 5, 6) == (), "there is no such namespace yet"
        with pytest.raises(Foreign, match="kube-system was not made by the bot"):
            cluster.pod_logs("kube-system", (), 5, 6)
    finally:
        cluster.close()
