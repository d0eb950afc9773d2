"""What befalls a cluster in use: told to its owner once, with what can be done, and told when it is over."""

from __future__ import annotations

import dataclasses
import json
import uuid
from dataclasses import dataclass

from bot.core import lifecycle
from bot.core.conflict import Conflict
from bot.core.ports import Tx
from bot.core.records import ClusterRow, MessageKind, TroubleRow

MACHINE_GONE = "machine-gone"
NOT_READY = "not-ready"
SHORT = "short"
NOTICE = "notice"
NO_GPU = "no-gpu"
UNCHECKED = "unchecked"
UNREACHABLE = "unreachable"
CLUSTER_GONE = "cluster-gone"
UNSEEN = "unseen"
"""Rancher does not show the cluster, and EC2 has machines of it."""
FAILED_CHECK = "failed-check"
DRIFT = "drift"
ACCEPTED = "accepted"
"""No trouble: `detail` is who has accepted a degraded cluster."""

OF_A_NODE = frozenset({MACHINE_GONE, NOT_READY, SHORT, NOTICE, NO_GPU, FAILED_CHECK, DRIFT})
"""Kinds that another machine would end."""
MEASURED = frozenset({FAILED_CHECK, DRIFT})
"""Kinds that only another measurement can end."""


@dataclass(frozen=True)
class Notice:
    """What is said about a trouble. `over`: it is not so any more."""

    trouble: str
    kind: str
    detail: str
    cluster: str
    cluster_id: str
    owner: str
    over: bool = False


def notice_from_body(body: str) -> Notice:
    """The facts of a message as they were stored."""
    return Notice(**json.loads(body))


def begin(
    tx: Tx,
    cluster: ClusterRow,
    kind: str,
    subject: str,
    detail: str,
    at: float,
    *,
    event: str = "",
    due_at: float | None = None,
) -> TroubleRow:
    """It is seen for the first time; nothing is said yet."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    row = TroubleRow(name, cluster.id, kind, subject, detail, at, event=event, due_at=due_at)
    tx.add(row)
    return row


def tell(tx: Tx, cluster: ClusterRow, row: TroubleRow, at: float) -> None:
    """Say it in the cluster's thread."""
    _say(tx, cluster, tx.change(row, told_at=at), at)


def begin_and_tell(tx: Tx, cluster: ClusterRow, kind: str, subject: str, detail: str, at: float) -> None:
    """For what needs no time to be believed; nothing happens while the same trouble is known."""
    if not any((row.kind, row.subject) == (kind, subject) for row in tx.troubles(cluster.id)):
        tell(tx, cluster, begin(tx, cluster, kind, subject, detail, at), at)


def end(tx: Tx, cluster: ClusterRow, row: TroubleRow, at: float) -> None:
    """It is over; said only where the trouble itself was said."""
    over = tx.change(row, over_at=at)
    if over.told_at is not None and over.kind != UNCHECKED:
        _say(tx, cluster, over, at)


def ignore(tx: Tx, trouble_id: str, user: str, at: float) -> TroubleRow:
    """Somebody has seen it and lets it be. Raises `Conflict` where there is nothing to ignore any more."""
    row = tx.trouble(trouble_id)
    if row is None or row.over_at is not None:
        raise Conflict("This is over already; there is nothing to ignore.")
    if row.ignored_by:
        raise Conflict(f"<@{row.ignored_by}> has already said to ignore this.")
    ignored = tx.change(row, ignored_by=user)
    home = lifecycle.home_of(tx, row.cluster_id)
    lifecycle.audit(tx, home, user, "ignored a trouble", f"{row.kind} {row.detail}", at)
    return ignored


def say_accepted(tx: Tx, cluster: ClusterRow, user: str, at: float) -> None:
    """Who has taken a degraded cluster as it is."""
    notice = Notice("", ACCEPTED, user, cluster.name, cluster.id, cluster.owner)
    body = json.dumps(dataclasses.asdict(notice))
    lifecycle.post(tx, lifecycle.home_of(tx, cluster.id), MessageKind.TROUBLE, at, body)


def _say(tx: Tx, cluster: ClusterRow, row: TroubleRow, at: float) -> None:
    notice = Notice(row.id, row.kind, row.detail, cluster.name, cluster.id, cluster.owner, row.over_at is not None)
    home = lifecycle.home_of(tx, cluster.id)
    body = json.dumps(dataclasses.asdict(notice), ensure_ascii=False)
    lifecycle.post(tx, home, MessageKind.TROUBLE, at, body)
    lifecycle.audit(tx, home, lifecycle.ENGINE, "over" if notice.over else "trouble", f"{row.kind} {row.detail}", at)
