"""Slack's rate limits, in real time.

Tiers: ``slackapi/java-slack-sdk: metadata/web-api/rate_limit_tiers.json``. Tier 3 is 50 calls a minute and more;
the special tier of ``chat.postMessage`` is about one a second in each channel with short bursts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """``burst`` calls at once, refilled at ``per_minute``; counted per channel when ``per_channel``.

    With ``window`` the limit is plain: no more than ``burst`` calls in any 60 seconds.
    """

    burst: int
    per_minute: float
    per_channel: bool = False
    window: bool = False


def _tier(calls: int) -> Limit:
    return Limit(burst=calls, per_minute=calls, window=True)


LIMITS: Mapping[str, Limit] = {
    "apps.connections.open": Limit(burst=10, per_minute=1),
    "auth.test": _tier(600),
    "chat.delete": _tier(50),
    "chat.getPermalink": _tier(600),
    "chat.postEphemeral": _tier(100),
    "chat.postMessage": Limit(burst=30, per_minute=60, per_channel=True),
    "chat.update": _tier(60),
    "conversations.info": _tier(50),
    "conversations.open": _tier(50),
    "files.completeUploadExternal": _tier(100),
    "files.delete": _tier(50),
    "files.getUploadURLExternal": _tier(100),
    "usergroups.list": _tier(20),
    "usergroups.users.list": _tier(20),
    "users.info": _tier(100),
    "views.open": _tier(100),
    "views.publish": _tier(100),
    "views.push": _tier(100),
    "views.update": _tier(100),
}


@dataclass
class _Meter:
    calls: deque[float] = field(default_factory=deque)
    tokens: float | None = None
    refilled: float = 0.0


class RateLimiter:
    """Counts calls per method (and channel) against ``limits``; refused calls are not counted."""

    def __init__(self, limits: Mapping[str, Limit] = LIMITS) -> None:
        self._limits = limits
        self._meters: dict[tuple[str, str], _Meter] = {}

    def retry_after(self, method: str, channel: str, now: float) -> int | None:
        """Admit a call at ``now`` (seconds) and return None, or the whole seconds to wait."""
        limit = self._limits.get(method)
        if limit is None:
            return None
        meter = self._meters.setdefault((method, channel if limit.per_channel else ""), _Meter())
        wait = _window(meter, limit, now) if limit.window else _bucket(meter, limit, now)
        return max(1, math.ceil(wait)) if wait > 0 else None


def _window(meter: _Meter, limit: Limit, now: float) -> float:
    while meter.calls and meter.calls[0] <= now - 60:
        meter.calls.popleft()
    if len(meter.calls) >= limit.burst:
        return meter.calls[0] + 60 - now
    meter.calls.append(now)
    return 0.0


def _bucket(meter: _Meter, limit: Limit, now: float) -> float:
    rate = limit.per_minute / 60
    tokens = limit.burst if meter.tokens is None else meter.tokens + (now - meter.refilled) * rate
    meter.tokens, meter.refilled = min(limit.burst, tokens), now
    if meter.tokens < 1:
        return (1 - meter.tokens) / rate
    meter.tokens -= 1
    return 0.0
