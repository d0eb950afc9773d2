"""The workspace's events as a transcript for a terminal, or as one JSON object each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, tzinfo
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bot.sandbox.slack import Event, Workspace
from bot.sandbox.slack.lines import Line, Reader

MOST_CHANGES = 6
"""Changed lines of one edit that are shown; more are counted."""
_TABLE_INDENT = 7
_WHO_STYLES = {"requester": "cyan", "lead": "green", "second-lead": "magenta", "bystander": "yellow"}


def event_json(event: Event) -> str:
    """``event`` as one line of JSON, with the fields of :class:`Event`."""
    return json.dumps(dataclasses.asdict(event), ensure_ascii=False)


def names_of(workspace: Workspace) -> dict[str, str]:
    """What to call users, groups and channels, by id."""
    people = {user.id: user.name for user in workspace.users.values()}
    groups = {group.id: group.handle for group in workspace.groups.values()}
    return {**people, **groups, **{channel.id: channel.name for channel in workspace.channels.values()}}


class Transcript:
    """Turns events into terminal output, in order. The same events always give the same output.

    ``names`` maps ids to names and is looked at anew for each event; times are world times in ``tz`` (None: local).
    """

    def __init__(self, names: Mapping[str, str], console: Console | None = None, tz: tzinfo | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._names, self._tz = names, tz
        self._lines: dict[tuple[str | None, str | None], list[Line]] = {}
        self._place: str | None = None

    def show(self, events: Iterable[Event]) -> None:
        """Print what there is to print about ``events``."""
        for event in events:
            shown = self.render(event)
            if shown is not None:
                self.console.print(shown)

    def render(self, event: Event) -> RenderableType | None:
        """The transcript's entry for ``event``; None when nothing visible changed."""
        body = self._body(event)
        if not body:
            return None
        when = datetime.fromtimestamp(event.at_world, self._tz)
        place, who = self._channel(event), self._names.get(event.user or "", event.user or "")
        head = (
            Text(f"{when:%H:%M}", style="dim"),
            Text("" if place == self._place else place, style="dim"),
            Text(who, style=_WHO_STYLES.get(who, "bold")),
        )
        self._place = place
        return Group(*_laid_out(head, body, indent=2 if event.thread_ts else 0))

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[str], None]]:
        """A bar below the transcript for a play of ``total`` acts; call the yielded function as each act begins.

        Where the output is no terminal, the acts are printed as lines.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        begun = 0

        def begin(act: str) -> None:
            nonlocal begun
            bar.update(task, description=act, completed=begun)
            begun += 1
            if not self.console.is_terminal:
                self.console.print(Text(f"[{begun}/{total}] {act}", style="dim"))

        with bar:
            task = bar.add_task("", total=total)
            yield begin

    def _channel(self, event: Event) -> str:
        if event.channel is None:
            return ""
        name = self._names.get(event.channel, event.channel)
        return "direct message" if name == "directmessage" else f"#{name}"

    def _body(self, event: Event) -> list[RenderableType]:
        reader = Reader(self._names, event.at_world, self._tz)
        details = event.metadata or {}
        match event.kind:
            case "message" | "command" | "ephemeral":
                return self._said(event, reader)
            case "edit":
                return self._edited(event, reader)
            case "delete":
                return [Text("message deleted", style="dim italic")]
            case "click":
                return [Text.assemble("presses ", (f"[{event.text}]", "bold magenta"))]
            case "file":
                comment = [reader.mrkdwn(event.text)] if event.text else []
                return [Text(f"file: {details['title']} ({details['size']} bytes)"), *comment]
            case "view":
                return self._view(event)
            case "timeout":
                return [Text(f"! no answer from the bot ({event.text})", style="bold red")]

    def _said(self, event: Event, reader: Reader) -> list[RenderableType]:
        lines = reader.lines(event.text, event.blocks)
        self._lines[event.channel, event.ts] = lines
        reply = [Text("↳ in the thread", style="dim")] if event.thread_ts and event.kind == "message" else []
        secret = event.kind == "ephemeral" and event.ephemeral_to
        note = [Text(f"(only visible to {self._names.get(secret, secret)})", style="dim italic")] if secret else []
        return [*reply, *note, *(line.body for line in lines)]

    def _edited(self, event: Event, reader: Reader) -> list[RenderableType]:
        """Only the lines that were not there before, marked with a tilde; tables as they are."""
        before = {line.key for line in self._lines.get((event.channel, event.ts), [])}
        lines = reader.lines(event.text, event.blocks)
        self._lines[event.channel, event.ts] = lines
        fresh = [line.body for line in lines if line.key not in before]
        shown = [Text("~ ", style="dim").append_text(b) if isinstance(b, Text) else b for b in fresh[:MOST_CHANGES]]
        rest = len(fresh) - len(shown)
        return [*shown, *([Text(f"~ and {rest} more line{'s' * (rest > 1)}", style="dim")] if rest else [])]

    def _view(self, event: Event) -> list[RenderableType]:
        details = event.metadata or {}
        wrong = [Text(f"{block or 'form'}: {text}", style="red") for block, text in details["errors"].items()]
        what = {"errors": "is told what is wrong in", "trouble": "has trouble with"}.get(details["what"])
        verb = what or {"opened": "sees", "submitted": "submits"}.get(details["what"], details["what"])
        return [Text(f"{verb} the form “{event.text}”", style="italic"), *wrong]


def _laid_out(head: tuple[Text, Text, Text], body: list[RenderableType], indent: int) -> Iterator[RenderableType]:
    """Lines in a column of their own beside ``head``; tables below, where there is more room for them."""
    for tabular, entries in groupby(body, key=lambda entry: isinstance(entry, Table)):
        if tabular:
            yield from (Padding(entry, (0, 0, 0, _TABLE_INDENT)) for entry in entries)
            continue
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        for width in (5, 14, 11):
            grid.add_column(width=width, no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        grid.add_row(*head, Padding(Group(*entries), (0, 0, 0, indent)))
        yield grid
        head = (Text(), Text(), Text())
