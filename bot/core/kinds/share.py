"""Share and unshare: who else may get in. Nobody has to approve it; it buys nothing, and every line is audited."""

from __future__ import annotations

from bot.core import credentials
from bot.core.changes import Change, Share, Unshare, person_of
from bot.core.conflict import Conflict
from bot.core.kinds.base import Opening, Plain
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow
from bot.core.spec import Catalogue

_FREE = "sharing buys nothing"


class ShareRules(Plain):
    """Any full member of the workspace can be let in: teammates usually are already, through the team's group."""

    kind = Kind.SHARE

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        person = _person(change)
        _must_be_usable(cluster)
        if person == cluster.owner:
            raise Conflict(f"“{cluster.name}” is <@{person}>'s own cluster.", f"/gpu-cluster status {cluster.name}")
        if person in cluster.shared_with:
            raise Conflict(
                f"“{cluster.name}” is shared with <@{person}> already.",
                f"To end that: /gpu-cluster unshare {cluster.name} @them",
            )
        return Opening(free=_FREE)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        tx.change(cluster, shared=_joined(cluster.shared_with | {person_of(request)}))


class UnshareRules(Plain):
    """From the moment it is done nothing that was given to the person works any more."""

    kind = Kind.UNSHARE

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        person = _person(change)
        _must_be_usable(cluster)
        if person not in cluster.shared_with:
            shared = ", ".join(f"<@{one}>" for one in sorted(cluster.shared_with)) or "nobody"
            raise Conflict(
                f"“{cluster.name}” is not shared with <@{person}>.",
                f"It is shared with {shared}, and open to its team.",
            )
        return Opening(free=_FREE)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster, person = tx.cluster(request.cluster_id), person_of(request)
        tx.change(cluster, shared=_joined(cluster.shared_with - {person}))
        for row in tx.credentials(cluster.id):
            if row.person == person:
                credentials.end(tx, row, f"no longer shared, by <@{request.requester}>", at)


def _person(change: Change) -> str:
    if not isinstance(change, Share | Unshare):
        raise TypeError(change)
    return change.person


def _joined(people: frozenset[str]) -> str:
    return " ".join(sorted(people))


def _must_be_usable(cluster: ClusterRow) -> None:
    if cluster.state not in (ClusterState.READY, ClusterState.DEGRADED):
        raise Conflict(
            f"“{cluster.name}” is {cluster.state}; there is something to share once it is ready.",
            f"/gpu-cluster status {cluster.name}",
        )
