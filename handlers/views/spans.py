"""A line of text in pieces, written once and rendered as rich text or as mrkdwn.

What people typed enters as plain spans only, and both renderings keep it from being read as markup.
Shapes: slackapi/python-slack-sdk: slack_sdk/models/blocks/block_elements.py (rich text elements).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from handlers.views.words import clean, clip, neutral

DATE_FORMAT = "{date_short_pretty} {time}"
_MENTION = re.compile(r"<@([UW][A-Z0-9]{1,30})>")
_PERSON = re.compile(r"[UW][A-Z0-9]{1,30}")
_GROUP = re.compile(r"S[A-Z0-9]{1,30}")
_CHANNEL = re.compile(r"[CDG][A-Z0-9]{1,30}")
_URL = re.compile(r"https?://[^\s<>|]{1,2000}")

SpanKind = Literal["plain", "bold", "code", "person", "group", "channel", "date", "link"]


@dataclass(frozen=True)
class Span:
    """A piece of a line. `text` is what is shown, or the id; `at` Unix seconds, for a date; `url` for a link."""

    kind: SpanKind
    text: str
    at: float = 0.0
    url: str = ""


Line = tuple[Span, ...]


def line(*pieces: str | Span) -> Line:
    """A line from strings (taken literally) and spans."""
    return tuple(Span("plain", piece) if isinstance(piece, str) else piece for piece in pieces)


def bold(text: str) -> Span:
    return Span("bold", text)


def code(text: str) -> Span:
    return Span("code", text)


def who(identity: str) -> Span:
    """A mention of a user or a user group by id; anything that is no id is shown as it is."""
    if _PERSON.fullmatch(identity):
        return Span("person", identity)
    return Span("group" if _GROUP.fullmatch(identity) else "plain", identity)


def said(text: str) -> Line:
    """A sentence of the core, in which people stand as <@U…>; everything else is taken literally.

    Not for what machines, AWS or other people have said: a mention in it would call somebody.
    """
    pieces: list[str | Span] = []
    for index, piece in enumerate(_MENTION.split(text)):
        pieces.append(who(piece) if index % 2 else piece)
    return line(*pieces)


def channel(identity: str) -> Span:
    """A channel by its id; anything that is no id is shown as it is."""
    return Span("channel" if _CHANNEL.fullmatch(identity) else "plain", identity)


def moment(at: float) -> Span:
    """A time that every reader sees in their own zone."""
    return Span("date", datetime.fromtimestamp(max(0.0, at), UTC).strftime("%Y-%m-%d %H:%M UTC"), at=max(0.0, at))


def link(url: str, label: str) -> Span:
    """A link; where the address is no http address, its label only."""
    good = _URL.fullmatch(url) and clean(url) == url
    return Span("link", label, url=url) if good else Span("plain", label)


def joined(lines: list[Line], separator: str) -> Line:
    """Lines in one, with a separator between them."""
    pieces: list[Span] = []
    for index, one in enumerate(lines):
        pieces += [*([Span("plain", separator)] if index else []), *one]
    return tuple(pieces)


# --- mrkdwn ---------------------------------------------------------------------------------------------------

_MARKS = {"bold": "*", "code": "`"}


def mrkdwn(text: Line, limit: int) -> str:
    """The line as mrkdwn of at most `limit` characters; a token is never cut in two."""
    out = ""
    for span in text:
        piece = _mrkdwn(span, limit - len(out))
        out += piece
        if len(out) >= limit or (not piece and span.text):
            break
    return out


def _mrkdwn(span: Span, room: int) -> str:
    if span.kind in ("plain", "bold", "code"):
        return _marked(span.text, _MARKS.get(span.kind, ""), room)
    token = {
        "person": f"<@{span.text}>",
        "group": f"<!subteam^{span.text}>",
        "channel": f"<#{span.text}>",
        "date": f"<!date^{int(span.at)}^{DATE_FORMAT}|{span.text}>",
        "link": f"<{span.url}|{neutral(span.text).replace('|', '/')}>",
    }[span.kind]
    return token if len(token) <= room else ""


def _marked(text: str, mark: str, room: int) -> str:
    """Text that fits into `room` after escaping, between marks."""
    room -= 2 * len(mark)
    wanted = len(text)
    while wanted > 0:
        inside = neutral(clip(text, wanted))
        if len(inside) <= room:
            # Marks bind only to what is not blank, and only within one line.
            return f"{mark}{inside}{mark}" if mark and inside.strip() and "\n" not in inside else inside
        wanted = min(wanted - 1, max(0, room * wanted // len(inside)))
    return ""


# --- rich text ------------------------------------------------------------------------------------------------


def rich(text: Line, limit: int) -> list[dict[str, Any]]:
    """The line as rich text elements holding at most `limit` characters of text."""
    elements: list[dict[str, Any]] = []
    room = limit
    for span in text:
        shown = clip(clean(span.text), room)
        if not shown:
            continue
        elements.append(_rich(span, shown))
        room -= len(shown)
        if room <= 0:
            break
    return elements


def _rich(span: Span, shown: str) -> dict[str, Any]:
    match span.kind:
        case "bold" | "code":
            return {"type": "text", "text": shown, "style": {span.kind: True}}
        case "person":
            return {"type": "user", "user_id": span.text}
        case "group":
            return {"type": "usergroup", "usergroup_id": span.text}
        case "channel":
            return {"type": "channel", "channel_id": span.text}
        case "date":
            return {"type": "date", "timestamp": int(span.at), "format": DATE_FORMAT, "fallback": span.text}
        case "link":
            return {"type": "link", "url": span.url, "text": shown}
        case "plain":
            return {"type": "text", "text": shown}


def bare(text: Line, limit: int) -> str:
    """The line without any markup, for plain_text: ids stay ids."""
    return clip(clean("".join(span.text for span in text)), limit)


__all__ = [
    "Line",
    "Span",
    "bare",
    "bold",
    "channel",
    "code",
    "joined",
    "line",
    "link",
    "moment",
    "mrkdwn",
    "rich",
    "who",
]
