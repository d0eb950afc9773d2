"""Gestures and Socket Mode against a real slack_bolt App, and against a client that answers badly."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from bot.sandbox.slack import Delivery, Refused, ThreadedSlack, Workspace

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def text_field(block_id: str, **element: Any) -> Json:
    inner = {"type": "plain_text_input", "action_id": block_id, **element}
    return {"type": "input", "block_id": block_id, "label": plain(block_id), "element": inner}


def choice(value: str) -> Json:
    return {"text": plain(value.title()), "value": value}


PRESETS = {
    "type": "static_select",
    "action_id": "preset",
    "options": [choice("starter"), choice("blog")],
    "initial_option": choice("starter"),
}
GPUS = {"type": "number_input", "action_id": "gpus", "is_decimal_allowed": False, "min_value": "1"}
CARD = [
    {
        "type": "actions",
        "block_id": "decide",
        "elements": [
            {"type": "button", "text": plain("Approve"), "action_id": "approve", "value": "r1"},
            {"type": "button", "text": plain("Deny"), "action_id": "deny", "visible_to_user_ids": ["U0LEAD"]},
        ],
    }
]


def form(title: str = "New cluster") -> Json:
    return {
        "type": "modal",
        "callback_id": "create",
        "notify_on_close": True,
        "title": plain(title),
        "submit": plain("Ask"),
        "blocks": [
            text_field("name", max_length=10),
            {"type": "input", "block_id": "preset", "label": plain("Preset"), "element": PRESETS},
            {"type": "input", "block_id": "gpus", "label": plain("GPUs"), "element": GPUS, "optional": True},
        ],
    }


@dataclass
class Bot:
    """A small bot on the real framework, and what it received."""

    app: App
    received: list[Json] = field(default_factory=list)
    view_answer: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app.command("/gpu-cluster")(self.on_command)
        self.app.action("approve")(self.on_approve)
        self.app.event("app_mention")(self.on_event)
        self.app.event("message")(self.on_event)
        self.app.event("app_home_opened")(self.on_event)
        self.app.view("create")(self.on_submit)
        self.app.view_closed("create")(self.on_plain)
        self.app.shortcut("gpu_cluster_status")(self.on_plain)

    def on_command(self, ack: Ack, body: Json, client: WebClient) -> None:
        self.received.append(body)
        if body["text"] == "form":
            ack()
            client.views_open(trigger_id=body["trigger_id"], view=form())
        else:
            ack("on it")

    def on_approve(self, ack: Ack, body: Json, client: WebClient) -> None:
        self.received.append(body)
        ack()
        client.chat_update(channel="C0GPU", ts=body["message"]["ts"], text="approved", blocks=[])

    def on_submit(self, ack: Ack, body: Json) -> None:
        self.received.append(body)
        ack(**self.view_answer)

    def on_event(self, body: Json) -> None:
        self.received.append(body)

    def on_plain(self, ack: Ack, body: Json) -> None:
        self.received.append(body)
        ack()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[ThreadedSlack, Bot]]:
    with ThreadedSlack(Workspace()) as slack:
        bot = Bot(App(client=WebClient(slack.workspace.bot_token, base_url=slack.api_url)))
        handler = SocketModeHandler(bot.app, slack.workspace.app_token)
        handler.client.connect()
        until(lambda: slack.workspace.socket_mode.connections == 1)
        yield slack, bot
        hang_up(slack, handler.client)


@pytest.fixture
def slack(running: tuple[ThreadedSlack, Bot]) -> ThreadedSlack:
    return running[0]


@pytest.fixture
def bot(running: tuple[ThreadedSlack, Bot]) -> Bot:
    running[1].received.clear()
    running[1].view_answer = {}
    return running[1]


def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for something another thread does; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)


def hang_up(slack: ThreadedSlack, client: Any) -> None:
    """Close a client without the seconds its reader needs to notice that by itself."""
    client.auto_reconnect_enabled = False
    slack.do(slack.workspace.socket_mode.drop())
    client.close()


def card(slack: ThreadedSlack) -> str:
    """The ts of a fresh message with buttons."""
    client = WebClient(slack.workspace.bot_token, base_url=slack.api_url)
    return str(client.chat_postMessage(channel="C0GPU", text="card", blocks=CARD)["ts"])


def open_form(slack: ThreadedSlack) -> str:
    since = len(slack.workspace.events)
    slack.do(slack.workspace.slash("U0REQUESTER", "C0GPU", "form"))
    opened = slack.wait_for(lambda event: event.kind == "view", since=since)
    assert opened.metadata is not None
    return str(opened.metadata["view_id"])


def test_a_command_carries_what_slack_sends(slack: ThreadedSlack, bot: Bot) -> None:
    typed = '/gpu-cluster create a --reason "R&D <!channel>" @lead #random @gpu-leads https://a.example/b'
    delivery = slack.do(slack.workspace.slash("U0REQUESTER", "C0GPU", typed))
    assert delivery.acked and delivery.payload == {"text": "on it"}
    [body] = bot.received
    assert body["text"] == (
        'create a --reason "R&amp;D &lt;!channel&gt;" <@U0LEAD|lead> <#C0OTHER|random>'
        " <!subteam^S0LEADS|@gpu-leads> <https://a.example/b>"
    )
    assert {"team_id", "channel_id", "user_id", "trigger_id", "response_url", "api_app_id"} <= body.keys()
    assert "thread_ts" not in body
    assert [e.ephemeral_to for e in slack.workspace.events if e.text == "on it"] == ["U0REQUESTER"]


def test_commands_do_not_exist_in_threads(slack: ThreadedSlack, bot: Bot) -> None:
    ts = card(slack)
    refused = slack.do(slack.workspace.slash("U0LEAD", "C0GPU", "list", thread_ts=ts))
    assert (refused.acked, bot.received) == (False, [])
    assert slack.workspace.events[-1].text == "/gpu-cluster is not supported in threads. Sorry!"


def test_a_click_carries_the_message_and_edits_it(slack: ThreadedSlack, bot: Bot) -> None:
    ts = card(slack)
    assert slack.do(slack.workspace.click("U0FOREIGN", "C0GPU", ts, "approve")).acked
    slack.wait_for(lambda event: event.kind == "edit" and event.ts == ts)
    [body] = bot.received
    assert body["user"] == {
        "id": "U0FOREIGN",
        "username": "foreigner",
        "name": "foreigner",
        "team_id": "T0OTHER",
    }
    assert body["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": "C0GPU",
        "is_ephemeral": False,
    }
    assert (body["actions"][0]["value"], body["actions"][0]["block_id"]) == ("r1", "decide")
    assert body["message"]["text"] == "card"
    with pytest.raises(Refused, match="nothing to press"):
        slack.do(slack.workspace.click("U0LEAD", "C0GPU", ts, "approve"))


def test_nobody_clicks_what_they_do_not_see(slack: ThreadedSlack, bot: Bot) -> None:
    ts = card(slack)
    with pytest.raises(Refused, match="does not see"):
        slack.do(slack.workspace.click("U0LEAD2", "C0GPU", ts, "deny"))
    client = WebClient(slack.workspace.bot_token, base_url=slack.api_url)
    secret = client.chat_postEphemeral(channel="C0GPU", user="U0LEAD", text="x", blocks=CARD)["message_ts"]
    with pytest.raises(Refused, match="sees no message"):
        slack.do(slack.workspace.click("U0LEAD2", "C0GPU", secret, "approve"))
    assert bot.received == []


def test_a_double_delivery_reaches_the_app_twice(slack: ThreadedSlack, bot: Bot) -> None:
    slack.do(slack.workspace.slash("U0REQUESTER", "C0GPU", "list", duplicate=True))
    first, second = bot.received
    assert first == second


def test_mentions_in_threads_and_direct_messages(slack: ThreadedSlack, bot: Bot) -> None:
    ts = card(slack)
    assert slack.do(slack.workspace.mention("U0LEAD", "C0GPU", "status", thread_ts=ts)).acked
    assert slack.do(slack.workspace.dm("U0LEAD", "help")).acked
    mention, direct = bot.received
    assert (mention["event"]["text"], mention["event"]["thread_ts"]) == ("<@U0BOT> status", ts)
    assert mention["event_id"] != direct["event_id"]
    assert (direct["event"]["channel_type"], direct["event"]["channel"]) == ("im", "D0LEAD")
    outside = slack.do(slack.workspace.mention("U0LEAD", "C0OTHER", "status"))
    assert (outside.error, len(bot.received)) == ("not_in_channel", 2)


def test_home_and_shortcuts(slack: ThreadedSlack, bot: Bot) -> None:
    ts = card(slack)
    assert slack.do(slack.workspace.open_home("U0LEAD")).acked
    assert slack.do(slack.workspace.shortcut("U0LEAD", "gpu_cluster_status", "C0GPU", ts)).acked
    home, shortcut = bot.received
    assert (home["event"]["type"], home["event"]["tab"]) == ("app_home_opened", "home")
    assert (shortcut["type"], shortcut["message_ts"]) == ("message_action", ts)


def test_a_form_sends_its_state_and_closes(slack: ThreadedSlack, bot: Bot) -> None:
    view = open_form(slack)
    delivery = slack.do(slack.workspace.submit_view("U0REQUESTER", view, {"name": "blog", "gpus": "2"}))
    assert delivery.acked and slack.workspace.views.stacks["U0REQUESTER"] == []
    values = bot.received[-1]["view"]["state"]["values"]
    assert values["name"]["name"] == {"type": "plain_text_input", "value": "blog"}
    assert values["preset"]["preset"]["selected_option"] == choice("starter")
    assert values["gpus"]["gpus"]["value"] == "2"


def test_a_form_is_told_what_is_wrong_or_changes(slack: ThreadedSlack, bot: Bot) -> None:
    view = open_form(slack)
    submit = slack.workspace.submit_view
    bot.view_answer = {"response_action": "errors", "errors": {"name": "taken"}}
    slack.do(submit("U0REQUESTER", view, {"name": "blog"}))
    assert slack.workspace.views.find(view).errors == {"name": "taken"}
    bot.view_answer = {"response_action": "errors", "errors": {"nonsense": "taken"}}
    slack.do(submit("U0REQUESTER", view, {"name": "blog"}))
    assert "errors must name input blocks" in slack.workspace.warnings[-1]
    bot.view_answer = {"response_action": "update", "view": form("Again")}
    slack.do(submit("U0REQUESTER", view, {"name": "blog"}))
    assert slack.workspace.views.find(view).title == "Again"
    bot.view_answer = {"response_action": "clear"}
    slack.do(submit("U0REQUESTER", view, {"name": "blog"}))
    assert slack.workspace.views.stacks["U0REQUESTER"] == []


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "required"),
        ({"name": "x" * 11}, "between 0 and 10"),
        ({"name": "a", "preset": "h100"}, "no choice 'h100'"),
        ({"name": "a", "gpus": "many"}, "not a number"),
        ({"name": "a", "gpus": "0"}, "less than 1"),
        ({"name": "a", "gpus": "1.5"}, "not a whole number"),
        ({"name": "a", "colour": "red"}, "no input colour"),
    ],
)
def test_a_client_does_not_submit_what_cannot_be(
    slack: ThreadedSlack, bot: Bot, values: dict[str, str], why: str
) -> None:
    view = open_form(slack)
    with pytest.raises(Refused, match=why):
        slack.do(slack.workspace.submit_view("U0REQUESTER", view, values))
    closed = slack.do(slack.workspace.close_view("U0REQUESTER", view))
    assert isinstance(closed, Delivery) and bot.received[-1]["type"] == "view_closed"


def test_the_app_comes_back_after_a_disconnect(slack: ThreadedSlack, bot: Bot) -> None:
    opened = slack.workspace.calls["apps.connections.open"]
    slack.do(slack.workspace.socket_mode.disconnect())
    until(lambda: slack.workspace.calls["apps.connections.open"] > opened)
    until(lambda: slack.workspace.socket_mode.connections == 1)
    assert slack.do(slack.workspace.slash("U0REQUESTER", "C0GPU", "list")).acked


# --- a client that answers late, or not at all ---


class Sluggish:
    """A real Socket Mode client that acknowledges only from the ``patience``-th envelope on."""

    def __init__(self, slack: ThreadedSlack, patience: int) -> None:
        self._slack = slack
        web = WebClient(slack.workspace.bot_token, base_url=slack.api_url)
        self.client = SocketModeClient(app_token=slack.workspace.app_token, web_client=web)
        self.requests: list[SocketModeRequest] = []
        self._patience = patience
        self.client.socket_mode_request_listeners.append(self._on_request)
        self.client.connect()
        until(lambda: slack.workspace.socket_mode.connections > 0)

    def _on_request(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        self.requests.append(request)
        if len(self.requests) >= self._patience:
            self.answer(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._slack, self.client)

    def answer(self, request: SocketModeRequest) -> None:
        self.client.send_socket_mode_response(SocketModeResponse(request.envelope_id))


@pytest.fixture
def hasty() -> Iterator[ThreadedSlack]:
    """A workspace that waits less than half a second where Slack waits three."""
    with ThreadedSlack(Workspace(ack_seconds=0.4, retry_seconds=(0.0, 0.01, 0.02))) as slack:
        yield slack


def test_the_deadline_is_three_seconds() -> None:
    with ThreadedSlack(Workspace()) as slack, Sluggish(slack, patience=99):
        delivery = slack.do(slack.workspace.slash("U0REQUESTER", "C0GPU", "list"))
        assert not delivery.acked and 3.0 <= delivery.seconds < 5.0


def test_a_late_ack_is_lost_and_the_user_is_told(hasty: ThreadedSlack) -> None:
    with Sluggish(hasty, patience=99) as sluggish:
        delivery = hasty.do(hasty.workspace.slash("U0REQUESTER", "C0GPU", "list"))
        assert (delivery.acked, delivery.error) == (False, "operation_timeout")
        assert [event.kind for event in hasty.workspace.events] == ["command", "timeout", "ephemeral"]
        told = '/gpu-cluster failed with the error "operation_timeout"'
        assert hasty.workspace.events[-1].text == told
        sluggish.answer(sluggish.requests[0])
        late = [sluggish.requests[0].envelope_id]
        until(lambda: hasty.workspace.socket_mode.late_acks == late)
        assert len(sluggish.requests) == 1, "commands are never repeated"


def test_events_are_repeated_until_acknowledged(hasty: ThreadedSlack) -> None:
    with Sluggish(hasty, patience=3) as sluggish:
        assert hasty.do(hasty.workspace.mention("U0LEAD", "C0GPU", "status")).acked
    retries = [(request.retry_attempt, request.retry_reason) for request in sluggish.requests]
    assert retries == [(0, ""), (1, "timeout"), (2, "timeout")]
    assert len({request.envelope_id for request in sluggish.requests}) == 3
    assert len({request.payload["event_id"] for request in sluggish.requests}) == 1


def test_events_are_given_up_after_three_repetitions(hasty: ThreadedSlack) -> None:
    with Sluggish(hasty, patience=99) as sluggish:
        assert not hasty.do(hasty.workspace.mention("U0LEAD", "C0GPU", "status")).acked
    assert len(sluggish.requests) == 4
    assert [event.kind for event in hasty.workspace.events].count("timeout") == 4


def test_without_a_connection_a_command_fails_at_once(hasty: ThreadedSlack) -> None:
    delivery = hasty.do(hasty.workspace.slash("U0REQUESTER", "C0GPU", "list"))
    assert delivery.error == "dispatch_failed"


def test_each_payload_goes_to_one_connection_in_turn(hasty: ThreadedSlack) -> None:
    with Sluggish(hasty, patience=1) as one, Sluggish(hasty, patience=1) as other:
        until(lambda: hasty.workspace.socket_mode.connections == 2)
        for _ in range(4):
            assert hasty.do(hasty.workspace.slash("U0LEAD", "C0GPU", "list")).acked
        assert (len(one.requests), len(other.requests)) == (2, 2)


def test_a_ticket_opens_one_connection(hasty: ThreadedSlack) -> None:
    with Sluggish(hasty, patience=1) as sluggish:
        used = str(sluggish.client.wss_uri).replace("ws://", "http://")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(used)
        with caught.value as response:
            assert (response.status, response.read()) == (403, b"invalid ticket")
