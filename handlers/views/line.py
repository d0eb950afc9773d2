"""One line of a request's story, in its thread."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from handlers.views.page import Page, Para
from handlers.views.spans import Line, bold, line, moment
from handlers.views.words import duration, step_title

LineKind = Literal["done", "stalled", "error", "told"]
_WORDS: dict[LineKind, str] = {"done": "done", "stalled": "takes longer than usual", "error": "has a problem"}
"""What happened, in words; what is *told* has its own."""


@dataclass(frozen=True)
class StoryLine:
    """What happened to a step: `text` says more, or is empty; `at` world time, Unix seconds.

    Of one that is late: `since` when it waits (world time), what is `usual_s`, the `likely` cause and what to do.
    """

    step: str
    what: LineKind
    text: str
    at: float
    since: float | None = None
    usual_s: float = 0.0
    likely: str = ""
    action: str = ""


def from_body(body: str) -> StoryLine:
    """The facts of a line as they were stored. Raises ValueError, KeyError or TypeError when they are not."""
    return StoryLine(**json.loads(body))


def story_line(fact: StoryLine) -> Page:
    """The line. Slack shows beside it when it was posted."""
    more = f": {fact.text}" if fact.text else "."
    words = f"{fact.text}." if fact.what == "told" else f"{_WORDS[fact.what]}{more}"
    said = line(bold(step_title(fact.step)), f" – {words}", *_late(fact))
    return Page(said, (Para((said,)),))


def _late(fact: StoryLine) -> Line:
    if fact.since is None:
        return ()
    likely = f" Likely: {fact.likely}. {fact.action}." if fact.likely else ""
    return line(" It waits since ", moment(fact.since), f"; usual are {duration(fact.usual_s)}.{likely}")
