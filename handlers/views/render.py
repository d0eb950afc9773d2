"""From a page to Slack's blocks: rich ones, and plain ones for workspaces that refuse the rich.

Every size limit of Block Kit is held here, whatever the facts (slackapi/python-slack-sdk: slack_sdk/models/blocks).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from handlers.views.page import (
    Bullets,
    Button,
    Buttons,
    Code,
    Fields,
    Header,
    Note,
    Page,
    Para,
    Part,
    Quote,
    Steps,
    Table,
    Task,
    TaskStatus,
)
from handlers.views.spans import Line, bold, line, mrkdwn, rich
from handlers.views.words import clean, clip, count, escape

Block = dict[str, Any]

MOST_BLOCKS = 50
MOST_TEXT = 3_500
"""Of 4,000 characters that Slack advises for `text`."""
MOST_SECTION = 3_000
MOST_FIELDS = 10
MOST_ITEMS = 20
MOST_TASKS = 50
MOST_ROWS = 99
"""A table has at most 100 rows; the first names the columns."""
MOST_COLUMNS = 20
_CELL = 80
_PLAIN_CELL = 28
_FENCE = "```"

_STATUS_WORDS: dict[TaskStatus, str] = {
    "pending": "to do",
    "in_progress": "under way",
    "complete": "done",
    "error": "failed",
    "stopped": "stopped",
}


@dataclass(frozen=True)
class Rendered:
    """What Slack gets: `text` always, `blocks` where it takes them, else `plain_blocks`."""

    text: str
    blocks: tuple[Block, ...]
    plain_blocks: tuple[Block, ...]


def render(page: Page) -> Rendered:
    """Both renderings of a page."""
    return Rendered(
        text=mrkdwn(page.text, MOST_TEXT) or " ",
        blocks=_fit([block for part in page.parts for block in _rich(part)]),
        plain_blocks=_fit([block for part in page.parts for block in _plain(part)]),
    )


def in_view(page: Page) -> list[Block]:
    """The parts as blocks of a modal or Home tab, where plans and tables do not exist
    (slackapi/python-slack-sdk: slack_sdk/models/blocks/blocks.py)."""
    return [block for part in page.parts for block in _plain(part)]


def _fit(blocks: list[Block]) -> tuple[Block, ...]:
    """At most fifty; what decides (the buttons, at the end) stays."""
    if len(blocks) <= MOST_BLOCKS:
        return tuple(blocks)
    return (*blocks[: MOST_BLOCKS - 2], *_rich(Note(line("Shortened."))), blocks[-1])


# --- rich -----------------------------------------------------------------------------------------------------


def _rich(part: Part) -> Iterator[Block]:
    match part:
        case Para(lines):
            if elements := _lines(lines):
                yield {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}
        case Bullets(items):
            if shown := [_section(item) for item in items[:MOST_ITEMS] if rich(item, 1)]:
                yield {
                    "type": "rich_text",
                    "elements": [{"type": "rich_text_list", "style": "bullet", "elements": shown}],
                }
                yield from _more(len(items) - MOST_ITEMS, "line")
        case Quote(text):
            if elements := rich(line(text), MOST_SECTION):
                yield {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": elements}]}
        case Code(text):
            if elements := rich(line(text), MOST_SECTION):
                yield {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": elements}]}
        case Steps(block_id, title, tasks):
            yield {
                "type": "plan",
                "block_id": clip(block_id, 255),
                "title": clip(clean(title), 255),
                "tasks": [_card(task) for task in tasks[:MOST_TASKS]],
            }
        case Table(columns, rows):
            shown_rows = [columns, *rows[:MOST_ROWS]]
            yield {"type": "table", "rows": [[_cell(text) for text in row[:MOST_COLUMNS]] for row in shown_rows]}
            yield from _more(len(rows) - MOST_ROWS, "row")
        case _:
            yield from _either(part)


def _section(text: Line) -> Block:
    return {"type": "rich_text_section", "elements": rich(text, 600)}


def _lines(lines: tuple[Line, ...]) -> list[Block]:
    """Rich text elements of several lines, a newline between them."""
    out: list[Block] = []
    for text in lines[:MOST_ITEMS]:
        elements = rich(text, 1_000)
        if out and elements:
            out.append({"type": "text", "text": "\n"})
        out += elements
    return out


def _card(task: Task) -> Block:
    title = clip(f"{clean(task.title)}: {_STATUS_WORDS[task.status]}", 255)
    # Slack has four states; what was stopped looks like what was never begun.
    status = "pending" if task.status == "stopped" else task.status
    card: Block = {"type": "task_card", "task_id": clip(task.key, 255), "title": title, "status": status}
    if detail := rich(line(task.detail), 500):
        card["details"] = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": detail}]}
    return card


def _cell(text: str) -> Block:
    # A cell has at least one character.
    return {"type": "raw_text", "text": clip(clean(text), _CELL).strip() or "–"}


# --- plain ----------------------------------------------------------------------------------------------------


def _plain(part: Part) -> Iterator[Block]:
    match part:
        case Para(lines):
            text = "\n".join(mrkdwn(text, 700) for text in lines[:4])
            yield from _mrkdwn_section(text)
            if lines[4:]:
                yield from _plain(Para(lines[4:MOST_ITEMS]))
        case Bullets(items):
            for start in range(0, min(len(items), MOST_ITEMS), 4):
                shown = items[start : min(start + 4, MOST_ITEMS)]
                yield from _mrkdwn_section("\n".join(f"• {mrkdwn(item, 700)}" for item in shown))
            yield from _more(len(items) - MOST_ITEMS, "line")
        case Quote(text):
            if shown_text := clip(clean(text), MOST_SECTION).strip():
                yield {"type": "section", "text": {"type": "plain_text", "text": shown_text, "emoji": False}}
        case Code(text):
            yield from _fenced(clean(text).split("\n"))
        case Steps(_, title, tasks):
            told = [mrkdwn(line(bold(title)), 250), *(_task_line(task) for task in tasks[:MOST_TASKS])]
            for start in range(0, len(told), 10):
                yield from _mrkdwn_section("\n".join(told[start : start + 10]))
        case Table(columns, rows):
            yield from _fenced(_aligned([columns, *rows[:MOST_ROWS]]))
            yield from _more(len(rows) - MOST_ROWS, "row")
        case _:
            yield from _either(part)


def _mrkdwn_section(text: str) -> Iterator[Block]:
    if text.strip():
        yield {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _task_line(task: Task) -> str:
    detail = f" ({task.detail})" if task.detail else ""
    return mrkdwn(line(f"{_STATUS_WORDS[task.status]}: {task.title}{detail}"), 280)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """A table in monospace, a line a row."""
    cells = [[clip(" ".join(clean(text).split()), _PLAIN_CELL) for text in row[:MOST_COLUMNS]] for row in rows]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells), default=0))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in cells]


def _fenced(lines: list[str]) -> Iterator[Block]:
    """Preformatted text over as many sections as it needs; fences inside of it are broken."""
    room = MOST_SECTION - 2 * len(_FENCE) - 2
    page = ""
    for text in lines[: MOST_ROWS + 1]:
        shown = _escaped_within(text.replace(_FENCE, "'''"), room - 1)
        if len(page) + len(shown) + 1 > room:
            yield from _mrkdwn_section(f"{_FENCE}\n{page}{_FENCE}")
            page = ""
        page += shown + "\n"
    if page.strip():
        yield from _mrkdwn_section(f"{_FENCE}\n{page}{_FENCE}")


def _escaped_within(text: str, room: int) -> str:
    shown = clip(text, room)
    while len(escape(shown)) > room:
        shown = clip(shown, len(shown) * room // len(escape(shown)))
    return escape(shown)


# --- both -----------------------------------------------------------------------------------------------------


def _either(part: Part) -> Iterator[Block]:
    """What every client can show."""
    match part:
        case Header(text):
            yield {"type": "header", "text": _plain_text(text, 150)}
        case Fields(pairs):
            fields = [
                {"type": "mrkdwn", "text": f"*{mrkdwn(line(label), 100)}*\n{mrkdwn(value, 1_500) or '–'}"}
                for label, value in pairs[:MOST_FIELDS]
            ]
            if fields:
                yield {"type": "section", "fields": fields}
        case Note(text):
            if shown := mrkdwn(text, 1_500):
                yield {"type": "context", "elements": [{"type": "mrkdwn", "text": shown}]}
        case Buttons(block_id, buttons):
            elements = [_button(button) for button in buttons]
            yield {"type": "actions", "block_id": clip(block_id, 255), "elements": elements}
        case _:
            raise TypeError(f"no rendering for {type(part).__name__}")


def _more(number: int, what: str) -> Iterator[Block]:
    if number > 0:
        yield from _either(Note(line(f"and {count(number, f'more {what}')}")))


def _plain_text(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": clip(clean(text), limit).strip() or "–", "emoji": False}


def _button(button: Button) -> Block:
    block: Block = {
        "type": "button",
        "action_id": button.action_id,
        "text": _plain_text(button.label, 30),
        "value": clip(button.value, 2_000),
    }
    if button.style:
        block["style"] = button.style
    if button.confirm is not None:
        block["confirm"] = {
            "title": _plain_text(button.confirm.title, 100),
            "text": _plain_text(button.confirm.text, 300),
            "confirm": _plain_text(button.confirm.yes, 30),
            "deny": _plain_text(button.confirm.no, 30),
        }
    return block
