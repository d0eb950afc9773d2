"""What is left in AWS of clusters that are gone. A report only: what is ended is a person's word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState

JUST_NOW_S = 900.0
"""World seconds after a cluster is gone in which AWS may still show something of it."""

GONE, NEVER_OURS = "its cluster is gone", "no cluster of this bot"
"""How it is known that nobody needs a thing; the second may be another bot's."""

# Rancher names a machine cluster-pool-hash-random, and the driver its key pair after it with five letters more.
_KEY_PAIR = "{cluster}-(cp|wk|gpu)-[a-z0-9-]+"

# Why some kinds are for the AWS console, whoever asks.
_BY_HAND = {
    "key pair": "it carries no tag, and a name proves little; it costs nothing",
    "load balancer": "what runs in a cluster made it, not this bot",
}


@dataclass(frozen=True)
class Thing:
    """Something in AWS. `cluster` by our tag, `owner` Rancher's id of it (c-m-…) by Kubernetes' tag, '' without one.

    `ours`: it carries our tag `gpu-cluster/managed` = true. `type` is the EC2 type of a machine, `gib` the size of a
    volume; `since` when it was made (Unix seconds), None where AWS does not tell.
    """

    kind: str
    id: str
    name: str = ""
    cluster: str = ""
    owner: str = ""
    detail: str = ""
    ours: bool = False
    type: str = ""
    gib: int = 0
    since: float | None = None


@dataclass(frozen=True)
class Orphan:
    """A thing whose cluster is gone; `why` says how that is known."""

    thing: Thing
    why: str

    @property
    def kept(self) -> str:
        """Why only a person with the AWS console may end it, '' where the bot may on a person's word."""
        if self.why != GONE:
            return "it may be another bot's"
        if self.thing.kind in _BY_HAND:
            return _BY_HAND[self.thing.kind]
        return "" if self.thing.ours else "it has Kubernetes' tag only: people's data may be on it"


def orphans(tx: Tx, things: Iterable[Thing], now: float) -> list[Orphan]:
    """Those of `things` that belong to a cluster of ours that has been gone for a while, or that we never had.

    A key pair counts only by the name of a cluster that we had: names alone prove little.
    """
    rows = tx.clusters(living=False)
    living = [row for row in rows if row.state != ClusterState.GONE or (row.gone_at or 0.0) > now - JUST_NOW_S]
    gone = [row for row in rows if row not in living]
    found = ((thing, _why(thing, living, gone)) for thing in things)
    return [Orphan(thing, why) for thing, why in found if why]


def _why(thing: Thing, living: list[ClusterRow], gone: list[ClusterRow]) -> str:
    if any(_belongs(thing, row) for row in living):
        return ""
    if any(_belongs(thing, row) for row in gone):
        return GONE
    return NEVER_OURS if thing.cluster else ""


def _belongs(thing: Thing, row: ClusterRow) -> bool:
    if thing.cluster:
        return thing.cluster == row.name
    if thing.owner:
        return thing.owner in (row.management_id, row.name)
    return (
        thing.kind == "key pair" and re.fullmatch(_KEY_PAIR.format(cluster=re.escape(row.name)), thing.name) is not None
    )
