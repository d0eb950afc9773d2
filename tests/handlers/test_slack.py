"""The way in: tokens, workspaces, HTTP mode, faults of listeners, and what the log must not hold."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from slack_bolt.adapter.socket_mode import SocketModeHandler

from bot.core.desk import Desk
from bot.core.ports import Permanent, Temporary
from bot.sandbox.slack import ThreadedSlack, Workspace
from bot.sandbox.slack.delivery import sign
from bot.store import SqliteStore
from handlers.calls import make_clients
from handlers.directory import SlackDirectory
from handlers.inbox import Inbox
from handlers.redact import Redaction, install_redaction, redact
from handlers.slack import SocketConnection, build_app, close_app, connect_socket, identify, serve_http
from handlers.windows import Windows
from tests.handlers.harness import LEAD, REQUESTER, Bot, MovableClock, catalogue

SECRET = "sandbox-secret"


def test_the_token_says_where_it_belongs(slack: ThreadedSlack) -> None:
    client = make_clients(slack.workspace.bot_token, slack.api_url).asking
    assert identify(client).team_id == "T0SANDBOX"
    with pytest.raises(Permanent, match="belongs to the workspace T0SANDBOX, the configuration names T0ELSE"):
        identify(client, "T0ELSE")


def test_a_wrong_token_is_named(slack: ThreadedSlack) -> None:
    with pytest.raises(Permanent, match=r"SLACK_BOT_TOKEN \(invalid_auth\)") as caught:
        identify(make_clients("xoxb-wrong", slack.api_url).asking)
    assert "OAuth" in caught.value.remedy


def test_no_answer_is_temporary() -> None:
    with pytest.raises(Temporary, match="does not answer"):
        identify(make_clients("xoxb-1", "http://127.0.0.1:9/api/").posting)


def test_a_wrong_app_token_is_named(bot: Bot) -> None:
    windows, installation = Windows(bot.clients.asking), identify(bot.clients.asking)
    app = build_app(clients=bot.clients, installation=installation, inbox=bot.inbox, desk=bot.desk, windows=windows)
    with pytest.raises(Permanent, match="SLACK_APP_TOKEN"):
        connect_socket(app, bot.workspace.bot_token)
    close_app(app)


def test_a_listener_that_fails_says_so(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    request = bot.asks()
    card = bot.card()
    message = bot.workspace.messages[str(card.channel), str(card.ts)]
    (actions,) = (b for b in message.blocks if b["type"] == "actions")
    actions["elements"][0].pop("value")  # a button that no release of ours has posted
    assert not bot.clicks(LEAD, "approve", card).acked
    answer = bot.told(LEAD, "Something went wrong on my side")
    assert "i-" in answer.text and "a listener failed" in caplog.text
    assert bot.request(request.id).state == "awaiting_approval"


def test_what_nobody_listens_for_is_acknowledged(bot: Bot) -> None:
    assert bot.slack.do(bot.workspace.open_home(REQUESTER)).acked
    assert bot.slack.do(bot.workspace.dm(REQUESTER, "hello")).acked


# --- HTTP mode ------------------------------------------------------------------------------------------------


@pytest.fixture
def http_bot(tmp_path: Path, clock: MovableClock) -> Iterator[tuple[ThreadedSlack, int]]:
    """A bot behind signed HTTP requests; returns Slack and the bot's port."""
    secret = SECRET
    with ThreadedSlack(Workspace()) as api:
        clients = make_clients(api.workspace.bot_token, api.api_url)
        store = SqliteStore(tmp_path / "http.db")
        installation = identify(clients.asking)
        directory = SlackDirectory(clients.asking, installation.team_id, clock)
        desk = Desk(store=store, clock=clock, catalogue=catalogue(), directory=directory)
        app = build_app(
            clients=clients,
            installation=installation,
            inbox=Inbox(store, clock),
            desk=desk,
            windows=Windows(clients.asking),
            signing_secret=secret,
        )
        server = serve_http(app, 0)
        url = f"http://127.0.0.1:{server.port}/slack/events"
        with ThreadedSlack(Workspace(request_url=url, signing_secret=secret)) as slack:
            yield slack, server.port
        server.close()
        close_app(app)


def test_http_mode(http_bot: tuple[ThreadedSlack, int]) -> None:
    slack, _ = http_bot
    delivery = slack.do(slack.workspace.slash(REQUESTER, "C0GPU", "crate"))
    assert delivery.acked and delivery.payload is not None and "Did you mean" in delivery.payload["text"]


def test_health(http_bot: tuple[ThreadedSlack, int]) -> None:
    _, port = http_bot
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200


def test_an_unsigned_request_is_refused(http_bot: tuple[ThreadedSlack, int]) -> None:
    _, port = http_bot
    request = urllib.request.Request(f"http://127.0.0.1:{port}/slack/events", data=b"command=/gpu-cluster&text=list")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)


@pytest.mark.parametrize(("age", "status"), [(-301, 401), (-300, 200), (-299, 200), (299, 200), (300, 200), (301, 401)])
def test_a_signature_counts_for_five_minutes_either_way(
    http_bot: tuple[ThreadedSlack, int], age: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = http_bot
    now = 1_795_000_000
    monkeypatch.setattr("slack_sdk.signature.Clock.now", lambda _: now)
    stamp = str(now - age)
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "c"}).encode()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": sign(SECRET, stamp, body)}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/slack/events", data=body, headers={**headers, "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            assert answer.status == status
    except urllib.error.HTTPError as refused:
        assert refused.code == status


# --- who is let in --------------------------------------------------------------------------------------------


def test_what_comes_from_another_workspace_is_refused_before_anybody_hears_it(bot: Bot) -> None:
    """A token of ours, a payload of theirs: an app that was installed twice, or a connected organisation."""
    sent: list[tuple[Any, dict[str, Any]]] = []
    send = bot.workspace.socket_mode.send

    async def theirs(kind: Any, payload: dict[str, Any], retry: Any = None) -> Any:
        told = {"team_id": "T0OTHER", "team": {"id": "T0OTHER"}, "authorizations": [{"team_id": "T0OTHER"}]}
        payload = {**payload, **{key: value for key, value in told.items() if key in payload}}
        sent.append((kind, payload))
        return await send(kind, payload, retry)

    request = bot.asks()
    card = bot.card()
    bot.workspace.socket_mode.send = theirs  # type: ignore[method-assign]
    typed = bot.types(REQUESTER, "list")
    assert typed.payload is not None and "serves another workspace" in typed.payload["text"]
    assert bot.clicks(LEAD, "approve", card).acked
    assert bot.slack.do(bot.workspace.mention(REQUESTER, "C0GPU", "delete train-a")).acked
    assert bot.slack.do(bot.workspace.open_home(REQUESTER)).acked
    bot.workspace.socket_mode.send = send  # type: ignore[method-assign]
    assert len(sent) == 4
    with bot.store.reading() as tx:
        assert tx._read("SELECT key FROM seen") == []  # type: ignore[attr-defined]
    assert bot.request(request.id).state == "awaiting_approval"


@pytest.mark.parametrize("settings", [{"channels": ("C0GPU",)}], indirect=True)
def test_clicks_and_mentions_in_other_channels_do_nothing(bot: Bot) -> None:
    message = bot.slack.do(bot.workspace.say(REQUESTER, "C0APPROVE", "hello"))
    assert bot.slack.do(bot.workspace.mention(REQUESTER, "C0APPROVE", "list")).acked
    bot.sees(lambda e: e.channel == "C0APPROVE" and "<#C0GPU>" in e.text)
    assert bot.slack.do(bot.workspace.shortcut(REQUESTER, "gpu_cluster_status", "C0APPROVE", message.ts)).acked
    assert bot.workspace.calls["views.open"] == 0


# --- the log --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [
        "xoxb-12-34-abcDEF",
        "xapp-1-A1-2-f00d",
        "https://hooks.slack.com/commands/T1/2/abc",
        "{'trigger_id': '12.34.secret'}",
        '{"response_url": "http://127.0.0.1:1/response/secret"}',
        "X-Slack-Signature: v0=" + "0a" * 32,
        "Bearer token-fghij:" + "0a0a" * 10,
    ],
)
def test_secrets_are_blotted_out(secret: str) -> None:
    shown = redact(f"before {secret} after")
    for part in ("abc", "secret", "f00d", "0a0a"):
        assert part not in shown
    assert shown.startswith("before ") and shown.endswith(" after")


def test_the_filter_sees_arguments_and_traces() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        install_redaction()
        install_redaction()
        assert sum(isinstance(f, Redaction) for f in handler.filters) == 1
        try:
            raise ValueError("token xoxb-1-secret")
        except ValueError:
            logging.getLogger("some.library").exception("failed with %s", "xapp-1-secret")
    finally:
        logging.getLogger().removeHandler(handler)
    assert "secret" not in stream.getvalue() and "ValueError" in stream.getvalue()


class _StartsAgain:
    """slack_sdk's client when its session starts while it is being closed."""

    def __init__(self) -> None:
        self.current_session_state = SimpleNamespace(terminated=False)

    def close(self) -> None:
        self.current_session_state.terminated = True
        self.current_session_state.terminated = False
        while not self.current_session_state.terminated:
            time.sleep(0.01)


def test_a_connection_that_starts_while_it_is_closed_ends_all_the_same() -> None:
    connection = SocketConnection(cast(SocketModeHandler, SimpleNamespace(client=_StartsAgain())))
    closing = threading.Thread(target=connection.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
