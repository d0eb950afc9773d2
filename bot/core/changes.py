"""What somebody wants changed about a cluster that is there: one small value a kind of request."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from bot.core.records import Kind, RequestRow


@dataclass(frozen=True)
class Extend:
    """Keep it so many hours longer."""

    hours: int


@dataclass(frozen=True)
class Share:
    """Let somebody else in. `person` is a Slack user id."""

    person: str


@dataclass(frozen=True)
class Unshare:
    """Let somebody in no longer."""

    person: str


@dataclass(frozen=True)
class Verify:
    """Measure idle GPUs again. `level` '' for the configured one; `why`: asked, scheduled, new (nodes not measured)."""

    level: str = ""
    why: str = "asked"


@dataclass(frozen=True)
class Replace:
    """Another machine in the place of this node, which is `uid`; both '' where one of the order never joined."""

    node: str = ""
    uid: str = ""


@dataclass(frozen=True)
class Scale:
    """Another size of a machine pool, '' for the only GPU pool: in GPUs for a GPU pool, in machines for another.

    `machines` and `was` are filled in when it is asked: the machines it comes to, and those there were.
    """

    pool: str
    count: int
    machines: int = 0
    was: int = 0


Change = Extend | Scale | Verify | Replace | Share | Unshare

_TYPES: dict[Kind, type[Change]] = {
    Kind.EXTEND: Extend,
    Kind.SCALE: Scale,
    Kind.VERIFY: Verify,
    Kind.REPLACE: Replace,
    Kind.SHARE: Share,
    Kind.UNSHARE: Unshare,
}


def kind_of(change: Change) -> Kind:
    """The kind of request that asks for such a change."""
    return next(kind for kind, of in _TYPES.items() if isinstance(change, of))


def change_to_json(change: Change) -> str:
    """The change for the request's column `spec`."""
    return json.dumps(dataclasses.asdict(change), sort_keys=True)


def change_from_json(kind: Kind, text: str) -> Change | None:
    """The change as it was stored; None for a kind that has none (create, delete)."""
    of = _TYPES.get(kind)
    return None if of is None else of(**json.loads(text))


def person_of(request: RequestRow) -> str:
    """Whom a share or unshare is about. Raises TypeError for another kind."""
    change = change_from_json(request.kind, request.spec)
    if not isinstance(change, Share | Unshare):
        raise TypeError(request.kind)
    return change.person
