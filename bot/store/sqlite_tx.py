"""What is asked of the store within one transaction, in SQLite's SQL."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from bot.core.ports import AnyRow, Row, Stale, Taken
from bot.core.records import (
    OPEN_STATES,
    ApprovalRow,
    AuditRow,
    ClusterRow,
    ClusterState,
    CredentialRow,
    CredentialState,
    HomeRow,
    InboundRow,
    Kind,
    MessageRow,
    PostedRow,
    RequestRow,
    RequestState,
    RosterRow,
    StepRow,
    SwitchRow,
    TroubleRow,
    VerdictRow,
    Watch,
)
from bot.store.rows import Table, columns_of, table_of, written

R = TypeVar("R")

# Literals, not parameters: SQLite uses a partial index only where the query repeats its condition word for word.
_OPEN = f"state IN ({', '.join(repr(state.value) for state in OPEN_STATES)})"
_LIVING = f"state <> '{ClusterState.GONE}'"
_UNENDED = f"state <> '{CredentialState.ENDED}'"
_WATCHED = f"state IN ('{ClusterState.READY}', '{ClusterState.DEGRADED}')"
_UNSENT = "sent_rev < wanted_rev AND failed = ''"

_UNIQUE = {
    "clusters.name": "cluster_name",
    "index 'open_request'": "open_request",
    "clusters.id": "cluster",
    "requests.id": "request",
    "steps.request_id, steps.position": "step",
    "approvals.request_id, approvals.envelope_hash, approvals.approver": "approval",
    "messages.id": "message",
    "credentials.id": "credential",
    "seen.key": "seen",
    "rosters.name, rosters.seen_at": "roster",
    "posted_leads.request_id": "posted_leads",
    "verdicts.cluster_id, verdicts.node_uid, verdicts.gpu_uuid": "verdict",
    "troubles.id": "trouble",
    "troubles.cluster_id, troubles.kind, troubles.subject, troubles.event": "open_trouble",
}
"""SQLite's words for the columns of a unique index, and the index's name in `bot.core.ports.Tx`."""


class SqliteTx:
    """A `bot.core.ports.Tx` on a connection that is in a transaction; of no use after it has ended."""

    def __init__(self, connection: sqlite3.Connection, *, writable: bool) -> None:
        self._connection = connection
        self._writable = writable

    # --- rows ---------------------------------------------------------------------------------------------

    def add(self, row: AnyRow) -> None:
        """Insert; raises `Taken` when a unique index says no."""
        table = table_of(type(row))
        marks = ", ".join("?" * len(table.columns))
        self._write(f"INSERT INTO {table.name} ({_names(table)}) VALUES ({marks})", columns_of(row))  # noqa: S608

    def change(self, row: Row, **changes: Any) -> Row:
        """Write these fields and nothing else; returns the row as it is stored now. Raises `Stale` where the
        stored `rev` is another, or the row is gone; `TypeError` for a field that there is not."""
        table: Table[Row] = table_of(type(row))
        replace(row, **changes)  # the TypeError for an unknown field
        if unchangeable := {"rev", *table.key} & changes.keys():
            raise TypeError(f"{', '.join(sorted(unchangeable))} of {table.name} cannot be changed")
        assignments = [f"{_quoted(name)} = ?" for name in changes]
        condition = " AND ".join(f"{name} = ?" for name in table.key)
        values = [*written(tuple(changes.values())), *table.key_of(row)]
        if table.has_rev:
            assignments.append("rev = rev + 1")
            condition += " AND rev = ?"
            values.append(table.rev_of(row))
        if not assignments:
            return row
        sql = f"UPDATE {table.name} SET {', '.join(assignments)} WHERE {condition} RETURNING {_names(table)}"  # noqa: S608
        stored = self._write(sql, values)
        if not stored:
            raise Stale(f"{table.name} {' '.join(map(str, table.key_of(row)))} has changed since it was read")
        return table.read(stored[0])

    # --- clusters and requests ----------------------------------------------------------------------------

    def cluster(self, cluster_id: str) -> ClusterRow:
        """Raises `LookupError` when there is none of that id."""
        found = self._one(ClusterRow, "WHERE id = ?", cluster_id)
        if found is None:
            raise LookupError(f"there is no cluster {cluster_id}")
        return found

    def living_cluster(self, name: str) -> ClusterRow | None:
        """The cluster of that name that is not gone."""
        return self._one(ClusterRow, f"WHERE name = ? AND {_LIVING}", name)

    def clusters(self, *, living: bool = True) -> list[ClusterRow]:
        """Oldest first."""
        return self._all(ClusterRow, f"{f'WHERE {_LIVING} ' if living else ''}ORDER BY created_at, rowid")

    def request(self, request_id: str) -> RequestRow | None:
        """The request of that id."""
        return self._one(RequestRow, "WHERE id = ?", request_id)

    def requests_of(self, cluster_id: str) -> list[RequestRow]:
        """Oldest first."""
        return self._all(RequestRow, "WHERE cluster_id = ? ORDER BY asked_at, rowid", cluster_id)

    def requests_by_cluster(self, cluster_ids: Collection[str]) -> Mapping[str, Sequence[RequestRow]]:
        """Of many clusters, each's oldest first."""
        where = "WHERE cluster_id IN (SELECT value FROM json_each(?)) ORDER BY asked_at, rowid"
        found: dict[str, list[RequestRow]] = defaultdict(list)
        for request in self._all(RequestRow, where, json.dumps(list(cluster_ids))):
            found[request.cluster_id].append(request)
        return found

    def open_request(self, cluster_id: str) -> RequestRow | None:
        """The open request of a cluster; where a delete waits beside another, the other, which it supersedes."""
        where = f"WHERE cluster_id = ? AND {_OPEN} ORDER BY kind = '{Kind.DELETE}' LIMIT 1"
        return self._one(RequestRow, where, cluster_id)

    def steps(self, request_id: str) -> list[StepRow]:
        """In the order of the plan."""
        return self._all(StepRow, "WHERE request_id = ? ORDER BY position", request_id)

    def steps_by_request(self, request_ids: Collection[str], names: Collection[str]) -> Mapping[str, Sequence[StepRow]]:
        """Of many requests, only the steps of these names (a kind without its version), in the order of the plan."""
        where = """WHERE request_id IN (SELECT value FROM json_each(?))
                   AND substr(kind, 1, instr(kind, '@') - 1) IN (SELECT value FROM json_each(?)) ORDER BY position"""
        found: dict[str, list[StepRow]] = defaultdict(list)
        for step in self._all(StepRow, where, json.dumps(list(request_ids)), json.dumps(list(names))):
            found[step.request_id].append(step)
        return found

    def approvals(self, request_id: str) -> list[ApprovalRow]:
        """Oldest first."""
        return self._all(ApprovalRow, "WHERE request_id = ? ORDER BY at, rowid", request_id)

    def audit_trail(self, request_id: str) -> list[AuditRow]:
        """In the order of writing."""
        return self._all(AuditRow, "WHERE request_id = ? ORDER BY id", request_id)

    def last_audit(self) -> int:
        """The id of the newest line."""
        ((newest,),) = self._read("SELECT coalesce(max(id), 0) FROM audit")
        return int(newest)

    def newest_creates(self) -> list[RequestRow]:
        """One a requester."""
        newest = f"SELECT max(rowid) FROM requests WHERE kind = '{Kind.CREATE}' GROUP BY requester"  # noqa: S608
        return self._all(RequestRow, f"WHERE rowid IN ({newest})")

    def waiting_requests(self) -> list[RequestRow]:
        """Oldest first."""
        where = f"WHERE {_OPEN} AND state = '{RequestState.AWAITING_APPROVAL}' ORDER BY asked_at, rowid"
        return self._all(RequestRow, where)

    def silent_requests(self, *, before: float) -> list[RequestRow]:
        """Those whose look is overdue."""
        states = f"'{RequestState.APPROVED}', '{RequestState.RUNNING}'"
        return self._all(RequestRow, f"WHERE {_OPEN} AND state IN ({states}) AND next_look_at < ?", before)

    # --- people -------------------------------------------------------------------------------------------

    def posted_leads(self, request_id: str) -> PostedRow | None:
        """None for a request of an older release."""
        return self._one(PostedRow, "WHERE request_id = ?", request_id)

    def rosters(self, name: str, *, since: float) -> list[RosterRow]:
        """Oldest first; the first is the one that held at `since`, where there was one."""
        held = "coalesce((SELECT max(seen_at) FROM rosters WHERE name = ?1 AND seen_at < ?2), ?2)"
        return self._all(RosterRow, f"WHERE name = ?1 AND seen_at >= {held} ORDER BY seen_at", name, since)

    def open_home(self, user: str, *, real: float) -> None:
        """Its digest is emptied, so that it is published anew."""
        sql = """INSERT INTO homes (user, opened_real, shown) VALUES (?, ?, '')
                 ON CONFLICT (user) DO UPDATE SET opened_real = excluded.opened_real, shown = ''"""
        self._write(sql, (user, real))

    def homes(self, *, since_real: float) -> list[HomeRow]:
        """Who opened it last comes first."""
        return self._all(HomeRow, "WHERE opened_real >= ? ORDER BY opened_real DESC", since_real)

    def show_home(self, user: str, digest: str) -> None:
        """Nothing happens for somebody who never opened it."""
        self._write("UPDATE homes SET shown = ? WHERE user = ?", (digest, user))

    def audit_of(self, cluster_id: str) -> list[AuditRow]:
        """In the order of writing."""
        return self._all(AuditRow, "WHERE cluster_id = ? ORDER BY id", cluster_id)

    def switch(self, name: str) -> SwitchRow | None:
        """As it was turned last; None when nobody ever did."""
        return self._one(SwitchRow, "WHERE name = ?", name)

    def turn(self, switch: SwitchRow) -> None:
        """Turn it, whoever did it before."""
        table = table_of(SwitchRow)
        marks = ", ".join("?" * len(table.columns))
        self._write(f"INSERT OR REPLACE INTO {table.name} ({_names(table)}) VALUES ({marks})", columns_of(switch))  # noqa: S608

    # --- what is due --------------------------------------------------------------------------------------

    def due_clusters(self, now: float, limit: int) -> list[ClusterRow]:
        """Living clusters to which something is due, soonest due first."""
        where = f"WHERE due_at IS NOT NULL AND due_at <= ? AND {_LIVING} ORDER BY due_at LIMIT ?"
        return self._all(ClusterRow, where, now, max(limit, 0))

    def claim_requests(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[RequestRow]:
        """Open requests that are due and not leased, soonest due first, now leased to `owner`."""
        due = f"""SELECT id FROM requests WHERE {_OPEN} AND next_look_at <= ? AND lease_until_real <= ?
                  ORDER BY next_look_at LIMIT ?"""  # noqa: S608
        sql = f"""UPDATE requests SET lease_owner = ?, lease_until_real = ? WHERE id IN ({due})
                  RETURNING {_names(table_of(RequestRow))}"""  # noqa: S608
        rows = self._write(sql, (owner, real + lease_s, now, real, max(limit, 0)))
        return sorted(map(table_of(RequestRow).read, rows), key=lambda row: row.next_look_at)

    def release_request(self, request_id: str, owner: str) -> None:
        """Give the lease back, if it is still ours."""
        sql = "UPDATE requests SET lease_owner = '', lease_until_real = 0 WHERE id = ? AND lease_owner = ?"
        self._write(sql, (request_id, owner))

    def anything_running(self) -> bool:
        """Whether some request is under way."""
        return bool(self._read("SELECT 1 FROM requests WHERE state = 'running' LIMIT 1"))

    def look_at_once(self, names: Iterable[str], now: float) -> dict[str, str]:
        """Running requests of these clusters are due; the clusters' names by id. A look under way is not disturbed."""
        sql = """UPDATE requests SET next_look_at = min(next_look_at, ?) WHERE state = 'running' AND cluster_id IN
                 (SELECT id FROM clusters WHERE name IN (SELECT value FROM json_each(?)))
                 RETURNING cluster_id, (SELECT name FROM clusters WHERE id = cluster_id)"""
        return dict(self._write(sql, (now, json.dumps(sorted(names)))))

    def next_due_at(self) -> float | None:
        """The earliest `next_look_at` of an open request that nobody holds (whoever holds one knows of it), or
        `due_at` of a living cluster."""
        sql = f"""SELECT min(at) FROM (SELECT min(next_look_at) AS at FROM requests WHERE {_OPEN} AND lease_owner = ''
                  UNION ALL SELECT min(due_at) FROM clusters WHERE due_at IS NOT NULL AND {_LIVING})"""  # noqa: S608
        ((earliest,),) = self._read(sql)
        return None if earliest is None else float(earliest)

    def take_lease(self, name: str, owner: str, *, real: float, seconds: float) -> bool:
        """True when `owner` now holds the lease of that name; zero seconds give it back."""
        sql = """INSERT INTO leases (name, owner, until_real) VALUES (?, ?, ?)
                 ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until_real = excluded.until_real
                 WHERE owner = excluded.owner OR until_real <= ? RETURNING owner"""
        return bool(self._write(sql, (name, owner, real + seconds, real)))

    # --- what was given to people -------------------------------------------------------------------------

    def credential(self, credential_id: str) -> CredentialRow | None:
        return self._one(CredentialRow, "WHERE id = ?", credential_id)

    def credentials(self, cluster_id: str = "") -> list[CredentialRow]:
        """Those that have not ended, oldest first; of one cluster, or of all."""
        of = "AND cluster_id = ?" if cluster_id else ""
        where = f"WHERE {_UNENDED} {of} ORDER BY asked_at, rowid"
        return self._all(CredentialRow, where, *filter(None, (cluster_id,)))

    def due_credentials(self, now: float, limit: int) -> list[CredentialRow]:
        """Those at which somebody has to look now, soonest due first."""
        where = f"WHERE {_UNENDED} AND next_look_at <= ? ORDER BY next_look_at LIMIT ?"
        return self._all(CredentialRow, where, now, max(limit, 0))

    # --- what is watched ----------------------------------------------------------------------------------

    def verdicts(self, cluster_id: str) -> list[VerdictRow]:
        """What was measured last, of nodes that have gone, too; by node."""
        return self._all(VerdictRow, "WHERE cluster_id = ? ORDER BY node, node_uid, gpu_uuid", cluster_id)

    def trouble(self, trouble_id: str) -> TroubleRow | None:
        """The trouble of that id."""
        return self._one(TroubleRow, "WHERE id = ?", trouble_id)

    def troubles(self, cluster_id: str) -> list[TroubleRow]:
        """Those that are not over, oldest first."""
        return self._all(TroubleRow, "WHERE cluster_id = ? AND over_at IS NULL ORDER BY seen_at, rowid", cluster_id)

    def claim_watches(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[Watch]:
        """Clusters in use whose next look is due and that nobody looks at, now leased to `owner`."""
        due = f"""SELECT id FROM clusters WHERE {_WATCHED} AND watch_at <= ? AND watch_until_real <= ?
                  ORDER BY watch_at LIMIT ?"""  # noqa: S608
        sql = f"""UPDATE clusters SET watch_owner = ?, watch_until_real = ? WHERE id IN ({due})
                  RETURNING watched_at, {_names(table_of(ClusterRow))}"""  # noqa: S608
        rows = self._write(sql, (owner, real + lease_s, now, real, max(limit, 0)))
        return [Watch(table_of(ClusterRow).read(values), float(at)) for at, *values in rows]

    def release_watch(self, cluster_id: str, owner: str, *, due_at: float, watched_at: float | None) -> None:
        """Look again at `due_at`, if the lease is still ours."""
        sql = """UPDATE clusters SET watch_owner = '', watch_until_real = 0, watch_at = ?,
                 watched_at = coalesce(?, watched_at) WHERE id = ? AND watch_owner = ?"""
        self._write(sql, (due_at, watched_at, cluster_id, owner))

    def next_watch_at(self) -> float | None:
        """When the next cluster in use is to be looked at by whoever is free."""
        sql = f"SELECT min(watch_at) FROM clusters WHERE {_WATCHED} AND watch_owner = ''"  # noqa: S608
        ((earliest,),) = self._read(sql)
        return None if earliest is None else float(earliest)

    # --- what was heard -----------------------------------------------------------------------------------

    def claim_inbound(self, *, real: float, lease_s: float, limit: int) -> list[InboundRow]:
        """Inbound rows not handled and not leased, oldest first, now leased."""
        due = """SELECT key FROM seen WHERE handled_real IS NULL AND lease_until_real <= ?
                 ORDER BY received_real, rowid LIMIT ?"""
        sql = f"""UPDATE seen SET lease_until_real = ? WHERE key IN ({due})
                  RETURNING rowid, {_names(table_of(InboundRow))}"""  # noqa: S608
        rows = self._write(sql, (real + lease_s, real, max(limit, 0)))
        numbered = [(rowid, table_of(InboundRow).read(values)) for rowid, *values in rows]
        return [row for _, row in sorted(numbered, key=lambda pair: (pair[1].received_real, pair[0]))]

    def finish_inbound(self, key: str, *, real: float) -> None:
        """Handled: the payload is emptied (it may hold a response_url), the key stays against repeats."""
        self._write("UPDATE seen SET payload = '', handled_real = ? WHERE key = ?", (real, key))

    def forget_inbound(self, *, before_real: float) -> int:
        """Drop handled keys older than that; returns how many."""
        return len(self._write("DELETE FROM seen WHERE handled_real < ? RETURNING key", (before_real,)))

    # --- what must be said --------------------------------------------------------------------------------

    def messages(self, request_id: str) -> list[MessageRow]:
        """Oldest first."""
        return self._all(MessageRow, "WHERE request_id = ? ORDER BY created_at, rowid", request_id)

    def message_at(self, channel: str, ts: str) -> MessageRow | None:
        """The message of ours that Slack knows by this channel and timestamp."""
        return self._one(MessageRow, "WHERE channel = ? AND ts = ? AND ts <> ''", channel, ts)

    def due_messages(self, limit: int) -> list[MessageRow]:
        """Messages that Slack has not or has not in their newest revision; urgent first, oldest first."""
        where = f"WHERE {_UNSENT} ORDER BY urgent DESC, created_at, rowid LIMIT ?"
        return self._all(MessageRow, where, max(limit, 0))

    # --- SQL ----------------------------------------------------------------------------------------------

    def _all(self, row: type[R], rest: str, *values: Any) -> list[R]:
        table = table_of(row)
        return [table.read(found) for found in self._read(f"SELECT {_names(table)} FROM {table.name} {rest}", values)]  # noqa: S608

    def _one(self, row: type[R], rest: str, *values: Any) -> R | None:
        found = self._all(row, rest, *values)
        return found[0] if found else None

    def _write(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if not self._writable:
            raise RuntimeError("this transaction only reads")
        try:
            return self._read(sql, values)
        except sqlite3.IntegrityError as error:
            what = _UNIQUE.get(str(error).removeprefix("UNIQUE constraint failed: "))
            if what is None:
                raise
            raise Taken(what) from error

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        # Outside a transaction each statement would commit itself; SQLite ends one by itself when the disk is full.
        if not self._connection.in_transaction:
            raise RuntimeError("this transaction is over")
        return self._connection.execute(sql, values).fetchall()


def _names(table: Table[Any]) -> str:
    return ", ".join(map(_quoted, table.columns))


def _quoted(column: str) -> str:
    """`key` is a word of SQL."""
    return f'"{column}"'
