"""Replace: another machine in the place of one that is bad or gone."""

from __future__ import annotations

import dataclasses

from bot.core import lifecycle
from bot.core.capacity.families import family_of
from bot.core.capacity.places import home_of, homes
from bot.core.changes import Change, Replace, change_from_json
from bot.core.checks.quota import used_of
from bot.core.conflict import Conflict
from bot.core.costs import ledger
from bot.core.in_use import troubles
from bot.core.kinds.base import Asked, Opening, Plain
from bot.core.kinds.verify import settle
from bot.core.ports import Cloud, Temporary, Tx, WorldError
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow
from bot.core.spec import Catalogue, Check, Envelope, Pool, Preflight
from bot.core.story import step_facts
from bot.core.verification import first_day
from bot.core.verification.verdict import VERIFIED, report_from_json

_USABLE = (ClusterState.READY, ClusterState.DEGRADED)


class ReplaceRules(Plain):
    """The envelope allows one machine more than the order where there is quota for it: the new one comes first.

    A degraded cluster is *building* meanwhile; a ready one stays ready: most of it is in use.
    """

    kind = Kind.REPLACE

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        if not isinstance(change, Replace):
            raise TypeError(change)
        envelope = ledger.current_envelope(tx, cluster)
        if envelope is None or cluster.state not in _USABLE:
            raise Conflict(
                f"“{cluster.name}” is {cluster.state}; a machine can be replaced once the cluster is in use.",
                f"/gpu-cluster status {cluster.name}",
            )
        return Opening(envelope, check=True)

    def check(self, asked: Asked) -> Preflight:
        envelope = asked.envelope
        if envelope is None:
            return Preflight((Check("order", "no", "Nothing was ever approved for this cluster."),))
        change = change_from_json(Kind.REPLACE, asked.request.spec)
        bad = change.node if isinstance(change, Replace) else ""
        view = asked.outside.rancher.observe(envelope.name, newer_than=0.0)
        stands = next((m.pool for m in view.machines if bad and m.node == bad), "") if view is not None else ""
        ordered = home_of(envelope, stands)
        if ordered is None:
            said = f"A machine of {sum(pool.count for pool in envelope.gpu_pools)} is missing; it is ordered anew."
            return Preflight((Check("machines", "ok", said),), envelope)
        place = next(home for home in homes(envelope, ordered) if home.name == stands)
        more = one_more(envelope, ordered)
        try:
            room = _room(asked.outside.cloud, place, ordered.count + 1)
        except WorldError as error:
            found = Check("quota", "unknown", f"{error.reason} The new machine is tried first; the bad one stays.")
            return Preflight((found,), more)
        if room:
            said = (
                f"There is quota for one more {place.instance_type} in {envelope.region}{place.zone}: the new machine "
                "comes first, then the bad one goes."
            )
            return Preflight((Check("quota", "ok", said),), more)
        lost = _what_is_lost(place.instance_type, envelope.expectation(ordered.name).count)
        return Preflight((Check("quota", "ok", lost),), envelope)

    def started(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        if cluster.state == ClusterState.DEGRADED:
            lifecycle.move_cluster(tx, cluster, ClusterState.BUILDING, request=request, at=at)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        cluster = tx.cluster(request.cluster_id)
        change = change_from_json(Kind.REPLACE, request.spec)
        first_day.known(tx, cluster)
        new = step_facts(tx, request.id)["measure_new"]
        first_day.remember(tx, cluster, report_from_json(new["report"]), new["level"], at)
        gone = change.uid if isinstance(change, Replace) else ""
        leave(tx, cluster, gone, at)
        settle(tx, request, worse=False, at=at)

    def failed(self, tx: Tx, request: RequestRow, reason: str, at: float) -> None:
        settle(tx, request, worse=False, at=at)


def one_more(envelope: Envelope, ordered: Pool) -> Envelope:
    """With one machine more in an ordered pool, for the time of a replacement."""
    pools = tuple(dataclasses.replace(p, count=p.count + 1) if p == ordered else p for p in envelope.pools)
    return dataclasses.replace(envelope, pools=pools)


def leave(tx: Tx, cluster: ClusterRow, node_uid: str, at: float) -> None:
    """The node has left the cluster for good: what was wrong with it is over."""
    subjects = {""} if not node_uid else {node_uid}
    for row in tx.verdicts(cluster.id):
        if row.node_uid == node_uid and row.gone_at is None:
            tx.change(row, gone_at=at)
            subjects.add(row.gpu_uuid or node_uid)
    for trouble in tx.troubles(cluster.id):
        if node_uid and trouble.subject in subjects - {""} and trouble.kind in troubles.OF_A_NODE:
            troubles.end(tx, cluster, trouble, at)


def to_replace(tx: Tx, cluster: ClusterRow, wish: str) -> Replace:
    """What a wish means: a node's name or UID, a GPU's UUID; '' for the first that is bad. Raises `Conflict`."""
    rows = first_day.known(tx, cluster)
    nodes = first_day.nodes_of(rows)
    if wish:
        uid = next((row.node_uid for row in rows if wish in (row.node_uid, row.gpu_uuid, row.node)
                    and row.node_uid in nodes), "")  # fmt: skip
        if not uid:
            raise Conflict("That node is not there any more.", f"/gpu-cluster verify {cluster.name} looks anew.")
        return Replace(nodes[uid].node, uid)
    bad = next((row for row in nodes.values() if row.verdict != VERIFIED), None)
    if bad is not None:
        return Replace(bad.node, bad.node_uid)
    envelope = ledger.current_envelope(tx, cluster)
    if envelope is not None and sum(row.gpus for row in nodes.values()) < envelope.gpus:
        return Replace()
    raise Conflict(
        f"Every node of “{cluster.name}” is verified; say which one to replace.",
        f"/gpu-cluster replace {cluster.name} NODE",
    )


def _room(cloud: Cloud, place: Pool, machines: int) -> bool:
    """Whether the quota has room for one more such machine; for spot ones, for all `machines`, since AWS does not tell
    us what runs as spot. Raises `WorldError`s."""
    family = family_of(place.instance_type)
    vcpus = cloud.instance_types((place.instance_type,))[place.instance_type].vcpus
    if place.spot_price:
        if not family.spot:
            raise Temporary(f"AWS's code for the spot quota of {family.name} machines is not known here.")
        return machines * vcpus <= cloud.quota(family.spot).limit
    return used_of(family, cloud.vcpus_in_use()) + vcpus <= cloud.quota(family.code).limit


def _what_is_lost(instance_type: str, gpus: int) -> str:
    return (
        f"There is no quota for one more {instance_type}, so the bad machine goes first: its {gpus} "
        "GPU(s) and everything on its disk are lost at once, and if AWS has no other machine, they stay lost."
    )
