"""What it is worth to do at the same time what does not wait for each other: the same world, two plans."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import fmean

from bot.core import lifecycle, plan
from bot.core.plan import Planned
from bot.sandbox.stage import Plot
from bot.store import open_store
from tests.bench.crowd import Crowd, Life, NotVerified, crowd, names
from tests.bench.figures import Figure

_LIFE_S = 5400.0
_CHECKED_S = 60.0

WALK_THROUGH = (
    "preflight@1",
    "machine_configs@1",
    "cluster_object@1",
    "control_plane@1",
    "machines@1",
    "settled@1",  # Rancher shows the cluster as active
    "catalog@1",  # Tools → Catalogs → Add Catalog
    "operator@1",  # Apps → Launch
    "gpu_labels@1",  # Cluster → Nodes: the labels of Node Feature Discovery
    "policy_ready@1",
    "allocatable@1",
    "verify@1",  # the GPU workload
    "gate@1",
    "access@2",
)
"""The order in which a person does it by hand in Rancher's pages: each begins when the one before has ended."""


@dataclass(frozen=True)
class _Played:
    """Mean minutes from approval to verified, reads of each cluster, and how many of a cluster's were node lists."""

    minutes: float
    reads: list[int]
    of_nodes: float


def one_after_the_other(usual: str) -> str:
    """The steps of a plan in the walk-through's order, frozen; raises ValueError where they are not the same ones."""
    kinds = {planned.kind for planned in plan.thaw(usual)}
    if kinds != set(WALK_THROUGH):
        raise ValueError(f"the plan has other steps than the walk-through: {kinds ^ set(WALK_THROUGH)}")
    before = ((), *((kind,) for kind in WALK_THROUGH))
    return plan.freeze(tuple(Planned(kind, after) for kind, after in zip(WALK_THROUGH, before, strict=False)))


async def overlap(*, speed: float = 20, requests: int = 4) -> list[Figure]:
    """Minutes from approval to verified, and what each cluster's own API was asked meanwhile."""
    sequential = (await _play(speed, requests, in_order=True)).minutes
    played = await _play(speed, requests, in_order=False)
    overlapped, reads = played.minutes, played.reads
    how = (
        f"from approval to verified, mean of {requests} requests at once, the same world and seed, world speed "
        f"{speed:g}; how long each thing takes there, and where that is from: bot/sandbox/world/timings.py"
    )
    order = "each step after the one before, as in the walk-through by hand, but nobody is waited for"
    return [
        Figure("sequential_min", sequential, "min", f"{how}; {order}"),
        Figure("overlapped_min", overlapped, "min", f"{how}; the bot's own plan"),
        Figure("overlap_speedup", sequential / overlapped, "", "sequential_min over overlapped_min"),
        Figure(
            "downstream_reads_per_cluster",
            max(reads),
            "reads",
            f"GETs of a cluster's own API, Helm through Rancher's catalog included, from its order to verified; the "
            f"most of {requests} clusters with one GPU machine each; mean {fmean(reads):.1f}, of which "
            f"{played.of_nodes:.1f} are node lists; world speed {speed:g}",
            target=60,
        ),
    ]


async def _play(speed: float, requests: int, *, in_order: bool) -> _Played:
    async with crowd(Plot(speed=speed)) as people:
        asked = names("order", requests)
        await people.ask(asked)
        await _approve(people, requests, in_order=in_order)
        lives = await people.verified(asked, _LIFE_S / speed)
        world = people.stage.world
        reads = [world.reads[life.cluster.management_id] for life in lives]
        of_nodes = sum(n for (behind, call), n in world.calls.items() if behind and call.endswith("/api/v1/nodes"))
    return _Played(fmean(map(_took_s, lives)) / 60, reads, of_nodes / requests)


async def _approve(people: Crowd, requests: int, *, in_order: bool) -> None:
    """All at one moment, so that both worlds make the same clusters; the plan is what their rows say."""
    store = open_store(f"sqlite:///{people.stage.database}")
    async with asyncio.timeout(_CHECKED_S):
        while True:
            with store.reading() as tx:
                waiting = tx.waiting_requests()
            if len(waiting) == requests:
                break
            await asyncio.sleep(0.5)
    with store.transaction() as tx:
        for request in waiting:
            planned = one_after_the_other(request.plan) if in_order else request.plan
            lifecycle.approve(
                tx, tx.change(request, plan=planned), "U0LEAD", "bench", people.stage.clock.now(), needed=1
            )


def _took_s(life: Life) -> float:
    if life.cluster.ready_at is None or life.request.approved_at is None:
        raise NotVerified(f"{life.cluster.name} has no times")
    return life.cluster.ready_at - life.request.approved_at
