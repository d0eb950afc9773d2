"""A GPU pool's turn in one of its places, as one look sees it: when a cluster is made, and when it grows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.core.capacity import placing
from bot.core.capacity.places import joined
from bot.core.capacity.placing import LEAVING, SETTLED_S, Placing
from bot.core.ports import ClusterView, MachineView
from bot.core.spec import Pool
from bot.core.steps.base import Facts, Look


@dataclass(frozen=True)
class Turn:
    """`homes` are all places of the pool, `tried` those that may be tried, in their order; `at` says how far it has
    come, `failures` are the refusals of this round by pool and machine."""

    look: Look
    view: ClusterView
    at: Placing
    homes: tuple[Pool, ...]
    tried: tuple[Pool, ...]
    failures: Mapping[str, str]

    @property
    def here(self) -> Pool:
        return self.tried[self.at.place]

    @property
    def wanted(self) -> int:
        return self.homes[0].count

    @property
    def there(self) -> int:
        """Machines that have joined, in all places."""
        return joined(self.view, self.homes)

    @property
    def next_place(self) -> bool:
        """Whether another place may still be tried."""
        return not self.at.final and self.at.place + 1 < len(self.tried)

    @property
    def refused(self) -> list[str]:
        """What EC2 said here that another place, or the same one later, may not repeat."""
        return placing.refused_here(self.failures, self.here)

    @property
    def hopeless(self) -> list[str] | None:
        """What EC2 said here too often, and only a person can mend."""
        return placing.hopeless(self.failures, self.here, self.look.catalogue.policy.tries_per_place)

    @property
    def spent(self) -> bool:
        """Whether the place has had its turn."""
        policy, now = self.look.catalogue.policy, self.look.clock.now()
        return bool(self.hopeless) or placing.exhausted(self.at, self.here, len(self.refused), policy, now)

    @property
    def coming(self) -> list[MachineView]:
        """Those that EC2 has started here and that have not joined."""
        return [machine for machine in self.view.pool(self.here.name) if machine.created and not machine.node]

    @property
    def emptying(self) -> Pool | None:
        """The place that Rancher must be seen to have lowered before the next one may be tried."""
        over = [home for home in self.homes if len(self.view.pool(home.name)) > self.at.sizes.get(home.name, 0)]
        young = self.look.clock.now() - self.at.asked_at < SETTLED_S
        return over[0] if over else self.here if young else None

    @property
    def patience_s(self) -> float:
        return placing.patience_s(self.look.catalogue.policy)

    def leave(self, texts: list[str], sizes: Mapping[str, int]) -> Placing:
        """This place must not buy any more: its pools keep `sizes`."""
        words = {**self.at.words, self.here.name: texts[-1][-1500:]}
        now = self.look.clock.now()
        return self.at.intend(LEAVING, sizes, now, words=words, final=bool(self.hopeless))

    def facts(self, at: Placing | None = None) -> Facts:
        return {"failures": json.dumps(self.failures), "placing": (at or self.at).to_json()}


def known(look: Look) -> dict[str, str]:
    """Failures by pool and machine uid that earlier looks have seen: Rancher wipes the evidence within a minute."""
    seen: dict[str, str] = json.loads(look.own.get("failures", "{}"))
    return seen


def with_new(before: Mapping[str, str], machines: Iterable[MachineView]) -> dict[str, str]:
    """The same with what these machines show."""
    return {**before, **{f"{m.pool}/{m.uid}": m.failure[-1500:] for m in machines if m.failure}}
