"""What is answered to those who cancel, retry, keep, or turn the switch."""

from __future__ import annotations

from bot.core.desk import Cancelled, Kept
from bot.core.records import SwitchRow
from bot.core.story import Story
from handlers.views.page import Note, Page, Para
from handlers.views.spans import Line, code, line, moment, who


def cancelled(result: Cancelled) -> Page:
    """Nothing new begins; what there is goes."""
    said = f"Cancelled: {result.story.kind} of {result.story.cluster}. Nothing new is begun for it."
    then = " What was made is being removed; the thread says when it is gone." if result.removing else ""
    return _page(line(said + then))


def retried(story: Story) -> Page:
    """It goes on."""
    return _page(line(f"{story.cluster} goes on from the step that failed, under the approval it has."))


def kept(result: Kept) -> Page:
    """Until when, and what it costs."""
    return _page(line(f"{result.cluster} is kept until ", moment(result.until), f"; it costs {rate(result.rate)}."))


def rate(dollars: float | None) -> str:
    """What an hour costs, in words."""
    return "an amount nobody could look up" if dollars is None else f"at most ${dollars:,.2f} an hour"


def switched(switch: SwitchRow) -> Page:
    """The switch as it stands now."""
    if not switch.on:
        return _page(line("New clusters can be asked for again."))
    allow = code("/gpu-cluster allow-creates")
    return _page(line("New clusters are stopped, of every team, until a lead types ", allow, "."))


def while_stopped(page: Page, switch: SwitchRow) -> Page:
    """The page, and who has stopped new creates since when and why."""
    why = f": {switch.reason}" if switch.reason else "."
    said = line("New clusters are stopped: ", who(switch.by), " ", moment(switch.at), why)
    return Page((*page.text, *line(" "), *said), (*page.parts, Note(said)))


def _page(*lines: Line) -> Page:
    return Page(lines[0], (Para(lines),))
