"""What a cluster was made of, for those who take it into their own repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bot.core.capacity.places import gpu_places
from bot.core.capacity.standing import standing
from bot.core.costs import ledger
from bot.core.ports import Tx
from bot.core.records import ClusterRow, Kind
from bot.core.spec import Envelope, Pool, envelope_from_json


@dataclass(frozen=True)
class Made:
    """A cluster's approved envelope, and the request it was made for."""

    envelope: Envelope
    request_id: str


def made(tx: Tx, cluster: ClusterRow) -> Made | None:
    """Of the request that made it; None while nothing has been resolved. The pools are those that there are by now."""
    requests = tx.requests_of(cluster.id)
    create = next((r for r in reversed(requests) if r.kind == Kind.CREATE and r.envelope), None)
    if create is None:
        return None
    envelope = ledger.envelope_of(requests) or envelope_from_json(create.envelope)
    return Made(_as_it_stands(envelope, standing(tx.steps, requests, envelope.sized_pool.name)), create.id)


def _as_it_stands(envelope: Envelope, sizes: Mapping[str, int]) -> Envelope:
    """With a pool for each place in which GPU machines stand; the ordered one is there even where it is empty."""
    ordered, *siblings = (dataclasses.replace(p, count=sizes.get(p.name, 0)) for p in gpu_places(envelope))
    if not sizes:
        return envelope
    pools: list[Pool] = []
    for pool in envelope.pools:
        pools += [ordered, *(p for p in siblings if p.count)] if pool.name == ordered.name else [pool]
    return dataclasses.replace(envelope, pools=tuple(pools))
