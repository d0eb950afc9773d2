"""Changes of machine pools, as JSON patches of the provisioning cluster.

Each patch tests what it was made from, so that Rancher refuses it as a whole once the pools have changed. A quantity
may be changed at any time; a machine config never is: Rancher would make a new template of it, and replace every
machine of the pool (rancher/rancher: provisioningcluster/template.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.core.capacity.places import gpu_places, homes
from bot.core.ports import Permanent
from bot.core.spec import Envelope, Pool
from bot.rancher.bodies import machine_pool

Json = dict[str, Any]
Patch = list[Json]

_POOLS = "/spec/rkeConfig/machinePools"


def lowered(pools: list[Json], most: Mapping[str, int]) -> Patch:
    """Those pools that are larger than `most` says, lowered to it; nothing is ever raised."""
    return [
        op for i, p in enumerate(pools) if p["name"] in most and size(p) > most[p["name"]]
        for op in _resized(i, p, most[p["name"]])
    ]  # fmt: skip


def above(pools: list[Json], most: Mapping[str, int]) -> tuple[str, ...]:
    """The same pools, in words."""
    return tuple(
        f"pool {p['name']}: {size(p)} machines, {most[p['name']]} approved" for p in pools if size(p) > most[p["name"]]
    )


def sized(envelope: Envelope, there: list[Json], pools: tuple[Pool, ...]) -> Patch:
    """These pools with their `count`, released where they were held. A place that is missing is added at the end,
    unless it would be empty.

    Raises `Permanent` where an ordered pool would come to more machines than were approved, in all its places, and
    where a pool is missing that is no place.
    """
    counts = {pool.name: pool.count for pool in pools}
    _must_be_approved(envelope, there, counts)
    index = {p["name"]: i for i, p in enumerate(there)}
    patch: Patch = []
    for pool in pools:
        if pool.name in index:
            patch += _changed(index[pool.name], there[index[pool.name]], pool.count)
        elif not any(place.name == pool.name for place in gpu_places(envelope)):
            raise Permanent(
                f"The cluster {envelope.name} has no machine pool {pool.name}.", "It was changed in Rancher."
            )
        elif pool.count:
            patch.append({"op": "add", "path": f"{_POOLS}/-", "value": machine_pool(envelope, pool)})
    return patch


def _must_be_approved(envelope: Envelope, there: list[Json], counts: Mapping[str, int]) -> None:
    for ordered in envelope.pools:
        names = {home.name for home in homes(envelope, ordered)}
        if not names & set(counts):
            continue
        wanted = {p["name"]: size(p) for p in there if p["name"] in names}
        wanted |= {name: count for name, count in counts.items() if name in names}
        if sum(wanted.values()) > ordered.count:
            raise Permanent(
                f"Pool {ordered.name} of {envelope.name} would come to {sum(wanted.values())} machines; "
                f"{ordered.count} are approved.",
                "Somebody has changed the pools in Rancher: set their sizes back, or delete the cluster and ask again.",
            )


def _changed(index: int, pool: Json, count: int) -> Patch:
    """Nothing where it has that size and works."""
    patch = _resized(index, pool, count) if size(pool) != count or pool.get("paused") else []
    if pool.get("paused"):
        patch.append({"op": "add", "path": f"{_POOLS}/{index}/paused", "value": False})
    return patch


def unchanged(cluster: Json) -> Patch:
    """A test that nobody has changed the cluster's spec since it was read: an addition has no index to test."""
    generation = cluster["metadata"].get("generation")
    return [] if generation is None else [{"op": "test", "path": "/metadata/generation", "value": generation}]


def _resized(index: int, pool: Json, count: int) -> Patch:
    where = f"{_POOLS}/{index}"
    return [
        {"op": "test", "path": f"{where}/name", "value": pool["name"]},
        *([{"op": "test", "path": f"{where}/quantity", "value": pool["quantity"]}] if "quantity" in pool else []),
        {"op": "add", "path": f"{where}/quantity", "value": count},
    ]


def size(pool: Json) -> int:
    """How many machines a pool is to have; one where it does not say."""
    quantity = pool.get("quantity")
    return 1 if quantity is None else int(quantity)
