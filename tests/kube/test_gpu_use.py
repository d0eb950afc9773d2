"""Who asks for GPUs, and which clusters nobody uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted import Reply, Scripted

from bot.core.in_use.forgotten import OURS, forgotten
from bot.core.ports import GpuUse, Temporary
from bot.core.records import ClusterRow, ClusterState
from bot.kube import KubeCluster

PODS = "GET /k8s/clusters/c-m-1/api/v1/pods"
DAY = 86400.0
ROW = ClusterRow("k-1", "a", "default", "default", "U1", "C1", ClusterState.READY, 0.0, ready_at=1000.0)


def pod(namespace: str, gpus: int, phase: str, ended: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase}
    if ended:
        status["containerStatuses"] = [{"name": "c", "state": {"terminated": {"finishedAt": ended}}}]
    limits = {"requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "resources": limits}, {"name": "side"}]},
        "status": status,
    }


def use(server: Scripted, kube: KubeCluster, *pods: dict[str, Any]) -> GpuUse:
    server.on(PODS, Reply(200, {"metadata": {}, "items": list(pods)}))
    return kube.gpu_use(OURS)


def test_what_waits_and_runs_is_counted_together(server: Scripted, kube: KubeCluster) -> None:
    found = use(server, kube, pod("a", 2, "Running"), pod("b", 1, "Pending"), pod("b", 0, "Running"))
    assert found == GpuUse(3, None)


def test_the_last_that_ended_is_remembered(server: Scripted, kube: KubeCluster) -> None:
    ended = (pod("a", 1, "Succeeded", "2026-11-20T10:00:00Z"), pod("a", 1, "Failed", "2026-11-21T10:00:00Z"))
    late = pod("a", 0, "Succeeded", "2026-11-24T10:00:00Z")
    assert use(server, kube, *ended, late) == GpuUse(0, 1795255200.0)


def test_our_own_pods_do_not_count(server: Scripted, kube: KubeCluster) -> None:
    ours = (pod("gpu-operator", 1, "Running"), pod("gpu-cluster-verify", 1, "Succeeded", "2026-11-21T10:00:00Z"))
    assert use(server, kube, *ours) == GpuUse(0, None)


@pytest.mark.parametrize(
    ("seen", "days", "idle"),
    [
        (GpuUse(1, None), 9.0, False),
        (GpuUse(0, None), 2.0, False),
        (GpuUse(0, None), 3.5, True),
        (GpuUse(0, 1000.0 + DAY), 3.5, False),
        (GpuUse(0, 1000.0 + DAY), 4.5, True),
        (GpuUse(0, 10.0), 3.5, True),
    ],
)
def test_three_days_without_anybody(seen: GpuUse, days: float, idle: bool) -> None:
    found = forgotten([ROW], lambda _: seen, 1000.0 + days * DAY, 3.0)
    assert [one.cluster for one in found] == ([ROW] if idle else [])


def test_the_longest_idle_first_and_who_does_not_answer_is_listed() -> None:
    rows = [ROW, replace(ROW, id="k-2", name="b", ready_at=500.0), replace(ROW, id="k-3", name="c", ready_at=9e9)]

    def ask(row: ClusterRow) -> GpuUse:
        if row.name == "c":
            raise Temporary("Rancher does not answer")
        return GpuUse(0, None)

    found = forgotten(rows, ask, 1000.0 + 5 * DAY, 3.0)
    assert [(one.cluster.name, one.why_unknown) for one in found] == [
        ("b", ""),
        ("a", ""),
        ("c", "Rancher does not answer"),
    ]
