"""What was measured on a cluster's nodes and GPUs, kept per node UID and GPU UUID; and how far a GPU has drifted.

Names of nodes come and go: a verdict belongs to the UID of a node, and a GPU's first numbers to its UUID. A GPU whose
UUID another one has, too, has no first numbers of its own, and none are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.core.ports import Tx
from bot.core.records import ClusterRow, Kind, VerdictRow
from bot.core.story import final_report, step_facts
from bot.core.verification.verdict import DEGRADED, FAILED, VERIFIED, GpuResult, Report

BOUNDS = {"device": 0.10, "fp32": 0.10, "tensor": 0.10, "host_to_device": 0.30, "device_to_host": 0.30}
"""The share of its first day's rate that a GPU may lose before it is named.

On one good GPU (H100 SXM) repeated runs of one level differ by about 1 % in device memory and by a few in throughput,
with clocks and temperature: 10 % is well outside. Copies from and to the host share memory and processors of the
machine with whatever else runs there, and lose more without any fault of the GPU.
"""

_TITLES = {
    "device": "memory bandwidth",
    "host_to_device": "bandwidth from the host",
    "device_to_host": "bandwidth to the host",
    "fp32": "float32 throughput",
    "tensor": "tensor throughput",
}
BAD = (FAILED, DEGRADED)


@dataclass(frozen=True)
class Drift:
    """One GPU that is slower than on its first day; `what` says by how much."""

    node: str
    gpu: str
    what: str


def known(tx: Tx, cluster: ClusterRow) -> list[VerdictRow]:
    """All that is known, of nodes that have gone, too. The first time it is taken over from the verdict with which the
    cluster was made or enabled."""
    if rows := tx.verdicts(cluster.id):
        return rows
    begun = next((r for r in tx.requests_of(cluster.id) if r.kind in (Kind.CREATE, Kind.ENABLE)), None)
    facts = step_facts(tx, begun.id) if begun is not None else {}
    if (report := final_report(facts)) is None:
        return []
    level = facts.get("verify", {}).get("level", "standard")
    remember(tx, cluster, report, level, cluster.ready_at or cluster.created_at)
    return tx.verdicts(cluster.id)


def remember(tx: Tx, cluster: ClusterRow, report: Report, level: str, at: float) -> None:
    """Keep what was measured. Of a node that was busy or not to be reached, the earlier verdict stands."""
    rows = {(row.node_uid, row.gpu_uuid): row for row in tx.verdicts(cluster.id)}
    firsts = {row.gpu_uuid: row.first for row in rows.values() if row.gpu_uuid}
    shared = _shared(report)
    for node in report.nodes:
        if node.verdict not in (VERIFIED, *BAD):
            if (node.uid, "") not in rows:
                tx.add(VerdictRow(cluster.id, node.uid, "", node.node, node.verdict, at))
            continue
        gpus = node.expected + node.unmeasured if node.verdict == VERIFIED else len(node.gpus)
        _keep(tx, rows, VerdictRow(cluster.id, node.uid, "", node.node, node.verdict, at, gpus=gpus))
        for gpu in node.gpus:
            if gpu.uuid and gpu.uuid not in shared:
                first = _first(firsts.get(gpu.uuid, "{}"), gpu, level, at)
                _keep(tx, rows, VerdictRow(cluster.id, node.uid, gpu.uuid, node.node, gpu.verdict, at, first))


def drifts(rows: Iterable[VerdictRow], report: Report, level: str) -> tuple[Drift, ...]:
    """GPUs that have lost more than `BOUNDS` allow since they were first measured at this level."""
    firsts: dict[str, Mapping[str, float]] = {}
    for row in rows:
        rates = json.loads(row.first).get(level)
        if row.gpu_uuid and rates:
            firsts.setdefault(row.gpu_uuid, rates)
    return tuple(
        Drift(gpu.node, gpu.uuid, f"{gpu.node} GPU {gpu.index}: {lost}")
        for gpu in report.gpus
        if gpu.uuid in firsts and gpu.uuid not in _shared(report)
        for lost in _losses(firsts[gpu.uuid], gpu)
    )


def nodes_of(rows: Sequence[VerdictRow]) -> dict[str, VerdictRow]:
    """The nodes that were there when they were looked at last, by UID."""
    return {row.node_uid: row for row in rows if not row.gpu_uuid and row.gone_at is None}


def _shared(report: Report) -> frozenset[str]:
    counted = Counter(gpu.uuid for gpu in report.gpus)
    return frozenset(uuid for uuid, times in counted.items() if times > 1)


def _first(before: str, gpu: GpuResult, level: str, at: float) -> str:
    """The numbers of the first time stay, whatever is measured later. A GPU that is not good has none."""
    levels = json.loads(before)
    rates = _rates(gpu)
    if level not in levels and gpu.verdict == VERIFIED and rates:
        levels[level] = {**rates, "at": at}
    return json.dumps(levels, sort_keys=True)


def _rates(gpu: GpuResult) -> dict[str, float]:
    found = {rate.measure: rate.value for rate in gpu.rates}
    return {measure: value for measure, value in found.items() if measure in BOUNDS and value}


def _losses(first: Mapping[str, float], gpu: GpuResult) -> list[str]:
    now, losses = _rates(gpu), []
    for measure, bound in BOUNDS.items():
        if measure in first and measure in now and now[measure] < first[measure] * (1 - bound):
            unit = "TFLOPS" if measure in ("fp32", "tensor") else "GB/s"
            lost = 1 - now[measure] / first[measure]
            losses.append(
                f"{_TITLES[measure]} {now[measure]:,.4g} {unit}, {lost:.0%} below its first day ({first[measure]:,.4g})"
            )
    return losses


def _keep(tx: Tx, rows: Mapping[tuple[str, str], VerdictRow], row: VerdictRow) -> None:
    there = rows.get((row.node_uid, row.gpu_uuid))
    if there is None:
        tx.add(row)
    else:
        tx.change(there, node=row.node, verdict=row.verdict, at=row.at, first=row.first, gpus=row.gpus, gone_at=None)


__all__ = ["BAD", "BOUNDS", "Drift", "drifts", "known", "nodes_of", "remember"]
