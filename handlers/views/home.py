"""The Home tab: one's clusters, what waits for one's decision, the team's month, and a button to ask."""

from __future__ import annotations

from typing import Any

from bot.core.desk import Own
from bot.core.records import ClusterState
from bot.core.story import Story
from handlers.views.changes import what as what_of
from handlers.views.page import Button, Buttons, Fields, Header, Note, Page, Para, Part
from handlers.views.preview import budget_line
from handlers.views.render import in_view
from handlers.views.request import cost, decision_buttons, details_button
from handlers.views.spans import Line, bold, code, line, moment, who
from handlers.views.words import clip, count, state_words

MOST_CLUSTERS, MOST_WAITING = 10, 10
"""Shown of each; together with their buttons they stay below Slack's 100 blocks in a Home tab."""
CALLBACK = "home"


def home(own: Own) -> dict[str, Any]:
    """The view; it names people by id, so that no name has to be looked up."""
    parts: list[Part] = [Buttons("home-create", (Button("create", "Ask for a GPU cluster", "now", "primary"),))]
    if (budget := budget_line(own.committed, None)) is not None:
        said = budget[0].text.partition(";")[0]
        parts.append(Note(line(bold(f"Team {own.team.name}: "), said)))
    if own.waiting:
        parts.append(Header(f"{count(len(own.waiting), 'request')} for you to decide"))
        for story in own.waiting[:MOST_WAITING]:
            parts += _waiting(story)
        parts += _more(len(own.waiting) - MOST_WAITING)
    parts.append(Header("Your clusters"))
    if not own.clusters:
        parts.append(Para((line("You have none now."),)))
    for story in own.clusters[:MOST_CLUSTERS]:
        parts += _cluster(story)
    parts += _more(len(own.clusters) - MOST_CLUSTERS)
    parts.append(Note(line("In a channel, ", code("/gpu-cluster help"), " says all that can be typed.")))
    return {"type": "home", "callback_id": CALLBACK, "blocks": in_view(Page(line(""), tuple(parts)))}


def refused(page: Page) -> dict[str, Any]:
    """For those whom the bot does not serve, and while Slack cannot say who they are."""
    return {"type": "home", "callback_id": CALLBACK, "blocks": in_view(page)}


def _cluster(story: Story) -> list[Part]:
    lines = [line(bold(story.cluster), f": {state_words(story)}")]
    if story.state == "awaiting_approval" and story.lapses_at is not None:
        lines.append(line("Lapses ", moment(story.lapses_at)))
    if story.expires_at is not None and story.cluster_state in (ClusterState.READY, ClusterState.DEGRADED):
        lines.append(line("Available until ", moment(story.expires_at)))
    if (step := story.current) is not None and step.why:
        lines.append(line(f"Waits for: {clip(step.why, 200)}"))
    return [Para(tuple(lines)), Buttons(f"own-{story.request_id}", (details_button(story),))]


def _waiting(story: Story) -> list[Part]:
    what = f"{count(story.spec.gpus, 'GPU')} for {count(story.spec.hours, 'hour')}" if story.spec else what_of(story)
    pairs: list[tuple[str, Line]] = [
        (story.cluster, line(what)),
        ("Asked by", line(who(story.requester), " ", moment(story.asked_at))),
    ]
    if story.spec is not None:
        pairs += [("Price", line(cost(story))), ("What for", line(clip(story.spec.reason, 300)))]
    if story.lapses_at is not None:
        pairs.append(("Lapses", line(moment(story.lapses_at))))
    buttons = (*decision_buttons(story), details_button(story))
    return [Fields(tuple(pairs)), Buttons(f"decide-{story.request_id}", buttons)]


def _more(number: int) -> list[Part]:
    return [Note(line(f"and {number} more: ", code("/gpu-cluster list"), " shows all."))] if number > 0 else []
