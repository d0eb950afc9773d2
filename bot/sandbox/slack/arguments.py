"""Reading a Web API call: form or JSON, the token, required arguments, and what may be posted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from bot.sandbox.slack.blocks import Block, check_blocks, check_metadata
from bot.sandbox.slack.errors import SlackError

MOST_TEXT = 40_000
_STRUCTURED = frozenset({"blocks", "view", "metadata", "files", "attachments"})


async def read_arguments(request: web.Request) -> dict[str, Any]:
    """The call's arguments. Structured ones may come as JSON text in a form, as Slack allows."""
    if request.content_type == "application/json":
        try:
            decoded = await request.json()
        except json.JSONDecodeError as error:
            raise SlackError("invalid_json") from error
        if not isinstance(decoded, dict):
            raise SlackError("json_not_object")
        arguments = decoded
    else:
        arguments = {**request.query, **await request.post()}
    return {name: _decode(name, value) for name, value in arguments.items() if value is not None}


def _decode(name: str, value: Any) -> Any:
    if name not in _STRUCTURED or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        code = "invalid_blocks_format" if name == "blocks" else "invalid_arguments"
        raise SlackError(code, [f"[ERROR] {name} is not JSON"]) from error


def read_token(request: web.Request, arguments: dict[str, Any]) -> str:
    """The bearer token, or the older ``token`` argument; SlackError ``not_authed`` without either."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = bearer if scheme == "Bearer" else str(arguments.pop("token", ""))
    if not token:
        raise SlackError("not_authed")
    return token


def need(arguments: Mapping[str, Any], names: Iterable[str]) -> None:
    """SlackError ``invalid_arguments`` that names what is missing."""
    missing = [f"[ERROR] missing required field: {name}" for name in names if arguments.get(name) in (None, "")]
    if missing:
        raise SlackError("invalid_arguments", missing)


def truthy(value: Any) -> bool:
    """Booleans as forms and JSON write them."""
    return value is True or str(value).lower() in ("true", "1")


def read_content(arguments: Mapping[str, Any]) -> tuple[str, list[Block]]:
    """The text and blocks of a message to post; SlackError says what Slack refuses of them."""
    text, blocks = str(arguments.get("text", "")), arguments.get("blocks", [])
    if len(text) > MOST_TEXT:
        raise SlackError("msg_too_long")
    if problems := check_blocks(blocks, "message"):
        raise SlackError("invalid_blocks", problems)
    if not text.strip() and not blocks:
        raise SlackError("no_text")
    return text, list(blocks)


def read_metadata(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The message metadata, checked."""
    metadata = arguments.get("metadata")
    if metadata is None:
        return None
    if code := check_metadata(metadata):
        raise SlackError(code)
    return dict(metadata)
