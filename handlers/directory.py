"""Who people are, asked of Slack: users and user groups, cached for a minute, and nobody when it cannot be told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from slack_sdk import WebClient

from bot.core.policy import Person
from bot.core.ports import Clock, Temporary
from handlers.calls import CALL_ERRORS, code_of

CACHE_S = 60.0
FRESH_EVERY_S = 3.0
"""`usergroups.users.list` is a Tier 2 method, 20 calls a minute: a forced look-up no more often than this per group."""

_NOBODY = frozenset({"user_not_found", "user_not_visible", "users_not_found"})
_NOT_IN = frozenset({"channel_not_found", "not_in_channel", "is_archived"})

T = TypeVar("T")


@dataclass(frozen=True)
class _Known(Generic[T]):
    value: T
    at: float


class _Cache(Generic[T]):
    """Values by key with their age in real seconds; one look-up at a time for each key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, _Known[T]] = {}
        self._guard = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, key: str, max_age_s: float, look_up: Callable[[], T]) -> T:
        """The value if it is young enough, else looked up; the look-up's exception passes and nothing is kept."""
        with self._guard:
            lock = self._locks[key]
        with lock:
            known = self._known.get(key)
            if known is not None and self._clock.real() - known.at < max_age_s:
                return known.value
            value = look_up()
            self._known[key] = _Known(value, self._clock.real())
            return value


class SlackDirectory:
    """`core.policy.Directory` by way of Slack. `team_id` is the workspace whose people count as members.

    The client must not sleep on 429: a click waits for the answer. `noticed` hears every answer about a group.
    """

    def __init__(
        self,
        client: WebClient,
        team_id: str,
        clock: Clock,
        noticed: Callable[[str, frozenset[str]], None] = lambda group, members: None,
    ) -> None:
        self._client = client
        self._noticed = noticed
        self._team_id = team_id
        self._people: _Cache[Person] = _Cache(clock)
        self._groups: _Cache[frozenset[str]] = _Cache(clock)
        self._channels: _Cache[bool] = _Cache(clock)

    def person(self, user: str) -> Person:
        """Whether somebody is a full member here. Raises `Temporary` when Slack cannot say."""
        return self._people.get(user, CACHE_S, lambda: self._person(user))

    def group(self, group: str, *, fresh: bool = False) -> frozenset[str]:
        """The members of a user group. Raises `Temporary` when Slack cannot say."""
        return self._groups.get(group, FRESH_EVERY_S if fresh else CACHE_S, lambda: self._group(group))

    def is_in(self, channel: str) -> bool:
        """Whether the bot is in a channel, so that it can post there. Raises `Temporary` when Slack cannot say."""
        return any(self._channels.get(channel, age, lambda: self._is_in(channel)) for age in (CACHE_S, FRESH_EVERY_S))

    def _person(self, user: str) -> Person:
        try:
            found: dict[str, Any] = self._client.users_info(user=user)["user"]
        except CALL_ERRORS as error:
            if code_of(error) in _NOBODY:
                return Person(user, member=False)
            raise _unknown("who you are", error) from error
        outside = ("deleted", "is_restricted", "is_ultra_restricted", "is_bot", "is_stranger")
        return Person(user, member=found.get("team_id") == self._team_id and not any(found.get(k) for k in outside))

    def _group(self, group: str) -> frozenset[str]:
        try:
            members = frozenset(self._client.usergroups_users_list(usergroup=group)["users"])
        except CALL_ERRORS as error:
            raise _unknown("who is a lead", error) from error
        self._noticed(group, members)
        return members

    def _is_in(self, channel: str) -> bool:
        try:
            found: dict[str, Any] = self._client.conversations_info(channel=channel)["channel"]
        except CALL_ERRORS as error:
            if code_of(error) in _NOT_IN:
                return False
            raise _unknown("whether I am in this channel", error) from error
        return bool(found.get("is_member") or found.get("is_im"))


def _unknown(what: str, error: Exception) -> Temporary:
    """Fail closed: without an answer nobody has rights."""
    return Temporary(f"Slack could not tell {what} ({code_of(error)}), so nothing was done.", "Try again in a minute.")
