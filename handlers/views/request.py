"""The message of a request: posted once, edited in place; and its copy with buttons in the approvals channel."""

from __future__ import annotations

from bot.core.records import OPEN_STATES, ClusterState, Kind, RequestState, StepState
from bot.core.spec import Check, Envelope, Pool
from bot.core.story import Decision, StepFacts, Story
from handlers.views.page import (
    Bullets,
    Button,
    Buttons,
    Confirm,
    Fields,
    Header,
    Note,
    Page,
    Para,
    Part,
    Quote,
    Steps,
    Task,
    TaskStatus,
)
from handlers.views.spans import Line, bold, code, joined, line, moment, who
from handlers.views.words import clip, count, duration, outcome_state, state_words, step_title, usual_seconds

_CHECK_WORDS = {"ok": "ok", "no": "no", "unknown": "could not check"}
_TASK_STATUS: dict[StepState, TaskStatus] = {
    StepState.PENDING: "pending",
    StepState.RUNNING: "in_progress",
    StepState.DONE: "complete",
    StepState.FAILED: "error",
}
_BEFORE_WORK = (RequestState.CHECKING, RequestState.AWAITING_APPROVAL, RequestState.FAILED)


def request(story: Story, *, buttons: bool, approvers: tuple[str, ...] = ()) -> Page:
    """The request as it stands. `approvers`: ids of those who may decide, mentioned while that is awaited."""
    parts: list[Part] = [Header(headline(story)), Fields(_fields(story))]
    if story.spec is not None:
        parts.append(Quote(story.spec.reason))
    if story.checks and story.state in _BEFORE_WORK and not story.steps:
        parts.append(Bullets(tuple(_check(check) for check in story.checks)))
    if story.decisions:
        parts.append(Bullets(tuple(_decision(decision) for decision in story.decisions)))
    if story.steps:
        parts.append(steps(story))
    parts += _now(story, approvers)
    if buttons and story.state == RequestState.AWAITING_APPROVAL:
        parts.append(_buttons(story))
    return Page(_sentence(story), tuple(parts))


def headline(story: Story) -> str:
    """The cluster's name, the state, and step k of n while there is one."""
    words = state_words(story)
    if story.state == RequestState.RUNNING and story.steps:
        words += f", {_position(story)}"
    return f"{story.cluster}: {words}"


def steps(story: Story) -> Steps:
    """The plan with the state of every step."""
    tasks = tuple(
        Task(step.name, step_title(step.name), _task_status(story, step), step.progress or step.why)
        for step in story.steps
    )
    return Steps(f"plan-{story.request_id}", f"{story.done_steps} of {len(story.steps)} steps done", tasks)


def _task_status(story: Story, step: StepFacts) -> TaskStatus:
    """A step that was under way when the request ended is not under way any more."""
    if step.state == StepState.RUNNING and story.state not in OPEN_STATES:
        return "stopped"
    return _TASK_STATUS[step.state]


def machines(story: Story) -> str:
    """What would be made, in words: 1 × m6i.xlarge (control plane), 2 × g6.2xlarge (GPU workers)."""
    if story.envelope is None:
        return ""
    return ", ".join(f"{pool.count} × {pool.instance_type} ({_role(pool)})" for pool in story.envelope.pools)


def cost(story: Story) -> str:
    """The highest cost that is approved, or that it is unknown."""
    envelope = story.envelope
    if envelope is None or envelope.max_price_per_hour is None:
        return "unknown"
    total = envelope.max_price_per_hour * envelope.hours
    return f"at most ${envelope.max_price_per_hour:,.2f} an hour, ${total:,.2f} for {count(envelope.hours, 'hour')}"


def waiting(step: StepFacts) -> Line:
    """What a step waits for and since when; that it takes longer than it should, where it does."""
    since = line(" (since ", moment(step.started_at), ")") if step.started_at is not None else ()
    why = f": {clip(step.why, 300)}" if step.why else ""
    late = f" This step usually takes {duration(step.usual_s)}; it is late." if step.stalled else ""
    if step.likely:
        late += f" Likely: {step.likely}. {step.action}."
    return line(bold(step_title(step.name)), why, *since, ".", late)


def _role(pool: Pool) -> str:
    return "control plane" if pool.control_plane else "GPU workers" if pool.gpu else "workers"


def _where(envelope: Envelope) -> str:
    """Region, account, the zones in the order in which they may be tried; what several machines do without."""
    zones = ", then ".join(dict.fromkeys(place.zone for place in envelope.places))
    several = sum(pool.count for pool in envelope.gpu_pools) > 1
    return (
        f"{envelope.region}{f' (zone {zones})' if zones else ''}, account {envelope.account or 'unknown'}"
        f"{'; no EFA between nodes' if several else ''}"
    )


def _position(story: Story) -> str:
    return f"step {min(story.done_steps + 1, len(story.steps))} of {len(story.steps)}"


def _sentence(story: Story) -> Line:
    """The whole as a sentence, for notifications and screen readers."""
    wish = "to delete" if story.kind == Kind.DELETE else "for"
    asked = line("Request by ", who(story.requester), f" {wish} the cluster {story.cluster}: {state_words(story)}")
    at = f", {_position(story)}" if story.state == RequestState.RUNNING and story.steps else ""
    return (*asked, *line(f"{at}."))


def _fields(story: Story) -> tuple[tuple[str, Line], ...]:
    pairs: list[tuple[str, Line]] = [("Asked by", line(who(story.requester), " ", moment(story.asked_at)))]
    if story.spec is None:
        pairs.append(("What", line("delete the cluster and its machines")))
        return tuple(pairs)
    what = f"{count(story.spec.gpus, 'GPU')} for {count(story.spec.hours, 'hour')} (preset {story.spec.preset})"
    pairs.append(("What", line(what)))
    if story.envelope is not None:
        pairs.append(("Machines", line(machines(story))))
        pairs.append(("Where", line(_where(story.envelope))))
        versions = f"Kubernetes {story.envelope.kubernetes}, GPU Operator {story.envelope.operator}"
        pairs.append(("Versions", line(versions)))
    pairs.append(("Price", line(cost(story))))
    return tuple(pairs)


def _check(check: Check) -> Line:
    remedy = f" {check.remedy}" if check.remedy and check.state == "no" else ""
    return line(bold(_CHECK_WORDS.get(check.state, check.state)), f" · {check.name}: {check.detail}{remedy}")


def _decision(decision: Decision) -> Line:
    word = "Approved" if decision.decision == "approve" else "Denied"
    reason = f": {decision.reason}" if decision.reason else ""
    return line(f"{word} by ", who(decision.approver), " ", moment(decision.at), reason)


def _now(story: Story, approvers: tuple[str, ...]) -> list[Part]:
    """What it waits for now, or how it ended."""
    match story.state:
        case RequestState.CHECKING:
            asked = _ask_whom(approvers)
            then = line(" Then one of these decides: ", *asked, ".") if asked else ()
            return [Para((line("Checking with Rancher and AWS whether it can be made.", *then),))]
        case RequestState.AWAITING_APPROVAL:
            return [Para(_awaiting(story, approvers))]
        case RequestState.APPROVED:
            return [Para((line("It starts in a moment."),))]
        case RequestState.RUNNING:
            return _running(story)
        case RequestState.FAILED | RequestState.CANCELLED:
            return _stopped(story)
        case RequestState.DONE:
            return [Note(_ended(story))]
        case _:
            return []


def _awaiting(story: Story, approvers: tuple[str, ...]) -> tuple[Line, ...]:
    given = sum(d.decision == "approve" for d in story.decisions)
    needed = story.approvals_needed
    so_far = f" ({given} of {needed} approvals)" if needed > 1 else ""
    lines = [line(f"Waiting for a lead to decide{so_far}.")]
    if asked := _ask_whom(approvers):
        lines[0] = line(f"Waiting for one of these to decide{so_far}: ", *asked, ". Nobody approves their own request.")
    if story.lapses_at is not None:
        lines.append(line("It lapses ", moment(story.lapses_at), "."))
    return tuple(lines)


def _ask_whom(approvers: tuple[str, ...]) -> Line:
    return joined([line(who(approver)) for approver in approvers[:10]], ", ")


def _running(story: Story) -> list[Part]:
    lines = [waiting(step) for step in story.steps if step.state == StepState.RUNNING][:4]
    if any(step.stalled for step in story.steps):
        stuck = ("If it stays like this, look at ", code(f"/gpu-cluster status {story.cluster}"))
        lines.append(line(*stuck, " and Rancher's own page of the cluster. It gives up by itself."))
    parts: list[Part] = [Para(tuple(lines))] if lines else []
    started = line(" Begun ", moment(story.approved_at), ".") if story.approved_at is not None else ()
    return [*parts, Note(line(f"Usually takes about {duration(usual_seconds(story.kind))}.", *started))]


def _stopped(story: Story) -> list[Part]:
    lines = [line(bold("Why: "), story.reason or "no reason was given")]
    if story.remedy:
        lines.append(line(bold("What to do: "), story.remedy))
    if story.incident:
        lines.append(line("Incident ", code(story.incident), ": the log holds the details."))
    return [Para(tuple(lines)), Bullets(tuple(line(item) for item in story.diagnosis))]


def _ended(story: Story) -> Line:
    pieces = line(f"Finished: {outcome_state(story)}.")
    if story.finished_at is not None:
        pieces = line(f"Finished ({outcome_state(story)}) ", moment(story.finished_at), ".")
    if story.expires_at is not None and story.cluster_state in (ClusterState.READY, ClusterState.DEGRADED):
        pieces += line(" Available until ", moment(story.expires_at), ".")
    return pieces


def _buttons(story: Story) -> Buttons:
    value = f"{story.request_id}.{story.envelope_hash[:8]}"
    hours = story.envelope.hours if story.envelope is not None else 0
    if story.kind == Kind.DELETE:
        weight = f"Delete {story.cluster}: all its machines and everything on them."
    else:
        weight = f"{machines(story)}, for {count(hours, 'hour')}; price: {cost(story)}."
    sure = Confirm(f"Approve {story.cluster}?", weight, "Approve", "Not yet")
    against = Confirm(f"Deny {story.cluster}?", "This ends the request; it can be asked again.", "Deny", "Not yet")
    return Buttons(
        f"decision-{story.request_id}",
        (
            Button("approve", "Approve", value, "primary", sure),
            Button("deny", "Deny", value, "danger", against),
        ),
    )
