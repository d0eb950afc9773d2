"""Calls to Slack's Web API: the clients, and what their failures say."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler

TIMEOUT_S = 10

CALL_ERRORS = (SlackClientError, OSError, HTTPException)
"""What a call can raise; all but SlackApiError leave open whether Slack has done it."""


@dataclass(frozen=True)
class Clients:
    """One client for each way of failing.

    `posting` never repeats by itself: a connection that broke does not say whether the message stands.
    `asking` repeats what is safe to repeat and does not sleep on 429: a person waits for the answer.
    `answering` also waits its turn on 429.
    """

    posting: WebClient
    asking: WebClient
    answering: WebClient


def make_clients(token: str, base_url: str) -> Clients:
    """The clients for one bot token; `base_url` as in SLACK_API_URL."""
    again = ConnectionErrorRetryHandler(max_retry_count=2)
    later = RateLimitErrorRetryHandler(max_retry_count=3)
    return Clients(
        posting=WebClient(token, base_url, timeout=TIMEOUT_S, retry_handlers=[]),
        asking=WebClient(token, base_url, timeout=TIMEOUT_S, retry_handlers=[again]),
        answering=WebClient(token, base_url, timeout=TIMEOUT_S, retry_handlers=[again, later]),
    )


def code_of(error: BaseException) -> str:
    """Slack's own word for what went wrong, or the kind of failure."""
    if isinstance(error, SlackApiError):
        return str(error.response.get("error") or f"http {_status(error)}")
    return type(error).__name__


def retry_after(error: BaseException) -> float | None:
    """The seconds Slack asks to wait, where it said 429 (1 where it does not say how long), else None."""
    if not isinstance(error, SlackApiError) or _status(error) != 429:
        return None
    response = error.response
    headers = response.get("headers") if isinstance(response, dict) else response.headers
    found = [value for name, value in dict(headers or {}).items() if str(name).lower() == "retry-after"]
    text = str(found[0][0] if found and isinstance(found[0], list) else found[0] if found else "")
    return float(text) if text.isdigit() else 1.0


def _status(error: SlackApiError) -> int:
    """The HTTP status. An answer that is no JSON reaches us as a dict (slack_sdk: web/base_client.py)."""
    response = error.response
    return int(response.get("status", 0)) if isinstance(response, dict) else response.status_code
