"""What clusters have cost and will cost, from our own clock and the prices that were approved. US dollars.

A cluster costs from the moment Rancher is told to make it until it is gone: waiting, failed and parked time
included. AWS's own bill lags by a day; this one is there at once, and at most too high: it counts every machine of
the order for the whole time, without traffic, public addresses and taxes. Only GPU machines that an order still waits
for (`--wait`) are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.core import placing
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow, RequestState, StepRow
from bot.core.spec import Envelope, Team, envelope_from_json
from bot.core.verdict import report_from_json

_PROMISED = (RequestState.APPROVED, RequestState.RUNNING)
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Account:
    """One cluster's bill. `spent` so far, `unusable` the part for GPUs that nobody could use, `promised` still to come.

    None where no price was known. `hours` since its machines were asked for; `this_month`: some of them in this one.
    """

    cluster: str
    requester: str
    team: str
    state: ClusterState
    hours: float
    spent: float | None
    unusable: float | None
    promised: float | None
    this_month: bool


@dataclass(frozen=True)
class Committed:
    """What a team has spent this month and promised for what runs or waits; `budget` None for no limit.

    `unknown`: some cluster's price is not known, so the sums are too low.
    """

    spent: float
    promised: float
    budget: float | None
    unknown: bool = False

    @property
    def total(self) -> float:
        return self.spent + self.promised

    @property
    def left(self) -> float:
        """Dollars left this month; infinite without a budget."""
        return float("inf") if self.budget is None else max(self.budget - self.total, 0.0)


@dataclass(frozen=True)
class _Life:
    """The moments of a cluster that money depends on; world time, None for what has not happened."""

    envelope: Envelope
    promised: bool
    began: float | None
    ready: float | None
    usable_until: float
    ended: float
    expires: float | None
    good: float
    idle: tuple[tuple[float, float], ...] = ()

    def dollars(self, since: float) -> float | None:
        """What it has cost after `since`, without the GPU machines while an order that waits had none."""
        rate = self.envelope.max_price_per_hour
        if rate is None:
            return None
        gpus = self.envelope.gpu_price_per_hour or 0.0
        return (rate * self.seconds(since) - gpus * self.idle_seconds(since)) / _HOUR_S

    def idle_seconds(self, since: float) -> float:
        """How long after `since` no GPU machine ran, while capacity was waited for."""
        return sum(max(end - max(start, since), 0.0) for start, end in self.idle)

    def seconds(self, since: float) -> float:
        """How long it has cost money after `since`."""
        return 0.0 if self.began is None else max(self.ended - max(self.began, since), 0.0)

    def unusable_gpu_seconds(self) -> float:
        """Seconds in which GPUs were paid and could not be used; a part of them counts as that part."""
        if self.began is None:
            return 0.0
        usable = 0.0 if self.ready is None else max(min(self.usable_until, self.ended) - self.ready, 0.0)
        return max(self.ended - self.began - usable * self.good - self.idle_seconds(0.0), 0.0)

    def dollars_to_come(self, now: float) -> float | None:
        """What is approved and not yet used up: the hours, and before them what is left of a wait."""
        rate = self.envelope.max_price_per_hour
        if rate is None:
            return None
        if not self.promised:
            return 0.0
        if self.ready is None or self.expires is None:
            waited = 0.0 if self.began is None else now - self.began
            wait = max(self.envelope.wait_hours * _HOUR_S - waited, 0.0)
            whole = rate * self.envelope.hours * _HOUR_S + (self.envelope.waiting_price_per_hour or 0.0) * wait
            return whole / _HOUR_S
        return rate * max(self.expires - now, 0.0) / _HOUR_S


def accounts(tx: Tx, now: float) -> list[Account]:
    """The bill of every cluster that ever was, oldest first; those for which nothing was made cost nothing."""
    return [_account(cluster, life, now) for cluster in tx.clusters(living=False) for life in _life(tx, cluster, now)]


def committed(tx: Tx, team: Team, now: float, *, without: str = "") -> Committed:
    """What the team has spent in this calendar month (UTC) and promised. The request `without` is not counted."""
    since = month_began(now)
    spent = promised = 0.0
    unknown = False
    for cluster in tx.clusters(living=False):
        if cluster.team != team.name or (cluster.gone_at is not None and cluster.gone_at < since):
            continue
        for life in _life(tx, cluster, now, without=without):
            unknown = unknown or life.envelope.max_price_per_hour is None
            spent += life.dollars(since) or 0.0
            promised += life.dollars_to_come(now) or 0.0
    return Committed(spent, promised, team.budget_per_month, unknown)


def month_began(now: float) -> float:
    """The first moment of the calendar month (UTC) that `now` lies in."""
    moment = datetime.fromtimestamp(now, UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()


def _life(tx: Tx, cluster: ClusterRow, now: float, *, without: str = "") -> Iterable[_Life]:
    """At most one: none for a cluster whose create was never approved."""
    requests = [r for r in tx.requests_of(cluster.id) if r.id != without]
    create = next((r for r in requests if r.kind == Kind.CREATE and r.approved_at is not None), None)
    if create is None:
        return
    steps = tx.steps(create.id)
    removal = [r.approved_at for r in requests if r.kind == Kind.DELETE and r.approved_at is not None]
    ended = cluster.gone_at if cluster.gone_at is not None else now
    envelope = envelope_from_json(create.envelope)
    yield _Life(
        envelope=envelope,
        promised=_still_promised(cluster, create),
        began=next((step.started_at for step in steps if step.kind.startswith("cluster_object@")), None),
        ready=cluster.ready_at,
        usable_until=min(removal, default=ended),
        ended=ended,
        expires=cluster.expires_at,
        good=_share_good(steps),
        idle=_idle(steps, ended) if envelope.wait_hours else (),
    )


def _still_promised(cluster: ClusterRow, create: RequestRow) -> bool:
    """Whether more of what was approved may still be used."""
    return create.state in _PROMISED or cluster.state in (ClusterState.READY, ClusterState.DEGRADED)


def _share_good(steps: Iterable[StepRow]) -> float:
    """The part of the GPUs that passed verification; none before it."""
    verify = next((step for step in steps if step.kind.startswith("verify@")), None)
    facts = json.loads(verify.facts) if verify is not None else {}
    if "report" not in facts:
        return 0.0
    report = report_from_json(facts["report"])
    return report.good / report.expected if report.expected else 0.0


def _idle(steps: Iterable[StepRow], ended: float) -> tuple[tuple[float, float], ...]:
    """The spans in which the step `machines` saw no GPU machine that ran; the last may last until the end."""
    machines = next((step for step in steps if step.kind.startswith("machines@")), None)
    stored = json.loads(machines.facts).get("placing") if machines is not None else None
    if stored is None:
        return ()
    at = placing.from_json(stored)
    return (*at.idle[:-1], (at.idle[-1][0], ended)) if at.idling else at.idle


def _account(cluster: ClusterRow, life: _Life, now: float) -> Account:
    gpu_rate = life.envelope.gpu_price_per_hour
    hours = life.seconds(0.0) / _HOUR_S
    return Account(
        cluster=cluster.name,
        requester=cluster.owner,
        team=cluster.team,
        state=cluster.state,
        hours=hours,
        spent=life.dollars(0.0),
        unusable=None if gpu_rate is None else gpu_rate * life.unusable_gpu_seconds() / _HOUR_S,
        promised=life.dollars_to_come(now),
        this_month=life.ended >= month_began(now),
    )
