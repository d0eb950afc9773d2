"""Whether AWS and Rancher would give a pool more machines, and what that costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from bot.core.capacity.families import family_of
from bot.core.capacity.places import homes, to_try
from bot.core.changes import Scale
from bot.core.checks.finding import NO, OK, UNKNOWN
from bot.core.checks.questions import ask
from bot.core.checks.quota import used_of
from bot.core.costs import spending
from bot.core.costs.money import HOURS_A_MONTH, dollars
from bot.core.costs.spending import OverBudget
from bot.core.kinds.base import Asked
from bot.core.ports import WorldError
from bot.core.scaling import resized
from bot.core.spec import Check, Envelope, Pool, Preflight

T = TypeVar("T")

SECONDS = 10.0
"""Real seconds for all the questions, as with a create."""


def check_scale(asked: Asked, before: Envelope, change: Scale) -> Preflight:
    """For what is added: type, zone, addresses, quota, price and budget; nothing else has to be found anew.

    It is asked for where machines of the pool stand, and for the other approved places in case EC2 refuses there. One
    that will do is enough; the price is that of the dearest.
    """
    pool = next(pool for pool in before.pools if pool.name == change.pool)
    questions = _Questions(asked, before, pool)
    more = change.machines - pool.count
    checks = [
        _judged("Rancher", questions.rancher),
        _judged("type", questions.offered),
        _judged("addresses", lambda: questions.addresses(more)),
        _judged("quota", lambda: questions.quota(more)),
    ]
    price = questions.price()
    after = resized(before, pool, change.machines, price)
    if price is None:
        after = dataclasses.replace(after, max_price_per_hour=None)
        checks.append(Check("price", UNKNOWN, "The price is unknown, so the larger number of approvals applies."))
    else:
        most = "at most " if len(questions.types) > 1 else ""
        checks.append(Check("price", OK, f"{most}{dollars(price)} an hour for each of {more} more machines"))
    checks.append(_budget(asked, before, after))
    kept = [check for check in checks if check.detail]
    refused = any(check.state == NO for check in kept)
    return Preflight(tuple(kept), None if refused else after)


class _Questions:
    """Asked side by side as soon as it is made; `types` are those of all the places that may be tried."""

    def __init__(self, asked: Asked, envelope: Envelope, pool: Pool) -> None:
        cloud, places = asked.outside.cloud, homes(envelope, pool)
        self._until = time.monotonic() + SECONDS
        self._envelope = envelope
        self._pool = pool
        self.types = tuple(dict.fromkeys(place.instance_type for place in places))
        subnets = tuple(dict.fromkeys(place.subnet for place in places))
        self._cluster = ask(lambda: asked.outside.rancher.observe(envelope.name, newer_than=0.0))
        self._types = ask(lambda: cloud.instance_types(self.types))
        self._zones = {name: ask(partial(cloud.zones_offering, name)) for name in self.types}
        self._subnets = ask(lambda: cloud.subnets(envelope.vpc, subnets))
        self._quota = {name: ask(partial(cloud.quota, family_of(name).code)) for name in self.types}
        self._in_use = ask(cloud.vcpus_in_use)
        self._price = {name: ask(partial(cloud.on_demand_price, name)) for name in self.types}
        self._disk = ask(cloud.disk_price)

    def _get(self, answer: Future[T]) -> T:
        """Raises `WorldError`, or TimeoutError for what has not answered."""
        return answer.result(timeout=max(self._until - time.monotonic(), 0.0))

    def _tried(self) -> tuple[Pool, ...]:
        """The places in the order in which they would be tried; of a cluster that is not there, as approved."""
        view = self._get(self._cluster)
        return to_try(self._envelope, self._pool, view) if view is not None else homes(self._envelope, self._pool)

    def rancher(self) -> Check:
        view = self._get(self._cluster)
        if view is None or view.deleting:
            return Check(
                "Rancher", NO, "Rancher does not have the cluster any more.", "It may have been deleted there."
            )
        return Check("Rancher", OK, "the cluster is there")

    def _offers(self, place: Pool) -> bool:
        zone = f"{self._envelope.region}{place.zone}"
        return place.instance_type in self._get(self._types) and zone in self._get(self._zones[place.instance_type])

    def offered(self) -> Check:
        tried = self._tried()
        found = next((place for place in tried if self._offers(place)), None)
        if found is not None:
            return Check("type", OK, f"{found.instance_type} is offered in {self._envelope.region}{found.zone}")
        why = f"AWS offers no {tried[0].instance_type} in {self._envelope.region}{tried[0].zone} any more."
        return Check("type", NO, why, "Ask for a second cluster of another preset.")

    def addresses(self, more: int) -> Check:
        free = {subnet.id: subnet.free_addresses for subnet in self._get(self._subnets)}
        shown = [place.subnet for place in self._tried() if place.subnet in free]
        if not shown:
            return Check("addresses", UNKNOWN, f"subnet {self._tried()[0].subnet} is not shown")
        room = next((subnet for subnet in shown if free[subnet] >= more), None)
        if room is None:
            why = f"Subnet {shown[0]} has {free[shown[0]]} free addresses, {more} are needed."
            return Check("addresses", NO, why, "Free some, or ask for a second cluster elsewhere.")
        return Check("addresses", OK, f"{free[room]} free in {room}")

    def quota(self, more: int) -> Check:
        """Of the family that is asked for first; one of another family may still do where this one will not."""
        names = tuple(dict.fromkeys(place.instance_type for place in self._tried()))
        checks = [self._quota_of(name, more) for name in names if name in self._get(self._types)]
        return next((check for check in checks if check.state == OK), checks[0])

    def _quota_of(self, name: str, more: int) -> Check:
        family = family_of(name)
        needed = more * self._get(self._types)[name].vcpus
        held, used = self._get(self._quota[name]), used_of(family, self._get(self._in_use))
        said = f"{needed} more vCPUs needed, {used} of {held.limit:g} in use"
        if used + needed <= held.limit:
            return Check("quota", OK, said)
        raise_it = (
            f"aws service-quotas request-service-quota-increase --region {self._envelope.region} --service-code ec2 "
            f"--quota-code {family.code} --desired-value {used + needed}"
        )
        return Check("quota", NO, f"The quota of {family.name} machines is too small: {said}.", raise_it)

    def price(self) -> float | None:
        try:
            dearest = max(self._get(price) for price in self._price.values())
            return dearest + self._pool.root_gib * self._get(self._disk) / HOURS_A_MONTH
        except (WorldError, TimeoutError):
            return None


def _judged(name: str, judge: Callable[[], Check]) -> Check:
    try:
        return judge()
    except WorldError as error:
        return Check(name, UNKNOWN, error.reason, error.remedy)
    except (TimeoutError, IndexError):
        return Check(name, UNKNOWN, "no answer in time")


def _budget(asked: Asked, before: Envelope, after: Envelope) -> Check:
    added = spending.added_cost(before, after, asked.cluster.ready_at, asked.now)
    if asked.committed is None or asked.committed.budget is None:
        return Check("budget", OK, "")
    if added is None:
        return Check("budget", UNKNOWN, f"{dollars(asked.committed.left)} are left this month")
    try:
        spending.must_afford(asked.committed, added, asked.request.team)
    except OverBudget as over:
        return Check("budget", NO, over.why, over.remedy)
    return Check("budget", OK, f"{dollars(asked.committed.left - added)} would be left this month")
