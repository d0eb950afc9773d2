"""Whose Jobs are no use any more: a probe whose request was cancelled still holds its GPUs, and logs of nodes that
failed are evidence only until everything has been measured anew."""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.changes import Verify, change_from_json
from bot.core.records import OPEN_STATES, Kind, RequestRow, RequestState

SWEEP_S = 600.0
"""World seconds after an end in which its Jobs are looked for: a look that was under way may have made one since."""

_MEASURE = (Kind.CREATE, Kind.ENABLE, Kind.VERIFY, Kind.SCALE, Kind.REPLACE)


def spent(requests: Sequence[RequestRow], now: float) -> tuple[str, ...]:
    """Ids of requests of one cluster whose Jobs go now; none most of the time."""
    measuring = [r for r in requests if r.kind in _MEASURE]
    recent = [r for r in measuring if r.finished_at is not None and now - r.finished_at < SWEEP_S]
    gone = {r.id for r in recent if r.state == RequestState.CANCELLED}
    whole = [r for r in recent if r.kind == Kind.VERIFY and r.state == RequestState.DONE and _of_all(r)]
    if whole:
        newest = max(whole, key=lambda r: r.asked_at)
        gone |= {r.id for r in measuring if r.state not in OPEN_STATES and r.asked_at < newest.asked_at}
    return tuple(sorted(gone))


def _of_all(request: RequestRow) -> bool:
    change = change_from_json(request.kind, request.spec)
    return isinstance(change, Verify) and change.why != "new"
