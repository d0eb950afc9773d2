"""One look at a cluster in use: at most one read of Rancher's shared snapshot and one of the cluster's nodes.

Absence is never concluded from no answer. While Rancher does not answer nothing is concluded at all; while only the
cluster does not, that is the trouble, and what was known of its nodes stands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from bot.core import lifecycle
from bot.core.absence import GONE_S, absence
from bot.core.changes import Verify
from bot.core.cloud import Announcement
from bot.core.conflict import Conflict
from bot.core.costs import ledger
from bot.core.in_use import troubles, watch
from bot.core.in_use.watch import UNREACHABLE_S, WATCH_S, Finding, Judged
from bot.core.kinds.replace import leave
from bot.core.kinds.verify import begin
from bot.core.looking import Surroundings
from bot.core.ports import Clock, Cluster, Node, Refused, Store, Taken, Temporary, Tx, WorldError
from bot.core.records import ClusterRow, ClusterState, Kind, RequestState, TroubleRow, VerdictRow, Watch
from bot.core.spec import LABEL_REQUEST, UNVERIFIED_TAINT, Envelope
from bot.core.steps.base import Outside
from bot.core.verification import first_day
from bot.core.verification.sight import NAMESPACE
from bot.core.verification.spent import spent

log = logging.getLogger(__name__)

_USED = (ClusterState.READY, ClusterState.DEGRADED)
_RARELY_S = 600.0
"""World seconds between looks at a cluster that has gone from Rancher: only its owner can do something about it."""


@dataclass(frozen=True)
class _Known:
    """What the store says before the look. `changing`: nodes come and go because somebody wanted it.

    `home` is the request that made the cluster; `missing_since` when Rancher began not to show it, None while it does.
    """

    order: Envelope
    home: str
    missing_since: float | None
    rows: tuple[VerdictRow, ...]
    changing: bool
    measuring: bool


@dataclass(frozen=True)
class _Seen:
    """What the outside says. `nodes` None: the cluster itself could not be seen, and `troubles` say why. `announced`
    None: what EC2 has announced is not known."""

    nodes: tuple[Node, ...] | None
    troubles: tuple[Finding, ...] = ()
    announced: tuple[Announcement, ...] | None = None


def visit(turn: Watch, store: Store, clock: Clock, around: Surroundings) -> tuple[float, float | None]:
    """Look, and write down what came of it. Returns when to look again and when the cluster was seen (world)."""
    cluster, now = turn.cluster, clock.now()
    with store.transaction() as tx:
        before = _known(tx, cluster)
    if before is None or before.changing:
        return watch.next_look(now), now
    outside = around.outside(cluster.target)
    try:
        seen = _see(outside, cluster, before, now)
        if seen.nodes is not None:
            seen = dataclasses.replace(seen, announced=around.announced.of(outside.cloud, clock))
    except WorldError as error:
        log.info("%s could not be looked at: %s", cluster.name, error.reason)
        return watch.next_look(now), None
    judged = _judged(seen, before)
    at = clock.now()
    with store.transaction() as tx:
        current, still = tx.cluster(cluster.id), _known(tx, cluster)
        if current.state not in _USED or still is None or still.changing or still.measuring != before.measuring:
            return watch.next_look(now), at
        _write_down(tx, current, seen, judged, still, turn.watched_at, at)
        _measure_what_is_due(tx, current, judged, around, at)
        jobs = spent(tx.requests_of(cluster.id), at)
        told_gone = any(t.kind == troubles.CLUSTER_GONE and t.told_at for t in tx.troubles(cluster.id))
    if judged.reopened and not before.measuring:
        _close(outside.cluster(cluster.management_id), judged.reopened)
    if jobs and seen.nodes is not None:
        _sweep(outside.cluster(cluster.management_id), jobs)
    return watch.next_look(at, _RARELY_S if told_gone else WATCH_S), at


def _known(tx: Tx, cluster: ClusterRow) -> _Known | None:
    order = ledger.current_envelope(tx, cluster)
    if order is None or not cluster.management_id:
        return None
    running = [r.kind for r in tx.requests_of(cluster.id) if r.state in (RequestState.APPROVED, RequestState.RUNNING)]
    calm = (Kind.VERIFY, Kind.EXTEND)
    missing = (row.seen_at for row in tx.troubles(cluster.id) if row.kind == troubles.CLUSTER_GONE)
    return _Known(
        order,
        lifecycle.home_of(tx, cluster.id).id,
        next(missing, None),
        tuple(first_day.known(tx, cluster)),
        changing=any(kind not in calm for kind in running),
        measuring=Kind.VERIFY in running,
    )


def _judged(seen: _Seen, known: _Known) -> Judged:
    if seen.nodes is None:
        return Judged(())
    return watch.judge(seen.nodes, known.rows, known.order, seen.announced or ())


def _see(outside: Outside, cluster: ClusterRow, known: _Known, now: float) -> _Seen:
    """Raises `WorldError` when nothing can be said, Rancher being out of order or not letting us see."""
    view = outside.rancher.observe(cluster.name, newer_than=0.0)
    if view is None or (view.management_id and view.management_id != cluster.management_id):
        return _Seen(None, _missing(outside, cluster, known, now))
    if view.deleting:
        said = f"{cluster.name} is being deleted in Rancher, and not by this bot"
        return _Seen(None, (Finding(troubles.CLUSTER_GONE, "", said, 0.0),))
    if view.connected is False:
        return _Seen(None, (_unreachable(view.message or "its agent is not connected to Rancher"),))
    try:
        return _Seen(outside.cluster(cluster.management_id).nodes())
    except Refused:
        raise
    except Temporary as error:
        return _Seen(None, (_unreachable(error.reason),))


def _missing(outside: Outside, cluster: ClusterRow, known: _Known, now: float) -> tuple[Finding, ...]:
    """Never told as gone while EC2 has machines of it. What was there before us has none that bear our tags."""
    ours = known.order.existing is None
    since = now if known.missing_since is None else known.missing_since
    found = absence(
        cluster.name, since, now, lambda: outside.cloud.instances(LABEL_REQUEST, known.home) if ours else ()
    )
    gone = Finding(troubles.CLUSTER_GONE, "", found.why, GONE_S if found.gone else float("inf"))
    return (gone, Finding(troubles.UNSEEN, "", found.why, 0.0)) if found.left else (gone,)


def _unreachable(why: str) -> Finding:
    return Finding(troubles.UNREACHABLE, "", f"the cluster does not answer: {why}", UNREACHABLE_S)


def _write_down(
    tx: Tx, cluster: ClusterRow, seen: _Seen, judged: Judged, known: _Known, watched_at: float, at: float
) -> None:
    found = {finding.key: finding for finding in (*judged.findings, *seen.troubles)}
    open_rows = _open_rows(tx, cluster, judged.findings)
    blind = at - watched_at > 3 * WATCH_S
    for key, finding in found.items():
        row = open_rows.get(key) or troubles.begin(
            tx, cluster, finding.kind, finding.subject, finding.detail, at, event=finding.event, due_at=finding.due_at
        )
        _still_so(tx, cluster, row, finding, at, blind=blind)
    for key, row in open_rows.items():
        if key not in found and _can_be_judged(row, seen):
            _no_longer_so(tx, cluster, row, at)
    for left in judged.left:
        leave(tx, cluster, left.node_uid, at)
    if not known.measuring:
        for node in judged.reopened:
            _tell_reopened(tx, cluster, node, at)


def _open_rows(tx: Tx, cluster: ClusterRow, findings: Iterable[Finding]) -> dict[tuple[str, str, str], TroubleRow]:
    """By their keys. An older release stored one notice a node, without its event: it is the one it was told as."""
    rows = {(row.kind, row.subject, row.event): row for row in tx.troubles(cluster.id)}
    for finding in findings:
        row = rows.get((troubles.NOTICE, finding.subject, ""))
        if row is None or finding.kind != troubles.NOTICE or finding.key in rows:
            continue
        if finding.detail.startswith(row.detail) or row.detail.startswith(finding.detail):
            del rows[row.kind, row.subject, row.event]
            rows[finding.key] = tx.change(row, event=finding.event, due_at=finding.due_at)
    return rows


def _still_so(tx: Tx, cluster: ClusterRow, row: TroubleRow, finding: Finding, at: float, *, blind: bool) -> None:
    """It counts from when it was seen without a gap: nobody knows what was so while nobody could look."""
    if row.told_at is not None:
        if row.clear_at is not None:
            row = tx.change(row, clear_at=None)
        if finding.due_at is not None and finding.due_at != row.due_at:
            _put_off(tx, cluster, row, finding, at)
        return
    if blind or row.clear_at is not None:
        row = tx.change(row, seen_at=at, clear_at=None)
    if at - row.seen_at >= finding.after_s:
        troubles.tell(tx, cluster, tx.change(row, detail=finding.detail), at)


def _put_off(tx: Tx, cluster: ClusterRow, row: TroubleRow, finding: Finding, at: float) -> None:
    """AWS has moved an event. That the time of one is learned later, its taint having been seen first, is no news."""
    moved = tx.change(row, due_at=finding.due_at)
    if row.due_at is not None:
        troubles.tell(tx, cluster, tx.change(moved, detail=finding.detail, ignored_by=""), at)


def _can_be_judged(row: TroubleRow, seen: _Seen) -> bool:
    """Whether this look would have seen it."""
    if row.kind in troubles.MEASURED:
        return False
    if row.kind in (troubles.CLUSTER_GONE, troubles.UNREACHABLE):
        return all(trouble.kind == troubles.UNREACHABLE for trouble in seen.troubles)
    if row.kind == troubles.NOTICE and seen.announced is None:
        return False
    if row.kind == troubles.UNSEEN:
        return True
    return seen.nodes is not None


def _no_longer_so(tx: Tx, cluster: ClusterRow, row: TroubleRow, at: float) -> None:
    """Over, once two looks in a row agree: what flaps is one trouble, not many."""
    if row.told_at is None or (row.clear_at is not None and at - row.clear_at >= WATCH_S - 1):
        troubles.end(tx, cluster, row, at)
    elif row.clear_at is None:
        tx.change(row, clear_at=at)


def _tell_reopened(tx: Tx, cluster: ClusterRow, node: Node, at: float) -> None:
    said = f"{node.name} was open for work and has not passed verification; it is closed again, what runs there goes on"
    troubles.begin_and_tell(tx, cluster, troubles.UNCHECKED, node.uid, said, at)


def _measure_what_is_due(tx: Tx, cluster: ClusterRow, judged: Judged, around: Surroundings, at: float) -> None:
    """New nodes first; else all of it, when its time has come. A change that is open has precedence."""
    if judged.new:
        why = "new"
    elif _scheduled(tx, cluster, around.catalogue.policy.verify_every_hours, at):
        why = "scheduled"
    else:
        return
    if tx.open_request(cluster.id) is None:
        with contextlib.suppress(Taken, Conflict):
            begin(tx, cluster, Verify(why=why), around.catalogue, at)


def _scheduled(tx: Tx, cluster: ClusterRow, hours: int, at: float) -> bool:
    asked = [r.asked_at for r in tx.requests_of(cluster.id) if r.kind == Kind.VERIFY and '"new"' not in r.spec]
    last = max([cluster.ready_at or at, *asked])
    return hours > 0 and at - last >= hours * 3600.0


def _sweep(kube: Cluster, requests: tuple[str, ...]) -> None:
    """What cannot be removed now is tried at the next look."""
    try:
        kube.remove_jobs_of(NAMESPACE, requests)
    except WorldError as error:
        log.warning("the Jobs of %s could not be removed: %s", ", ".join(requests), error.reason)


def _close(kube: Cluster, nodes: tuple[Node, ...]) -> None:
    """What cannot be closed now is tried at the next look."""
    for node in nodes:
        try:
            kube.add_taint(node.name, UNVERIFIED_TAINT)
        except WorldError as error:
            log.warning("%s could not be closed: %s", node.name, error.reason)
