"""Messages as lines for a terminal: Slack's markup and blocks turned into rich text and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.emoji import Emoji
from rich.table import Table
from rich.text import Text

_MARKUP = re.compile(
    r"```(?P<pre>.+?)```|`(?P<code>[^`\n]+)`|<(?P<token>[^<>\n]+)>"
    r"|(?<![\w*])\*(?P<bold>\S(?:[^*\n]*[^\s*])?)\*(?![\w*])"
    r"|(?<!\w)_(?P<italic>\S(?:[^_\n]*[^\s_])?)_(?!\w)",
    re.DOTALL,
)
_STYLES = {"pre": "cyan", "code": "cyan", "bold": "bold", "italic": "italic"}
_MARKS = {
    "pending": ("○", "dim"),
    "in_progress": ("◐", "yellow"),
    "complete": ("✓", "green"),
    "error": ("✕", "red"),
}


@dataclass(frozen=True)
class Line:
    """One line or table. ``key`` is its raw content, by which an edit is compared with what was there before."""

    key: str
    body: RenderableType


@dataclass(frozen=True)
class Reader:
    """How to read a message: ``names`` of users, groups and channels by id, and the world's ``now`` (Unix seconds)."""

    names: Mapping[str, str]
    now: float = 0.0
    tz: tzinfo | None = None

    def mrkdwn(self, text: str) -> Text:
        """Slack mrkdwn as styled text."""
        result, done = Text(), 0
        for match in _MARKUP.finditer(text):
            result.append(_unescape(text[done : match.start()]))
            done = match.end()
            kind = match.lastgroup or "token"
            inner = match[kind]
            if kind == "token":
                result.append(self._token(inner), style="blue" if inner[0] in "@#" else "")
            elif kind in ("pre", "code"):
                result.append(_unescape(inner.strip("\n")), style=_STYLES[kind])
            else:
                part = self.mrkdwn(inner)
                part.stylize(_STYLES[kind])
                result.append_text(part)
        return result.append(_unescape(text[done:]))

    def _token(self, token: str) -> str:
        target, _, label = token.partition("|")
        if target[0] in "@#":
            return f"{target[0]}{self.names.get(target[1:], label or target[1:])}"
        if target.startswith("!subteam^"):
            return f"@{self.names.get(target.removeprefix('!subteam^'), label.removeprefix('@'))}"
        if target.startswith("!date^"):
            return self._date(target, label)
        if target.startswith("!"):
            return f"@{target[1:]}"
        return f"{_unescape(label)} ({_unescape(target)})" if label else _unescape(target)

    def _date(self, target: str, fallback: str) -> str:
        _, stamp, form, *_ = [*target.split("^"), "", ""]
        if not stamp.isdigit():
            return _unescape(fallback)
        then = datetime.fromtimestamp(int(stamp), self.tz)
        forms: dict[str, Callable[[], str]] = {
            "time": lambda: f"{then:%H:%M}",
            "time_secs": lambda: f"{then:%H:%M:%S}",
            "ago": lambda: _ago(int(stamp) - self.now),
        }
        return re.sub(r"\{(\w+)\}", lambda m: forms.get(m[1], lambda: f"{then:%d %b}")(), _unescape(form))

    def text(self, thing: Mapping[str, Any]) -> Text:
        """A Slack text object."""
        return self.mrkdwn(thing["text"]) if thing["type"] == "mrkdwn" else Text(Emoji.replace(thing["text"]))

    def lines(self, text: str, blocks: tuple[Mapping[str, Any], ...]) -> list[Line]:
        """A message's lines: its blocks, or its text when it has none."""
        if blocks:
            return [line for block in blocks for line in self.block(block)]
        return [Line(part, self.mrkdwn(part)) for part in [text] if part]

    def block(self, block: Mapping[str, Any]) -> Iterator[Line]:
        """One block's lines. What has no words (dividers, inputs) has no lines."""
        match block["type"]:
            case "header":
                yield self._worded(block["text"], "bold")
            case "section":
                if "text" in block:
                    yield self._worded(block["text"])
                yield from self._fields(block.get("fields", []))
            case "context":
                yield from (self._worded(e, "dim") for e in block["elements"] if "text" in e)
            case "actions":
                labels = "  ".join(f"[{e['text']['text']}]" for e in block["elements"] if "text" in e)
                yield Line(labels, Text(labels, style="bold magenta"))
            case "table" | "data_table":
                yield Line(json.dumps(block["rows"]), self._table(block))
            case "plan":
                yield Line(block["title"], Text(block["title"], style="bold"))
                yield from (self._task(task) for task in block.get("tasks", []))
            case "task_card":
                yield self._task(block)
            case "rich_text":
                yield from self._rich_lines(block["elements"])
            case "container":
                yield from (line for child in block["child_blocks"] for line in self.block(child))
            case "markdown" | "alert":
                words = block["text"] if isinstance(block["text"], str) else block["text"]["text"]
                yield Line(words, self.mrkdwn(words))

    def _worded(self, thing: Mapping[str, Any], style: str = "") -> Line:
        words = self.text(thing)
        words.stylize(style)
        return Line(thing["text"], words)

    def _fields(self, fields: list[Mapping[str, Any]]) -> Iterator[Line]:
        for field in fields:
            words = Text(": ").join(self.text({**field, "text": part}) for part in field["text"].split("\n", 1))
            yield Line(field["text"], words)

    def _task(self, task: Mapping[str, Any]) -> Line:
        mark, style = _MARKS[task.get("status", "pending")]
        body = Text(f"{mark} {task['title']}", style=style)
        if "details" in task:
            body.append("  ").append_text(self._rich(task["details"]))
        return Line(f"{mark} {task['title']} {task.get('details', '')}", body)

    def _table(self, block: Mapping[str, Any]) -> Table:
        head, *rows = [[self._cell(cell) for cell in row] for row in block["rows"]]
        table = Table(box=box.ROUNDED, title=block.get("caption"), title_justify="left")
        settings = [*block.get("column_settings", []), *({} for _ in head)]
        for title, setting in zip(head, settings, strict=False):
            table.add_column(title, justify=setting.get("align", "left"), overflow="fold")
        for row in rows:
            table.add_row(*row)
        return table

    def _cell(self, cell: Mapping[str, Any]) -> Text:
        if cell["type"] == "rich_text":
            return self._rich(cell)
        return Text(Emoji.replace(str(cell.get("text", cell.get("value", "")))))

    def _rich_lines(self, parts: list[Mapping[str, Any]]) -> Iterator[Line]:
        """A line for each paragraph and each item of a list, so that edits show only the items that changed."""
        for part in parts:
            items = part["elements"] if part["type"] == "rich_text_list" else None
            for entry in [part] if items is None else items:
                words = self._rich_part(entry)
                yield Line(json.dumps(entry), words if items is None else Text("• ").append_text(words))

    def _rich(self, block: Mapping[str, Any]) -> Text:
        return Text("\n").join(self._rich_part(part) for part in block["elements"])

    def _rich_part(self, part: Mapping[str, Any]) -> Text:
        if part["type"] == "rich_text_list":
            return Text("\n").join(Text("• ").append_text(self._rich_part(item)) for item in part["elements"])
        words = Text(style="cyan" if part["type"] == "rich_text_preformatted" else "")
        for piece in part["elements"]:
            style = " ".join(name for name in ("bold", "italic", "strike") if piece.get("style", {}).get(name))
            words.append(self._piece(piece), style=style)
        return words

    def _piece(self, piece: Mapping[str, Any]) -> str:
        match piece["type"]:
            case "user" | "usergroup" | "channel" as kind:
                identity = piece[f"{kind}_id"]
                return f"{'#' if kind == 'channel' else '@'}{self.names.get(identity, identity)}"
            case "date":
                return self._date(f"!date^{piece['timestamp']}^{piece['format']}", piece.get("fallback", ""))
            case "emoji":
                return Emoji.replace(f":{piece['name']}:")
            case "broadcast":
                return f"@{piece['range']}"
            case _:
                return str(piece.get("text", piece.get("url", "")))


def _unescape(text: str) -> str:
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return Emoji.replace(plain)


def _ago(seconds: float) -> str:
    size = abs(seconds)
    count, unit = next(
        (int(size // per), unit)
        for per, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
        if size >= per or per == 1
    )
    return f"in {count} {unit}" if seconds > 0 else f"{count} {unit} ago"
