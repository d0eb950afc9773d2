"""How changes of a cluster are called, before and after."""

from __future__ import annotations

from bot.core.changes import Extend
from bot.core.records import Kind
from bot.core.story import Story
from handlers.views.page import Header, Page, Para
from handlers.views.spans import Line, line, moment, who
from handlers.views.words import count


def wish(story: Story) -> str:
    """What is wanted, as it stands between "Request by somebody" and "the cluster"."""
    match story.change:
        case Extend(hours):
            return f"to keep for {count(hours, 'hour')} longer"
        case None:
            return "to delete" if story.kind == Kind.DELETE else "for"


def what(story: Story) -> str:
    """What is wanted, for the card."""
    match story.change:
        case Extend(hours):
            return f"keep the cluster {count(hours, 'hour')} longer"
        case None:
            return "delete the cluster and its machines"


def done(story: Story) -> Page:
    """What has come of it."""
    said = line(who(story.requester), f" {story.cluster}: ", *_came_true(story))
    return Page(said, (Header(f"{story.cluster}: {story.kind} done"), Para((said,))))


def _came_true(story: Story) -> Line:
    match story.change:
        case Extend(hours):
            until = line(" Available until ", moment(story.expires_at), ".") if story.expires_at is not None else ()
            return line(f"{count(hours, 'hour')} longer.", *until)
        case None:
            return line("done.")
