"""What one workspace remembers: messages, views, files, one-time ids, counts, and the log of events."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.blocks import with_ids
from bot.sandbox.slack.errors import Refused, SlackError
from bot.sandbox.slack.events import Event, EventLog, Kind
from bot.sandbox.slack.limits import LIMITS, Limit, RateLimiter
from bot.sandbox.slack.messages import File, Message
from bot.sandbox.slack.text import typed_text
from bot.sandbox.slack.views import View, Views

TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS = 30 * 60
RESPONSE_URL_USES = 5


@dataclass
class Trigger:
    """A ``trigger_id``: whose gesture, in which channel, until when (real Unix seconds)."""

    user: str
    channel: str | None
    expires: float
    used: bool = False


@dataclass
class ResponseUrl:
    """A ``response_url``: where it answers and to whom; ``original`` is the message that was clicked."""

    user: str
    channel: str
    thread_ts: str | None
    original: Message | None
    expires: float
    uses: int = 0


@dataclass
class Fault:
    """The next ``times`` calls of ``method`` are answered with ``status``."""

    method: str
    times: int
    status: int
    retry_after: int


class State:
    """The workspace without its ways to talk. Not thread-safe: everything happens on one event loop.

    ``world_clock`` gives the times people see, ``real_clock`` those Slack itself keeps (limits, expiries), both in
    Unix seconds. Every argument has a working default.
    """

    def __init__(
        self,
        *,
        world_clock: Callable[[], float] = time.time,
        real_clock: Callable[[], float] = time.time,
        bot_token: str = directory.BOT_TOKEN,
        app_token: str = directory.APP_TOKEN,
        limits: Mapping[str, Limit] = LIMITS,
    ) -> None:
        self.world_clock, self.real_clock = world_clock, real_clock
        self.bot_token, self.app_token = bot_token, app_token
        self.base_url = ""
        self.users, self.groups = directory.users(), directory.groups()
        self.channels = directory.channels()
        self.messages: dict[tuple[str, str], Message] = {}
        self.ephemerals: dict[str, Message] = {}
        self.files: dict[str, File] = {}
        self.views = Views()
        self.log = EventLog()
        self.calls: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.limiter = RateLimiter(limits)
        self.faults: list[Fault] = []
        self.missing_scopes: set[str] = set()
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self._last_ts = 0

    @property
    def events(self) -> list[Event]:
        """Everything that happened so far, oldest first."""
        return self.log.events

    def inject(self, method: str, times: int = 1, status: int = 429, retry_after: int = 1) -> None:
        """Let the next ``times`` calls of ``method`` fail with ``status``; 429 asks to wait ``retry_after`` s."""
        self.faults.append(Fault(method, times, status, retry_after))

    def inject_429(self, times: int) -> None:
        """The fault ``slack-429``: the next ``times`` posts and as many edits are answered 429, Retry-After 1."""
        self.inject("chat.update", times)
        self.inject("chat.postMessage", times)

    def fault_for(self, method: str) -> Fault | None:
        """The injected fault that hits this call, counted down."""
        for fault in self.faults:
            if fault.method == method and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    # --- looking things up -------------------------------------------------------------------------------------

    def channel(self, channel: str) -> directory.Channel:
        """The channel with that id; SlackError ``channel_not_found``."""
        if channel not in self.channels:
            raise SlackError("channel_not_found")
        return self.channels[channel]

    def user(self, user: str) -> directory.User:
        """The user with that id; SlackError ``user_not_found``."""
        if user not in self.users:
            raise SlackError("user_not_found")
        return self.users[user]

    def message(self, channel: str, ts: str) -> Message:
        """The message at ``ts``; SlackError ``message_not_found``. Ephemerals are not found, as in Slack."""
        if (channel, ts) not in self.messages:
            raise SlackError("message_not_found")
        return self.messages[channel, ts]

    def visible_message(self, user: str, channel: str, ts: str) -> Message:
        """The message or ephemeral at ``ts`` as ``user`` would see it; Refused if they would not."""
        found = self.messages.get((channel, ts)) or self.ephemerals.get(ts)
        if found is None or found.channel != channel or found.ephemeral_to not in (None, user):
            raise Refused(f"{user} sees no message {ts} in {channel}")
        if user not in self.channels[channel].members:
            raise Refused(f"{user} is not in {channel}")
        return found

    def open_im(self, user: str) -> directory.Channel:
        """The direct messages between the bot and ``user``, made if need be."""
        person = self.user(user)
        identity = f"D{person.id[1:]}"
        members = frozenset({person.id, directory.BOT_USER})
        return self.channels.setdefault(
            identity, directory.Channel(identity, "directmessage", members, im_with=person.id)
        )

    def typed(self, text: str, *, labels: bool) -> str:
        """Text as typed by a person, as Slack passes it on."""
        people = {user.name: user.id for user in self.users.values()}
        handles = {group.handle: group.id for group in self.groups.values()}
        named = {channel.name: channel.id for channel in self.channels.values() if channel.im_with is None}
        return typed_text(text, people, handles, named, labels=labels)

    # --- one-time things ---------------------------------------------------------------------------------------

    def next_ts(self) -> str:
        """A fresh message timestamp: world time, unique and never going backwards."""
        self._last_ts = max(self._last_ts + 1, int(self.world_clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def issue_trigger(self, user: str, channel: str | None) -> str:
        """A ``trigger_id`` for a gesture of ``user``."""
        identity = f"{secrets.randbelow(10**12)}.{secrets.token_hex(8)}"
        self.triggers[identity] = Trigger(user, channel, self.real_clock() + TRIGGER_SECONDS)
        return identity

    def redeem_trigger(self, identity: str) -> Trigger:
        """Use a trigger up; SlackError names why that is not possible."""
        trigger = self.triggers.get(identity)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self.real_clock() > trigger.expires:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger

    def issue_response_url(
        self, user: str, channel: str, thread_ts: str | None = None, original: Message | None = None
    ) -> str:
        """A ``response_url`` that answers ``user`` in ``channel``."""
        token = secrets.token_urlsafe(18)
        expires = self.real_clock() + RESPONSE_URL_SECONDS
        self.response_urls[token] = ResponseUrl(user, channel, thread_ts, original, expires)
        return f"{self.base_url}/response/{token}"

    # --- changing what is visible ------------------------------------------------------------------------------

    def post(self, message: Message) -> Message:
        """Make ``message`` visible; its blocks get their ids."""
        message.blocks = with_ids(message.blocks)
        if message.ephemeral_to is None:
            self.messages[message.channel, message.ts] = message
        else:
            self.ephemerals[message.ts] = message
        self.record_message("message" if message.ephemeral_to is None else "ephemeral", message)
        return message

    def edit(self, message: Message, text: str | None, blocks: list[dict[str, Any]] | None) -> None:
        """Change a message in place; None leaves that part as it is."""
        message.text = message.text if text is None else text
        message.blocks = message.blocks if blocks is None else with_ids(blocks)
        message.edited_ts = self.next_ts()
        message.rev += 1
        self.record_message("edit", message)

    def delete(self, message: Message) -> None:
        """Remove a message or an ephemeral."""
        self.messages.pop((message.channel, message.ts), None)
        self.ephemerals.pop(message.ts, None)
        self.record_message("delete", message)

    def tell(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> Message:
        """Slackbot's own words to one user, as Slack shows them after a failure."""
        return self.post(
            Message(channel, self.next_ts(), directory.SLACKBOT, text, thread_ts=thread_ts, ephemeral_to=user)
        )

    def record_message(self, kind: Kind, message: Message) -> None:
        """Log something that happened to a message."""
        self.record(
            kind,
            channel=message.channel,
            thread_ts=message.thread_ts,
            ts=message.ts,
            user=message.user,
            text=message.text,
            blocks=message.blocks,
            ephemeral_to=message.ephemeral_to,
            metadata=message.metadata,
        )

    def record_view(self, view: View, what: str) -> None:
        """Log that a modal or Home tab was opened, updated, submitted, closed or published."""
        self.record(
            "view",
            channel=view.channel,
            user=view.user,
            text=view.title,
            blocks=view.body["blocks"],
            ephemeral_to=view.user,
            metadata={"view_id": view.id, "what": what, "errors": dict(view.errors)},
        )

    def record(
        self,
        kind: Kind,
        *,
        channel: str | None,
        user: str | None,
        text: str,
        thread_ts: str | None = None,
        ts: str | None = None,
        blocks: list[dict[str, Any]] | None = None,
        ephemeral_to: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Append one event to the log, stamped with both clocks."""
        self.log.append(
            Event(
                at_real=self.real_clock(),
                at_world=self.world_clock(),
                kind=kind,
                channel=channel,
                thread_ts=thread_ts,
                ts=ts,
                user=user,
                text=text,
                blocks=tuple(blocks or ()),
                ephemeral_to=ephemeral_to,
                metadata=metadata,
            )
        )
