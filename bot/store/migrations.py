"""The schema, as sqlite-utils migrations. One that has been released is never edited; the next one changes it.

What stands here is the schema of its day: it does not follow the dataclasses of `bot.core.records`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

from bot.store.errors import StoreError

migrations = Migrations("gpu-cluster")


def migrate(db: Database, path: Path) -> int:
    """Bring a database up to date and return its schema number: how many migrations it has had.

    Safe when several processes do it at once. Raises `StoreError` for a database of a newer release, and for
    one of another program.
    """
    # apply() opens deferred transactions, in which two processes can both believe that a migration is pending.
    # Inside this one they are savepoints, and what is pending is decided under the write lock.
    db.execute("BEGIN IMMEDIATE")
    try:
        _must_be_ours(db, path)
        migrations.apply(db)
        db.commit()
    except BaseException:
        db.rollback()
        raise
    return len(migrations.applied(db))


def _must_be_ours(db: Database, path: Path) -> None:
    applied = {migration.name for migration in migrations.applied(db)}
    newer = sorted(applied - _known())
    if newer:
        raise StoreError(
            f"{path} was made by a newer release of gpu-cluster: this one does not know {', '.join(newer)}.",
            "Install that release or a later one, or point DATABASE_URL at another file.",
        )
    if not applied and db.table_names():
        raise StoreError(f"{path} is the database of another program.", "Point DATABASE_URL at a file of its own.")


def _known() -> set[str]:
    empty = Database(memory=True, execute_plugins=False)
    try:
        return {migration.name for migration in migrations.pending(empty)}
    finally:
        empty.close()


def _create(
    db: Database, name: str, columns: dict[str, type], *, optional: Iterable[str] = (), **options: Any
) -> Table:
    """A STRICT table whose columns are NOT NULL but for the `optional` ones."""
    required = set(columns) - set(optional)
    return Table(db, name, strict=True).create(columns, not_null=required, strict=True, **options)


@migrations()
def m001_clusters_and_requests(db: Database) -> None:
    """What people have, what they asked for, and the steps towards it."""
    _create(
        db,
        "clusters",
        {
            "id": str,
            "name": str,
            "team": str,
            "target": str,
            "owner": str,
            "channel": str,
            "state": str,
            "created_at": float,
            "management_id": str,
            "verdict": str,
            "ready_at": float,
            "expires_at": float,
            "gone_at": float,
            "rev": int,
        },
        pk="id",
        optional=("ready_at", "expires_at", "gone_at"),
    )
    db.execute("CREATE UNIQUE INDEX cluster_name ON clusters (name) WHERE state <> 'gone'")
    _create(
        db,
        "requests",
        {
            "id": str,
            "cluster_id": str,
            "kind": str,
            "state": str,
            "requester": str,
            "team": str,
            "target": str,
            "channel": str,
            "spec": str,
            "asked_at": float,
            "next_look_at": float,
            "envelope": str,
            "envelope_hash": str,
            "checks": str,
            "plan": str,
            "lapses_at": float,
            "approved_at": float,
            "finished_at": float,
            "decided_by": str,
            "wish": str,
            "reason": str,
            "remedy": str,
            "diagnosis": str,
            "incident": str,
            "lease_owner": str,
            "lease_until_real": float,
            "rev": int,
        },
        pk="id",
        optional=("lapses_at", "approved_at", "finished_at"),
        foreign_keys=[("cluster_id", "clusters", "id")],
    )
    is_open = "state IN ('checking', 'awaiting_approval', 'approved', 'running')"
    # A delete waits for its lead beside the request that it will supersede; hence two slots a cluster, not one.
    db.execute(f"CREATE UNIQUE INDEX open_request ON requests (cluster_id, kind = 'delete') WHERE {is_open}")
    db.execute(f"CREATE INDEX request_due ON requests (next_look_at) WHERE {is_open}")
    db.execute("CREATE INDEX request_of_cluster ON requests (cluster_id, asked_at)")
    _create(
        db,
        "steps",
        {
            "request_id": str,
            "position": int,
            "kind": str,
            "state": str,
            "started_at": float,
            "looked_at": float,
            "done_at": float,
            "observed_s": float,
            "why": str,
            "progress": str,
            "facts": str,
            "errors": int,
            "broken": int,
        },
        pk=("request_id", "position"),
        optional=("started_at", "looked_at", "done_at"),
        foreign_keys=[("request_id", "requests", "id")],
    )


@migrations()
def m002_approvals_and_audit(db: Database) -> None:
    """Who decided, and everything that was done: the second is only ever added to."""
    _create(
        db,
        "approvals",
        {
            "request_id": str,
            "envelope_hash": str,
            "approver": str,
            "decision": str,
            "at": float,
            "as_lead": str,
            "reason": str,
        },
        pk=("request_id", "envelope_hash", "approver"),
        foreign_keys=[("request_id", "requests", "id")],
    )
    _create(
        db,
        "audit",
        {
            "id": int,
            "at": float,
            "actor": str,
            "action": str,
            "request_id": str,
            "cluster_id": str,
            "detail": str,
        },
        pk="id",
    )
    db.execute("CREATE INDEX audit_of_request ON audit (request_id)")
    for event in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        )


@migrations()
def m003_messages_and_inbound(db: Database) -> None:
    """What must be said, what was heard, and who may act for everybody."""
    _create(
        db,
        "messages",
        {
            "id": str,
            "request_id": str,
            "kind": str,
            "channel": str,
            "created_at": float,
            "body": str,
            "ts": str,
            "wanted_rev": int,
            "sent_rev": int,
            "sending": str,
            "urgent": int,
            "failed": str,
        },
        pk="id",
    )
    db.execute(
        "CREATE INDEX message_due ON messages (urgent DESC, created_at) WHERE sent_rev < wanted_rev AND failed = ''"
    )
    db.execute("CREATE INDEX message_of_request ON messages (request_id, created_at)")
    db.execute("CREATE INDEX message_at ON messages (channel, ts) WHERE ts <> ''")
    _create(
        db,
        "seen",
        {
            "key": str,
            "kind": str,
            "payload": str,
            "received_real": float,
            "lease_until_real": float,
            "handled_real": float,
        },
        pk="key",
        optional=("handled_real",),
    )
    db.execute("CREATE INDEX inbound_due ON seen (received_real) WHERE handled_real IS NULL")
    db.execute("CREATE INDEX inbound_old ON seen (handled_real) WHERE handled_real IS NOT NULL")
    _create(db, "leases", {"name": str, "owner": str, "until_real": float}, pk="name")


@migrations()
def m004_threads(db: Database) -> None:
    """A small change to a cluster has no message of its own: what is said about it stands in the cluster's thread."""
    db.table("messages").add_column("thread", str, not_null_default="")


@migrations()
def m050_credentials(db: Database) -> None:
    """Kubeconfigs that were given to people: whose, until when, and the file that holds one; never a token."""
    _create(
        db,
        "credentials",
        {
            "id": str,
            "cluster_id": str,
            "person": str,
            "account": str,
            "state": str,
            "asked_at": float,
            "next_look_at": float,
            "issued_at": float,
            "expires_at": float,
            "file_id": str,
            "file_until": float,
            "why": str,
            "rev": int,
        },
        pk="id",
        optional=("issued_at", "expires_at", "file_until"),
        foreign_keys=[("cluster_id", "clusters", "id")],
    )
    db.execute("CREATE INDEX credential_due ON credentials (next_look_at) WHERE state <> 'ended'")
    db.execute("CREATE INDEX credential_of_cluster ON credentials (cluster_id)")


@migrations()
def m051_shared_and_enabled(db: Database) -> None:
    """Whom a cluster is shared with, and whether it was there before us."""
    db.table("clusters").add_column("shared", str, not_null_default="")
    db.table("clusters").add_column("enabled", int, not_null_default=0)


@migrations()
def m010_people(db: Database) -> None:
    """Who the leads were and how their groups changed, and who looks at the Home tab."""
    _create(db, "rosters", {"name": str, "seen_at": float, "members": str}, pk=("name", "seen_at"))
    _create(db, "posted_leads", {"request_id": str, "leads": str}, pk="request_id")
    _create(db, "homes", {"user": str, "opened_real": float, "shown": str}, pk="user")
    db.execute("CREATE INDEX home_opened ON homes (opened_real)")
    db.execute("CREATE INDEX request_of_requester ON requests (kind, requester)")


@migrations()
def m020_due_times(db: Database) -> None:
    """What happens to a cluster by itself. Those that are there already are warned an hour before their end, or now;
    one that failed before this release stays until somebody deletes it."""
    for column in ("due_at", "warned_for", "kept_until"):
        db.table("clusters").add_column(column, float)
    db.execute("UPDATE clusters SET due_at = expires_at - 3600 WHERE state IN ('ready', 'degraded')")
    db.execute("CREATE INDEX cluster_due ON clusters (due_at) WHERE due_at IS NOT NULL")


@migrations()
def m021_switches(db: Database) -> None:
    """What people turn on and off for everybody."""
    _create(db, "switches", {"name": str, "on": int, "by": str, "reason": str, "at": float}, pk="name")
    db.execute("CREATE INDEX audit_of_cluster ON audit (cluster_id)")


@migrations()
def m031_verdicts_and_watch(db: Database) -> None:
    """What was measured per node and GPU, what befalls clusters in use, and when each is looked at next."""
    _create(
        db,
        "verdicts",
        {
            "cluster_id": str,
            "node_uid": str,
            "gpu_uuid": str,
            "node": str,
            "verdict": str,
            "at": float,
            "first": str,
            "gpus": int,
            "gone_at": float,
        },
        pk=("cluster_id", "node_uid", "gpu_uuid"),
        optional=("gone_at",),
        foreign_keys=[("cluster_id", "clusters", "id")],
    )
    _create(
        db,
        "troubles",
        {
            "id": str,
            "cluster_id": str,
            "kind": str,
            "subject": str,
            "detail": str,
            "seen_at": float,
            "told_at": float,
            "clear_at": float,
            "over_at": float,
            "ignored_by": str,
        },
        pk="id",
        optional=("told_at", "clear_at", "over_at"),
        foreign_keys=[("cluster_id", "clusters", "id")],
    )
    db.execute("CREATE UNIQUE INDEX open_trouble ON troubles (cluster_id, kind, subject) WHERE over_at IS NULL")
    clusters = db.table("clusters")
    for column in ("watch_at", "watched_at", "watch_until_real"):
        clusters.add_column(column, float, not_null_default=0.0)
    clusters.add_column("watch_owner", str, not_null_default="")
    db.execute("CREATE INDEX watch_due ON clusters (watch_at) WHERE state IN ('ready', 'degraded')")


@migrations()
def m044_steps_have_their_own_times(db: Database) -> None:
    """What is due for one step of a request does not make the others ask the cluster again."""
    db.table("steps").add_column("not_before", float, not_null_default=0.0)


@migrations()
def m045_each_announcement_is_a_trouble_of_its_own(db: Database) -> None:
    """A machine may be told of twice: to be restarted on Monday, and taken back on Sunday."""
    db.table("troubles").add_column("event", str, not_null_default="")
    db.table("troubles").add_column("due_at", float)
    db.execute("DROP INDEX open_trouble")
    db.execute("CREATE UNIQUE INDEX open_trouble ON troubles (cluster_id, kind, subject, event) WHERE over_at IS NULL")
