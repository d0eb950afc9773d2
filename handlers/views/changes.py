"""How changes of a cluster are called, before and after."""

from __future__ import annotations

from bot.core.changes import Extend, Share, Unshare
from bot.core.credentials import OFF
from bot.core.records import Kind
from bot.core.story import Story
from handlers.views.page import Header, Page, Para
from handlers.views.spans import Line, code, line, moment, who
from handlers.views.words import count


def wish(story: Story) -> str:
    """What is wanted, as it stands between "Request by somebody" and "the cluster"."""
    match story.change:
        case Extend(hours):
            return f"to keep for {count(hours, 'hour')} longer"
        case Share():
            return "to share"
        case Unshare():
            return "to share no longer"
        case None:
            return {Kind.DELETE: "to delete", Kind.ENABLE: "to enable"}.get(story.kind, "for")


def what(story: Story) -> str:
    """What is wanted, for the card."""
    match story.change:
        case Extend(hours):
            return f"keep the cluster {count(hours, 'hour')} longer"
        case Share():
            return "share the cluster"
        case Unshare():
            return "end the sharing"
        case None if story.kind == Kind.ENABLE:
            return "enable the GPUs of a cluster that is there: GPU Operator, and every GPU measured"
        case None if story.enabled:
            return "forget the cluster; it stays, with its GPU Operator"
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
        case Share(person):
            return line("shared with ", who(person), ". ", *_way_in(story))
        case Unshare(person):
            return line("no longer shared with ", who(person), ": their role and their tokens are gone.")
        case None:
            return line("done.")


def _way_in(story: Story) -> Line:
    """How the person gets in, now that they may."""
    access = story.access
    if access is not None and access.bound_to:
        return line(f"In Rancher {access.bound_to} has the role {access.role} there.")
    if access is not None and access.tokens == OFF:
        return line("Rancher has no account for them under [access], so somebody who keeps Rancher has to add them.")
    return line("Rancher has no account for them under [access]; they can type ", *kubeconfig_line(story.cluster), ".")


def kubeconfig_line(cluster: str) -> Line:
    """What to type for a kubeconfig of one's own."""
    return line(code(f"/gpu-cluster kubeconfig {cluster}"))
