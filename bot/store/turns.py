"""Who writes next: one at a time, and first whoever a person is waiting for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock between threads. While somebody waits who goes `first`, nobody else gets it."""

    def __init__(self) -> None:
        guard = threading.Lock()
        self._first, self._others = threading.Condition(guard), threading.Condition(guard)
        self._hurried = 0
        self._taken = False

    @contextmanager
    def mine(self, *, first: bool) -> Iterator[None]:
        """Wait for a turn, and give it back at the end."""
        with self._first:
            if first:
                self._hurried += 1
                try:
                    while self._taken:
                        self._first.wait()
                finally:
                    self._hurried -= 1
            else:
                while self._taken or self._hurried:
                    self._others.wait()
            self._taken = True
        try:
            yield
        finally:
            with self._first:
                self._taken = False
                (self._first if self._hurried else self._others).notify()
