"""Delete: the cluster is *deleting* from the first look on, and *gone* once nothing of it is left."""

from __future__ import annotations

from bot.core import lifecycle
from bot.core.kinds.base import Plain
from bot.core.ports import Tx
from bot.core.records import ClusterState, Kind, RequestRow


class Delete(Plain):
    """One that failed leaves the cluster *deleting*: the bill may go on, and it can be asked again."""

    kind = Kind.DELETE

    def started(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        lifecycle.move_cluster(tx, cluster, ClusterState.DELETING, request=request, at=at)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        lifecycle.move_cluster(tx, cluster, ClusterState.GONE, request=request, at=at, gone_at=at)
