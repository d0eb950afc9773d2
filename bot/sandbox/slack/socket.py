"""Socket Mode: one-time tickets, envelopes to one connection in turn, acks within three seconds.

Protocol: ``slackapi/python-slack-sdk: slack_sdk/socket_mode`` (hello, envelopes, disconnect). The SDK's built-in
client sends Host without a port, so Host is not looked at.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any, Literal

from aiohttp import WSMsgType, web

from bot.sandbox.slack import directory
from bot.sandbox.slack.delivery import ACK_SECONDS, Delivery, EnvelopeType, Retry

PING_SECONDS = 20.0
MOST_CONNECTIONS = 10

DisconnectReason = Literal["warning", "refresh_requested", "link_disabled"]


class SocketMode:
    """All Socket Mode connections of the app."""

    def __init__(self, ack_seconds: float = ACK_SECONDS) -> None:
        self._ack_seconds = ack_seconds
        self._tickets: set[str] = set()
        self._connections: list[web.WebSocketResponse] = []
        self._leaving: list[web.WebSocketResponse] = []
        self._turn = 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any] | None]] = {}
        self.late_acks: list[str] = []
        """Envelope ids that were answered too late, twice, or never sent."""

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def issue_ticket(self) -> str:
        """A ticket for one connection."""
        ticket = secrets.token_urlsafe(24)
        self._tickets.add(ticket)
        return ticket

    async def handler(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket endpoint ``/link``."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets or request.query.get("app_id") != directory.APP:
            return web.Response(status=403, text="invalid ticket")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(heartbeat=PING_SECONDS)
        await socket.prepare(request)
        if len(self._connections) >= MOST_CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        self._connections.append(socket)
        await self._close_all(self._leaving)
        try:
            await socket.send_json(self._hello())
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledge(message.data)
        finally:
            self._forget(socket)
        return socket

    async def send(self, kind: EnvelopeType, payload: dict[str, Any], retry: Retry | None = None) -> Delivery:
        """One envelope to the next connection; ``dispatch_failed`` without any, ``operation_timeout`` without ack."""
        started = time.monotonic()
        candidates = self._connections or self._leaving
        if not candidates:
            return Delivery(acked=False, seconds=0.0, error="dispatch_failed")
        self._turn = (self._turn + 1) % len(candidates)
        socket = candidates[self._turn]
        identity = secrets.token_hex(16)
        answer: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answer
        try:
            async with asyncio.timeout(self._ack_seconds):
                await socket.send_json(_envelope(kind, identity, payload, retry))
                body = await answer
        except TimeoutError:
            return Delivery(acked=False, seconds=time.monotonic() - started, error="operation_timeout")
        except ConnectionError:
            return Delivery(acked=False, seconds=time.monotonic() - started, error="dispatch_failed")
        finally:
            self._waiting.pop(identity, None)
        return Delivery(acked=True, seconds=time.monotonic() - started, payload=body)

    async def disconnect(self, reason: DisconnectReason = "refresh_requested") -> None:
        """Tell every connection to go, as Slack does when it renews its machines.

        Until the app has connected anew, the old connections are still used; then they are closed.
        """
        leaving, self._connections = self._connections, []
        self._leaving += leaving
        for socket in leaving:
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "sandbox"}})

    async def drop(self) -> None:
        """Cut every connection without a word."""
        await self._close_all([*self._connections, *self._leaving])

    async def close(self) -> None:
        """Close every connection; part of the workspace's shutdown."""
        await self.drop()

    async def _close_all(self, sockets: list[web.WebSocketResponse]) -> None:
        for socket in tuple(sockets):
            self._forget(socket)
            await socket.close()

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "num_connections": len(self._connections),
            "connection_info": {"app_id": directory.APP},
            "debug_info": {"host": "sandbox", "approximate_connection_time": 18060},
        }

    def _acknowledge(self, data: str) -> None:
        try:
            answer = json.loads(data)
        except json.JSONDecodeError:
            return  # slack_sdk's clients also send plain text pings
        identity = answer.get("envelope_id", "") if isinstance(answer, dict) else ""
        waiting = self._waiting.get(identity)
        if waiting is None or waiting.done():
            self.late_acks.append(identity)
        else:
            waiting.set_result(answer.get("payload"))

    def _forget(self, socket: web.WebSocketResponse) -> None:
        for group in (self._connections, self._leaving):
            if socket in group:
                group.remove(socket)


def _envelope(kind: EnvelopeType, identity: str, payload: dict[str, Any], retry: Retry | None) -> dict[str, Any]:
    envelope = {
        "envelope_id": identity,
        "type": kind,
        "accepts_response_payload": kind != "events_api",
        "payload": payload,
    }
    if kind == "events_api":
        envelope["retry_attempt"] = retry.attempt if retry else 0
        envelope["retry_reason"] = retry.reason if retry else ""
    return envelope
