"""Extend: the same cluster for more hours. Nothing outside changes; the money does."""

from __future__ import annotations

import dataclasses

from bot.core import ledger
from bot.core.changes import Change, Extend
from bot.core.conflict import Conflict
from bot.core.kinds.base import Opening, Plain
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow
from bot.core.spec import Catalogue, envelope_from_json


class ExtendRules(Plain):
    """The envelope is the cluster's own with more hours, so that the hash binds what is added."""

    kind = Kind.EXTEND

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        if not isinstance(change, Extend):
            raise TypeError(change)
        envelope = ledger.current_envelope(tx, cluster)
        if envelope is None or cluster.state not in (ClusterState.READY, ClusterState.DEGRADED):
            raise Conflict(
                f"“{cluster.name}” is {cluster.state}; hours can be added once it is ready, as they count from then.",
                f"/gpu-cluster status {cluster.name}",
            )
        return Opening(dataclasses.replace(envelope, hours=envelope.hours + change.hours))

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        hours = envelope_from_json(request.envelope).hours
        tx.change(cluster, expires_at=(cluster.ready_at or at) + hours * 3600.0)
