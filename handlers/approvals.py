"""The buttons: ack and write a row. Who may do it is looked up later, off the listener pool."""

from __future__ import annotations

from typing import Any

from slack_bolt import Ack, App

from handlers.inbox import Gesture, Inbound, Inbox

_ABOUT_A_CLUSTER = {
    "extend": Gesture.EXTEND,
    "retry": Gesture.RETRY,
    "keep": Gesture.KEEP,
    "cleanup": Gesture.DELETE,
}


class Approvals:
    """The listeners of the buttons: those of a card, and those below a failure, a warning or a trouble."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def register(self, app: App) -> None:
        for action in ("approve", "deny", "accept", "replace", "ignore", "delete"):
            app.action(action)(self.clicked)
        for action in _ABOUT_A_CLUSTER:
            app.action(action)(self.pressed)

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

    def pressed(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """One press of a button about a cluster: `value` is its name, a request of it, and what was offered."""
        container, user = body["container"], str(body["user"]["id"])
        name, meant, *offered = str(action["value"]).split(".")
        gesture = _ABOUT_A_CLUSTER[action["action_id"]]
        # One warning offers its hours once, whoever presses how often.
        once = f"{action['action_ts']}:{user}" if gesture != Gesture.EXTEND else ".".join(offered)
        inbound = Inbound(
            gesture,
            user,
            str(container["channel_id"]),
            name=name,
            response_url=str(body.get("response_url", "")),
            thread_ts=str(container.get("thread_ts", "")),
            words=(name, *offered[:1]) if gesture == Gesture.EXTEND else (),
            meant=meant,
        )
        self._inbox.put(f"press:{container['message_ts']}:{action['action_id']}:{once}", inbound)
        ack()
