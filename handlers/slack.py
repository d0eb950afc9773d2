"""Bolt: the app with its listeners, and the two ways in, Socket Mode and HTTP."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from slack_bolt import Ack, App, BoltContext, BoltResponse, Respond
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_bolt.adapter.wsgi import SlackRequestHandler
from slack_bolt.error import BoltUnhandledRequestError
from slack_sdk import WebClient

from bot.core.desk import Desk
from bot.core.looking import new_incident
from bot.core.ports import Permanent, Temporary
from handlers.approvals import Approvals
from handlers.calls import CALL_ERRORS, Clients, code_of
from handlers.commands import Commands, say
from handlers.forms import Forms
from handlers.home import HomeListener
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.threads import Threads
from handlers.views import answers
from handlers.views.render import render
from handlers.windows import Windows

log = logging.getLogger(__name__)

LISTENERS = 16
"""Threads for acks. Bolt's own five starve when five listeners are busy."""
SOCKET_WORKERS = 16
PING_S = 3.0
"""Real seconds between looks whether the connection is still there (slack_sdk: socket_mode/builtin/client.py,
_monitor_current_session). What is typed while it is not is lost, so Bolt's own 10 s are long."""
EVENTS_PATH = "/slack/events"


@dataclass(frozen=True)
class Installation:
    """Where the bot token belongs: the workspace and the bot's own user."""

    team_id: str
    team: str
    bot_user: str


def identify(client: WebClient, workspace: str = "") -> Installation:
    """Ask Slack whose token this is. `workspace` is the team id of the configuration, '' for any.

    Raises `Permanent` when Slack refuses the token or it is another workspace's, `Temporary` without an answer.
    """
    try:
        told = client.auth_test()
    except CALL_ERRORS as error:
        code = code_of(error)
        if code in ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "not_allowed_token_type"):
            raise Permanent(
                f"Slack refuses SLACK_BOT_TOKEN ({code}).",
                "Copy the Bot User OAuth Token (xoxb-…) from the app's page OAuth & Permissions.",
            ) from error
        raise Temporary(f"Slack does not answer ({code}).", "Check SLACK_API_URL and the network.") from error
    found = Installation(str(told["team_id"]), str(told.get("team", "")), str(told["user_id"]))
    if workspace and found.team_id != workspace:
        raise Permanent(
            f"SLACK_BOT_TOKEN belongs to the workspace {found.team_id}, the configuration names {workspace}.",
            "Mend [slack] workspace in gpu-cluster.toml, or use the token of the other workspace.",
        )
    return found


def build_app(
    *,
    clients: Clients,
    installation: Installation,
    inbox: Inbox,
    desk: Desk,
    windows: Windows,
    channels: tuple[str, ...] = (),
    signing_secret: str = "",
) -> App:
    """The Bolt app. `channels`: ids of the only channels it listens in, empty for any; the first takes what is asked
    in private.

    `signing_secret` is needed for HTTP only; in Socket Mode there are no signatures.
    """
    app = App(
        client=clients.asking,
        signing_secret=signing_secret or None,
        request_verification_enabled=bool(signing_secret),
        raise_error_for_unhandled_request=True,
        listener_executor=ThreadPoolExecutor(LISTENERS, thread_name_prefix="listener"),
    )
    gate = _Gate(installation.team_id, channels, inbox)
    app.middleware(gate.check)
    app.error(_fault)
    desk.recall()
    Commands(inbox, desk).register(app)
    Forms(inbox, desk, windows, channels[0] if channels else "").register(app)
    Approvals(inbox).register(app)
    Threads(inbox).register(app)
    HomeListener(inbox).register(app)
    return app


class _Gate:
    """Lets in what comes from our workspace and an allowed channel. Everything else is acknowledged and answered."""

    def __init__(self, team_id: str, channels: tuple[str, ...], inbox: Inbox) -> None:
        self._team_id = team_id
        self._channels = frozenset(channels)
        self._listed = channels
        self._inbox = inbox

    def check(
        self, context: BoltContext, body: dict[str, Any], ack: Ack, next_: Callable[[], None]
    ) -> BoltResponse | None:
        """Global middleware: go on, or answer here. Not to answer at all would look like a crash of the app."""
        command = "command" in body
        if context.team_id != self._team_id:
            log.info("refused: something from workspace %s", context.team_id)
            return say(ack, answers.foreign_workspace()) if command else BoltResponse(status=200)
        # Between somebody and the bot alone there is nothing to restrict; what is asked there is posted elsewhere.
        alone = not command and str(context.channel_id).startswith("D")
        if self._channels and context.channel_id and context.channel_id not in self._channels and not alone:
            if command:
                return say(ack, answers.elsewhere(self._listed))
            if body.get("event", {}).get("type") == "app_mention":
                self._answer_mention(body, body["event"])
            return BoltResponse(status=200)
        next_()
        return None

    def _answer_mention(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        thread = str(event.get("thread_ts") or "")
        inbound = Inbound(Gesture.ELSEWHERE, str(event.get("user", "")), str(event["channel"]), thread_ts=thread)
        self._inbox.put(f"event:{body['event_id']}", inbound)


def _fault(error: Exception, respond: Respond, body: dict[str, Any]) -> BoltResponse | None:
    """A listener failed, or nobody listens for this. The person gets an incident id, the log the trace."""
    if isinstance(error, BoltUnhandledRequestError):
        kind = body.get("type") or body.get("command")
        log.info("nobody listens for this: %s %s", kind, body.get("event", {}).get("type", ""))
        return BoltResponse(status=200)
    identity = new_incident()
    log.error("incident %s: a listener failed", identity, exc_info=error)
    if body.get("response_url"):
        told = render(answers.incident(identity))
        with contextlib.suppress(*CALL_ERRORS):
            respond(text=told.text, blocks=list(told.blocks), response_type="ephemeral", replace_original=False)
    return None


class SocketConnection:
    """A Socket Mode connection that renews itself; `close` ends it."""

    def __init__(self, handler: SocketModeHandler) -> None:
        self._handler = handler

    @property
    def connected(self) -> bool:
        return bool(self._handler.client.is_connected())

    def close(self) -> None:
        """End it; returns once its threads have ended."""
        closed = threading.Event()
        ending = threading.Thread(target=self._keep_ending, args=(closed,), daemon=True)
        ending.start()
        try:
            # slack_sdk's built-in client loses its own session when a reconnect races the close.
            with contextlib.suppress(AttributeError):
                self._handler.client.close()
        finally:
            closed.set()
            ending.join()

    def _keep_ending(self, closed: threading.Event) -> None:
        """A session that starts while it is being closed takes the sign to end back (slack_sdk:
        socket_mode/builtin/client.py, _run_current_session), and would be waited for without end."""
        while not closed.wait(0.1):
            self._handler.client.current_session_state.terminated = True


def connect_socket(app: App, app_token: str) -> SocketConnection:
    """Open Socket Mode. Raises `Permanent` when Slack refuses the app token, `Temporary` without an answer."""
    handler = SocketModeHandler(app, app_token, concurrency=SOCKET_WORKERS, ping_interval=PING_S)
    try:
        handler.client.connect()
    except CALL_ERRORS as error:
        code = code_of(error)
        if code in ("invalid_auth", "not_authed", "not_allowed_token_type", "token_revoked", "account_inactive"):
            raise Permanent(
                f"Slack refuses SLACK_APP_TOKEN ({code}).",
                "Make an app-level token (xapp-…) with connections:write on the app's page Basic Information.",
            ) from error
        raise Temporary(f"Slack's Socket Mode does not answer ({code}).", "Check the network.") from error
    return SocketConnection(handler)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class HttpServer:
    """HTTP mode on one port: Slack's requests at `/slack/events`, and `GET /healthz`."""

    def __init__(self, app: App, port: int) -> None:
        self._slack = SlackRequestHandler(app, path=EVENTS_PATH)
        self._server = make_server("", port, self._answer, server_class=_Server, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") == "GET" and environ.get("PATH_INFO") == "/healthz":
            start("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"ok\n"]
        return self._slack(environ, start)


def serve_http(app: App, port: int) -> HttpServer:
    """Serve HTTP mode in the background; port 0 takes a free one. Raises OSError when the port is taken."""
    return HttpServer(app, port)


def close_app(app: App) -> None:
    """Let the listeners that run finish; call it after the way in is closed."""
    executor = app.listener_runner.listener_executor
    if isinstance(executor, ThreadPoolExecutor):
        executor.shutdown(wait=True)
