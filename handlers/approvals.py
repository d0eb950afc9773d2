"""Clicks on buttons: ack and write a row. Who may decide is looked up later, off the listener pool."""

from __future__ import annotations

from typing import Any

from slack_bolt import Ack, App

from handlers.inbox import Gesture, Inbound, Inbox


class Approvals:
    """The listeners of the buttons: those of a card, and those below what has befallen a cluster."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def register(self, app: App) -> None:
        for action in ("approve", "deny", "accept", "replace", "ignore", "delete"):
            app.action(action)(self.clicked)

    def clicked(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """One click. Delivered twice it has one key; two clicks have two."""
        container, user = body["container"], str(body["user"]["id"])
        key = f"click:{container['message_ts']}:{action['action_id']}:{action['action_ts']}:{user}"
        inbound = Inbound(
            Gesture(action["action_id"]),
            user,
            str(container["channel_id"]),
            name=str(action["value"]),
            response_url=str(body.get("response_url", "")),
            thread_ts=str(container.get("thread_ts", "")),
        )
        self._inbox.put(key, inbound)
        ack()
