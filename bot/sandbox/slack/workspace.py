"""A strict, Slack-like workspace in which people act and one app answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.sandbox.slack import directory, payloads
from bot.sandbox.slack.answers import TROUBLE, after_command, after_submission
from bot.sandbox.slack.delivery import ACK_SECONDS, Courier, Delivery, HttpCourier
from bot.sandbox.slack.dispatch import RETRY_SECONDS, Dispatcher, Origin
from bot.sandbox.slack.errors import Refused, SlackError
from bot.sandbox.slack.events import Event, Subscription
from bot.sandbox.slack.forms import current_values, view_values
from bot.sandbox.slack.limits import LIMITS, Limit
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.pressing import action_for, label
from bot.sandbox.slack.socket import SocketMode
from bot.sandbox.slack.state import State
from bot.sandbox.slack.views import View

COMMAND_FAILED = f'{directory.COMMAND} failed with the error "{{error}}"'
CLICK_FAILED = "Something went wrong: the app did not answer ({error})."


class Workspace(State):
    """The workspace and the people in it. Each gesture is a coroutine that returns what became of its delivery.

    With ``request_url`` payloads go there by HTTP, signed with ``signing_secret``; otherwise over Socket Mode.
    ``ack_seconds`` and ``retry_seconds`` are real time. Gestures raise :class:`Refused` when a real client would not
    offer them. ``duplicate=True`` delivers the payload a second time, in an envelope of its own.
    """

    def __init__(
        self,
        *,
        world_clock: Callable[[], float] = time.time,
        real_clock: Callable[[], float] = time.time,
        bot_token: str = directory.BOT_TOKEN,
        app_token: str = directory.APP_TOKEN,
        limits: Mapping[str, Limit] = LIMITS,
        request_url: str | None = None,
        signing_secret: str = "",
        ack_seconds: float = ACK_SECONDS,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        super().__init__(
            world_clock=world_clock,
            real_clock=real_clock,
            bot_token=bot_token,
            app_token=app_token,
            limits=limits,
        )
        self.socket_mode = SocketMode(ack_seconds)
        self._courier: Courier = self.socket_mode
        if request_url is not None:
            self._courier = HttpCourier(request_url, signing_secret, ack_seconds)
        self._dispatch = Dispatcher(self, self._courier, retry_seconds)

    def subscribe(self) -> Subscription:
        """A stream of the events that follow; close it when done."""
        return self.log.subscribe()

    async def wait_for(self, predicate: Callable[[Event], bool], timeout_real: float, since: int = 0) -> Event:
        """The first event, past (from position ``since``) or future, for which ``predicate`` holds.

        Raises TimeoutError after ``timeout_real`` seconds.
        """
        return await self.log.wait_for(predicate, timeout_real, since)

    async def close(self) -> None:
        """End all connections and subscriptions."""
        self.log.close()
        await self.socket_mode.close()
        await self._courier.close()

    async def slash(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        duplicate: bool = False,
    ) -> Delivery:
        """Type ``/gpu-cluster <text>`` (``text`` with or without the command) in the composer of ``channel``."""
        if thread_ts is not None:
            said = f"{directory.COMMAND} is not supported in threads. Sorry!"
            self.tell(user, channel, said, thread_ts)
            return Delivery(acked=False, seconds=0.0, error="not_supported_in_threads")
        self._require_member(user, channel)
        command, _, rest = text.strip().partition(" ")
        words = rest.strip() if command == directory.COMMAND else text.strip()
        shown = self.typed(f"{directory.COMMAND} {words}".strip(), labels=False)
        typed = Message(channel, self.next_ts(), user, shown, ephemeral_to=user, command=True)
        self.ephemerals[typed.ts] = typed
        self.record_message("command", typed)
        payload = payloads.slash_command(
            self.users[user],
            self.channels[channel],
            self.typed(words, labels=True),
            self.issue_trigger(user, channel),
            self.issue_response_url(user, channel),
        )
        delivery = await self._dispatch.once(
            "slash_commands", payload, Origin(user, channel), COMMAND_FAILED, duplicate=duplicate
        )
        if delivery.acked:
            after_command(self, user, channel, delivery.payload)
        return delivery

    async def click(
        self,
        user: str,
        channel: str,
        ts: str,
        action_id: str,
        value: str | None = None,
        *,
        block_id: str | None = None,
        duplicate: bool = False,
    ) -> Delivery:
        """Press a button of a message as it is now, or pick ``value`` from its select or overflow menu.

        Where several buttons share an ``action_id``, ``value`` or ``block_id`` tells them apart.
        """
        message = self.visible_message(user, channel, ts)
        action = action_for(user, message.blocks, action_id, value, block_id, self.next_ts())
        origin = Origin(user, channel, message.thread_ts)
        self._record_click(origin, action, ts)
        payload = payloads.message_action(
            self.users[user],
            self.channels[channel],
            message,
            action,
            self.issue_trigger(user, channel),
            self.issue_response_url(user, channel, message.thread_ts, message),
        )
        return await self._dispatch.once("interactive", payload, origin, CLICK_FAILED, duplicate=duplicate)

    async def click_view(
        self,
        user: str,
        view_id: str,
        action_id: str,
        value: str | None = None,
        *,
        block_id: str | None = None,
        values: Mapping[str, str] | None = None,
        duplicate: bool = False,
    ) -> Delivery:
        """Press, pick or type something in a modal or Home tab; ``values`` stand in its other inputs, by block id.

        Refused for an input that tells the app nothing before it is submitted (no ``dispatch_action``).
        """
        view = self._own_view(user, view_id)
        blocks = view.body["blocks"]
        action = action_for(user, blocks, action_id, value, block_id, self.next_ts())
        typed = {**view.typed, **(values or {})}
        block = next(block for block in blocks if block["block_id"] == action["block_id"])
        if block["type"] == "input":
            if not block.get("dispatch_action", False):
                raise Refused(f"the input {block['block_id']} tells the app nothing before it is submitted")
            typed[block["block_id"]] = value or ""
        state = current_values(blocks, typed)
        view.typed = typed
        origin = Origin(user, view.channel)
        self._record_click(origin, action, None)
        trigger = self.issue_trigger(user, view.channel)
        payload = payloads.view_action(self.users[user], view, action, state, trigger)
        return await self._dispatch.once("interactive", payload, origin, CLICK_FAILED, duplicate=duplicate)

    async def say(self, user: str, channel: str, text: str, *, thread_ts: str | None = None) -> Message:
        """Post an ordinary message. The app hears of it only where it is mentioned, or in its direct messages."""
        self._require_member(user, channel)
        typed = self.typed(text, labels=False)
        return self.post(Message(channel, self.next_ts(), user, typed, thread_ts=thread_ts))

    async def mention(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        duplicate: bool = False,
    ) -> Delivery:
        """Post ``@gpu-cluster <text>`` (the mention is added if it is missing) and deliver ``app_mention``."""
        at = f"@{self.users[directory.BOT_USER].name}"
        message = await self.say(user, channel, text if at in text else f"{at} {text}", thread_ts=thread_ts)
        if directory.BOT_USER not in self.channels[channel].members:
            self.tell(user, channel, f"{at} is not in this channel.", thread_ts)
            return Delivery(acked=False, seconds=0.0, error="not_in_channel")
        payload = payloads.message_event(self.users[user], message, "app_mention")
        return await self._dispatch.event(payload, Origin(user, channel, thread_ts), duplicate=duplicate)

    async def dm(self, user: str, text: str, *, thread_ts: str | None = None, duplicate: bool = False) -> Delivery:
        """Write to the bot directly and deliver ``message.im``."""
        channel = self.open_im(user).id
        message = await self.say(user, channel, text, thread_ts=thread_ts)
        payload = payloads.message_event(self.users[user], message, "message", channel_type="im")
        return await self._dispatch.event(payload, Origin(user, channel, thread_ts), duplicate=duplicate)

    async def shortcut(
        self, user: str, callback_id: str, channel: str | None = None, ts: str | None = None
    ) -> Delivery:
        """Use a message shortcut on the message at ``ts``, or a global one without channel and ts."""
        trigger = self.issue_trigger(user, channel)
        payload = payloads.shortcut(self.users[user], callback_id, trigger)
        if channel is not None and ts is not None:
            message = self.visible_message(user, channel, ts)
            url = self.issue_response_url(user, channel, message.thread_ts, message)
            payload = payloads.message_shortcut(payload, self.channels[channel], message, url)
        return await self._dispatch.once("interactive", payload, Origin(user, channel), CLICK_FAILED)

    async def open_home(self, user: str) -> Delivery:
        """Open the app's Home tab."""
        inner: dict[str, Any] = {
            "type": "app_home_opened",
            "user": user,
            "channel": self.open_im(user).id,
            "tab": "home",
            "event_ts": self.next_ts(),
        }
        if user in self.views.homes:
            inner["view"] = self.views.homes[user].payload()
        return await self._dispatch.event(payloads.event(inner), Origin(user, None))

    async def submit_view(
        self, user: str, view_id: str, values: Mapping[str, str], *, duplicate: bool = False
    ) -> Delivery:
        """Fill in the inputs of a modal by block id and submit it; the app's answer changes what is open."""
        view = self._own_view(user, view_id)
        view.typed = {**view.typed, **values}
        state = view_values(view.body["blocks"], view.typed)
        view.errors = {}
        self.record_view(view, "submitted")
        payload = payloads.view_submission(self.users[user], view, state, self.issue_trigger(user, view.channel))
        delivery = await self._dispatch.once(
            "interactive", payload, Origin(user, view.channel), TROUBLE, duplicate=duplicate
        )
        if delivery.acked:
            after_submission(self, view, delivery.payload)
        return delivery

    async def close_view(self, user: str, view_id: str, *, everything: bool = False) -> Delivery | None:
        """Close a modal; delivered (else None) only if the view asked for it with ``notify_on_close``."""
        view = self._own_view(user, view_id)
        self.views.close(view, everything=everything)
        self.record_view(view, "closed")
        if not view.body.get("notify_on_close"):
            return None
        payload = payloads.view_closed(self.users[user], view, everything=everything)
        return await self._dispatch.once("interactive", payload, Origin(user, None), CLICK_FAILED)

    def _require_member(self, user: str, channel: str) -> None:
        if user not in self.users or channel not in self.channels:
            raise Refused(f"there is no {user} or no {channel}")
        if user not in self.channels[channel].members:
            raise Refused(f"{user} is not in {channel}")

    def _own_view(self, user: str, view_id: str) -> View:
        try:
            view = self.views.find(view_id)
        except SlackError as error:
            raise Refused(f"the view {view_id} is not open") from error
        if view.user != user:
            raise Refused(f"{user} does not see the view {view_id}")
        return view

    def _record_click(self, origin: Origin, action: dict[str, Any], ts: str | None) -> None:
        self.record(
            "click",
            channel=origin.channel,
            thread_ts=origin.thread_ts,
            ts=ts,
            user=origin.user,
            text=label(action),
            metadata={"action_id": action["action_id"], "value": action.get("value")},
        )
