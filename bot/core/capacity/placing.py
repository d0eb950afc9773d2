"""How far an order has come through its places: what Rancher was asked for, what EC2 refused, and what comes next.

A change of pool sizes is an intent first, stored one look before Rancher is told. So a process that dies in between
does the same again, to the same end. The sizes together never come to more than the order.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.core.causes.diagnosis import ELSEWHERE, PASSING, ec2_cause
from bot.core.ports import ClusterView
from bot.core.spec import Policy, Pool

TRYING, LEAVING, HOLDING = "trying", "leaving", "holding"
"""A place is being tried; its pool has been lowered to what is there; every place has refused and the wait goes on."""

SETTLED_S = 15.0
"""World seconds that Rancher has for passing a new size on: before, an empty pool may just be between two tries."""

_BACK_OFF_S = (300.0, 3600.0)
"""World seconds before the first new round, and the longest: it doubles in between."""


@dataclass(frozen=True)
class Placing:
    """Where it stands. Times are world time, Unix seconds; `written` alone is real: a view must be newer.

    `sizes` by pool, `asked` whether Rancher has been told them, at `asked_at`. `since` is when this place's turn began
    or its last machine started, `forgiven` its refusals before that. `final`: no other place would help. `words` are
    AWS's last ones by pool; `idle` the spans without any GPU machine, the last of which lasts while it is `idling`.
    """

    sizes: Mapping[str, int]
    since: float
    place: int = 0
    phase: str = TRYING
    asked: bool = True
    asked_at: float = 0.0
    written: float = 0.0
    forgiven: int = 0
    started: int = 0
    final: bool = False
    rounds: int = 0
    next_at: float = 0.0
    words: Mapping[str, str] = field(default_factory=dict)
    idle: tuple[tuple[float, float], ...] = ()
    idling: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def intend(self, phase: str, sizes: Mapping[str, int], now: float, **changes: object) -> Placing:
        """The next move, to be told to Rancher at the next look."""
        new = {"phase": phase, "sizes": {**self.sizes, **sizes}, "asked": False, "since": now, **changes}
        return dataclasses.replace(self, **new)  # type: ignore[arg-type]

    def try_place(self, index: int, pool: Pool, missing: int, now: float) -> Placing:
        """The next place's turn, for as many machines as are missing, beside those that stand there."""
        there = self.sizes.get(pool.name, 0)
        return self.intend(TRYING, {pool.name: there + missing}, now, place=index, forgiven=0, started=there)

    def told(self, now: float, real: float) -> Placing:
        """Rancher has the sizes."""
        return dataclasses.replace(self, asked=True, asked_at=now, written=real)

    def hold(self, now: float, until: float) -> Placing:
        """Every place has refused: try again later, with jitter, at the latest when the wait is over."""
        first, longest = _BACK_OFF_S
        pause = min(first * 2**self.rounds, longest) * random.uniform(0.8, 1.0)  # noqa: S311
        return dataclasses.replace(self, phase=HOLDING, rounds=self.rounds + 1, next_at=min(now + pause, until))

    def seen(self, view: ClusterView, pools: Sequence[Pool], refusals: int, now: float) -> Placing:
        """With what the view shows: a machine that starts forgives the `refusals` of earlier looks."""
        started = sum(machine.created for machine in view.pool(pools[self.place].name))
        new = self
        if self.phase == TRYING and started > self.started:
            new = dataclasses.replace(new, started=started, forgiven=refusals, since=now)
        if any(machine.created for pool in pools for machine in view.pool(pool.name)):
            return dataclasses.replace(new, idling=False)
        *earlier, last = self.idle if self.idling else (*self.idle, (now, now))
        return dataclasses.replace(new, idling=True, idle=(*earlier, (last[0], now)))


def begin(ordered: Pool, now: float) -> Placing:
    """As the cluster was ordered: everything in the first place."""
    return Placing({ordered.name: ordered.count}, now, idle=((now, now),), idling=True)


def again(standing: Mapping[str, int], first: Pool, missing: int, now: float) -> Placing:
    """A new round from the first place on, beside what stands already."""
    return Placing(standing, now, idle=((now, now),), idling=True).try_place(0, first, missing, now)


def from_json(text: str) -> Placing:
    """As it was stored."""
    raw = json.loads(text)
    return Placing(**{**raw, "idle": tuple((a, b) for a, b in raw["idle"])})


def code_of(failure: str) -> str:
    """AWS's code in the driver's words, '' where there is none."""
    cause = ec2_cause(failure)
    return cause.code if cause else ""


def refused_here(failures: Mapping[str, str], pool: Pool) -> list[str]:
    """The pool's refusals that another place, or the same one later, may not repeat."""
    return [text for key, text in failures.items() if key.startswith(f"{pool.name}/") and code_of(text) in ELSEWHERE]


def hopeless(failures: Mapping[str, str], pool: Pool, tries: int) -> list[str] | None:
    """The failures of a pool that came often enough for one and the same reason that only a person can mend."""
    by_code: dict[str, list[str]] = {}
    for key, text in failures.items():
        code = code_of(text)
        if key.startswith(f"{pool.name}/") and code not in ELSEWHERE and code not in PASSING:
            by_code.setdefault(code, []).append(text)
    return next((texts for texts in by_code.values() if len(texts) >= tries), None)


def exhausted(at: Placing, pool: Pool, refusals: int, policy: Policy, now: float) -> bool:
    """Whether the place has had its turn: refusals in a row for each machine that is missing, or time."""
    in_a_row = refusals - at.forgiven
    missing = max(at.sizes.get(pool.name, pool.count) - at.started, 1)
    late = now - at.since > policy.place_minutes * 60
    return in_a_row >= policy.tries_per_place * missing or (in_a_row > 0 and late)


def patience_s(policy: Policy) -> float:
    """World seconds to add to the clock of a step that tries places: its usual one is meant for a quarter of an hour
    in each."""
    return max(policy.place_minutes - 15, 0) * 60.0


def may_come_back(words: Mapping[str, str]) -> bool:
    """Whether waiting may help in some place."""
    return any(ELSEWHERE.get(code_of(text), False) for text in words.values())
