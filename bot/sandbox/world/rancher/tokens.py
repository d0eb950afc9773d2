"""API keys of the bot's user: which Rancher takes, and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DAYS = 90
"""Rancher's setting auth-token-max-ttl-minutes is 129600 (rancher/rancher: pkg/settings/setting.go)."""


@dataclass(frozen=True)
class Key:
    """``name`` is the part before the colon; ``issued`` and ``expires`` in Unix seconds of the world."""

    name: str
    issued: float
    expires: float


class Tokens:
    """By their whole text. Who presents one that has expired or was taken back is nobody."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._keys: dict[str, Key] = {}

    def issue(self, token: str, *, days: float = DAYS) -> None:
        """Take this one from now on, for that many days."""
        now = self._now()
        self._keys[token] = Key(token.partition(":")[0], now, now + days * 86400)

    def revoke(self, token: str) -> None:
        """Take it no longer."""
        del self._keys[token]

    def valid(self, token: str) -> bool:
        """Whether it is one, and has not expired."""
        key = self._keys.get(token)
        return key is not None and self._now() < key.expires

    def find(self, name: str) -> Key | None:
        """The key of that name."""
        return next((key for key in self._keys.values() if key.name == name), None)
