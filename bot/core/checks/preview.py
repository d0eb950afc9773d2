"""What a create would cost and need, before anybody is asked: a preflight that is forgotten again."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass

from bot.core.costs.ledger import Committed
from bot.core.ports import Clock
from bot.core.spec import ClusterSpec, Preflight

KEPT_S = 60.0
"""Real seconds for which the answer about one order is good enough for a preview; no order is ever decided by it."""
_MOST = 200

Look = Callable[[ClusterSpec, "Committed | None"], Preflight]


@dataclass(frozen=True)
class Preview:
    """`approvals` that would be needed, `who_can` give them (Slack ids); `name_in_use` says so, or is empty.

    `committed` is what the team has spent and promised without this; `by_cost` when that sum decides how many
    approvals there must be.
    """

    spec: ClusterSpec
    found: Preflight
    committed: Committed | None
    approvals: int
    by_cost: bool
    who_can: tuple[str, ...]
    name_in_use: str = ""


class Previews:
    """Preflights kept for a minute. Safe from many threads; one order is looked at by one of them at a time."""

    def __init__(self, look: Look, clock: Clock) -> None:
        self._look, self._clock = look, clock
        self._guard = threading.Lock()
        self._locks: dict[ClusterSpec, threading.Lock] = {}
        self._kept: dict[ClusterSpec, tuple[float, Preflight]] = {}

    def of(self, spec: ClusterSpec, committed: Committed | None) -> Preflight:
        """At most ten seconds, or what was found within the last minute. Raises `WorldError` without a target."""
        key = dataclasses.replace(spec, reason="")
        with self._guard:
            self._forget_old()
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = (self._clock.real(), self._look(spec, committed))
                self._kept[key] = kept
            return kept[1]

    def _forget_old(self) -> None:
        young = self._clock.real() - KEPT_S
        for key in [key for key, (at, _) in self._kept.items() if at < young]:
            self._kept.pop(key, None)
        if len(self._locks) > _MOST:
            self._locks = {key: lock for key, lock in self._locks.items() if lock.locked()}
