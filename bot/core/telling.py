"""What a look has to tell people: lines in the thread, results, and whether the parent message shows something else."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bot.core import lifecycle, plan
from bot.core.causes import stall
from bot.core.kinds import rules_of
from bot.core.ports import Tx
from bot.core.records import MessageKind, RequestRow, StepRow, StepState
from bot.core.steps.base import Done, Outcome, Wait

_NOTEWORTHY = frozenset({"control_plane", "operator", "machines", "allocatable", "scale_pool"})
"""Steps whose end is told in the thread; the rest shows on the parent message only."""


def tell_step(tx: Tx, request: RequestRow, before: StepRow, after: StepRow, outcome: Outcome, now: float) -> None:
    """A line in the thread for what is worth one: what a step has to tell, a long step's end, and the moment a step is
    late."""
    name = step_name(after.kind)
    stalled_s = plan.clocks(after.kind).stalled_s
    if isinstance(outcome, Done | Wait) and outcome.tell:
        _post_line(tx, request, name, "told", outcome.tell, now)
    if after.state == StepState.DONE and (name in _NOTEWORTHY or after.why):
        what, text = "done", after.why
    elif before.observed_s <= stalled_s < after.observed_s and after.state == StepState.RUNNING:
        what, text = "stalled", after.why
    else:
        return
    late = _late(after) if what == "stalled" else {}
    _post_line(tx, request, name, what, text, now, **late)


def _post_line(tx: Tx, request: RequestRow, step: str, what: str, text: str, now: float, **late: object) -> None:
    body = json.dumps({"step": step, "what": what, "text": text, "at": now, **late}, ensure_ascii=False)
    lifecycle.post(tx, request, MessageKind.LINE, now, body)


def _late(row: StepRow) -> dict[str, object]:
    """What a line says beside its text where the step is late."""
    found = stall.stall(row)
    if found is None:
        return {}
    return {"since": found.since, "usual_s": found.usual_s, "likely": found.likely, "action": found.action}


def post_results(tx: Tx, request: RequestRow, rows: Iterable[StepRow], now: float) -> None:
    """The results of a measurement, and its files, once a step of this look has them."""
    kinds = ("verify", "verify_new", "measure_new")
    measured = any(step_name(row.kind) in kinds and "report" in json.loads(row.facts) for row in rows)
    if measured and rules_of(request.kind).speaks(tx, request):
        lifecycle.post(tx, request, MessageKind.RESULTS, now)
        lifecycle.post(tx, request, MessageKind.FILES, now, urgent=False)


def shows_otherwise(before: StepRow, after: StepRow) -> bool:
    """Whether the parent message has to be edited."""
    return _visible(before) != _visible(after)


def _visible(row: StepRow) -> tuple[object, ...]:
    return (row.state, row.why, row.progress, row.observed_s > plan.clocks(row.kind).stalled_s)


def step_name(kind: str) -> str:
    """Of a step's kind, which is name@version."""
    return kind.partition("@")[0]
