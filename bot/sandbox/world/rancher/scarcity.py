"""Where AWS has no machine: by fault, by zone and type, by time, or by chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

_REFUSED_SHARE = 0.3
_LATER_S = 3 * 3600.0


@dataclass(frozen=True)
class Draw:
    """One try to start a machine: when (world seconds since the world began), and its luck between 0 and 1."""

    at: float
    luck: float


class Scarcity:
    """What the capacity faults among ``faults`` refuse; by ``seed`` always the same. ``now`` is world time.

    *First* is the zone or the type of the GPU machine that is tried first in this world.
    """

    def __init__(
        self, faults: frozenset[str] = frozenset(), seed: int = 0, now: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._faults = faults
        self._chance = random.Random(seed)
        self._now = now
        self._began = now()
        self._lock = threading.Lock()
        self._first: tuple[str, str] | None = None

    def draw(self) -> Draw:
        """For the next try."""
        return Draw(self._now() - self._began, self._chance.random())

    def refuses(self, instance_type: str, zone: str, drawn: Draw, *, gpu: bool) -> bool:
        """Whether there is no capacity for this try."""
        if "capacity-30" in self._faults and drawn.luck < _REFUSED_SHARE:
            return True
        if not gpu:
            return False
        with self._lock:
            self._first = self._first or (instance_type, zone)
        return (
            "no-capacity" in self._faults
            or ("capacity-later" in self._faults and drawn.at < _LATER_S)
            or ("no-capacity-first-type" in self._faults and instance_type == self._first[0])
            or ("no-capacity-first-zone" in self._faults and zone == self._first[1])
        )
