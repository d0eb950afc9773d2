"""The page on which a person acts in any role: its files, a snapshot of what one role sees, a stream, and gestures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from aiohttp import web

from bot.sandbox.slack import directory
from bot.sandbox.slack.delivery import Delivery
from bot.sandbox.slack.errors import Refused
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.workspace import Workspace

Gesture = Callable[[Workspace, str, dict[str, Any]], Awaitable[Delivery | Message | None]]

ROLES = ("U0REQUESTER", "U0LEAD", "U0LEAD2", "U0BYSTANDER")
CLOCK_SECONDS = 1.0
_ASSETS = {
    "page.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "blocks.js": "text/javascript",
    "mrkdwn.js": "text/javascript",
}


def routes(workspace: Workspace) -> list[web.RouteDef]:
    """The page at ``/`` and what it talks to under ``/sandbox/slack/``."""

    async def home(request: web.Request) -> web.Response:
        return _asset("page.html")

    async def asset(request: web.Request) -> web.Response:
        return _asset(request.match_info["name"])

    async def state(request: web.Request) -> web.Response:
        return web.json_response(snapshot(workspace, _role(workspace, request.query.get("as", ""))))

    async def act(request: web.Request) -> web.Response:
        return await _act(workspace, request)

    async def download(request: web.Request) -> web.Response:
        return _download(workspace, request)

    async def stream(request: web.Request) -> web.StreamResponse:
        return await _stream(workspace, request)

    return [
        web.get("/", home),
        web.get("/sandbox/slack/page/{name}", asset),
        web.get("/sandbox/slack/state", state),
        web.get("/sandbox/slack/stream", stream),
        web.get("/sandbox/slack/file/{file}", download),
        web.post("/sandbox/slack/act", act),
    ]


def snapshot(workspace: Workspace, user: str) -> dict[str, Any]:
    """Everything ``user`` sees now, as JSON for the page."""
    workspace.open_im(user)
    visible = [c for c in workspace.channels.values() if user in c.members and c.im_with in (None, user)]
    shown: dict[str, list[dict[str, Any]]] = {channel.id: [] for channel in visible}
    everything = [*workspace.messages.values(), *workspace.ephemerals.values()]
    for message in sorted(everything, key=lambda message: message.ts):
        if message.channel in shown and message.ephemeral_to in (None, user):
            shown[message.channel].append(_message(workspace, message))
    home = workspace.views.homes.get(user)
    return {
        "me": user,
        "bot": directory.BOT_USER,
        "roles": [{"id": role, "name": workspace.users[role].name} for role in ROLES],
        "users": {u.id: u.name for u in workspace.users.values()},
        "groups": {g.id: g.handle for g in workspace.groups.values()},
        "channels": [{"id": c.id, "name": c.name, "im": c.im_with is not None} for c in visible],
        "messages": shown,
        "views": [
            {"id": v.id, "hash": v.hash, "errors": v.errors, "body": v.body}
            for v in workspace.views.stacks.get(user, [])
        ],
        "home": {"id": home.id, "hash": home.hash, "body": home.body} if home else None,
        "connected": workspace.socket_mode.connections > 0,
        "clock": _clock(workspace),
    }


def _message(workspace: Workspace, message: Message) -> dict[str, Any]:
    files = [workspace.files[identity] for identity in message.file_ids if identity in workspace.files]
    return {
        "ts": message.ts,
        "user": message.user,
        "text": message.text,
        "blocks": message.blocks,
        "thread_ts": message.thread_ts,
        "broadcast": message.broadcast,
        "ephemeral": message.ephemeral_to is not None,
        "command": message.command,
        "edited": message.edited_ts is not None,
        "rev": message.rev,
        "files": [file.payload() for file in files],
    }


def _clock(workspace: Workspace) -> dict[str, float]:
    """Both clocks, and how many events there are: a page that has seen fewer looks again."""
    return {
        "world": workspace.world_clock(),
        "real": workspace.real_clock(),
        "events": len(workspace.events),
    }


def _role(workspace: Workspace, user: str) -> str:
    if user not in workspace.users or workspace.users[user].is_bot:
        raise web.HTTPBadRequest(text=f"no such role: {user}")
    return user


def _asset(name: str) -> web.Response:
    if name not in _ASSETS:
        raise web.HTTPNotFound
    text = files("bot.sandbox.slack").joinpath("assets", name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=_ASSETS[name], headers={"Cache-Control": "no-cache"})


def _download(workspace: Workspace, request: web.Request) -> web.Response:
    """A shared file, for those who are in its channel."""
    user = _role(workspace, request.query.get("as", ""))
    file = workspace.files.get(request.match_info["file"])
    if file is None or file.channel is None or user not in workspace.channels[file.channel].members:
        raise web.HTTPNotFound
    disposition = f'attachment; filename="{file.id}"'
    return web.Response(body=file.content, headers={"Content-Disposition": disposition})


async def _stream(workspace: Workspace, request: web.Request) -> web.StreamResponse:
    """Server-sent events: ``change`` when something happened, ``clock`` every second."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    subscription = workspace.subscribe()
    try:
        while True:
            try:
                event = await asyncio.wait_for(anext(subscription), CLOCK_SECONDS)
                await response.write(b"event: change\ndata: " + event.kind.encode() + b"\n\n")
            except TimeoutError:
                clock = json.dumps(_clock(workspace)).encode()
                await response.write(b"event: clock\ndata: " + clock + b"\n\n")
    except (StopAsyncIteration, ConnectionError):
        return response
    finally:
        subscription.close()


async def _act(workspace: Workspace, request: web.Request) -> web.Response:
    """Perform one gesture. JSON only, so that no other site's form can act here."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    body = await request.json()
    user = _role(workspace, str(body.get("as", "")))
    gesture = GESTURES.get(str(body.get("do")))
    if gesture is None:
        raise web.HTTPBadRequest(text=f"no such gesture: {body.get('do')}")
    try:
        outcome = await gesture(workspace, user, body)
    except Refused as refused:
        return web.json_response({"ok": False, "refused": True, "error": str(refused)})
    error = outcome.error if isinstance(outcome, Delivery) else None
    return web.json_response({"ok": error is None, "error": error})


def _field(body: dict[str, Any], name: str) -> str:
    """A required field of a gesture."""
    if not isinstance(body.get(name), str):
        raise web.HTTPBadRequest(text=f"missing: {name}")
    return str(body[name])


async def _say(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery | Message | None:
    """What the composer does with a line: a command, a mention, a direct message, or plain talk."""
    channel, text, thread = _field(body, "channel"), _field(body, "text").strip(), body.get("thread_ts")
    command = text.split(maxsplit=1)[0] if text.startswith("/") else None
    if command == directory.COMMAND:
        return await workspace.slash(user, channel, text, thread_ts=thread)
    if command is not None:
        workspace.tell(user, channel, f"{command} is not a valid command.", thread)
        return None
    if channel == workspace.open_im(user).id:
        return await workspace.dm(user, text, thread_ts=thread)
    if f"@{workspace.users[directory.BOT_USER].name}" in text:
        return await workspace.mention(user, channel, text, thread_ts=thread)
    return await workspace.say(user, channel, text, thread_ts=thread)


async def _click(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery:
    channel, ts, action = (_field(body, name) for name in ("channel", "ts", "action_id"))
    return await workspace.click(user, channel, ts, action, body.get("value"), block_id=body.get("block_id"))


async def _click_view(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery:
    view, action = _field(body, "view_id"), _field(body, "action_id")
    values = {str(block): str(value) for block, value in body.get("values", {}).items()}
    return await workspace.click_view(
        user, view, action, body.get("value"), block_id=body.get("block_id"), values=values
    )


async def _submit(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery:
    values = {str(block): str(value) for block, value in body.get("values", {}).items()}
    return await workspace.submit_view(user, _field(body, "view_id"), values)


async def _close(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery | None:
    return await workspace.close_view(user, _field(body, "view_id"))


async def _home(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery:
    return await workspace.open_home(user)


async def _shortcut(workspace: Workspace, user: str, body: dict[str, Any]) -> Delivery:
    return await workspace.shortcut(user, _field(body, "callback_id"), body.get("channel"), body.get("ts"))


GESTURES: dict[str, Gesture] = {
    "say": _say,
    "click": _click,
    "click_view": _click_view,
    "submit": _submit,
    "close": _close,
    "home": _home,
    "shortcut": _shortcut,
}
