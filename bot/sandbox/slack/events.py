"""Everything that happened in the workspace, in order, and a way to wait for what happens next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["message", "edit", "delete", "ephemeral", "view", "file", "command", "click", "timeout"]


@dataclass(frozen=True)
class Event:
    """One visible thing. Times are Unix seconds; ``at_world`` is the world's clock, ``at_real`` the wall's.

    ``user`` acted (the bot's user id for what the bot did); ``ephemeral_to`` is the only user who sees it, if set.
    ``metadata`` is the message's own metadata, or details of a view, file, click or time-out.
    """

    at_real: float
    at_world: float
    kind: Kind
    channel: str | None
    thread_ts: str | None
    ts: str | None
    user: str | None
    text: str
    blocks: tuple[dict[str, Any], ...] = ()
    ephemeral_to: str | None = None
    metadata: dict[str, Any] | None = None


class Subscription(AsyncIterator[Event]):
    """Events from the moment of subscribing on; ends when closed."""

    def __init__(self, subscribers: set[Subscription]) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribers = subscribers
        subscribers.add(self)

    def put(self, event: Event) -> None:
        """Hand over one event."""
        self._queue.put_nowait(event)

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Stop receiving; a pending iteration ends."""
        self._subscribers.discard(self)
        self._queue.put_nowait(None)


class EventLog:
    """The append-only log of one workspace."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._subscribers: set[Subscription] = set()

    def append(self, event: Event) -> None:
        """Record ``event`` and tell every subscriber."""
        self.events.append(event)
        for subscriber in tuple(self._subscribers):
            subscriber.put(event)

    def subscribe(self) -> Subscription:
        """A stream of the events that follow."""
        return Subscription(self._subscribers)

    def close(self) -> None:
        """End every subscription."""
        for subscriber in tuple(self._subscribers):
            subscriber.close()

    async def wait_for(self, predicate: Callable[[Event], bool], timeout_real: float, since: int = 0) -> Event:
        """The first event at position ``since`` or later for which ``predicate`` holds.

        Raises TimeoutError after ``timeout_real`` seconds of real time.
        """
        subscription = self.subscribe()
        try:
            for event in self.events[since:]:
                if predicate(event):
                    return event
            async with asyncio.timeout(timeout_real):
                async for event in subscription:
                    if predicate(event):
                        return event
            raise TimeoutError
        finally:
            subscription.close()
