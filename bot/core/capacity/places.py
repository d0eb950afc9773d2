"""Where GPU machines may be had: the envelope's places as machine pools, in the order in which they are tried.

The first is the pool that was ordered with the cluster. Each other is a *sibling* of it, with a name and a machine
config of its own, because an edit of a pool that lives would replace its machines. All of them bear the label of the
ordered pool, by which everything later finds their nodes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from bot.core.ports import ClusterView, MachineView
from bot.core.spec import LABEL_POOL, LABEL_TYPE, Envelope, Place, Pool


def gpu_places(envelope: Envelope) -> tuple[Pool, ...]:
    """The GPU pool as ordered, then its siblings; each with the whole order's count.

    The names follow from the envelope alone, so that a restart finds what it has made: those of ordered pools are left
    out.
    """
    ordered, taken = envelope.sized_pool, {pool.name for pool in envelope.pools}
    others = (place for place in envelope.places if not place.same_as(ordered))
    free = (name for number in itertools.count(2) if (name := f"{ordered.name}-{number}") not in taken)
    return (ordered, *(_sibling(ordered, place, name) for place, name in zip(others, free)))  # noqa: B905 - free is endless


def homes(envelope: Envelope, pool: Pool) -> tuple[Pool, ...]:
    """The pools in which machines of an ordered pool may stand: its places for the one that the order sizes, else
    itself alone."""
    return gpu_places(envelope) if pool.gpu and pool.expect is None else (pool,)


def home_of(envelope: Envelope, name: str) -> Pool | None:
    """The ordered pool that a machine of the pool `name` belongs to; None where nobody has approved such a pool."""
    return next((pool for pool in envelope.pools if any(home.name == name for home in homes(envelope, pool))), None)


def to_try(envelope: Envelope, pool: Pool, view: ClusterView) -> tuple[Pool, ...]:
    """Where more machines of an ordered pool are asked for, in this order.

    First where some stand, the last such place before the others: those before it had refused. Then the other places,
    unless all machines must be in one zone (`together`).
    """
    places = homes(envelope, pool)
    standing = [place for place in reversed(places) if view.pool(place.name)] or [places[0]]
    ordered = (*standing, *(place for place in places if place not in standing))
    return ordered[:1] if envelope.together else ordered


def sizes(view: ClusterView, pools: Iterable[Pool]) -> dict[str, int]:
    """How many machines each of these pools has, without those that are going."""
    return {pool.name: sum(not going(machine) for machine in view.pool(pool.name)) for pool in pools}


def going(machine: MachineView) -> bool:
    """Whether it is being removed, and its pool counts it no more."""
    return machine.phase in ("Deleting", "Deleted")


def saving(envelope: Envelope, standing: Mapping[str, int]) -> float:
    """US dollars an hour by which GPU machines in these places are cheaper than in the dearest one, which is what was
    approved. Nothing where a price is not known."""
    if not standing:
        return 0.0
    prices = {
        pool.name: place.price_per_hour
        for pool in gpu_places(envelope)
        for place in envelope.places
        if place.same_as(pool)
    }
    dearest = max((price for price in prices.values() if price is not None), default=0.0)
    return sum(count * (dearest - price) for name, count in standing.items() if (price := prices.get(name)) is not None)


def _sibling(ordered: Pool, place: Place, name: str) -> Pool:
    return dataclasses.replace(
        ordered,
        name=name,
        instance_type=place.instance_type,
        zone=place.zone,
        subnet=place.subnet,
        labels=tuple({LABEL_POOL: ordered.name, **dict(ordered.labels), LABEL_TYPE: place.instance_type}.items()),
    )


def where(envelope: Envelope, pool: Pool) -> str:
    """A place in words: g5.xlarge in us-east-1b."""
    return f"{pool.instance_type} in {envelope.region}{pool.zone}"


def joined(view: ClusterView, pools: Iterable[Pool]) -> int:
    """How many machines of these pools have become nodes."""
    return sum(bool(machine.node) for pool in pools for machine in view.pool(pool.name))


def to_keep(machines: Iterable[MachineView]) -> int:
    """To which size a pool can be lowered so that nothing more is bought and what runs stays.

    A pool that shrinks loses machines that have not joined first, started or not (kubernetes-sigs/cluster-api:
    machineset_delete_policy.go). So those that have started count only where no other is still on its way. Pausing the
    pool would stop nothing: it holds back changes of the template, and refused machines are made anew all the same
    (kubernetes-sigs/cluster-api: machinedeployment_controller.go).
    """
    there = list(machines)
    started = [machine for machine in there if machine.created]
    return len(started) if len(started) == len(there) else sum(bool(machine.node) for machine in there)
