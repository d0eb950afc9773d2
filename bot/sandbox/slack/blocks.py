"""Which blocks Slack accepts on which surface, and what it says about the ones it refuses.

Sizes: Slack's Block Kit reference and ``slackapi/python-slack-sdk: slack_sdk/models/blocks/blocks.py``. A block type
that is not listed here (carousel, video, ...) is refused as unknown: this workspace is an older client for those.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from bot.sandbox.slack import elements as el
from bot.sandbox.slack.schema import (
    Check,
    anything,
    array,
    boolean,
    number,
    one_of,
    report,
    shape,
    string,
    tagged,
    typed,
)

Surface = Literal["message", "modal", "home"]
Block = dict[str, Any]

MOST_BLOCKS: dict[Surface, int] = {"message": 50, "modal": 100, "home": 100}
MOST_MARKDOWN = 12_000
TABLES = frozenset({"table", "data_table"})


def _block(
    kind: str,
    required: Mapping[str, Check] | None = None,
    optional: Mapping[str, Check] | None = None,
    *,
    any_of: tuple[str, ...] = (),
) -> dict[str, Check]:
    return typed(kind, required, {"block_id": el.ID, **(optional or {})}, any_of=any_of)


_CELL = tagged(
    typed("raw_text", {"text": string(3000)})
    | typed("raw_number", {"value": number()}, {"text": string(3000)})
    | el.RICH_TEXT,
    "cell",
)
_COLUMN = shape(None, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})
_TASK = _block(
    "task_card",
    {"task_id": el.ID, "title": string(255)},
    {
        "status": one_of("pending", "in_progress", "complete", "error"),
        "details": el.RICH_TEXT_OBJECT,
        "output": el.RICH_TEXT_OBJECT,
        "sources": array(el.URL_SOURCE, 20),
    },
)
_EVERYWHERE: dict[str, Check] = (
    _block(
        "section",
        None,
        {
            "text": el.text(3000),
            "fields": array(el.text(2000), 10),
            "accessory": el.ACCESSORIES,
            "expand": boolean,
        },
        any_of=("text", "fields"),
    )
    | _block("divider")
    | _block("header", {"text": el.plain(150)})
    | _block("context", {"elements": array(el.CONTEXT_ELEMENTS, 10)})
    | _block("actions", {"elements": array(el.ACTION_ELEMENTS, 25)})
    | el.image({"alt_text": string(2000)}, {"title": el.plain(2000), "block_id": el.ID})
    | _block(
        "input",
        {"label": el.plain(2000), "element": el.INPUT_ELEMENTS},
        {"hint": el.plain(2000), "optional": boolean, "dispatch_action": boolean},
    )
    | el.RICH_TEXT
)
_TABLE = _block("table", {"rows": array(array(_CELL, 20), 100)}, {"column_settings": array(_COLUMN, 20)}) | _block(
    "data_table",
    {"rows": array(array(_CELL, 20), 101, 2), "caption": string(150)},
    {"page_size": number(1, 100, whole=True), "row_header_column_index": number(0, 19, whole=True)},
)
_MESSAGE_ONLY: dict[str, Check] = (
    _TABLE
    | _TASK
    | _block("plan", {"title": string(255)}, {"tasks": array(tagged(_TASK, "task"), 50)})
    | _block("markdown", {"text": string(MOST_MARKDOWN)})
    | _block("context_actions", {"elements": array(el.CONTEXT_ACTION_ELEMENTS, 5)})
)
_CONTAINER = _block(
    "container",
    {"child_blocks": array(tagged(_EVERYWHERE | _MESSAGE_ONLY, "block"), 10)},
    {
        "title": el.text(150),
        "subtitle": el.text(150),
        "rich_text_title": el.RICH_TEXT_OBJECT,
        "width": one_of("narrow", "standard", "wide", "full"),
        "icon": tagged(el.IMAGE, "element"),
        "is_collapsible": boolean,
        "default_collapsed": boolean,
        "has_header_divider": boolean,
    },
    any_of=("title", "rich_text_title"),
)
_ALERT = _block("alert", {"text": el.text(3000)}, {"level": one_of("default", "info", "warning", "error", "success")})
_BLOCKS: dict[Surface, Check] = {
    "message": tagged(_EVERYWHERE | _MESSAGE_ONLY | _CONTAINER, "block"),
    "modal": tagged(_EVERYWHERE | _ALERT, "block"),
    "home": tagged(_EVERYWHERE | _CONTAINER, "block"),
}


def check_blocks(blocks: object, surface: Surface, pointer: str = "/blocks") -> list[str]:
    """What Slack would say against ``blocks`` on ``surface``; an empty list means they are accepted."""
    problems: list[str] = []
    if not isinstance(blocks, list):
        report(problems, pointer, "must be an array")
        return problems
    if len(blocks) > MOST_BLOCKS[surface]:
        report(problems, pointer, f"no more than {MOST_BLOCKS[surface]} items allowed")
    for index, block in enumerate(blocks):
        _BLOCKS[surface](block, f"{pointer}/{index}", problems)
    if not problems:
        _check_together(blocks, pointer, problems)
    return problems


def _check_together(blocks: list[Block], pointer: str, problems: list[str]) -> None:
    """Rules that hold across blocks: unique ids, one table, markdown in all, initial options that exist."""
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        identity = block.get("block_id")
        if identity in seen:
            report(problems, f"{pointer}/{index}/block_id", f"block_id already exists: {identity}")
        seen |= {identity} if identity else set()
        _check_actions(block, f"{pointer}/{index}", problems)
    everything = [*blocks, *(child for block in blocks for child in block.get("child_blocks", []))]
    if sum(block["type"] in TABLES for block in everything) > 1:
        report(problems, pointer, "only one table allowed in a message")
    if sum(len(block["text"]) for block in everything if block["type"] == "markdown") > MOST_MARKDOWN:
        report(problems, pointer, f"markdown blocks must be no more than {MOST_MARKDOWN} characters together")


def _check_actions(block: Block, pointer: str, problems: list[str]) -> None:
    seen: set[str] = set()
    for element in interactive_elements(block):
        action = element.get("action_id")
        if action in seen:
            report(problems, pointer, f"action_id already exists in block: {action}")
        seen |= {action} if action else set()
        el.check_initial_option(element, pointer, problems)


def interactive_elements(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every element of ``block`` that a person can press, pick from or type into."""
    inert = {"image", "plain_text", "mrkdwn"}
    candidates: list[dict[str, Any]] = []
    if block["type"] in ("actions", "context_actions"):
        candidates = block["elements"]
    elif block["type"] == "section":
        candidates = [block["accessory"]] if "accessory" in block else []
    elif block["type"] == "input":
        candidates = [block["element"]]
    for child in block.get("child_blocks", []):
        yield from interactive_elements(child)
    yield from (element for element in candidates if element["type"] not in inert)


def with_ids(blocks: list[Block]) -> list[Block]:
    """A copy in which every block and every interactive element has an id, as Slack stores them."""
    stored = copy.deepcopy(blocks)
    for block in stored:
        block.setdefault("block_id", secrets.token_urlsafe(4))
        for element in interactive_elements(block):
            element.setdefault("action_id", secrets.token_urlsafe(4))
    return stored


_VIEW_COMMON: dict[str, Check] = {
    "private_metadata": string(3000, 0),
    "callback_id": string(255, 0),
    "external_id": string(255, 0),
}
_VIEW = tagged(
    typed(
        "modal",
        {"title": el.plain(24), "blocks": array(anything, MOST_BLOCKS["modal"], 0)},
        {
            **_VIEW_COMMON,
            "submit": el.plain(24),
            "close": el.plain(24),
            "clear_on_close": boolean,
            "notify_on_close": boolean,
            "submit_disabled": boolean,
        },
    )
    | typed("home", {"blocks": array(anything, MOST_BLOCKS["home"], 0)}, _VIEW_COMMON),
    "view",
)


def check_view(view: object, pointer: str = "/view") -> list[str]:
    """What Slack would say against a modal or Home view; an empty list means it is accepted."""
    problems: list[str] = []
    _VIEW(view, pointer, problems)
    if problems or not isinstance(view, dict):
        return problems
    problems = check_blocks(view["blocks"], view["type"], f"{pointer}/blocks")
    inputs = any(block["type"] == "input" for block in view["blocks"] if isinstance(block, dict) and "type" in block)
    if view["type"] == "modal" and inputs and "submit" not in view:
        report(problems, pointer, "submit is required when an input block is within blocks array")
    return problems


def check_metadata(metadata: object) -> str | None:
    """The error code for message metadata Slack would refuse, or None.

    Values are strings, numbers, booleans or one level of object; lists are refused.
    """
    if not isinstance(metadata, dict) or set(metadata) != {"event_type", "event_payload"}:
        return "invalid_metadata_format"
    kind, payload = metadata["event_type"], metadata["event_payload"]
    if not isinstance(kind, str) or not kind or not isinstance(payload, dict):
        return "invalid_metadata_format"
    flat = [inner for value in payload.values() for inner in (value.values() if isinstance(value, dict) else [value])]
    if not all(isinstance(value, str | int | float | bool) for value in flat):
        return "invalid_metadata_format"
    return "metadata_too_large" if len(json.dumps(metadata)) > 16_000 else None
