"""A thread that looks for what is due, sleeps until it is woken or its time has come, and looks again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_REST, _LONGEST_REST_S = 4.0, 0.1
"""It rests so many times as long as it computed: a burst of wakes is answered by one look, and a thousand rows that are
due and have to wait leave the processor to others. A look that finds little is over in a millisecond; after one that
drew pictures for a second nobody waits longer than anybody notices."""


class Rounds:
    """`look` returns the real seconds until the next one; `trouble_s` counts after an error. `last` ends it all."""

    def __init__(
        self, name: str, look: Callable[[], float], *, trouble_s: float, last: Callable[[], object] = lambda: None
    ) -> None:
        self._look, self._trouble_s, self._last = look, trouble_s, last
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: what is under way ends soon."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    def stop(self) -> None:
        """Wait for what is under way, and end."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.stopping:
            self._woken.clear()
            began = time.thread_time()
            try:
                pause = self._look()
            except Exception:
                log.exception("the %s could not look; trying again", self._thread.name)
                pause = self._trouble_s
            self._stopping.wait(min(_REST * (time.thread_time() - began), _LONGEST_REST_S))
            self._woken.wait(pause)
        self._last()
