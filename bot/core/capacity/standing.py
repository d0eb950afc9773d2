"""In which places the GPU machines of a cluster stand, as its steps have seen it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from bot.core.records import Kind, RequestRow, RequestState, StepRow, StepState

StepsOf = Callable[[str], Sequence[StepRow]]
"""The steps of a request, by its id; of them, those named here are needed."""
NAMES = ("machines", "scale_pool", "surge")


def standing(steps_of: StepsOf, requests: Iterable[RequestRow], first: str) -> Mapping[str, int]:
    """Machines by pool after these requests of one cluster, oldest first; empty while they are being made.

    `first` is the name of the GPU pool that the order sizes: pools that have one place only are not told of.
    """
    found: Mapping[str, int] = {}
    for request in requests:
        found = left_by(steps_of, request, first) or found
    return found


def left_by(steps_of: StepsOf, request: RequestRow, first: str) -> Mapping[str, int] | None:
    """The same after one request, None where it has changed nothing of it."""
    sizes: Mapping[str, int] | None = None
    if request.kind == Kind.CREATE:
        sizes = _placed(steps_of, request, "machines")
    elif request.kind == Kind.SCALE and request.state == RequestState.DONE:
        sizes = _placed(steps_of, request, "scale_pool")
    elif request.kind == Kind.REPLACE and request.state == RequestState.DONE:
        surge = _facts(steps_of, request, "surge")
        sizes = json.loads(surge.get("was" if surge.get("bad") else "wanted", "null"))
    return sizes if sizes and first in sizes else None


def _placed(steps_of: StepsOf, request: RequestRow, step: str) -> Mapping[str, int] | None:
    stored = _facts(steps_of, request, step).get("placing")
    return json.loads(stored)["sizes"] if stored else None


def _facts(steps_of: StepsOf, request: RequestRow, step: str) -> Mapping[str, str]:
    """Of a step that is done; nothing of one that is still at work."""
    row = next((row for row in steps_of(request.id) if row.kind.startswith(f"{step}@")), None)
    return json.loads(row.facts) if row is not None and row.state == StepState.DONE else {}
