"""The store, as the core needs it: transactions over rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from bot.core.records import (
    ApprovalRow,
    AuditRow,
    ClusterRow,
    CredentialRow,
    HomeRow,
    InboundRow,
    MessageRow,
    PostedRow,
    RequestRow,
    RosterRow,
    StepRow,
    SwitchRow,
    TroubleRow,
    VerdictRow,
    Watch,
)

Row = TypeVar("Row", ClusterRow, RequestRow, StepRow, MessageRow, VerdictRow, TroubleRow, CredentialRow)

AnyRow = (
    ClusterRow
    | RequestRow
    | StepRow
    | ApprovalRow
    | MessageRow
    | InboundRow
    | AuditRow
    | VerdictRow
    | TroubleRow
    | CredentialRow
    | RosterRow
    | PostedRow
)


class Tx(Protocol):
    """One transaction. Reads see one state; writes happen together or not at all."""

    def add(self, row: AnyRow) -> None:
        """Insert; raises `Taken` when a unique index says no.

        Indexes: `cluster_name` (living clusters), `open_request` (one open changing request per cluster; a delete
        may wait beside it), `approval` (request, hash, approver), `seen` (key), `message` (id), `cluster`,
        `request`, `step`, `credential`, `verdict` (cluster, node, GPU), `trouble` (id), `open_trouble`
        (cluster, kind, subject).
        """

    def change(self, row: Row, **changes: Any) -> Row:
        """Write the row with these fields changed and, where it has one, `rev` + 1; raises `Stale`
        when the stored `rev` is another than `row.rev`. Rows without `rev` are written unconditionally."""

    def cluster(self, cluster_id: str) -> ClusterRow: ...
    def living_cluster(self, name: str) -> ClusterRow | None:
        """The cluster of that name that is not gone."""

    def clusters(self, *, living: bool = True) -> list[ClusterRow]: ...
    def request(self, request_id: str) -> RequestRow | None: ...
    def requests_of(self, cluster_id: str) -> list[RequestRow]:
        """Oldest first."""

    def requests_by_cluster(self, cluster_ids: Collection[str]) -> Mapping[str, Sequence[RequestRow]]:
        """Of many clusters, each's oldest first."""

    def open_request(self, cluster_id: str) -> RequestRow | None:
        """The open request; where a delete waits beside another, the other, which it supersedes."""

    def steps(self, request_id: str) -> list[StepRow]:
        """In the order of the plan."""

    def steps_by_request(self, request_ids: Collection[str], names: Collection[str]) -> Mapping[str, Sequence[StepRow]]:
        """Of many requests, only the steps of these names (a kind without its version), in the order of the plan."""

    def approvals(self, request_id: str) -> list[ApprovalRow]: ...
    def messages(self, request_id: str) -> list[MessageRow]:
        """Oldest first."""

    def message_at(self, channel: str, ts: str) -> MessageRow | None:
        """The message of ours that Slack knows by this channel and timestamp."""

    def credential(self, credential_id: str) -> CredentialRow | None: ...
    def credentials(self, cluster_id: str = "") -> list[CredentialRow]:
        """Those that have not ended, oldest first; of one cluster, or of all."""

    def due_credentials(self, now: float, limit: int) -> list[CredentialRow]:
        """Those at which somebody has to look now, soonest due first."""

    def audit_trail(self, request_id: str) -> list[AuditRow]: ...
    def last_audit(self) -> int:
        """A number that grows with every line of the audit trail; 0 while there is none."""

    def newest_creates(self) -> list[RequestRow]:
        """The newest create of every requester."""

    def waiting_requests(self) -> list[RequestRow]:
        """Those that wait for a lead, oldest first."""

    def silent_requests(self, *, before: float) -> list[RequestRow]:
        """Those approved or running whose look was due before that moment (world)."""

    def posted_leads(self, request_id: str) -> PostedRow | None:
        """Who was a lead when the request was posted; None where nobody wrote that down."""

    def rosters(self, name: str, *, since: float) -> list[RosterRow]:
        """What is known of a user group since that moment, oldest first, and before it the one that held then."""

    def open_home(self, user: str, *, real: float) -> None:
        """Somebody has opened the Home tab; what it shows is as good as unknown."""

    def homes(self, *, since_real: float) -> list[HomeRow]:
        """Those opened since then."""

    def show_home(self, user: str, digest: str) -> None:
        """The Home tab of that person shows this now."""

    def audit_of(self, cluster_id: str) -> list[AuditRow]:
        """Everything about a cluster, in the order of writing."""

    def switch(self, name: str) -> SwitchRow | None:
        """As it was turned last; None when nobody ever did."""

    def turn(self, switch: SwitchRow) -> None:
        """Turn it, whoever did it before."""

    def due_clusters(self, now: float, limit: int) -> list[ClusterRow]:
        """Living clusters whose `due_at` has come, soonest due first. They are not leased: what is due to them is
        writing only, so it is done within the transaction that reads them."""

    def claim_requests(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[RequestRow]:
        """Open requests whose `next_look_at` has come and whose lease is free or over, now leased to `owner`.

        Soonest due first. `awaiting_approval` counts as open: its look is the one that lets it lapse.
        A lease does not change `rev`.
        """

    def release_request(self, request_id: str, owner: str) -> None:
        """Give the lease back, if it is still ours."""

    def anything_running(self) -> bool:
        """Whether some request is under way."""

    def look_at_once(self, names: Iterable[str], now: float) -> Mapping[str, str]:
        """Make the running requests of the clusters of these names due at `now`, unless they are already; a look that
        is under way goes on. Returns the names by id of the clusters that have one. Changes no `rev`."""

    def claim_inbound(self, *, real: float, lease_s: float, limit: int) -> list[InboundRow]:
        """Inbound rows not handled and not leased, oldest first, now leased."""

    def finish_inbound(self, key: str, *, real: float) -> None:
        """Handled: the payload is emptied (it may hold a response_url), the key stays against repeats."""

    def forget_inbound(self, *, before_real: float) -> int:
        """Drop handled keys older than that; returns how many."""

    def due_messages(self, limit: int) -> list[MessageRow]:
        """Messages whose `sent_rev` < `wanted_rev` and that have not failed for good; urgent first, oldest first."""

    def take_lease(self, name: str, owner: str, *, real: float, seconds: float) -> bool:
        """True when `owner` now holds the lease of that name."""

    def verdicts(self, cluster_id: str) -> list[VerdictRow]:
        """What was measured last, of nodes that have gone, too; by node."""

    def trouble(self, trouble_id: str) -> TroubleRow | None: ...
    def troubles(self, cluster_id: str) -> list[TroubleRow]:
        """Those that are not over, oldest first."""

    def claim_watches(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[Watch]:
        """Ready and degraded clusters whose next look is due and that nobody looks at, now leased to `owner`."""

    def release_watch(self, cluster_id: str, owner: str, *, due_at: float, watched_at: float | None) -> None:
        """Look again at `due_at` (world), if the lease is still ours. `watched_at` None: it could not be seen."""

    def next_watch_at(self) -> float | None:
        """When the next ready or degraded cluster is to be looked at."""

    def next_due_at(self) -> float | None:
        """The earliest `next_look_at` of an open request that nobody holds, or `due_at` of a living cluster."""


class Store(Protocol):
    """Where everything asked is written down before anything is done about it."""

    def transaction(self, *, first: bool = False) -> AbstractContextManager[Tx]:
        """A write transaction: serialised with all others, committed at the end, rolled back on an exception.

        `first`: for whoever a person waits for within seconds; it goes before the others of this process.
        """

    def reading(self) -> AbstractContextManager[Tx]:
        """A read transaction; writing in it is an error."""

    def describe(self) -> str:
        """Which store this is, without secrets: for the start line and the doctor."""
