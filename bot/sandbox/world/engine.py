"""What happens when: processes in world time, run from one heap, one after another.

A process is a generator. What it yields is what it waits for:

* a number: so many world seconds;
* a :class:`Signal`: until it fires;
* a :class:`concurrent.futures.Future`: until that call into the real world (EC2) has returned.

Times are exact: a process that wakes late, because nobody looked for a while, still sees the time at which
it was due, so delays never add up. With the same seed and the same calls the same things happen.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)

Process = Generator[Any, Any, Any]


class Signal:
    """Something that becomes true once; whoever waits for it, then or later, goes on."""

    def __init__(self) -> None:
        self.fired = False
        self._waiting: list[Task] = []

    def fire(self) -> None:
        """Wake everybody who waits. Firing twice is once."""
        self.fired = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.resume()

    def add(self, task: Task) -> None:
        """Called by the engine: ``task`` goes on when this fires."""
        if self.fired:
            task.resume()
        else:
            self._waiting.append(task)


class Task:
    """A running process; :meth:`cancel` ends it where it stands."""

    def __init__(self, engine: Engine, process: Process) -> None:
        self.done = Signal()
        self._engine = engine
        self._process = process
        self._running = False

    def cancel(self) -> None:
        """End the process; what it waited for no longer matters. One that cancels itself runs to its next wait."""
        self.done.fire()
        if not self._running:
            self._process.close()

    def resume(self) -> None:
        """Go on as soon as the engine gets to it, at the present moment."""
        self._engine.call_at(self._engine.now, self.step)

    def step(self, value: Any = None, error: BaseException | None = None) -> None:
        """Run to the next thing that the process waits for."""
        if self._over():
            return
        self._running = True
        try:
            wanted = self._process.throw(error) if error else self._process.send(value)
        except StopIteration:
            self.done.fire()
        except Exception as failure:
            log.exception("a process of the simulated world died")
            self._engine.failures.append(failure)
            self.done.fire()
        else:
            self._engine.wait(self, wanted)
        finally:
            self._running = False
        if self._over():
            self._process.close()

    def _over(self) -> bool:
        return self.done.fired


class Engine:
    """The heap. ``blocking`` makes :meth:`advance` wait for calls into the real world (tests do that)."""

    def __init__(self, start: float, *, blocking: bool = False) -> None:
        self.now = start
        self.blocking = blocking
        self.failures: list[Exception] = []
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._calls: dict[Future[Any], Task] = {}

    def spawn(self, process: Process) -> Task:
        """Start a process at the present moment."""
        task = Task(self, process)
        task.resume()
        return task

    def call_at(self, at: float, action: Callable[[], object]) -> None:
        """Run ``action`` at world time ``at`` (unix seconds)."""
        heapq.heappush(self._heap, (max(at, self.now), next(self._order), action))

    def call_soon(self, action: Callable[[], object]) -> None:
        """Run ``action`` at the present moment, after what is already due."""
        self.call_at(self.now, action)

    def wait(self, task: Task, wanted: Any) -> None:
        """Remember what ``task`` waits for."""
        if isinstance(wanted, Signal):
            wanted.add(task)
        elif isinstance(wanted, Future):
            self._calls[wanted] = task
        else:
            self.call_at(self.now + float(wanted), task.step)

    def advance(self, until: float) -> None:
        """Run everything that is due at world time ``until``."""
        while True:
            if self.blocking and self._calls:
                self._finish(next(iter(self._calls)))
            elif self._heap and self._heap[0][0] <= until:
                at, _, action = heapq.heappop(self._heap)
                self.now = max(self.now, at)
                action()
            else:
                self.now = max(self.now, until)
                finished = next((call for call in self._calls if call.done()), None)
                if finished is None:
                    return
                self._finish(finished)

    def _finish(self, call: Future[Any]) -> None:
        error = call.exception()
        task = self._calls.pop(call)
        if error is not None:
            task.step(error=error)
        else:
            task.step(call.result())
