"""What moves a request or a cluster without anybody having to approve it."""

from __future__ import annotations

from dataclasses import dataclass

from bot.core import expiry, lifecycle, scaling, switches
from bot.core.asking import Ask
from bot.core.changes import Scale, change_from_json
from bot.core.conflict import Conflict
from bot.core.costs import ledger, spending
from bot.core.costs.spending import OverBudget
from bot.core.desk.base import Base
from bot.core.policy import Verb, require
from bot.core.ports import Tx
from bot.core.records import (
    ClusterRow,
    ClusterState,
    Kind,
    RequestRow,
    RequestState,
    SwitchRow,
)
from bot.core.spec import (
    REASON_MAX,
    Invalid,
    Problem,
)
from bot.core.story import Story


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled; `removing`: it had made something, which is being removed."""

    story: Story
    removing: bool


@dataclass(frozen=True)
class Kept:
    """Until when a failed cluster stays (world time), and what it costs an hour; None where no price is known."""

    cluster: str
    until: float
    rate: float | None


class Moving(Base):
    """Cancel, retry, keep, and the switch for new creates."""

    def cancel(self, ask: Ask, name: str, *, meant: str = "") -> Cancelled:
        """End what is open on a cluster; what a running one has made is removed. Raises `Denied` or `Conflict`.
        `meant`: the request whose button was pressed, '' for whatever is open.

        A look under way starts no further step; the removal waits until its lease is over.
        """
        cluster, now = self._allowed(Verb.CANCEL, ask, name, meant), self._clock.now()
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            request = tx.open_request(cluster.id)
            if request is None:
                raise Conflict(f"Nothing is under way on “{name}”.", f"/gpu-cluster status {name}")
            if meant not in ("", request.id):
                raise Conflict("What this button cancels is not under way any more.", f"/gpu-cluster status {name}")
            _must_be_cancellable(request, name)
            cancelled = lifecycle.cancel(tx, request, ask.user, now)
            removing = self._undo(tx, cluster, request, ask.user, now)
            told = self._tell(tx, cancelled.id)
        self._wake()
        return Cancelled(told, removing)

    def _undo(self, tx: Tx, cluster: ClusterRow, request: RequestRow, user: str, now: float) -> bool:
        """Have removed what the cancelled request has made; False where it had made nothing."""
        begun = request.state in (RequestState.APPROVED, RequestState.RUNNING)
        if request.kind == Kind.CREATE and not begun:
            lifecycle.free_name(tx, request, now)
        elif request.kind == Kind.CREATE:
            expiry.end(tx, cluster, "It was cancelled while it was being made.", requester=user, at=now)
        elif request.kind == Kind.SCALE and request.state == RequestState.RUNNING:
            scaling.back(tx, cluster, request, user, now)
        else:
            return False
        return begun

    def retry(self, ask: Ask, name: str, *, meant: str = "") -> Story:
        """Let a failed create go on from the step that failed, under the approval it has.

        Raises `Denied`, or `Conflict`: nothing failed, or what was approved is not what would be made.
        """
        cluster, now = self._allowed(Verb.RETRY, ask, name, meant), self._clock.now()
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            create = lifecycle.home_of(tx, cluster.id)
            if cluster.state != ClusterState.FAILED or create.state != RequestState.FAILED:
                raise Conflict(_nothing_to_retry(cluster), f"/gpu-cluster status {name}")
            switches.must_be_allowed(tx)
            if (refusal := lifecycle.not_what_was_approved(tx, create)) is not None:
                raise Conflict(refusal, f"Delete it (/gpu-cluster delete {name}), and have a new one approved.")
            lifecycle.retry(tx, create, ask.user, now)
            told = self._tell(tx, create.id)
        self._wake()
        return told

    def keep(self, ask: Ask, name: str, *, meant: str = "") -> Kept:
        """Let a failed cluster stay longer, so that somebody can look at it. Raises `Denied` or `Conflict`."""
        cluster, now = self._allowed(Verb.KEEP, ask, name, meant), self._clock.now()
        policy = self._catalogue.policy
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            if cluster.state != ClusterState.FAILED:
                raise Conflict(
                    f"“{name}” is {cluster.state}; only a failed cluster needs to be kept.",
                    f"/gpu-cluster extend {name} 4h keeps one that is ready.",
                )
            was = expiry.removed_at(cluster, tx.requests_of(cluster.id), policy) or now
            until = max(now + policy.keep_hours * 3600.0, was)
            order = ledger.current_envelope(tx, cluster)
            rate = order.max_price_per_hour if order else None
            counted = max(cluster.kept_until or now, now)
            try:
                added = None if rate is None else rate * (until - counted) / 3600.0
                held = ledger.committed(tx, self.team(cluster.team), now)
                spending.must_afford(held, added, cluster.team)
            except OverBudget as over:
                raise Conflict(over.why, over.remedy) from over
            if until != cluster.kept_until:
                tx.change(cluster, kept_until=until, due_at=until)
                lifecycle.note(tx, cluster, ask.user, "kept a failed cluster", f"until {until:.0f}", now)
                lifecycle.notice(tx, cluster, "kept", now, by=ask.user, ends=until, rate=rate)
        self._wake()
        return Kept(name, until, rate)

    def stop_creates(self, ask: Ask, reason: str, *, stop: bool) -> SwitchRow:
        """Stop all new creates, of every team, or allow them again. Raises `Denied`, `Invalid` or `Conflict`."""
        verb = Verb.STOP_CREATES if stop else Verb.ALLOW_CREATES
        require(verb, self._directory.person(ask.user), self.team_for(ask), None, self._directory)
        if len(reason) > REASON_MAX:
            raise Invalid(Problem("reason", f"The reason is {len(reason)} characters long; {REASON_MAX} at most."))
        with self._store.transaction() as tx:
            if (switches.stopped(tx) is not None) == stop:
                raise Conflict("New creates are stopped already." if stop else "New creates are allowed already.")
            turned = switches.turn(tx, on=stop, by=ask.user, reason=reason, at=self._clock.now())
        self._wake()
        return turned

    def stopped(self) -> SwitchRow | None:
        """Who has stopped new creates; None while they are allowed."""
        with self._store.reading() as tx:
            return switches.stopped(tx)


def _must_be_cancellable(request: RequestRow, name: str) -> None:
    if request.kind == Kind.DELETE and request.state in (RequestState.APPROVED, RequestState.RUNNING):
        raise Conflict("Its removal has begun, and cannot be taken back.")
    if request.kind == Kind.REPLACE and request.state == RequestState.RUNNING:
        raise Conflict(
            "The replacement has begun: the new machine is being made, or the bad one is going already.",
            f"Wait until it has ended: /gpu-cluster status {name}",
        )
    change = change_from_json(request.kind, request.spec)
    if isinstance(change, Scale) and change.machines < change.was and request.state == RequestState.RUNNING:
        raise Conflict("Machines are being removed already, and cannot be had back.", "Scale up again afterwards.")


def _nothing_to_retry(cluster: ClusterRow) -> str:
    if cluster.state == ClusterState.BUILDING:
        return f"“{cluster.name}” is being built; there is nothing to retry."
    return f"“{cluster.name}” is {cluster.state}; only a create that has failed can be retried."
