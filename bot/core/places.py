"""Where GPU machines may be had: the envelope's places as machine pools, in the order in which they are tried.

The first is the pool that was ordered with the cluster. Each other is a *sibling* of it, with a name and a machine
config of its own, because an edit of a pool that lives would replace its machines. All of them bear the label of the
ordered pool, by which everything later finds their nodes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping

from bot.core.conflict import Conflict
from bot.core.ports import ClusterView, MachineView
from bot.core.spec import LABEL_POOL, LABEL_TYPE, Envelope, Place, Pool


def gpu_places(envelope: Envelope) -> tuple[Pool, ...]:
    """The GPU pool as ordered, then its siblings; each with the whole order's count."""
    ordered = envelope.sized_pool
    own = Place(ordered.instance_type, ordered.zone, ordered.subnet)
    others = (place for place in envelope.places if place != own)
    return (ordered, *(_sibling(ordered, place, number) for number, place in enumerate(others, start=2)))


def moved(machines_facts: Mapping[str, str]) -> bool:
    """Whether the step `machines` has gone beyond the first place: then GPU machines may stand in several pools."""
    return int(json.loads(machines_facts.get("placing", "{}")).get("place", 0)) > 0


def must_stand_in_one_place(name: str, machines_facts: Mapping[str, str], what: str) -> None:
    """Raises `Conflict` where only the first GPU pool would be looked at, and more might be bought than is approved."""
    if moved(machines_facts):
        raise Conflict(
            f"The GPU machines of “{name}” stand in other places than the first, because AWS had none there; "
            f"{what} looks at the first pool only.",
            f"Ask for another cluster, or delete it (/gpu-cluster delete {name}) and ask again.",
        )


def _sibling(ordered: Pool, place: Place, number: int) -> Pool:
    """The name follows from the place in the envelope's order, so that a restart finds what it has made."""
    return dataclasses.replace(
        ordered,
        name=f"{ordered.name}-{number}",
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
