"""What every step has: a look at the world, and three ways it can come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from bot.core.capacity import places
from bot.core.ports import Clock, Cloud, Cluster, ClusterView, Node, Rancher
from bot.core.records import ClusterRow, Kind, RequestRow, StepRow, VerdictRow
from bot.core.spec import LABEL_POOL, LABEL_TYPE, Catalogue, Envelope, GpuExpectation, Pool
from bot.core.survey import expectation

Facts = Mapping[str, str]

WATCHED_S = 30.0
"""World seconds until a step looks again by itself at what it would be told of: some causes are a matter of time."""


@dataclass(frozen=True)
class Done:
    """The condition holds. `facts` are for later steps and for people; `short` says what is missing and borne.

    `tell` is a line for the thread, '' for none.
    """

    facts: Facts = field(default_factory=dict)
    short: str = ""
    tell: str = ""


@dataclass(frozen=True)
class Wait:
    """Not yet. `look_in` world seconds; `facts` are kept, so that a step can remember across looks and restarts.

    `patience_s` is added to the time after which the step gives up: what was ordered takes that much longer.
    `anew`: the step's clock begins again, because it has begun something else, or waits for what takes its time.
    `tell` is a line for the thread, '' for none.
    `watched`: what it waits for shows in Rancher's shared snapshot, so it is looked at as soon as that changes, and in
    `look_in` at the latest. Else nobody asks earlier than in `look_in`.
    """

    why: str
    look_in: float = 10.0
    facts: Facts | None = None
    progress: str = ""
    patience_s: float = 0.0
    anew: bool = False
    tell: str = ""
    watched: bool = False


@dataclass(frozen=True)
class Fail:
    """It will not come true. `reason` the true cause, `remedy` what to do, `diagnosis` the evidence, a line each.

    `incident` is the id under which the log has it already, '' where it has not been logged yet.
    """

    reason: str
    remedy: str
    diagnosis: tuple[str, ...] = ()
    facts: Facts | None = None
    incident: str = ""


Outcome = Done | Wait | Fail


@dataclass(frozen=True)
class Outside:
    """The outside world of one target. `rancher_authority`: the CA (PEM in base64) of a Rancher with a private one."""

    rancher: Rancher
    cloud: Cloud
    cluster: Callable[[str], Cluster]
    rancher_url: str
    rancher_authority: str = ""


@dataclass(frozen=True)
class Look:
    """All that a step may look at. `facts` by step name; `row` is the step's own row.

    `known` is what was measured on the cluster before.
    `observed_s` is the world time this step has been under way while the world could be seen.
    """

    request: RequestRow
    cluster: ClusterRow
    requests: tuple[RequestRow, ...]
    envelope: Envelope | None
    catalogue: Catalogue
    principals: Mapping[str, str]
    probe_script: str
    outside: Outside
    clock: Clock
    facts: Mapping[str, Facts]
    row: StepRow
    known: tuple[VerdictRow, ...] = ()
    must_be_wanted: Callable[[], None] = lambda: None
    """Call it between two effects of one step: it ends the look when the request was cancelled meanwhile."""

    @property
    def order(self) -> Envelope:
        """The approved envelope. Raises ValueError in a request that has none (delete)."""
        if self.envelope is None:
            raise ValueError(f"{self.request.id} has no envelope")
        return self.envelope

    @property
    def own(self) -> Facts:
        """What this step remembered at earlier looks."""
        return self.facts.get(self.row.kind.partition("@")[0], {})

    @property
    def observed_s(self) -> float:
        return self.row.observed_s

    @property
    def downstream(self) -> Cluster:
        """The Kubernetes API of the cluster being made."""
        return self.outside.cluster(self.management_id)

    @property
    def management_id(self) -> str:
        """Rancher's own id of the cluster: as stored, or as an earlier step of this very look has found it.

        Raises ValueError before Rancher has given it one.
        """
        found = self.facts.get("cluster_object", {}).get("management_id") or self.cluster.management_id
        if not found:
            raise ValueError(f"{self.cluster.name} has no id in Rancher yet")
        return found

    @property
    def home(self) -> str:
        """The id of the request that made the cluster: what is made for it later bears it, too."""
        return next((row.id for row in self.requests if row.kind == Kind.CREATE), self.request.id)

    def size_pools(self, sizes: Mapping[str, int]) -> None:
        """Tell Rancher how large these pools are to be, by name, in one change. Raises `WorldError`s, `Permanent`
        where it would be more than is approved."""
        homes = (home for pool in self.order.pools for home in places.homes(self.order, pool))
        sized = tuple(replace(home, count=sizes[home.name]) for home in homes if home.name in sizes)
        self.outside.rancher.size_pools(self.order, sized, self.home)

    def view(self) -> ClusterView | None:
        """The cluster as Rancher sees it, never older than our last write."""
        written = float(self.facts.get("cluster_object", {}).get("written_real", "0"))
        return self.outside.rancher.observe(self.order.name, newer_than=written)

    def gpu_nodes(self) -> list[Node]:
        """The nodes of the GPU pools, or those that the survey found, by name."""
        if (existing := self.order.existing) is not None:
            found = {name for name, _ in existing.nodes}
            return sorted((n for n in self.downstream.nodes() if n.name in found), key=lambda node: node.name)
        pools = {pool.name for pool in self.order.gpu_pools}
        nodes = [n for n in self.downstream.nodes() if n.labels.get(LABEL_POOL) in pools]
        return sorted(nodes, key=lambda node: node.name)

    @property
    def gpus_wanted(self) -> int:
        """As ordered; in a cluster that was there before us, as its nodes' labels say by now."""
        if self.order.existing is None:
            return self.order.gpus
        return sum(expectation(node).count for node in self.gpu_nodes())

    @property
    def gpu_pool(self) -> Pool:
        return self.order.sized_pool

    def expected(self, node: Node) -> GpuExpectation:
        """What AWS says that node's type has; in a cluster that was there before us, what the node says itself.

        That of its pool's own type where the node does not tell its type.
        """
        if self.order.existing is not None:
            return expectation(node)
        others = (one for one in self.order.stand_ins if one.instance_type == node.labels.get(LABEL_TYPE))
        return next(others, self.order.expectation(node.labels.get(LABEL_POOL, "")))


class Step(Protocol):
    """One thing that must be true. Steps hold no state: what they remember is in `facts`."""

    kind: str

    def ensure(self, look: Look) -> Outcome:
        """Observe; return Done when the condition holds, else create what is missing and Wait.

        May raise `WorldError`s: Temporary ones are looked at again, Permanent ones fail the step.
        """

    def give_up(self, look: Look) -> Done | Fail:
        """The step's time is over: say why, from what can be seen now; or go on with what is there."""


__all__ = ["Done", "Facts", "Fail", "Look", "Outcome", "Outside", "Step", "Wait"]
