"""A message before it is rendered: its parts, in order, without a word about Slack's blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from handlers.views.spans import Line

TaskStatus = Literal["pending", "in_progress", "complete", "error", "stopped"]


@dataclass(frozen=True)
class Header:
    """A landmark: what this is and how it stands."""

    text: str


@dataclass(frozen=True)
class Para:
    """Lines of text, one below the other."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Fields:
    """Labels and values, at most ten."""

    pairs: tuple[tuple[str, Line], ...]


@dataclass(frozen=True)
class Bullets:
    """A list of short lines."""

    items: tuple[Line, ...]


@dataclass(frozen=True)
class Quote:
    """What somebody typed, word for word."""

    text: str


@dataclass(frozen=True)
class Code:
    """Something to paste into a terminal, or the end of a log."""

    text: str


@dataclass(frozen=True)
class Task:
    """One step of a plan: its state in a word for the eye, `title` says it again for the ear."""

    key: str
    title: str
    status: TaskStatus
    detail: str = ""


@dataclass(frozen=True)
class Steps:
    """A plan. `block_id` must stay the same over edits, or an opened plan collapses at each
    (slackapi/node-slack-sdk#2701)."""

    block_id: str
    title: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Table:
    """Rows of short texts below a row of column names; at most one in a message."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Note:
    """Small print."""

    line: Line


@dataclass(frozen=True)
class Confirm:
    """What is asked before a click counts."""

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True)
class Button:
    """`value` comes back with the click and holds ids only."""

    action_id: str
    label: str
    value: str
    style: Literal["", "primary", "danger"] = ""
    confirm: Confirm | None = None


@dataclass(frozen=True)
class Buttons:
    """A row of buttons."""

    block_id: str
    buttons: tuple[Button, ...]


Part = Header | Para | Fields | Bullets | Quote | Code | Steps | Table | Note | Buttons


@dataclass(frozen=True)
class Page:
    """A message: `text` as a full sentence (notifications, screen readers), and the parts."""

    text: Line
    parts: tuple[Part, ...] = ()
