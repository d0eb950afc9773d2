"""The message of a request: posted once, edited in place; and its copy with buttons in the approvals channel."""

from __future__ import annotations

from bot.core.costs.money import dollars
from bot.core.records import OPEN_STATES, ClusterState, Kind, RequestState, StepState
from bot.core.spec import Check, Envelope, Existing, Pool
from bot.core.story import Decision, StepFacts, Story
from handlers.views.changes import what, wish
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
from handlers.views.spans import Line, bold, code, joined, line, moment, said, who
from handlers.views.words import clip, count, duration, outcome_state, state_words, step_title, usual_seconds

_CHECK_WORDS = {"ok": "ok", "no": "no", "unknown": "could not check"}
_TASK_STATUS: dict[StepState, TaskStatus] = {
    StepState.PENDING: "pending",
    StepState.RUNNING: "in_progress",
    StepState.DONE: "complete",
    StepState.FAILED: "error",
}
NO_NEWS = "2 min"
_CHECKED = "Checking with Rancher and AWS whether it can be made."
_CHECKED_AGAIN = "Not everything that is needed has answered yet. It is asked again by itself, for ten minutes at most."
_BEFORE_WORK = (RequestState.CHECKING, RequestState.AWAITING_APPROVAL, RequestState.FAILED)


def request(
    story: Story,
    *,
    buttons: bool,
    moves: bool = False,
    approvers: tuple[str, ...] = (),
    silent: bool = False,
    checks: bool = True,
) -> Page:
    """The request as it stands. `approvers`: ids of those who may decide, mentioned while that is awaited.

    `buttons`: those of a decision, while one is awaited; `moves`: those of what can be done at other times.
    `silent`: no worker has looked at it for `NO_NEWS` although one should have. `checks`: their short form, until the
    work begins.
    """
    parts: list[Part] = [Header(headline(story)), Fields(_fields(story))]
    if story.spec is not None:
        parts.append(Quote(story.spec.reason))
    if checks and story.state in _BEFORE_WORK and not story.steps:
        parts += _checks_in_short(story.checks, in_details=buttons or story.state == RequestState.FAILED)
    if story.decisions:
        parts.append(Bullets(tuple(_decision(decision) for decision in story.decisions)))
    if story.steps:
        parts.append(steps(story))
    parts += _now(story, approvers)
    if silent and story.state in (RequestState.APPROVED, RequestState.RUNNING):
        parts.append(_no_news(story))
    if story.state == RequestState.AWAITING_APPROVAL:
        parts += budget_words(story)
        parts += _lead_changes(story)
    pressed = _decision_moves(story) if buttons else ()
    if moves:
        pressed += _moves(story)
    if pressed:
        parts.append(Buttons(f"decision-{story.request_id}", pressed))
    return Page(_sentence(story), tuple(parts))


def headline(story: Story) -> str:
    """The cluster's name, the state, and step k of n while there is one."""
    words = state_words(story)
    if story.state == RequestState.RUNNING and story.steps:
        words += f", {_position(story)}"
    if story.state == RequestState.AWAITING_APPROVAL and story.approvals_needed > 1:
        words += f", {_given(story)} of {story.approvals_needed}"
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
    return "" if story.envelope is None else machines_of(story.envelope)


def machines_of(envelope: Envelope) -> str:
    """The pools of an envelope, in words."""
    return ", ".join(f"{pool.count} × {pool.instance_type} ({_role(pool)})" for pool in envelope.pools)


def cost(story: Story) -> str:
    """The highest cost that is approved, or that it is unknown."""
    return price_of(story.envelope)


def price_of(envelope: Envelope | None) -> str:
    """The most that an envelope can cost, or that it is unknown."""
    if envelope is None or envelope.max_price_per_hour is None:
        return "unknown"
    whole = f"at most ${envelope.max_price_per_hour:,.2f} an hour, ${envelope.max_cost:,.2f}"
    hours = f"for {count(envelope.hours, 'hour')}"
    if not envelope.wait_hours:
        return f"{whole} {hours}"
    waits = f"up to {count(envelope.wait_hours, 'hour')} of waiting at ${envelope.waiting_price_per_hour:,.2f} an hour"
    return f"{whole} {hours} and {waits}"


def waiting(step: StepFacts) -> Line:
    """What a step waits for and since when; that it takes longer than it should, where it does."""
    since = line(" (since ", moment(step.started_at), ")") if step.started_at is not None else ()
    why = f": {clip(step.why, 300)}" if step.why else ""
    late = f" This step usually takes {duration(step.usual_s)}; it is late." if step.stalled else ""
    if step.likely:
        late += f" Likely: {step.likely}. {step.action}."
    return line(bold(step_title(step.name)), why, *since, ".", late)


def _role(pool: Pool) -> str:
    role = "control plane" if pool.control_plane else "GPU workers" if pool.gpu else "workers"
    return f"{role}, spot" if pool.spot_price else role


def where_of(envelope: Envelope) -> str:
    """Region, account, the zones in the order in which they may be tried; what several machines do without."""
    zones = ", then ".join(dict.fromkeys(place.zone for place in envelope.places))
    types = ", then ".join(dict.fromkeys(place.instance_type for place in envelope.places))
    several = sum(pool.count for pool in envelope.gpu_pools) > 1
    whole = "; all GPU machines in one zone or none" if envelope.together and several else ""
    return (
        f"{envelope.region}{f' (zone {zones})' if zones else ''}, account {envelope.account or 'unknown'}"
        f"{f'; GPU machines: {types}' if envelope.stand_ins else ''}{whole}"
        f"{'; no EFA between nodes' if several else ''}"
    )


def _with(envelope: Envelope) -> str:
    """What the cluster has beside machines, operator and Kubernetes, where it has anything."""
    parts = [
        *(["the operator by the cluster's own manifest"] if envelope.operator_by == "manifest" else []),
        *(f"add-on {addon.name} {addon.version}" for addon in envelope.addons),
        *(["a base file of the preset"] if envelope.base else []),
    ]
    return f"; {', '.join(parts)}" if parts else ""


def _position(story: Story) -> str:
    return f"step {min(story.done_steps + 1, len(story.steps))} of {len(story.steps)}"


def _sentence(story: Story) -> Line:
    """The whole as a sentence, for notifications and screen readers."""
    asked = line(
        "Request by ", who(story.requester), f" {wish(story)} the cluster {story.cluster}: {state_words(story)}"
    )
    at = f", {_position(story)}" if story.state == RequestState.RUNNING and story.steps else ""
    return (*asked, *line(f"{at}."))


def _fields(story: Story) -> tuple[tuple[str, Line], ...]:
    pairs: list[tuple[str, Line]] = [("Asked by", line(who(story.requester), " ", moment(story.asked_at)))]
    if story.spec is None:
        pairs.append(("What", line(what(story))))
        if story.envelope is not None and story.envelope.existing is not None:
            pairs += _existing(story.envelope, story.envelope.existing)
        return tuple(pairs)
    order = f"{count(story.spec.gpus, 'GPU')} for {count(story.spec.hours, 'hour')} (preset {story.spec.preset})"
    zone = f"zone {story.spec.zone}" if story.spec.zone else ""
    if only := " in ".join(filter(None, (story.spec.instance_type, zone))):
        order += f"; only {only}"
    if story.spec.wait_hours:
        order += f"; waits up to {count(story.spec.wait_hours, 'hour')} for capacity"
    pairs.append(("What", line(order)))
    if story.envelope is not None:
        pairs.append(("Machines", line(machines(story))))
        pairs.append(("Where", line(where_of(story.envelope))))
        versions = f"Kubernetes {story.envelope.kubernetes}, GPU Operator {story.envelope.operator}"
        pairs.append(("Versions", line(f"{versions}{_with(story.envelope)}")))
    pairs.append(("Price", line(cost(story))))
    return tuple(pairs)


def _existing(envelope: Envelope, there: Existing) -> list[tuple[str, Line]]:
    """What a lead agrees to: what is put there, and where."""
    names = ", ".join(f"{name} ({'?' if gpus is None else gpus})" for name, gpus in there.nodes[:8])
    more = f" and {len(there.nodes) - 8} more" if len(there.nodes) > 8 else ""
    operator = f"{envelope.operator} is there and stays" if there.adopted else f"{envelope.operator} is installed"
    driver = ", no driver: the machines have one" if there.host_driver else ""
    taints = ", ".join(f"{t.key}:{t.effect}" for t in there.taints)
    return [
        ("GPU nodes", line(clip(f"{names}{more}", 900))),
        ("GPU Operator", line(clip(f"{operator}{driver}{f'; tolerates {taints}' if taints else ''}", 900))),
        ("Probe", line(envelope.probe_image)),
        ("Price", line("nothing by this bot: the machines are there")),
    ]


def check_line(check: Check) -> Line:
    """One check with its answer, and what to do where that is a no, or a yes with a but."""
    stop = "" if check.detail.endswith((".", "!", "?")) else "."
    remedy = f"{stop} {check.remedy}" if check.remedy and (check.warns or check.state == "no") else ""
    word = "ok, but" if check.warns else _CHECK_WORDS.get(check.state, check.state)
    return line(bold(word), f" · {check.name}: {check.detail.removeprefix(f'{word}: ')}{remedy}")


def _checks_in_short(checks: tuple[Check, ...], *, in_details: bool) -> list[Part]:
    """What says no, what could not be checked, what to look at; how many are simply well. *Details* has them all."""
    where = ": see Details" if in_details else ""
    told = [check for check in checks if check.state != "ok" or check.warns]
    well = len(checks) - len(told)
    parts: list[Part] = [Bullets(tuple(check_line(check) for check in told))] if told else []
    if well:
        parts.append(Note(line(f"{count(well, 'check')} ok{where}.")))
    return parts


def checked(story: Story) -> list[Part]:
    """Every check, of which the message itself tells the noteworthy ones only."""
    if not story.checks:
        return []
    return [Header("What was checked"), Bullets(tuple(check_line(check) for check in story.checks))]


def decided(story: Story) -> list[Part]:
    """What exactly is approved, and by which hash."""
    if story.envelope is None:
        return []
    envelope = story.envelope
    pairs = [
        ("Probe image", line(code(envelope.probe_image))),
        ("Machine images", line(", ".join(dict.fromkeys(pool.ami for pool in envelope.pools)))),
        ("Network", line(f"{envelope.vpc}, {', '.join(dict.fromkeys(p.subnet for p in envelope.pools))}")),
        ("Driver", line(envelope.driver or "the chart's own")),
        ("Approval binds", line(code(story.envelope_hash[:16]), ": anything outside of this is refused")),
    ]
    return [Header("What exactly"), Fields(tuple(pairs))]


def budget_words(story: Story) -> list[Part]:
    """The team's month before and after, while it waits."""
    held, cost_now = story.committed, story.added_cost
    if held is None or held.budget is None:
        return []
    after = "unknown" if cost_now is None else dollars(max(held.left - cost_now, 0.0))
    return [
        Note(
            line(
                f"Budget of team {story.team} this month: {dollars(held.left)} of {dollars(held.budget)} left, "
                f"{after} after this."
            )
        )
    ]


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
            return [Para((line(_CHECKED_AGAIN if story.checks else _CHECKED, *then),))]
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
    given = _given(story)
    needed = story.approvals_needed
    so_far = f" ({given} of {needed} approvals)" if needed > 1 else ""
    lines = [line(f"Waiting for a lead to decide{so_far}.")]
    if asked := _ask_whom(approvers):
        lines[0] = line(f"Waiting for one of these to decide{so_far}: ", *asked, ". Nobody approves their own request.")
    if story.lapses_at is not None:
        lines.append(line("It lapses ", moment(story.lapses_at), "."))
    return tuple(lines)


def _given(story: Story) -> int:
    """Approvals so far."""
    return sum(d.decision == "approve" for d in story.decisions)


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


def _no_news(story: Story) -> Part:
    """Not a silent freeze: said once, with the time, so that it needs no edits."""
    last = line(" Last heard of ", moment(story.heard_at), ".") if story.heard_at is not None else ()
    return Para(
        (line(bold(f"No news for {NO_NEWS}."), *last, " Is a worker running? The work itself goes on in AWS."),)
    )


def _lead_changes(story: Story) -> list[Part]:
    """Whoever decides should know that the circle of those who may has just changed."""
    if not story.lead_changes:
        return []
    told = [line(who(one.user), " joined " if one.joined else " left ", moment(one.at)) for one in story.lead_changes]
    asked = line(" Who joined after this was asked cannot approve it.")
    return [Note(line(bold("The leads' group changed in the last 24 h: "), *joined(told[-8:], ", "), ".", *asked))]


def _stopped(story: Story) -> list[Part]:
    reason = story.reason or "no reason was given"
    why = said(reason) if story.state == RequestState.CANCELLED else line(reason)
    lines = [line(bold("Why: "), *why)]
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


def _decision_moves(story: Story) -> tuple[Button, ...]:
    """What a lead may press; the rights are looked up at the click, whoever sees the button."""
    if story.state != RequestState.AWAITING_APPROVAL:
        return ()
    return (*decision_buttons(story), details_button(story))


def details_button(story: Story) -> Button:
    """Opens a window with every check and the whole envelope."""
    return Button("details", "Details", story.request_id)


def _moves(story: Story) -> tuple[Button, ...]:
    """What can be done with what is under way, has lapsed, or stands."""
    details = details_button(story)
    if story.state == RequestState.RUNNING:
        return (details, _cancel_button(story)) if story.kind == Kind.CREATE else (details,)
    if story.state in OPEN_STATES:
        return ()
    if story.state == RequestState.LAPSED:
        return (again_button(story),)
    if story.state == RequestState.FAILED and story.checks and not story.steps:
        return (details,)
    if story.kind == Kind.CREATE and story.cluster_state in (
        ClusterState.READY,
        ClusterState.DEGRADED,
        ClusterState.FAILED,
    ):
        sure = f"Its {count(story.spec.gpus, 'GPU') if story.spec else 'machines'} and everything on them, "
        confirm = Confirm(f"Delete {story.cluster}?", f"{sure}once a lead has agreed.", "Ask to delete", "Keep it")
        status = Button("status", "Status", story.cluster)
        return (status, details, Button("delete", "Delete", story.cluster, "danger", confirm))
    return ()


def _cancel_button(story: Story) -> Button:
    sure = Confirm(
        f"Cancel {story.cluster}?", "Nothing more is begun, and what was made is removed.", "Cancel it", "Go on"
    )
    return Button("cancel", "Cancel …", f"{story.cluster}.{story.request_id}", "danger", sure)


def decision_buttons(story: Story) -> tuple[Button, ...]:
    """Approve, with what it costs said once more, and Deny, which asks for the reason."""
    value = f"{story.request_id}.{story.envelope_hash[:8]}"
    hours = story.envelope.hours if story.envelope is not None else 0
    if story.kind == Kind.ENABLE or (story.kind == Kind.DELETE and story.enabled):
        weight = f"{story.cluster}: {what(story)}."
    elif story.kind == Kind.DELETE:
        weight = f"Delete {story.cluster}: all its machines and everything on them."
    elif story.change is not None:
        weight = f"{what(story).capitalize()}; price: {cost(story)}."
    else:
        weight = f"{machines(story)}, for {count(hours, 'hour')}; price: {cost(story)}."
    sure = Confirm(f"Approve {story.cluster}?", weight, "Approve", "Not yet")
    return (
        Button("approve", "Approve", value, "primary", sure),
        Button("deny", "Deny …", value, "danger"),
    )


def again_button(story: Story) -> Button:
    """One click asks for the same once more; it works for the requester only."""
    return Button("again", "Ask again", story.request_id, "primary")
