"""How changes of a cluster are called, before and after."""

from __future__ import annotations

from bot.core.changes import Extend, Scale
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
        case Scale() as scale:
            return f"to have {_machines(scale)} in pool {scale.pool} of"
        case None:
            return "to delete" if story.kind == Kind.DELETE else "for"


def what(story: Story) -> str:
    """What is wanted, for the card."""
    match story.change:
        case Extend(hours):
            return f"keep the cluster {count(hours, 'hour')} longer"
        case Scale() as scale if scale.machines < scale.was:
            return (
                f"pool {scale.pool} from {scale.was} to {_machines(scale)}: {scale.was - scale.machines} go, idle ones "
                "first, with all that is on them"
            )
        case Scale() as scale:
            return f"pool {scale.pool} from {scale.was} to {_machines(scale)}"
        case None:
            return f"delete the cluster and its machines{f': {story.because}' if story.because else ''}"


def done(story: Story) -> Page:
    """What has come of it."""
    said = line(who(story.requester), f" {story.cluster}: ", *_came_true(story))
    return Page(said, (Header(f"{story.cluster}: {story.kind} done"), Para((said,))))


def _came_true(story: Story) -> Line:
    match story.change:
        case Extend(hours):
            until = line(" Available until ", moment(story.expires_at), ".") if story.expires_at is not None else ()
            return line(f"{count(hours, 'hour')} longer.", *until)
        case Scale() as scale:
            short = f" Not all is well: {story.reason}" if story.reason else ""
            return line(f"pool {scale.pool} has {_machines(scale)} now, before {scale.was}.{short}")
        case None:
            return line("done.")


def _machines(scale: Scale) -> str:
    return count(scale.machines, "machine")
