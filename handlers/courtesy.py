"""Acks go first: while people's gestures come in, whatever else wants the same interpreter and the same disk waits."""

from __future__ import annotations

import threading

from bot.core.ports import Clock
from handlers.inbox import Inbox

QUIET_S = 0.05
"""Real seconds without a gesture after which a burst is over."""
MOST_S = 2.5
"""Real seconds that one burst may hold the others up; one that lasts longer they go on beside."""


class Courtesy:
    """One for each who waits. In a burst it waits once; what still comes in afterwards holds nobody up any more."""

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox, self._clock = inbox, clock
        self._has_waited = False

    def wait(self, stopping: threading.Event) -> None:
        """Return when nothing has come in for `QUIET_S`, after `MOST_S` at the latest, or when told to stop."""
        until = self._clock.real() + MOST_S
        while not self._quiet() and not stopping.is_set():
            if self._has_waited or self._clock.real() >= until:
                self._has_waited = True
                return
            stopping.wait(QUIET_S / 2)
        self._has_waited = False

    def _quiet(self) -> bool:
        return self._clock.real() - self._inbox.put_at_real >= QUIET_S
