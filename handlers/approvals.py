"""The buttons of requests: ack, open a window where one is needed, and write a row.

Who may do what is looked up later, off the listener pool.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

from bot.core.policy import Verb
from handlers.calls import CALL_ERRORS, code_of
from handlers.inbox import Gesture, Inbound, Inbox, Wanted
from handlers.views.modals import DENY, REASON, deny_form, loading

log = logging.getLogger(__name__)

STATUS_SHORTCUT = "gpu_cluster_status"
PLAIN: tuple[Wanted, ...] = (
    Verb.APPROVE,
    Gesture.AGAIN,
    Verb.STATUS,
    Verb.DELETE,
    Verb.ACCEPT,
    Verb.REPLACE,
    Verb.IGNORE,
    Gesture.END_ORPHANS,
)
"""Buttons that are a gesture by themselves; their `action_id` is its name."""
_IN_ITS_THREAD = (Verb.APPROVE, Gesture.END_ORPHANS)
"""Those that are answered in the thread of their message, where it is in one."""


@dataclasses.dataclass(frozen=True)
class Denying:
    """What the window for the reason carries: the button's value, and where it was pressed."""

    value: str
    channel: str


_ABOUT_A_CLUSTER = {
    "extend": Verb.EXTEND,
    "cancel": Verb.CANCEL,
    "retry": Verb.RETRY,
    "keep": Verb.KEEP,
    "cleanup": Verb.DELETE,
}


class Approvals:
    """The listeners of the buttons and of the message shortcut."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def register(self, app: App) -> None:
        for gesture in PLAIN:
            app.action(gesture.value)(self.clicked)
        app.action("deny")(self.denying)
        app.view(DENY)(self.denied)
        app.action("details")(self.wants_details)
        app.shortcut(STATUS_SHORTCUT)(self.shortcut)
        for action in _ABOUT_A_CLUSTER:
            app.action(action)(self.pressed)

    def clicked(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """One click. Delivered twice it has one key; two clicks have two."""
        gesture = next(one for one in PLAIN if one == action["action_id"])
        inbound = dataclasses.replace(
            _about(body, gesture),
            name=str(action["value"]),
            thread_ts=_thread(body) if gesture in _IN_ITS_THREAD else "",
        )
        self._inbox.put(_key(body, action), inbound)
        ack()

    def denying(self, ack: Ack, body: dict[str, Any], action: dict[str, Any], client: WebClient) -> None:
        """Ask for the reason first: the window is the confirmation."""
        ack()
        carried = json.dumps(dataclasses.asdict(Denying(str(action["value"]), _channel(body))))
        try:
            client.views_open(trigger_id=body["trigger_id"], view=deny_form("", carried))
        except CALL_ERRORS as error:
            log.warning("the window for a reason was not opened: %s", code_of(error))
            self._inbox.put(_key(body, action), _about(body, Gesture.LATE))

    def denied(self, ack: Ack, body: dict[str, Any], view: dict[str, Any]) -> None:
        """The reason is given: that is the decision."""
        carried = Denying(**json.loads(view["private_metadata"]))
        reason = str(view["state"]["values"][REASON][REASON].get("value") or "").strip()
        if not reason:
            ack(response_action="errors", errors={REASON: "Say why: whoever asked reads it."})
            return
        user = str(body["user"]["id"])
        inbound = Inbound(Verb.DENY, user, carried.channel, name=carried.value, text=reason)
        self._inbox.put(f"view:{view['id']}", inbound)
        ack()

    def wants_details(self, ack: Ack, body: dict[str, Any], action: dict[str, Any], client: WebClient) -> None:
        """Open the window at once; what stands in it is read off the listeners."""
        ack()
        inbound = dataclasses.replace(_about(body, Gesture.DETAILS), name=str(action["value"]))
        self._open(client, body, _key(body, action), inbound)

    def shortcut(self, ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        """The state of the cluster that a message is about."""
        ack()
        message = body.get("message") or {}
        ts = str(body.get("message_ts", ""))
        inbound = Inbound(
            Gesture.DETAILS,
            str(body["user"]["id"]),
            str(body["channel"]["id"]),
            thread_ts=str(message.get("thread_ts") or ts),
            response_url=str(body.get("response_url", "")),
        )
        self._open(client, body, f"shortcut:{inbound.channel}:{ts}:{body['action_ts']}:{inbound.user}", inbound)

    def pressed(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """One press of a button about a cluster: `value` is its name, a request of it, and what was offered."""
        container, user = body["container"], str(body["user"]["id"])
        name, meant, *offered = str(action["value"]).split(".")
        gesture = _ABOUT_A_CLUSTER[action["action_id"]]
        # One warning offers its hours once, whoever presses how often.
        once = f"{action['action_ts']}:{user}" if gesture != Verb.EXTEND else ".".join(offered)
        inbound = Inbound(
            gesture,
            user,
            str(container["channel_id"]),
            name=name,
            response_url=str(body.get("response_url", "")),
            thread_ts=str(container.get("thread_ts", "")),
            words=(name, *offered[:1]) if gesture == Verb.EXTEND else (),
            meant=meant,
        )
        self._inbox.put(f"press:{container['message_ts']}:{action['action_id']}:{once}", inbound)
        ack()

    def _open(self, client: WebClient, body: dict[str, Any], key: str, inbound: Inbound) -> None:
        method, trigger = client.views_open, body["trigger_id"]
        if body.get("view", {}).get("type") == "modal":
            method = client.views_push
        try:
            opened = method(trigger_id=trigger, view=loading())["view"]
        except CALL_ERRORS as error:
            log.warning("the window for details was not opened: %s", code_of(error))
            self._inbox.put(key, dataclasses.replace(inbound, gesture=Gesture.LATE))
            return
        self._inbox.put(key, dataclasses.replace(inbound, view=str(opened["id"]), hash=str(opened["hash"])))


def _about(body: dict[str, Any], gesture: Wanted) -> Inbound:
    """Who clicked, where, and where to answer."""
    return Inbound(gesture, str(body["user"]["id"]), _channel(body), response_url=str(body.get("response_url", "")))


def _channel(body: dict[str, Any]) -> str:
    """The channel of the message that was clicked; '' for the Home tab."""
    return str(body["container"].get("channel_id", ""))


def _thread(body: dict[str, Any]) -> str:
    return str(body["container"].get("thread_ts", ""))


def _key(body: dict[str, Any], action: dict[str, Any]) -> str:
    container = body["container"]
    where = container.get("message_ts") or container.get("view_id")
    return f"click:{where}:{action['action_id']}:{action['action_ts']}:{body['user']['id']}"
