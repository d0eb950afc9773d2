"""What a cluster was made of, for those who take it into their own repository."""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.ports import Tx
from bot.core.records import ClusterRow, Kind
from bot.core.spec import Envelope, envelope_from_json


@dataclass(frozen=True)
class Made:
    """A cluster's approved envelope, and the request it was made for."""

    envelope: Envelope
    request_id: str


def made(tx: Tx, cluster: ClusterRow) -> Made | None:
    """Of the request that made it; None while nothing has been resolved."""
    creates = [r for r in tx.requests_of(cluster.id) if r.kind == Kind.CREATE and r.envelope]
    return Made(envelope_from_json(creates[-1].envelope), creates[-1].id) if creates else None
