"""Delivering payloads to the app, repeating events, and telling people what failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bot.sandbox.slack.delivery import Courier, Delivery, EnvelopeType, Retry
from bot.sandbox.slack.state import State

RETRY_SECONDS = (0.0, 1.0, 5.0)
"""Waits before the three repetitions of an event. The real ones: at once, after a minute, after five."""


@dataclass(frozen=True)
class Origin:
    """Where a gesture happened, for the log and for whoever has to be told that it failed."""

    user: str
    channel: str | None
    thread_ts: str | None = None


class Dispatcher:
    """Sends what people did to the app through ``courier``."""

    def __init__(self, state: State, courier: Courier, retry_seconds: tuple[float, ...]) -> None:
        self._state, self._courier, self._retry_seconds = state, courier, retry_seconds

    async def once(
        self,
        kind: EnvelopeType,
        payload: dict[str, Any],
        origin: Origin,
        failure: str,
        *,
        duplicate: bool = False,
    ) -> Delivery:
        """Deliver a command or click: never repeated. On failure the user is told ``failure`` (``{error}`` filled in).

        ``duplicate`` delivers the same payload once more, whatever became of the first.
        """
        delivery = await self._courier.send(kind, payload)
        if duplicate:
            await self._courier.send(kind, payload)
        if not delivery.acked:
            self._failed(delivery, origin)
            if origin.channel is not None:
                told = failure.format(error=delivery.error)
                self._state.tell(origin.user, origin.channel, told, origin.thread_ts)
        return delivery

    async def event(self, payload: dict[str, Any], origin: Origin, *, duplicate: bool = False) -> Delivery:
        """Deliver an event, repeated until it is acknowledged or the repetitions are used up."""
        delivery = await self._courier.send("events_api", payload)
        if duplicate:
            await self._courier.send("events_api", payload)
        for attempt, wait in enumerate(self._retry_seconds, start=1):
            if delivery.acked:
                return delivery
            self._failed(delivery, origin, attempt - 1)
            await asyncio.sleep(wait)
            reason = "timeout" if delivery.error == "operation_timeout" else "http_error"
            delivery = await self._courier.send("events_api", payload, Retry(attempt, reason))
        if not delivery.acked:
            self._failed(delivery, origin, len(self._retry_seconds))
        return delivery

    def _failed(self, delivery: Delivery, origin: Origin, attempt: int = 0) -> None:
        self._state.record(
            "timeout",
            channel=origin.channel,
            thread_ts=origin.thread_ts,
            user=origin.user,
            text=delivery.error or "",
            metadata={"attempt": attempt, "seconds": delivery.seconds},
        )
