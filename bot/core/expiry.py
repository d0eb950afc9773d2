"""What happens to a cluster by itself: it is warned of its end, and ended; a failed one is not kept for ever.

All of it is writing: the delete is a request of the policy's own, which the engine works off like any other. So a
cluster that is due is attended to within the one transaction that finds it due; nothing can be done twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from bot.core import lifecycle
from bot.core.asking import new_request, request_id_for
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow, RequestState
from bot.core.spec import Policy

WARN_S = 3600.0
"""World seconds before the end at which it is warned of."""

GRACE_S = 900.0
"""World seconds from a warning to the end at the least: where the bot was down, the warning comes late."""

EXTEND_HOURS = 4
"""What the warning's button adds."""

HOURS_OVER = "Its hours are over."


def attend(tx: Tx, cluster: ClusterRow, policy: Policy, now: float) -> None:
    """Do what is due to the cluster, and say when the next thing is."""
    in_use = cluster.state in (ClusterState.READY, ClusterState.DEGRADED)
    replacing = cluster.state == ClusterState.BUILDING and cluster.ready_at is not None
    if (in_use or replacing) and cluster.expires_at is not None:
        _hours(tx, cluster, cluster.expires_at, now)
    elif cluster.state == ClusterState.FAILED:
        _failed(tx, cluster, policy, now)
    else:
        tx.change(cluster, due_at=None)


def removed_at(cluster: ClusterRow, requests: Iterable[RequestRow], policy: Policy) -> float | None:
    """When a failed cluster is deleted by itself (world time); None for one that is not failed, and for never."""
    if cluster.state != ClusterState.FAILED:
        return None
    if cluster.kept_until is not None:
        return cluster.kept_until
    ended = [r.finished_at for r in requests if r.kind == Kind.CREATE and r.finished_at is not None]
    return ended[-1] + policy.failed_hours * 3600.0 if ended and policy.failed_hours else None


def end(tx: Tx, cluster: ClusterRow, why: str, *, requester: str, at: float) -> None:
    """Delete it without anybody's approval. A delete that waits for a lead is let through instead."""
    waiting = [r for r in tx.requests_of(cluster.id) if r.kind == Kind.DELETE and r.finished_at is None]
    if not waiting:
        request_id = request_id_for(f"end:{cluster.id}:{cluster.rev}")
        spec = json.dumps({"why": why}, ensure_ascii=False)
        request = new_request(
            request_id, Kind.DELETE, cluster, requester=requester, channel=cluster.channel, spec=spec, now=at
        )
        lifecycle.open_change(
            tx, cluster, request, approvals_channel="", lapses_at=at, envelope=None, check=False, free=why
        )
    elif waiting[-1].state == RequestState.AWAITING_APPROVAL:
        lifecycle.approve(tx, waiting[-1], lifecycle.BY_POLICY, why, at, needed=1)


def _hours(tx: Tx, cluster: ClusterRow, expires: float, now: float) -> None:
    if cluster.warned_for != expires and now < expires - WARN_S:
        tx.change(cluster, due_at=expires - WARN_S)
    elif cluster.warned_for != expires:
        ends = max(expires, now + GRACE_S)
        tx.change(cluster, warned_for=expires, due_at=ends)
        lifecycle.notice(tx, cluster, "expiring", now, ends=ends, expires=expires)
    elif now < expires:
        tx.change(cluster, due_at=expires)
    else:
        cluster = tx.change(cluster, due_at=None)
        lifecycle.notice(tx, cluster, "expired", now)
        end(tx, cluster, HOURS_OVER, requester=cluster.owner, at=now)


def _failed(tx: Tx, cluster: ClusterRow, policy: Policy, now: float) -> None:
    until = removed_at(cluster, tx.requests_of(cluster.id), policy)
    if until is None or now < until:
        tx.change(cluster, due_at=until)
        return
    cluster = tx.change(cluster, due_at=None)
    lifecycle.notice(tx, cluster, "failed-over", now)
    end(tx, cluster, "It failed, and nobody keeps it any longer.", requester=cluster.owner, at=now)
