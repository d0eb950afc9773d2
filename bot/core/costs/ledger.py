"""What clusters have cost and will cost, from our own clock and the prices that were approved. US dollars.

A cluster costs from the moment Rancher is told to make it until it is gone: waiting, failed and parked time
included. AWS's own bill lags by a day; this one is there at once, and at most too high: it counts every machine of
the order for the whole time, GPU machines at the price of the place where they stand, without traffic, public
addresses and taxes. Only GPU machines that an order still waits for (`--wait`) are left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.core.capacity import placing
from bot.core.capacity.places import saving
from bot.core.capacity.standing import NAMES, StepsOf, left_by, standing
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow, RequestState, StepRow
from bot.core.spec import Envelope, Team, envelope_from_json
from bot.core.verification.verdict import report_from_json

_PROMISED = (RequestState.APPROVED, RequestState.RUNNING)
_HELD = (*_PROMISED, RequestState.DONE)
_AS_IT_IS = (Kind.VERIFY, Kind.REPLACE)
_HOUR_S = 3600.0
_COUNTED = ("cluster_object", "verify", *NAMES)
"""The steps that say when a cluster began, where its machines stand, and how good its GPUs are."""


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
class _Rate:
    """What the cluster costs from a moment on (world time), in US dollars an hour; None where no price is known."""

    since: float
    all: float | None
    gpu: float | None


@dataclass(frozen=True)
class _Life:
    """The moments of a cluster that money depends on; world time, None for what has not happened.

    `rates`: oldest first, from `began` on. `promised`: what may still be used is counted with the rate `to_come`.
    """

    rates: tuple[_Rate, ...]
    to_come: float | None
    promised_hours: float
    promised: bool
    began: float | None
    ready: float | None
    usable_until: float
    ended: float
    expires: float | None
    good: float
    idle: tuple[tuple[float, float], ...] = ()
    waiting: float = 0.0

    def _idle(self, since: float) -> float:
        """US dollars after `since` that the GPU machines would have cost while an order that waits had none."""
        return sum(
            (rate.gpu or 0.0) * _overlap(max(a, start), min(b, end), since, self.ended)
            for rate, a, b in self._pieces()
            for start, end in self.idle
        ) / _HOUR_S  # fmt: skip

    @property
    def unknown(self) -> bool:
        """Whether some price is not known."""
        return any(rate.all is None for rate in self.rates)

    def seconds(self, since: float) -> float:
        """How long it has cost money after `since`."""
        return 0.0 if self.began is None else max(self.ended - max(self.began, since), 0.0)

    def spent(self, since: float) -> float:
        """US dollars after `since`; what has no price counts nothing."""
        whole = sum((rate.all or 0.0) * _overlap(a, b, since, self.ended) for rate, a, b in self._pieces()) / _HOUR_S
        return whole - self._idle(since)

    def unusable(self) -> float | None:
        """US dollars for GPUs that nobody could use; a part of them that is bad counts as that part."""
        if any(rate.gpu is None for rate in self.rates):
            return None
        from_, to = (self.ended, self.ended) if self.ready is None else (self.ready, min(self.usable_until, self.ended))
        whole = sum(
            (rate.gpu or 0.0) * max(b - a - self.good * _overlap(a, b, from_, to), 0.0) for rate, a, b in self._pieces()
        )
        return whole / _HOUR_S - self._idle(0.0)

    def _pieces(self) -> Iterable[tuple[_Rate, float, float]]:
        """Each rate with the time for which it held."""
        if self.began is None:
            return
        ends = [*(rate.since for rate in self.rates[1:]), self.ended]
        for rate, end in zip(self.rates, ends, strict=True):
            yield rate, max(rate.since, self.began), max(min(end, self.ended), rate.since, self.began)

    def seconds_to_come(self, now: float) -> float:
        """What is approved and not yet used up; hours that are approved and not yet added count as well."""
        if not self.promised:
            return 0.0
        if self.ready is None:
            return max((self.expires or 0.0) - now, self.promised_hours * _HOUR_S if self.expires is None else 0.0)
        return max(self.expires or 0.0, self.ready + self.promised_hours * _HOUR_S, now) - now

    def dollars_to_come(self, now: float) -> float | None:
        """What is approved and not yet used up, with what is left of a wait for capacity; None without a price."""
        if self.to_come is None:
            return None
        return self.to_come * self.seconds_to_come(now) / _HOUR_S + (self.waiting if self.promised else 0.0)


def _overlap(a: float, b: float, since: float, until: float) -> float:
    return max(min(b, until) - max(a, since), 0.0)


def accounts(tx: Tx, now: float) -> list[Account]:
    """The bill of every cluster that ever was, oldest first; those for which nothing was made cost nothing."""
    return [_account(cluster, life, now) for cluster, life in _lives(tx, tx.clusters(living=False), now)]


def committed(tx: Tx, team: Team, now: float, *, without: str = "") -> Committed:
    """What the team has spent in this calendar month (UTC) and promised. The request `without` is not counted."""
    since = month_began(now)
    spent = promised = 0.0
    unknown = False
    theirs = [cluster for cluster in tx.clusters(living=False) if cluster.team == team.name]
    counted = [cluster for cluster in theirs if cluster.gone_at is None or cluster.gone_at >= since]
    for _, life in _lives(tx, counted, now, without=without):
        unknown = unknown or life.unknown or life.to_come is None
        spent += life.spent(since)
        promised += life.dollars_to_come(now) or 0.0
    return Committed(spent, promised, team.budget_per_month, unknown)


def current_envelope(tx: Tx, cluster: ClusterRow) -> Envelope | None:
    """What has been approved of the cluster last, and holds; None for one that was never approved."""
    return envelope_of(tx.requests_of(cluster.id))


def envelope_of(requests: Iterable[RequestRow], *, before: str = "") -> Envelope | None:
    """The same from the cluster's requests, oldest first; `before`: as it was when that request was asked."""
    rows = list(requests)
    if before:
        rows = rows[: next((i for i, row in enumerate(rows) if row.id == before), len(rows))]
    # A verify and a replace leave the order as it is.
    approved = [row for row in rows if row.envelope and row.approved_at is not None and row.kind not in _AS_IT_IS]
    held = [row for row in approved if row.kind == Kind.CREATE or row.state in _HELD]
    return envelope_from_json(held[-1].envelope) if held else None


def month_began(now: float) -> float:
    """The first moment of the calendar month (UTC) that `now` lies in."""
    moment = datetime.fromtimestamp(now, UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()


def _lives(
    tx: Tx, clusters: Collection[ClusterRow], now: float, *, without: str = ""
) -> Iterator[tuple[ClusterRow, _Life]]:
    """Those of clusters whose create was approved. What they are made of is read at once: a team may have very many."""
    requests = tx.requests_by_cluster([cluster.id for cluster in clusters])
    steps = tx.steps_by_request([row.id for rows in requests.values() for row in rows], _COUNTED)
    for cluster in clusters:
        rows = [row for row in requests.get(cluster.id, ()) if row.id != without]
        create = next((row for row in rows if row.kind == Kind.CREATE and row.approved_at is not None), None)
        if create is not None:
            yield cluster, _life(cluster, rows, create, lambda request_id: steps.get(request_id, ()), now)


def _life(
    cluster: ClusterRow, requests: Sequence[RequestRow], create: RequestRow, steps_of: StepsOf, now: float
) -> _Life:
    steps = steps_of(create.id)
    removal = [r.approved_at for r in requests if r.kind == Kind.DELETE and r.approved_at is not None]
    ended = cluster.gone_at if cluster.gone_at is not None else now
    began = next((step.started_at for step in steps if step.kind.startswith("cluster_object@")), None)
    rates = _rates(steps_of, create, requests, began)
    last = envelope_of(requests) or envelope_from_json(create.envelope)
    saved = saving(last, standing(steps_of, requests, _first(last)))
    kept = cluster.state == ClusterState.FAILED and cluster.kept_until is not None
    return _Life(
        rates=rates,
        to_come=_dearer(_less(last.max_price_per_hour, saved), rates[-1].all),
        promised_hours=last.hours,
        promised=_still_promised(cluster, create) or kept,
        began=began,
        ready=cluster.ready_at,
        usable_until=min(removal, default=ended),
        ended=ended,
        expires=cluster.kept_until if kept else cluster.expires_at,
        good=_share_good(steps),
        idle=_idle(steps, ended) if last.wait_hours and not last.has_fixed_gpus else (),
        waiting=_waiting(cluster, last, began, now) if last.wait_hours else 0.0,
    )


def _rates(
    steps_of: StepsOf, create: RequestRow, requests: Iterable[RequestRow], began: float | None
) -> tuple[_Rate, ...]:
    """More costs more from the approval on, less costs less once it is done; what failed was taken back at its end.

    GPU machines cost what they cost where they stand; those that are still being made, what they may cost at most.
    """
    order = envelope_from_json(create.envelope)
    stood = left_by(steps_of, create, _first(order)) or {}
    rates = [_rate(began or 0.0, order, stood)]
    for change in requests:
        if change.kind in (Kind.CREATE, *_AS_IT_IS) or not change.envelope or change.approved_at is None:
            continue
        wanted, was = envelope_from_json(change.envelope), rates[-1]
        most = _rate(change.approved_at, wanted, stood)
        rates.append(_Rate(most.since, _dearer(was.all, most.all), _dearer(was.gpu, most.gpu)))
        if change.finished_at is not None and change.state == RequestState.DONE:
            stood = left_by(steps_of, change, _first(wanted)) or stood
            rates.append(_rate(change.finished_at, wanted, stood))
        elif change.finished_at is not None and change.state == RequestState.FAILED:
            rates.append(dataclasses.replace(was, since=change.finished_at))
    return tuple(rates)


def _rate(since: float, order: Envelope, stood: Mapping[str, int]) -> _Rate:
    saved = saving(order, stood)
    return _Rate(since, _less(order.max_price_per_hour, saved), _less(order.gpu_price_per_hour, saved))


def _first(order: Envelope) -> str:
    """The pool whose machines may stand in several places; '' in a cluster that was there before us."""
    return order.sized_pool.name if order.pools else ""


def _less(price: float | None, saved: float) -> float | None:
    return None if price is None else price - saved


def _dearer(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _still_promised(cluster: ClusterRow, create: RequestRow) -> bool:
    """Whether more of what was approved may still be used."""
    in_use = cluster.state in (ClusterState.READY, ClusterState.DEGRADED)
    replacing = cluster.state == ClusterState.BUILDING and cluster.ready_at is not None
    return create.state in _PROMISED or in_use or replacing


def _waiting(cluster: ClusterRow, order: Envelope, began: float | None, now: float) -> float:
    """US dollars that the rest of a wait for capacity may still cost."""
    if cluster.ready_at is not None:
        return 0.0
    waited = 0.0 if began is None else now - began
    return (order.waiting_price_per_hour or 0.0) * max(order.wait_hours - waited / _HOUR_S, 0.0)


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
    known, hours = not life.unknown, life.seconds(0.0) / _HOUR_S
    return Account(
        cluster=cluster.name,
        requester=cluster.owner,
        team=cluster.team,
        state=cluster.state,
        hours=hours,
        spent=life.spent(0.0) if known else None,
        unusable=life.unusable(),
        promised=life.dollars_to_come(now),
        this_month=life.ended >= month_began(now),
    )
