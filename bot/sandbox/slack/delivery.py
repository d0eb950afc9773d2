"""How payloads reach the app: over Socket Mode's WebSocket or as signed HTTP requests, with three seconds to answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlencode

import aiohttp

ACK_SECONDS = 3.0
EnvelopeType = Literal["slash_commands", "interactive", "events_api"]


@dataclass(frozen=True)
class Delivery:
    """What became of one payload: answered or not, after how many real seconds, with which body, or why not."""

    acked: bool
    seconds: float
    payload: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Retry:
    """Which repetition of an event this is, and why it is repeated."""

    attempt: int
    reason: str


class Courier(Protocol):
    """A way to the app."""

    async def send(self, kind: EnvelopeType, payload: dict[str, Any], retry: Retry | None = None) -> Delivery:
        """Deliver one payload and wait for its answer; never raises for what the app does."""

    async def close(self) -> None:
        """Let go of connections."""


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Slack's request signature: ``v0=`` and the HMAC-SHA256 of ``v0:timestamp:body``."""
    message = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class HttpCourier:
    """HTTP mode: signed POSTs to ``request_url``, which first has to answer a ``url_verification`` challenge."""

    def __init__(self, request_url: str, signing_secret: str, ack_seconds: float = ACK_SECONDS) -> None:
        self._url, self._secret, self._ack_seconds = request_url, signing_secret, ack_seconds
        self._session: aiohttp.ClientSession | None = None
        self._verified = False

    async def send(self, kind: EnvelopeType, payload: dict[str, Any], retry: Retry | None = None) -> Delivery:
        """POST as Slack does: forms for commands and interactivity, JSON for events."""
        if not self._verified:
            challenge = await self.verify_url()
            if challenge.error:
                return challenge
        headers = {}
        if retry is not None:
            headers = {"X-Slack-Retry-Num": str(retry.attempt), "X-Slack-Retry-Reason": retry.reason}
        if kind == "events_api":
            return await self._post(json.dumps(payload).encode(), "application/json", headers)
        form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        return await self._post(urlencode(form).encode(), "application/x-www-form-urlencoded", headers)

    async def verify_url(self) -> Delivery:
        """The challenge Slack sends before it believes a request URL; the error says how the answer was wrong."""
        challenge = secrets.token_urlsafe(24)
        body = json.dumps({"type": "url_verification", "token": "sandbox", "challenge": challenge})
        answer = await self._post(body.encode(), "application/json", {})
        said = (answer.payload or {}).get("challenge") or (answer.payload or {}).get("text")
        if answer.acked and said != challenge:
            return Delivery(acked=False, seconds=answer.seconds, error="url_verification_failed")
        self._verified = answer.acked
        return answer

    async def close(self) -> None:
        """Close the client session."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes, content_type: str, headers: dict[str, str]) -> Delivery:
        self._session = self._session or aiohttp.ClientSession()
        stamp = str(int(time.time()))
        signed = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": sign(self._secret, stamp, body),
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            **headers,
        }
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._ack_seconds),
                self._session.post(self._url, data=body, headers=signed) as response,
            ):
                answer, status, kind = await response.text(), response.status, response.content_type
        except TimeoutError:
            return Delivery(acked=False, seconds=time.monotonic() - started, error="operation_timeout")
        except aiohttp.ClientError:
            return Delivery(acked=False, seconds=time.monotonic() - started, error="dispatch_failed")
        seconds = time.monotonic() - started
        if status != 200:
            return Delivery(acked=False, seconds=seconds, error=f"http_error_{status}")
        return Delivery(acked=True, seconds=seconds, payload=_answer(answer, kind))


def _answer(body: str, content_type: str) -> dict[str, Any] | None:
    """An ack's body: JSON, plain text, or nothing."""
    if not body:
        return None
    if content_type == "application/json":
        decoded = json.loads(body)
        return decoded if isinstance(decoded, dict) else {"text": str(decoded)}
    return {"text": body}
