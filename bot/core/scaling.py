"""A cluster with a pool of another size: the envelope it comes to, and how a cancelled change is taken back."""

from __future__ import annotations

import dataclasses

from bot.core import lifecycle
from bot.core.asking import new_request, request_id_for
from bot.core.changes import Scale, change_from_json, change_to_json
from bot.core.costs import ledger
from bot.core.ports import Tx
from bot.core.records import ClusterRow, Kind, RequestRow
from bot.core.spec import Envelope, Pool


def resized(envelope: Envelope, pool: Pool, machines: int, price: float | None = None) -> Envelope:
    """The whole cluster as it would be. `price`: dollars an hour of one machine with its disk.

    Without it a GPU machine counts as it was approved, without its disk, and another machine as nothing: then a pool
    that gets smaller frees too little, never too much.
    """
    more = machines - pool.count
    gpu_machines = sum(p.count for p in envelope.gpu_pools)
    share = None if envelope.gpu_price_per_hour is None else envelope.gpu_price_per_hour / gpu_machines
    each = price if price is not None else (share if pool.gpu else 0.0)
    changed = tuple(dataclasses.replace(p, count=machines) if p == pool else p for p in envelope.pools)
    hourly, gpu = envelope.max_price_per_hour, envelope.gpu_price_per_hour
    return dataclasses.replace(
        envelope,
        pools=changed,
        gpus=envelope.gpus + more * envelope.expectation(pool.name).count if pool.gpu else envelope.gpus,
        max_price_per_hour=None if hourly is None or each is None else hourly + more * each,
        gpu_price_per_hour=gpu if gpu is None or not pool.gpu else gpu + more * (each if each is not None else 0.0),
    )


def back(tx: Tx, cluster: ClusterRow, cancelled: RequestRow, user: str, at: float) -> None:
    """A scale that was cancelled on its way: the pool gets its size back, by a request that nobody has to approve."""
    envelope, change = ledger.current_envelope(tx, cluster), change_from_json(cancelled.kind, cancelled.spec)
    if envelope is None or not isinstance(change, Scale):
        raise TypeError(cancelled.id)
    again = Scale(change.pool, change.count, machines=change.was, was=change.machines)
    request = new_request(
        request_id_for(f"back:{cancelled.id}"), Kind.SCALE, cluster,
        requester=user, channel=cluster.channel, spec=change_to_json(again), now=at,
    )  # fmt: skip
    lifecycle.open_change(
        tx, cluster, request, approvals_channel="", lapses_at=at, envelope=envelope, check=False,
        free="it takes back what was cancelled",
    )  # fmt: skip
