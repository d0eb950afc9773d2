"""Clusters that cost money while nobody asks for their GPUs. A report only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.core.operator_values import NAMESPACE as OPERATOR
from bot.core.ports import GpuUse, Tx, WorldError
from bot.core.records import ClusterRow, ClusterState
from bot.core.verification.sight import NAMESPACE as PROBE

OURS = frozenset({OPERATOR, PROBE})
"""Namespaces whose pods ask for GPUs on our behalf."""

_DAY_S = 86400.0


@dataclass(frozen=True)
class Idle:
    """A cluster nobody seems to use. `since` world time; `why_unknown` when its pods could not be asked."""

    cluster: ClusterRow
    since: float
    why_unknown: str = ""


def usable(tx: Tx) -> list[ClusterRow]:
    """Clusters whose GPUs somebody could use."""
    return [row for row in tx.clusters() if row.state in (ClusterState.READY, ClusterState.DEGRADED)]


def forgotten(rows: list[ClusterRow], use: Callable[[ClusterRow], GpuUse], now: float, days: float) -> list[Idle]:
    """Those whose GPUs no pod has asked for in that many days of world time, longest idle first.

    `use` may raise `WorldError`; such a cluster is listed with the reason.
    """
    idle = [one for row in rows if (one := _idle(row, use)) is not None]
    return sorted((i for i in idle if i.why_unknown or now - i.since >= days * _DAY_S), key=lambda i: i.since)


def _idle(row: ClusterRow, use: Callable[[ClusterRow], GpuUse]) -> Idle | None:
    ready = row.ready_at or row.created_at
    try:
        found = use(row)
    except WorldError as error:
        return Idle(row, ready, error.reason)
    return None if found.asked else Idle(row, max(ready, found.last_at or ready))
