"""The orphan sweep: a list of what is left in AWS, and its end on a lead's press. Nothing is ended by itself.

Unlike the desk it asks AWS. A press is bound to the list that was shown: another list is shown anew, and nothing ended.
What is about to be ended is in the audit before the first call, and each thing is looked up once more by its id.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from bot.core.checks.questions import ask as in_a_thread
from bot.core.cloud import Cloud
from bot.core.costs.money import HOURS_A_MONTH
from bot.core.desk import Ask, Desk
from bot.core.orphans import Orphan, Thing, orphans
from bot.core.policy import Directory, Verb, require
from bot.core.ports import Clock, Refused, Store, WorldError
from bot.core.records import AuditRow

LOOK_S, END_S = 12.0, 12.0
"""Real seconds for the list of all regions, and after which no further thing is ended: a gesture is leased for 30 s."""
MOST = 25
"""Things that one press ends."""
ENDED, ALREADY, KEPT, REFUSED, FAILED, LATER = "ended", "already gone", "kept", "refused", "failed", "not begun"

# AWS: "Amazon VPC pricing", public IPv4 addresses, idle ones included; the same in every region.
_ADDRESS_AN_HOUR = 0.005


class Sweeper(Protocol):
    """One region of AWS. Every method may raise `WorldError`s."""

    region: str

    def things(self) -> tuple[Thing, ...]:
        """Everything that may be a cluster's."""

    def find(self, thing: Thing) -> Thing | None:
        """The same thing as AWS shows it now, by its id; None when it is gone or is ending."""

    def end(self, thing: Thing) -> None:
        """End it for good. `Refused` where the optional policy is not attached."""


@dataclass(frozen=True)
class Left:
    """An orphan with where it is and what it costs (dollars an hour, None where nobody could look it up)."""

    orphan: Orphan
    region: str
    hourly: float | None

    @property
    def key(self) -> str:
        return f"{self.region}/{self.orphan.thing.kind}/{self.orphan.thing.id}"


@dataclass(frozen=True)
class Listing:
    """What is left. `silent` names regions that did not answer and why; `changed`: a press was
    meant for another list."""

    left: tuple[Left, ...]
    silent: tuple[tuple[str, str], ...]
    regions: tuple[str, ...]
    at: float
    changed: bool = False

    @property
    def endable(self) -> tuple[Left, ...]:
        """What a press would end, at most `MOST` at once; machines come first, they cost most."""
        may = sorted((one for one in self.left if not one.orphan.kept), key=lambda one: (-(one.hourly or 0.0), one.key))
        return tuple(may[:MOST])

    @property
    def digest(self) -> str:
        """Of exactly what a press would end."""
        return hashlib.sha256("\n".join(sorted(one.key for one in self.endable)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Result:
    """What came of one thing, by its key (region/kind/id)."""

    key: str
    word: str
    detail: str = ""


@dataclass(frozen=True)
class Swept:
    """What came of a press; `denied`: AWS refused for want of rights."""

    by: str
    results: tuple[Result, ...] = field(default=())

    @property
    def denied(self) -> bool:
        return any(result.word == REFUSED for result in self.results)


class Sweeping:
    """Lists and ends. Safe to share between threads."""

    def __init__(
        self,
        *,
        desk: Desk,
        store: Store,
        clock: Clock,
        directory: Directory,
        regions: tuple[str, ...],
        sweeper: Callable[[str], Sweeper],
        cloud: Callable[[str], Cloud],
    ) -> None:
        self._desk, self._store, self._clock, self._directory = desk, store, clock, directory
        self._regions, self._sweeper, self._cloud = regions, sweeper, cloud

    def listing(self, ask: Ask) -> Listing:
        """What is left in AWS of clusters that are gone. Raises `Denied` for those who are no leads."""
        self._must_be_lead(ask)
        return self._look()

    def press(self, ask: Ask, digest: str) -> Listing | Swept:
        """End what the list with that digest showed, or show the list that there is now. Raises `Denied`.

        The same press handled again, after a crash, goes on with what has no line in the audit yet.
        """
        self._must_be_lead(ask)
        sweep = f"o-{hashlib.sha256(ask.key.encode()).hexdigest()[:10]}"
        now = self._look()
        with self._store.transaction() as tx:
            trail = tx.audit_trail(sweep)
            if not trail:
                if not now.endable or now.digest != digest:
                    return Listing(now.left, now.silent, now.regions, now.at, changed=True)
                meant = tuple(one.key for one in now.endable)
                tx.add(self._line(ask.user, f"asked to end {len(meant)} orphans", sweep, json.dumps(meant)))
            else:
                meant = tuple(json.loads(trail[0].detail))
        told = {row.detail.partition(" ")[0]: row for row in trail[1:]}
        by_key = {one.key: one for one in now.left}
        until, refused = time.monotonic() + END_S, set[str]()
        results = []
        for key in meant:
            kind = key.split("/")[1]
            if key in told:
                results.append(Result(key, told[key].action.removeprefix("orphan: "), "before the bot was restarted"))
                continue
            if time.monotonic() > until:
                results.append(Result(key, LATER, "there was no time left; press again"))
                continue
            if kind in refused:
                results.append(Result(key, REFUSED, f"as for the first {kind}"))
                continue
            result = self._end(key, by_key.get(key))
            if result.word == REFUSED:
                refused.add(kind)
            with self._store.transaction() as tx:
                tx.add(self._line(ask.user, f"orphan: {result.word}", sweep, f"{key} {result.detail}".strip()))
            results.append(result)
        return Swept(ask.user, tuple(results))

    def _end(self, key: str, seen: Left | None) -> Result:
        """One thing, looked up by its id right before: it must still be an orphan, and still carry our tag."""
        if seen is None:
            return Result(key, ALREADY)
        sweeper = self._sweeper(seen.region)
        try:
            found = sweeper.find(seen.orphan.thing)
            if found is None:
                return Result(key, ALREADY)
            with self._store.reading() as tx:
                still = orphans(tx, [found], self._clock.now())
            if not still or still[0].kept:
                return Result(key, KEPT, still[0].kept if still else "its cluster is there again")
            sweeper.end(found)
        except Refused as error:
            return Result(key, REFUSED, error.reason)
        except WorldError as error:
            return Result(key, FAILED, error.reason)
        return Result(key, ENDED)

    def _must_be_lead(self, ask: Ask) -> None:
        require(Verb.ORPHANS, self._directory.person(ask.user), self._desk.team_for(ask), None, self._directory)

    def _line(self, user: str, action: str, sweep: str, detail: str) -> AuditRow:
        return AuditRow(self._clock.now(), user, action, sweep, "", detail)

    def _look(self) -> Listing:
        """All regions side by side; one that does not answer is named."""
        deadline = time.monotonic() + LOOK_S
        asked = {region: in_a_thread(partial(self._in, region)) for region in self._regions}
        left: list[Left] = []
        silent: list[tuple[str, str]] = []
        for region, future in asked.items():
            try:
                left += _within(future, deadline)
            except WorldError as error:
                silent.append((region, error.reason))
            except TimeoutError:
                silent.append((region, f"no answer within {LOOK_S:g} s"))
        return Listing(tuple(left), tuple(silent), self._regions, self._clock.now())

    def _in(self, region: str) -> list[Left]:
        things = self._sweeper(region).things()
        with self._store.reading() as tx:
            found = orphans(tx, things, self._clock.now())
        prices = _prices(found, self._cloud(region)) if found else {}
        return [Left(one, region, _hourly(one.thing, prices)) for one in found]


def _within(future: Future[list[Left]], deadline: float) -> list[Left]:
    return future.result(timeout=max(0.0, deadline - time.monotonic()))


def _prices(found: list[Orphan], cloud: Cloud) -> Mapping[str, float]:
    """Dollars an hour by type, and of a GiB of disk under ''; what has no price is missing."""
    prices: dict[str, float] = {}
    for name in {one.thing.type for one in found if one.thing.type}:
        _put(prices, name, partial(cloud.on_demand_price, name))
    if any(one.thing.gib for one in found):
        _put(prices, "", lambda: cloud.disk_price() / HOURS_A_MONTH)
    return prices


def _put(prices: dict[str, float], key: str, price: Callable[[], float]) -> None:
    try:
        prices[key] = price()
    except WorldError:
        return


def _hourly(thing: Thing, prices: Mapping[str, float]) -> float | None:
    match thing.kind:
        case "machine":
            return prices.get(thing.type)
        case "volume":
            disk = prices.get("")
            return None if disk is None else thing.gib * disk
        case "address":
            return _ADDRESS_AN_HOUR
        case "load balancer":
            return None
        case _:
            return 0.0
