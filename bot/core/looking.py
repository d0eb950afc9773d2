"""One look at one running request: which steps run, what came of them, and how that is written down."""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.core import guard, lifecycle, plan, telling
from bot.core.causes import stall
from bot.core.in_use.announced import Announced
from bot.core.kinds import rules_of
from bot.core.ports import Clock, Stale, Store, Temporary, TokenRefused, Tx, Unread, WorldError
from bot.core.records import (
    ClusterRow,
    MessageKind,
    RequestRow,
    RequestState,
    StepRow,
    StepState,
    VerdictRow,
)
from bot.core.spec import Catalogue, Envelope, envelope_from_json
from bot.core.steps import STEPS
from bot.core.steps.base import Done, Facts, Fail, Look, Outcome, Outside, Wait
from bot.core.telling import step_name

log = logging.getLogger(__name__)

LOOK_S = 20.0
"""Real seconds after which a look starts no further step."""
_LONGEST_GAP_S = 60.0
"""World seconds that one look can add to a step's clock: time in which nobody looked proves nothing."""
_BROKEN_TRIES = 5


@dataclass(frozen=True)
class Surroundings:
    """What looks need beside the store: targets' outside worlds by name, and what the configuration says.

    `announced` is what EC2 says to all of them.
    """

    outside: Callable[[str], Outside]
    catalogue: Catalogue
    principals: Mapping[str, str]
    probe_script: str
    announced: Announced = field(default_factory=Announced)


@dataclass(frozen=True)
class Seen:
    """What a look found about one step: its new row, and when it wants to be looked at again (world)."""

    before: StepRow
    after: StepRow
    outcome: Outcome
    next_at: float


@dataclass(frozen=True)
class _Looked:
    """What one look came to: the steps it ran, and when (world) those are due that it left alone."""

    seen: tuple[Seen, ...]
    left: tuple[float, ...]


@dataclass(frozen=True)
class _Loaded:
    request: RequestRow
    cluster: ClusterRow
    requests: tuple[RequestRow, ...]
    steps: tuple[StepRow, ...]
    envelope: Envelope | None
    known: tuple[VerdictRow, ...]


def new_incident() -> str:
    """An id that stands both in the log and before people."""
    return f"i-{uuid.uuid4().hex[:8]}"


def knows(request: RequestRow) -> bool:
    """Whether this release has every step of the request's plan; else it is left to the release that planned it."""
    return all(planned.kind in STEPS for planned in plan.thaw(request.plan))


def visit(claimed: RequestRow, store: Store, clock: Clock, around: Surroundings, release: Callable[[Tx], None]) -> None:
    """Look at an approved or running request, and `release` it with what was found. Raises `Stale` when it changed."""
    request = claimed
    if request.state == RequestState.APPROVED:
        with store.transaction() as tx:
            if (refusal := lifecycle.not_what_was_approved(tx, request)) is not None:
                _fail(tx, request, Fail(refusal, "Ask again, and have it approved again."), clock.now())
                release(tx)
                return
            request = lifecycle.start(tx, request, clock.now())
            rules_of(request.kind).started(tx, request, clock.now())
    with store.reading() as tx:
        loaded = _load(tx, request)
    looked = _run_steps(loaded, clock, around, lambda: _must_be_wanted(store, request))
    with store.transaction() as tx:
        _write_down(tx, loaded, looked, clock.now())
        release(tx)


def _load(tx: Tx, request: RequestRow) -> _Loaded:
    return _Loaded(
        request=request,
        cluster=tx.cluster(request.cluster_id),
        requests=tuple(tx.requests_of(request.cluster_id)),
        steps=tuple(tx.steps(request.id)),
        envelope=envelope_from_json(request.envelope) if request.envelope else None,
        known=tuple(tx.verdicts(request.cluster_id)),
    )


def _run_steps(loaded: _Loaded, clock: Clock, around: Surroundings, must_be_wanted: Callable[[], None]) -> _Looked:
    """Run what may run and is due, in the plan's order; a step that is done lets its followers run in the same look."""
    rows = {row.kind: row for row in loaded.steps}
    facts: dict[str, Facts] = {step_name(row.kind): json.loads(row.facts) for row in loaded.steps}
    until = clock.real() + LOOK_S
    seen: list[Seen] = []
    left: list[float] = []
    for planned in plan.thaw(loaded.request.plan):
        row = rows[planned.kind]
        ready = all(rows[kind].state == StepState.DONE for kind in planned.after)
        if row.state == StepState.DONE or not ready:
            continue
        if row.not_before > clock.now():
            left.append(row.not_before)
            continue
        if clock.real() > until:
            left.append(clock.now())
            break
        must_be_wanted()
        found = _run_step(row, loaded, facts, clock, around, must_be_wanted)
        seen.append(found)
        rows[planned.kind] = found.after
        facts[step_name(planned.kind)] = json.loads(found.after.facts)
        if isinstance(found.outcome, Fail):
            break
    return _Looked(tuple(seen), tuple(left))


def _must_be_wanted(store: Store, request: RequestRow) -> None:
    """Before every step: raises `Stale` when the request was cancelled or superseded since the look began."""
    with store.reading() as tx:
        current = tx.request(request.id)
    if current is None or current.rev != request.rev:
        raise Stale(request.id)


def _run_step(
    row: StepRow,
    loaded: _Loaded,
    facts: dict[str, Facts],
    clock: Clock,
    around: Surroundings,
    must_be_wanted: Callable[[], None],
) -> Seen:
    now = clock.now()
    started = row if row.started_at is not None else dataclasses.replace(row, started_at=now, looked_at=now)
    gap = min(now - (started.looked_at or now), _LONGEST_GAP_S)
    counted = started.observed_s + (gap if started.errors == 0 else 0.0)
    step = STEPS[row.kind]
    look: Look | None = None
    outcome: Outcome
    try:
        look = _look(loaded, dataclasses.replace(started, observed_s=counted), facts, clock, around, must_be_wanted)
        outcome = guard.ensured(step, look)
        if isinstance(outcome, Wait) and outcome.anew:
            counted = 0.0
        if isinstance(outcome, Wait) and counted > plan.clocks(row.kind).give_up_s + outcome.patience_s:
            outcome = step.give_up(look)
        errors = broken = 0
    except Stale:
        raise
    except Unread as early:
        outcome, errors, broken = Wait(row.why or "Rancher is being read again", early.look_in), 0, 0
    except Temporary as error:
        outcome, errors, broken, counted = (
            _again(error, row.errors),
            row.errors + 1,
            row.broken,
            started.observed_s,
        )
    except WorldError as error:
        outcome, errors, broken = Fail(error.reason, error.remedy or "Run gpu-cluster doctor."), 0, 0
    except Exception as error:
        outcome, errors, broken = _broken(loaded.request, row, error), 0, row.broken + 1
    if look is not None and isinstance(outcome, Fail):
        outcome = guard.stop_buying(look, outcome)
    observed = dataclasses.replace(started, observed_s=counted, errors=errors, broken=broken)
    return _seen(row, observed, outcome, clock.now())


def _look(
    loaded: _Loaded,
    row: StepRow,
    facts: dict[str, Facts],
    clock: Clock,
    around: Surroundings,
    must_be_wanted: Callable[[], None],
) -> Look:
    return Look(
        request=loaded.request,
        cluster=loaded.cluster,
        requests=loaded.requests,
        envelope=loaded.envelope,
        catalogue=around.catalogue,
        principals=around.principals,
        probe_script=around.probe_script,
        outside=around.outside(loaded.request.target),
        clock=clock,
        facts=facts,
        row=row,
        known=loaded.known,
        must_be_wanted=must_be_wanted,
    )


def _again(error: Temporary, errors: int) -> Wait:
    """Back off, with jitter: 2, 4, 8 … at most 30 world seconds."""
    why = f"{error.reason} {error.remedy}" if isinstance(error, TokenRefused) else error.reason
    return Wait(why, min(2.0 * 2 ** min(errors, 4), 30.0) * random.uniform(0.8, 1.2))  # noqa: S311


def _broken(request: RequestRow, row: StepRow, error: Exception) -> Outcome:
    """A mistake of ours: tried a few times, then given up with an incident id; the trace is in the log."""
    incident = new_incident()
    log.error("incident %s: step %s of %s broke", incident, row.kind, request.id, exc_info=error)
    if row.broken + 1 < _BROKEN_TRIES:
        return Wait(f"something in the bot broke ({incident}); trying again", 10.0)
    return Fail("Something in the bot broke.", "Give the incident id to whoever runs the bot.", incident=incident)


def _seen(before: StepRow, observed: StepRow, outcome: Outcome, now: float) -> Seen:
    kept = json.dumps({**json.loads(before.facts), **(outcome.facts or {})}, sort_keys=True)
    row = dataclasses.replace(observed, looked_at=now, facts=kept)
    match outcome:
        case Done():
            after = dataclasses.replace(row, state=StepState.DONE, done_at=now, why=outcome.short, progress="")
            next_at = now
        case Wait():
            next_at = now + outcome.look_in
            after = dataclasses.replace(
                row,
                state=StepState.RUNNING,
                why=outcome.why,
                progress=outcome.progress,
                not_before=0.0 if outcome.watched else next_at,
            )
        case Fail():
            after = dataclasses.replace(row, state=StepState.FAILED, why=outcome.reason)
            next_at = now
    return Seen(before, after, outcome, next_at)


def _write_down(tx: Tx, loaded: _Loaded, looked: _Looked, now: float) -> None:
    """Everything one look found, in one transaction; dropped as a whole when the request changed meanwhile."""
    request = tx.request(loaded.request.id)
    if request is None or request.rev != loaded.request.rev:
        raise Stale(loaded.request.id)
    seen = looked.seen
    for one in seen:
        tx.change(one.before, **_changes(one.before, one.after))
        telling.tell_step(tx, request, one.before, one.after, one.outcome, now)
    _keep_management_id(tx, loaded.cluster, seen)
    telling.post_results(tx, request, [one.after for one in seen], now)
    failure = next((one.outcome for one in seen if isinstance(one.outcome, Fail)), None)
    if failure is not None:
        failed = next(one.after.kind for one in seen if isinstance(one.outcome, Fail))
        others = stall.also(tx.steps(request.id), failed)
        _fail(tx, request, dataclasses.replace(failure, diagnosis=(*failure.diagnosis, *others)), now)
        return
    if all(row.state == StepState.DONE for row in tx.steps(request.id)):
        _finish(tx, request, now)
        return
    waited_for = [one.next_at for one in seen if isinstance(one.outcome, Wait)]
    tx.change(request, next_look_at=min([*waited_for, *looked.left], default=now))
    if any(telling.shows_otherwise(one.before, one.after) for one in seen):
        lifecycle.rerender(tx, request.id, urgent=False)


def _finish(tx: Tx, request: RequestRow, now: float) -> None:
    """Every step of the plan holds."""
    done = lifecycle.move(tx, request, RequestState.DONE, actor=lifecycle.ENGINE, at=now)
    rules_of(done.kind).done(tx, done, now)
    if rules_of(done.kind).speaks(tx, done):
        lifecycle.post(tx, done, MessageKind.OUTCOME, now)


def _fail(tx: Tx, request: RequestRow, failure: Fail, now: float) -> None:
    incident = failure.incident or new_incident()
    log.warning("incident %s: %s failed: %s", incident, request.id, failure.reason)
    failed = lifecycle.fail(
        tx, request, reason=failure.reason, remedy=failure.remedy, diagnosis=failure.diagnosis,
        incident=incident, at=now,
    )  # fmt: skip
    rules_of(failed.kind).failed(tx, failed, failure.reason, now)


def _keep_management_id(tx: Tx, cluster: ClusterRow, seen: Sequence[Seen]) -> None:
    """Rancher's own id outlives the request: the delete needs it, and EC2's tags carry it."""
    for one in seen:
        mid = json.loads(one.after.facts).get("management_id")
        if mid and step_name(one.after.kind) == "cluster_object" and cluster.management_id != mid:
            tx.change(cluster, management_id=mid)


def _changes(before: StepRow, after: StepRow) -> dict[str, object]:
    return {
        field.name: getattr(after, field.name)
        for field in dataclasses.fields(StepRow)
        if getattr(after, field.name) != getattr(before, field.name)
    }
