"""That a request still waits: a line at half of its time, and the leads by name when little is left."""

from __future__ import annotations

import json

from bot.core.story import Story
from handlers.views.page import Page, Para
from handlers.views.spans import bold, joined, line, moment, who


def reminder(story: Story, body: str, approvers: tuple[str, ...]) -> Page:
    """`body` as the store has it: `half`, or `leads` to call them. Raises ValueError or KeyError for another."""
    stage = json.loads(body)["stage"]
    until = line(" It lapses ", moment(story.lapses_at), ".") if story.lapses_at is not None else ()
    waits = line(" still waits for a lead to decide; half of the time is over.")
    if stage == "half":
        said = line(bold(story.cluster), *waits, *until)
    elif stage == "leads":
        called = joined([line(who(one)) for one in approvers[:10]], ", ")
        said = line(*called, " please decide on ", bold(story.cluster), ": the buttons are above.", *until)
    else:
        raise ValueError(f"no reminder is called {stage!r}")
    return Page(said, (Para((said,)),))
