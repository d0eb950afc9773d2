"""What `why` and `logs` answer: ranked causes with the command that proves each, and the ends of logs."""

from __future__ import annotations

from bot.core.causes.insight import STORED, Explanation, Logs, Reason
from bot.core.ports import PodLog
from handlers.views.page import Bullets, Code, Header, Note, Page, Para, Part
from handlers.views.spans import Line, bold, code, joined, line
from handlers.views.words import count, outcome_state

MOST_REASONS = 10
MOST_PODS = 10
_LOG_TEXT = 2_500


def why(told: Explanation) -> Page:
    """The causes in their order: what it is, what to do, how to see it."""
    cluster = told.story.cluster
    if not told.reasons:
        looked = "the pods, the labels, the ClusterPolicy and the kernel's log" if told.looked else "what was stored"
        said = line(f"{cluster}: nothing is wrong that shows in {looked}.")
    else:
        said = line(f"{cluster} ({outcome_state(told.story)}): {told.reasons[0].what}.")
    parts: list[Part] = [Header(f"Why: {cluster}")]
    parts += [_reason(number, reason) for number, reason in enumerate(told.reasons[:MOST_REASONS], 1)]
    if not told.reasons:
        parts.append(Para((said,)))
    if (more := len(told.reasons) - MOST_REASONS) > 0:
        parts.append(Note(line(f"and {count(more, 'more cause')}, less likely")))
    if told.unanswered:
        parts.append(Bullets(tuple(line("Could not be asked: ", text) for text in told.unanswered)))
    if told.unseen:
        hidden = [line(what, ": ", code(command)) for what, command in told.unseen]
        parts.append(Note(line("I cannot see ", *joined(hidden, "; "))))
    return Page(said, tuple(parts))


def logs(told: Logs) -> Page:
    """The last lines of each pod; the newest is at the end."""
    read = told.pods[:MOST_PODS]
    said = line(f"Logs of {told.cluster}: the last lines of {count(len(read), 'pod')}, without secrets.")
    if not read:
        said = line(f"{told.cluster}: no pod of the operator, the driver or the probe is there.")
    parts: list[Part] = [Header(f"Logs: {told.cluster}"), *([] if read else [Para((said,))])]
    for pod in read:
        parts += _pod(pod)
    if told.unanswered:
        parts.append(Bullets(tuple(line("Could not be read: ", text) for text in told.unanswered)))
    return Page(said, tuple(parts))


def _reason(number: int, reason: Reason) -> Para:
    label = f"{number}. {reason.code} " if reason.code else f"{number}. "
    when = " (when it was made)" if reason.seen == STORED and reason.code else ""
    lines: list[Line] = [line(bold(label), f"{reason.what}{when}")]
    if reason.remedy:
        lines.append(line("To do: ", reason.remedy))
    if reason.proof:
        lines.append(line("To see it: ", code(reason.proof)))
    return Para(tuple(lines))


def _pod(pod: PodLog) -> list[Part]:
    where = f" on {pod.node}" if pod.node else ""
    head = Para((line(bold(pod.pod), f"{where}: {pod.state}, container {pod.container}"),))
    text = pod.text.strip()[-_LOG_TEXT:]
    return [head, Code(text) if text else Note(line("It has printed nothing."))]
