"""One account and region asked by many at once: who asks the same within a few seconds gets the same answer.

A preflight is some twenty questions, and most of them are about the target, not about the order. Hundreds of requests
in a minute would otherwise run into EC2's request limits (docs.aws.amazon.com: ec2/latest/devguide, request
throttling), which are the account's, not the bot's alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar, cast

from bot.core.cloud import (
    Announcement,
    Cloud,
    DiskKey,
    Identity,
    Instance,
    InstanceProfile,
    InstanceType,
    MachineImage,
    Quota,
    Reservation,
    Routes,
    SecurityGroup,
    Subnet,
    Trial,
)

T = TypeVar("T")
FRESH_S = 5.0
"""Real seconds, from the moment a question is asked, for which its answer is everybody's."""
_MOST = 500


@dataclass(frozen=True)
class _Asked:
    at: float
    answer: Future[object]


class SharedCloud:
    """A `bot.core.ports.Cloud` in front of another. Safe from many threads; an error goes to those who wait for
    that answer, and is not kept."""

    def __init__(self, cloud: Cloud, clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud, self._clock = cloud, clock
        self.region = cloud.region
        self._guard = threading.Lock()
        self._asked: dict[tuple[object, ...], _Asked] = {}

    def _once(self, key: tuple[object, ...], ask: Callable[[], T]) -> T:
        with self._guard:
            now = self._clock()
            known = self._asked.get(key)
            mine = known is None or now - known.at >= FRESH_S
            if known is None or mine:
                self._forget_old(now)
                known = self._asked[key] = _Asked(now, Future())
        if mine:
            try:
                known.answer.set_result(ask())
            except Exception as error:
                with self._guard:
                    if self._asked.get(key) is known:
                        del self._asked[key]
                known.answer.set_exception(error)
        return cast(T, known.answer.result())

    def _forget_old(self, now: float) -> None:
        if len(self._asked) > _MOST:
            self._asked = {key: one for key, one in self._asked.items() if now - one.at < FRESH_S}

    # --- about the target: shared -------------------------------------------------------------------------

    def identity(self) -> Identity:
        return self._once(("identity",), self._cloud.identity)

    def region_status(self) -> str:
        return self._once(("region",), self._cloud.region_status)

    def instance_types(self, names: tuple[str, ...]) -> dict[str, InstanceType]:
        return self._once(("types", names), lambda: self._cloud.instance_types(names))

    def gpu_types(self) -> tuple[InstanceType, ...]:
        return self._cloud.gpu_types()

    def zones_offering(self, name: str) -> tuple[str, ...]:
        return self._once(("zones", name), lambda: self._cloud.zones_offering(name))

    def subnets(self, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
        return self._once(("subnets", vpc, ids), lambda: self._cloud.subnets(vpc, ids))

    def routes(self, vpc: str) -> Routes:
        return self._once(("routes", vpc), lambda: self._cloud.routes(vpc))

    def security_group(self, vpc: str, name: str) -> SecurityGroup | None:
        return self._once(("group", vpc, name), lambda: self._cloud.security_group(vpc, name))

    def image(self, reference: str) -> MachineImage:
        return self._once(("image", reference), lambda: self._cloud.image(reference))

    def instance_profile(self, name: str) -> InstanceProfile:
        return self._once(("profile", name), lambda: self._cloud.instance_profile(name))

    def disk_key(self, arn: str) -> DiskKey:
        return self._once(("key", arn), lambda: self._cloud.disk_key(arn))

    def announcements(self) -> tuple[Announcement, ...]:
        return self._cloud.announcements()  # whoever watches asks at a pace of their own (bot.core.in_use.announced)

    def quota(self, code: str) -> Quota:
        return self._once(("quota", code), lambda: self._cloud.quota(code))

    def vcpus_in_use(self) -> dict[str, int]:
        return self._once(("in use",), self._cloud.vcpus_in_use)

    def allowed_to_start(self, trial: Trial) -> bool:
        return self._once(("allowed", trial), lambda: self._cloud.allowed_to_start(trial))

    def reservations(self, name: str) -> tuple[Reservation, ...]:
        return self._once(("reservations", name), lambda: self._cloud.reservations(name))

    def placement_scores(self, name: str, count: int) -> dict[str, int]:
        return self._once(("scores", name, count), lambda: self._cloud.placement_scores(name, count))

    def on_demand_price(self, name: str) -> float:
        return self._once(("price", name), lambda: self._cloud.on_demand_price(name))

    def spot_prices(self, name: str) -> dict[str, float]:
        return self._once(("spot", name), lambda: self._cloud.spot_prices(name))

    def disk_price(self) -> float:
        return self._once(("disk",), self._cloud.disk_price)

    # --- about one cluster, or another region -------------------------------------------------------------

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        """Not shared: a removal believes it."""
        return self._cloud.instances(tag, value)

    def elsewhere(self, region: str) -> Cloud:
        return self._cloud.elsewhere(region)
