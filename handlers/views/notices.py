"""What happens to a cluster by itself, said in its thread: its end is near or there, or how long a failed one stays."""

from __future__ import annotations

import json
from typing import Any

from bot.core.expiry import EXTEND_HOURS
from bot.core.story import Story
from handlers.views.moves import rate
from handlers.views.page import Button, Buttons, Page, Para
from handlers.views.spans import code, line, moment, who


def notice(body: str, story: Story) -> Page:
    """The notice. Raises ValueError or KeyError for a body that is none."""
    facts: dict[str, Any] = json.loads(body)
    match facts["what"]:
        case "expiring":
            return _expiring(facts, story)
        case "expired":
            said = line(who(story.requester), f" the hours of {story.cluster} are over; it is being deleted.")
        case "failed-over":
            said = line(who(story.requester), f" {story.cluster} failed and nobody kept it; it is being deleted.")
        case "kept":
            until = moment(float(facts["ends"]))
            said = line(who(facts["by"]), f" keeps {story.cluster} until ", until, f"; it costs {rate(facts['rate'])}.")
        case other:
            raise ValueError(f"there is no notice {other}")
    return Page(said, (Para((said,)),))


def _expiring(facts: dict[str, Any], story: Story) -> Page:
    ends = moment(float(facts["ends"]))
    said = line(who(story.requester), f" {story.cluster} is deleted ", ends, ", with everything on it.")
    more = line("To keep it, press the button or type ", code(f"/gpu-cluster extend {story.cluster} {EXTEND_HOURS}h"))
    value = f"{story.cluster}.{story.request_id}.{EXTEND_HOURS}h.{float(facts['expires']):.0f}"
    button = Button("extend", f"Extend by {EXTEND_HOURS} h", value, "primary")
    return Page(said, (Para((said, more)), Buttons(f"extend-{story.request_id}", (button,))))
