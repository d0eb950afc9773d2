"""``response_url``: five answers within thirty minutes of a command or click."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from bot.sandbox.slack import directory
from bot.sandbox.slack.arguments import read_content, truthy
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.state import RESPONSE_URL_USES, ResponseUrl, State


async def respond(state: State, request: web.Request) -> web.Response:
    """Answer one POST to a ``response_url``."""
    try:
        target = _target(state, request.match_info["token"])
        try:
            body = await request.json()
        except json.JSONDecodeError as error:
            raise SlackError("invalid_json") from error
        _apply(state, target, body)
    except SlackError as error:
        state.warnings.append(f"response_url: {error}")
        status = 404 if error.code in ("used_url", "expired_url", "no_such_url") else 400
        details = {"response_metadata": {"messages": error.messages}} if error.messages else {}
        return web.json_response({"ok": False, "error": error.code, **details}, status=status)
    return web.Response(text="ok")


def _target(state: State, token: str) -> ResponseUrl:
    """Count one use of the address; SlackError when it is unknown, too old or used up."""
    target = state.response_urls.get(token)
    if target is None:
        raise SlackError("no_such_url")
    if state.real_clock() > target.expires:
        raise SlackError("expired_url")
    if target.uses >= RESPONSE_URL_USES:
        raise SlackError("used_url")
    target.uses += 1
    return target


def _apply(state: State, target: ResponseUrl, body: dict[str, Any]) -> None:
    original = target.original
    if truthy(body.get("delete_original")):
        if original is None:
            raise SlackError("no_original_message")
        state.delete(original)
        return
    text, blocks = read_content(body)
    if truthy(body.get("replace_original")) and original is not None:
        state.edit(original, text, blocks)
        return
    private = body.get("response_type", "ephemeral") != "in_channel"
    state.post(
        Message(
            target.channel,
            state.next_ts(),
            directory.BOT_USER,
            text,
            blocks,
            thread_ts=str(body["thread_ts"]) if body.get("thread_ts") else target.thread_ts,
            ephemeral_to=target.user if private else None,
        )
    )
