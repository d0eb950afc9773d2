"""The sandbox as a program: played headless, or open in a browser for people to act in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from bot.sandbox.play import EndedBefore, NotSeen, Play, Player, is_outcome
from bot.sandbox.slack import Event, Subscription
from bot.sandbox.stage import Plot, Stage
from bot.sandbox.transcript import Transcript, event_json, names_of

SLACK_FAULT = "slack-429"
_LIMITED_CALLS = 12
"""So many posts and edits are answered 429 when the fault slack-429 is on."""
_WATCH_S = 0.1
_PAGE_WIDTH = 120
Outcome = dict[str, Any]
T = TypeVar("T")


def headless(
    plot: Plot, play: Play, *, as_json: bool, state: Path | None, outcome_of: Callable[[Path], Outcome | None]
) -> Outcome:
    """Play without a page and return the outcome; `outcome_of` reads it from the bot's database.

    Prints the channel on stdout as it grows: a transcript, or one JSON object per event and the outcome as the last.
    """
    with _folder(state) as folder:
        return _run(_headless(folder, plot, play, as_json=as_json, outcome_of=outcome_of))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Until it is done. SIGTERM ends it as Ctrl-C does, so that processes and folders of ours do not stay behind."""

    async def ended_by_sigterm() -> T:
        working = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        return await working

    try:
        return asyncio.run(ended_by_sigterm())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    """A folder of its own for this sandbox: the one that was named, which stays, or one that goes at the end.

    Raises FileExistsError when the named one holds another sandbox already.
    """
    if state is None:
        with tempfile.TemporaryDirectory(prefix="gpu-cluster-sandbox-") as folder:
            yield Path(folder)
        return
    state.mkdir(parents=True, exist_ok=True)
    if any(state.iterdir()):
        raise FileExistsError(f"{state} is not empty: name a new folder for each sandbox")
    yield state.resolve()


async def _headless(
    folder: Path, plot: Plot, play: Play, *, as_json: bool, outcome_of: Callable[[Path], Outcome | None]
) -> Outcome:
    began = time.monotonic()
    async with Stage(folder, plot) as stage:
        await raise_curtain(stage)
        reader = asyncio.create_task(_print(stage, stage.workspace.subscribe(), as_json=as_json))
        transcript = Transcript(names_of(stage.workspace), _console(stderr=True))
        problem, explained = "", False
        with transcript.progress(len(play.steps)) as begin:
            try:
                player = Player(
                    stage,
                    progress=lambda _number, _of, title: begin(title),
                    remark=lambda text: transcript.console.print(text, markup=False),
                )
                await player.play(play)
            except NotSeen as error:
                problem, explained = str(error), isinstance(error, EndedBefore)
        await asyncio.sleep(_WATCH_S)
        stage.workspace.log.close()
        await reader
        await stage.stop_bot()
        outcome = outcome_of(stage.database) or _never_asked(stage.workspace.events)
        if problem:
            outcome = {**outcome, "played": False, "problem": problem}
            log = "" if explained else f"\n\nThe end of the bot's log:\n{stage.bot_log(15)}"
            print(f"{problem}{log}", file=sys.stderr)
    outcome["seconds"] = round(time.monotonic() - began, 1)
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False), flush=True)
    return outcome


def _console(*, stderr: bool = False) -> Console:
    """The terminal, or a page of a width that a table fits on."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_PAGE_WIDTH)


def _never_asked(events: list[Event]) -> Outcome:
    """No request came of it: what the bot said instead."""
    said = [event.text for event in events if event.user == "U0BOT" and event.text]
    return {
        "state": "refused",
        "reason": said[-1] if said else "the bot said nothing",
        "remedy": "",
        "diagnosis": [],
        "evidence": [],
    }


async def raise_curtain(stage: Stage) -> None:
    """Start the bot, in front of a Slack that has the faults which are Slack's."""
    if SLACK_FAULT in stage.plot.faults:
        stage.workspace.inject_429(_LIMITED_CALLS)
    await stage.start_bot()


async def _print(stage: Stage, events: Subscription, *, as_json: bool) -> None:
    transcript = Transcript(names_of(stage.workspace), _console())
    async for event in events:
        if as_json:
            print(event_json(event), flush=True)
        else:
            transcript.show([event])


def interactive(plot: Plot, state: Path | None) -> None:
    """Open the sandbox until it is interrupted."""
    with _folder(state) as folder, contextlib.suppress(KeyboardInterrupt):
        _run(_interactive(folder, plot))


async def _interactive(folder: Path, plot: Plot) -> None:
    async with Stage(folder, plot) as stage:
        await raise_curtain(stage)
        stage.clock.set_speed(1.0)
        print(f"The sandbox is open: {stage.page_url}")
        print(f"Ctrl-C ends it. Its state and the bot's log: {folder}", flush=True)
        reader = asyncio.create_task(_print(stage, stage.workspace.subscribe(), as_json=False))
        pace = asyncio.create_task(_pace(stage, plot.speed))
        try:
            await asyncio.Event().wait()
        finally:
            pace.cancel()
            reader.cancel()


async def _pace(stage: Stage, fast: float) -> None:
    """The world runs fast while machines are at work, and at life's speed while only a person is awaited."""
    moving: set[str] = set()
    entries = events = 0
    while True:
        journal, said = stage.world.events, stage.workspace.events
        for entry in journal[entries:]:
            if entry.kind in ("cluster-created", "cluster-deleted"):
                moving.add(entry.cluster)
        for event in said[events:]:
            if is_outcome(event):
                moving.discard(str((event.metadata or {}).get("event_payload", {}).get("cluster")))
        entries, events = len(journal), len(said)
        speed = fast if moving else 1.0
        if stage.clock.speed != speed:
            stage.clock.set_speed(speed)
        await asyncio.sleep(_WATCH_S)
