"""How changes of a cluster are called, before and after."""

from __future__ import annotations

from bot.core.changes import Extend, Replace, Scale, Share, Unshare, Verify
from bot.core.credentials import OFF
from bot.core.records import Kind
from bot.core.story import Story
from handlers.views.page import Bullets, Header, Page, Para
from handlers.views.results import closed_whole
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
        case Verify():
            return "to measure again"
        case Replace(node):
            return f"to replace {node or 'the missing machine'} of"
        case Scale() as scale:
            return f"to have {_machines(scale)} in pool {scale.pool} of"
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
        case Verify(level):
            return f"measure its idle GPUs again{f', level {level}' if level else ''}"
        case Replace(node):
            return (
                f"another machine in the place of {node}, which stays closed for new work until then; "
                "for that time one machine more where there is room"
                if node
                else "the machine that is missing, once more"
            )
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
    more = Bullets(tuple(line(item) for item in story.diagnosis))
    whole = closed_whole(story.report) if story.report is not None and not story.enabled else ()
    para = Para((said, *(line(text) for text in whole)))
    return Page(said, (Header(f"{story.cluster}: {story.kind} done"), para, *((more,) if more.items else ())))


def _came_true(story: Story) -> Line:
    match story.change:
        case Extend(hours):
            until = line(" Available until ", moment(story.expires_at), ".") if story.expires_at is not None else ()
            return line(f"{count(hours, 'hour')} longer.", *until)
        case Share(person):
            return line("shared with ", who(person), ". ", *_way_in(story))
        case Unshare(person):
            return line("no longer shared with ", who(person), ": their role and their tokens are gone.")
        case Verify(_, why):
            return _measured(story, why)
        case Replace(node):
            return line(f"{node or 'the missing machine'} has been replaced by one that passed verification.")
        case Scale() as scale:
            short = f" Not all is well: {story.reason}" if story.reason else ""
            return line(f"pool {scale.pool} has {_machines(scale)} now, before {scale.was}.{short}")
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


def _measured(story: Story, why: str) -> Line:
    """How a measurement of a cluster in use came out; a GPU that works for somebody was not touched."""
    report = story.report
    if report is None:
        return line("nothing was measured.")
    subject = "a new node was measured: " if why == "new" else "measured again: "
    busy = f"; {report.unmeasured} in use: healthy, not measured" if report.unmeasured else ""
    bad = ", ".join(node.node for node in report.nodes if node.verdict in ("failed", "degraded"))
    closed = f" Closed for new work: {bad}."
    told = f" The bot closes no node of a cluster that it has not made: keep work from {bad} yourself."
    shut = "" if not bad else told if story.enabled else closed
    opened = " It is open for work." if why == "new" and report.verdict == "verified" else ""
    return line(f"{subject}{report.good} of {count(report.expected, 'GPU')} verified{busy}.{shut}{opened}")


def _machines(scale: Scale) -> str:
    return count(scale.machines, "machine")
