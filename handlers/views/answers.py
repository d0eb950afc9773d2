"""What is said when something cannot be done: what happened, and the next thing to type or click."""

from __future__ import annotations

import difflib

from bot.core.desk import Conflict, Decided
from bot.core.policy import Denied, Verb
from bot.core.ports import WorldError
from bot.core.records import RequestState
from bot.core.spec import Draft, Invalid
from bot.core.story import Story
from handlers.views import changes
from handlers.views.help import EXAMPLE
from handlers.views.page import Bullets, Page, Para
from handlers.views.retype import create_line
from handlers.views.spans import Line, channel, code, joined, line, said, who

_CLICKED = frozenset({Verb.APPROVE, Verb.DENY, Verb.ACCEPT, Verb.IGNORE})
COMMANDS = tuple(verb.value for verb in Verb if verb not in _CLICKED)
"""What can be typed."""


def denied(error: Denied) -> Page:
    """Not allowed: why, and who can."""
    if not error.who_can:
        return _page(said(error.why))
    people = joined([line(who(identity)) for identity in error.who_can[:10]], ", ")
    return _page(said(error.why), line("Those who can: ", *people))


def conflict(error: Conflict, draft: Draft | None = None) -> Page:
    """Not now, because of what is. `draft` is given back, so that nobody has to type it again."""
    lines = [said(error.why)]
    if error.next_step:
        lines.append(said(error.next_step))
    if draft is not None:
        lines.append(line("What you asked for: ", code(create_line(draft))))
    return _page(*lines)


def invalid(error: Invalid, draft: Draft | None = None) -> Page:
    """Every problem, a line each, and the line to mend."""
    text = line("That cannot be: ", "; ".join(problem.message for problem in error.problems))
    problems = tuple(line(problem.message) for problem in error.problems)
    if draft is None:
        return Page(text, (Para((line("That cannot be:"),)), Bullets(problems)))
    again = create_line(draft)
    lead = line("That cannot be asked for like this:")
    return Page(text, (Para((lead,)), Bullets(problems), Para((line("Mend and send again: ", code(again)),))))


def unavailable(error: WorldError) -> Page:
    """Something outside did not answer, so nothing was done."""
    return _page(line(error.reason), line(error.remedy or "Try again in a moment."))


def another_release() -> Page:
    """Written down by a release that knew something this one does not."""
    return _page(
        line("The bot was changed before it came to what you did there, and cannot do it any more."),
        line("Please do it again; ", code("/gpu-cluster help"), " shows what there is."),
    )


def incident(identity: str) -> Page:
    """Our own fault: the id under which the log holds the trace."""
    return _page(
        line("Something went wrong on my side; the log holds it as ", code(identity), "."),
        line("Try again. If it stays, give that id to whoever runs this bot."),
    )


def unknown(word: str) -> Page:
    """No such command: the nearest one, and where to look."""
    close = difflib.get_close_matches(word.lower(), COMMANDS, n=1)
    guess = line(" Did you mean ", code(f"/gpu-cluster {close[0]}"), "?") if close else ()
    return _page(line(f"I do not know “{word[:40]}”.", *guess), line("All there is: ", code("/gpu-cluster help")))


def no_name(verb: str) -> Page:
    """A command that needs a cluster's name."""
    return _page(line("Which cluster? Type ", code(f"/gpu-cluster {verb} NAME"), "; ", code("/gpu-cluster list")))


def bad_line(message: str) -> Page:
    """A line that could not be read."""
    return _page(line(message), line("For example: ", code(f"/gpu-cluster {EXAMPLE}")))


def elsewhere(channels: tuple[str, ...]) -> Page:
    """Typed in a channel where this bot does not listen."""
    places = joined([line(channel(identity)) for identity in channels[:10]], ", ")
    return _page(line("Clusters are asked for in ", *places, "; please type it there."))


def not_invited(place: str) -> Page:
    """The bot cannot post where it was asked."""
    invite = code("/invite @gpu-cluster")
    return _page(line("I am not in ", channel(place), " and cannot post there. Type ", invite, " and ask again."))


def foreign_workspace() -> Page:
    """Somebody of another workspace."""
    return _page(line("This bot serves another workspace; people of yours cannot use it."))


def form_late(draft: Draft) -> Page:
    """The form could not be opened."""
    typed = code(create_line(draft) if draft.name else f"/gpu-cluster {EXAMPLE}")
    return _page(line("The form could not be opened. Try again, or type the whole line: ", typed))


def window_late() -> Page:
    """Any other window could not be opened: a button gives three seconds for it."""
    status = code("/gpu-cluster status NAME")
    return _page(line("The window could not be opened in time. Press once more, or type ", status, "."))


def got_it(name: str, *, delete: bool = False) -> Page:
    """A request has been taken in."""
    if delete:
        return _page(line(f"Got it: delete {name}, once a lead has agreed. The card is in the channel in a moment."))
    return _page(line(f"Got it: {name}. Its message appears in the channel in a moment."))


def change_taken(story: Story) -> Page:
    """A change has been taken in: it waits for a lead, is being checked, or needs nobody."""
    match story.state:
        case RequestState.APPROVED:
            then = "nobody has to approve it; the thread says when it is done"
        case RequestState.CHECKING:
            then = "it is being checked; the card is in the channel in a moment"
        case RequestState.DONE:
            then = "it is done already"
        case RequestState.DENIED | RequestState.LAPSED | RequestState.FAILED | RequestState.CANCELLED:
            then = f"it was asked before, and is {story.state}"
        case _:
            then = "once a lead has agreed; the card is in the channel in a moment"
    return _page(line(f"Got it: {changes.what(story)} ({story.cluster}): {then}."))


def kubeconfig_coming(name: str) -> Page:
    """A kubeconfig has been asked for."""
    return _page(line(f"Got it: a kubeconfig for {name} comes to your direct messages in a moment, for you alone."))


def accepted(name: str) -> Page:
    """A degraded cluster is taken as it is."""
    return _page(line(f"You accepted {name} as it is; nodes that did not pass stay closed."))


def ignored(name: str) -> Page:
    """Somebody lets a trouble be."""
    return _page(line(f"Noted: {name} stays as it is. The thread says when this is over."))


def decided(result: Decided, *, approve: bool) -> Page:
    """What the click came to."""
    story: Story = result.story
    if not approve:
        return _page(line(f"You denied {story.cluster}."))
    if result.final:
        return _page(line(f"You approved {story.cluster}; it starts now."))
    left = result.needed - result.approvals
    return _page(line(f"You approved {story.cluster}: {result.approvals} of {result.needed}, {left} more to come."))


def _page(*lines: Line) -> Page:
    text = joined(list(lines), " ")
    return Page(text, (Para(lines),))
