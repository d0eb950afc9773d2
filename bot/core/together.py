"""One answer for all who ask the same at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """Nobody gets an answer that was begun before they asked, so it is as new as one of their own.

    Safe from many threads: one of them works it out, those who come meanwhile share the next one.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._begun = self._ended = 0
        self._running = False
        self._answer: T

    def of(self, work: Callable[[], T]) -> T:
        """What `work` returns, in this thread or another; raises what it raises."""
        with self._turn:
            wanted = self._begun + 1
            while self._running and self._ended < wanted:
                self._turn.wait()
            if self._ended >= wanted:
                return self._answer
            self._running, self._begun = True, self._begun + 1
            mine = self._begun
        try:
            answer = work()
        except BaseException:
            with self._turn:
                self._running = False
                self._turn.notify_all()
            raise
        with self._turn:
            self._running, self._ended, self._answer = False, mine, answer
            self._turn.notify_all()
        return answer
