"""Whether AWS and Rancher would give a pool more machines, and what that costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bot.core import spending
from bot.core.changes import Scale
from bot.core.checks.finding import NO, OK, UNKNOWN
from bot.core.checks.quota import used_of
from bot.core.families import family_of
from bot.core.kinds.base import Asked
from bot.core.money import HOURS_A_MONTH, dollars
from bot.core.ports import WorldError
from bot.core.questions import ask
from bot.core.scaling import resized
from bot.core.spec import Check, Envelope, Pool, Preflight
from bot.core.spending import OverBudget

T = TypeVar("T")

SECONDS = 10.0
"""Real seconds for all the questions, as with a create."""


def check_scale(asked: Asked, before: Envelope, change: Scale) -> Preflight:
    """For what is added: type, zone, addresses, quota, price and budget; nothing else has to be found anew."""
    pool = next(pool for pool in before.pools if pool.name == change.pool)
    questions = _Questions(asked, before, pool)
    more = change.machines - pool.count
    checks = [
        _judged("Rancher", questions.rancher),
        _judged("type", lambda: questions.offered(pool)),
        _judged("addresses", lambda: questions.addresses(more)),
        _judged("quota", lambda: questions.quota(pool, more)),
    ]
    price = questions.price()
    after = resized(before, pool, change.machines, price)
    if price is None:
        after = dataclasses.replace(after, max_price_per_hour=None)
        checks.append(Check("price", UNKNOWN, "The price is unknown, so the larger number of approvals applies."))
    else:
        checks.append(Check("price", OK, f"{dollars(price)} an hour for each of {more} more machines"))
    checks.append(_budget(asked, before, after))
    kept = [check for check in checks if check.detail]
    refused = any(check.state == NO for check in kept)
    return Preflight(tuple(kept), None if refused else after)


class _Questions:
    """Asked side by side as soon as it is made."""

    def __init__(self, asked: Asked, envelope: Envelope, pool: Pool) -> None:
        cloud, name = asked.outside.cloud, pool.instance_type
        self._until = time.monotonic() + SECONDS
        self._envelope = envelope
        self._pool = pool
        self._cluster = ask(lambda: asked.outside.rancher.observe(envelope.name, newer_than=0.0))
        self._types = ask(lambda: cloud.instance_types((name,)))
        self._zones = ask(lambda: cloud.zones_offering(name))
        self._subnets = ask(lambda: cloud.subnets(envelope.vpc, (pool.subnet,)))
        self._quota = ask(lambda: cloud.quota(family_of(name).code))
        self._in_use = ask(cloud.vcpus_in_use)
        self._price = ask(lambda: cloud.on_demand_price(name))
        self._disk = ask(cloud.disk_price)

    def _get(self, answer: Future[T]) -> T:
        """Raises `WorldError`, or TimeoutError for what has not answered."""
        return answer.result(timeout=max(self._until - time.monotonic(), 0.0))

    def rancher(self) -> Check:
        view = self._get(self._cluster)
        if view is None or view.deleting:
            return Check(
                "Rancher", NO, "Rancher does not have the cluster any more.", "It may have been deleted there."
            )
        return Check("Rancher", OK, "the cluster is there")

    def offered(self, pool: Pool) -> Check:
        zone = f"{self._envelope.region}{pool.zone}"
        if pool.instance_type in self._get(self._types) and zone in self._get(self._zones):
            return Check("type", OK, f"{pool.instance_type} is offered in {zone}")
        why = f"AWS offers no {pool.instance_type} in {zone} any more."
        return Check("type", NO, why, "Ask for a second cluster of another preset.")

    def addresses(self, more: int) -> Check:
        subnet = next((s for s in self._get(self._subnets) if s.id == self._pool.subnet), None)
        if subnet is None:
            return Check("addresses", UNKNOWN, f"subnet {self._pool.subnet} is not shown")
        if subnet.free_addresses < more:
            why = f"Subnet {subnet.id} has {subnet.free_addresses} free addresses, {more} are needed."
            return Check("addresses", NO, why, "Free some, or ask for a second cluster elsewhere.")
        return Check("addresses", OK, f"{subnet.free_addresses} free in {subnet.id}")

    def quota(self, pool: Pool, more: int) -> Check:
        family = family_of(pool.instance_type)
        needed = more * self._get(self._types)[pool.instance_type].vcpus
        held, used = self._get(self._quota), used_of(family, self._get(self._in_use))
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
            return self._get(self._price) + self._pool.root_gib * self._get(self._disk) / HOURS_A_MONTH
        except (WorldError, TimeoutError):
            return None


def _judged(name: str, judge: Callable[[], Check]) -> Check:
    try:
        return judge()
    except WorldError as error:
        return Check(name, UNKNOWN, error.reason, error.remedy)
    except (TimeoutError, KeyError):
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
