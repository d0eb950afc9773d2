"""Rancher, as the core needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bot.core.cloud import Cloud as Cloud
from bot.core.cloud import Identity as Identity
from bot.core.cloud import Instance as Instance
from bot.core.cloud import InstanceType as InstanceType
from bot.core.cloud import MachineImage as MachineImage
from bot.core.cloud import Subnet as Subnet
from bot.core.spec import Distribution, Envelope, Pool
from bot.core.wiring import DIRECT, Network


@dataclass(frozen=True)
class RancherAbout:
    """`token_expires_at` in Unix seconds, None when it does not expire or is not told."""

    version: str
    user_id: str
    token_expires_at: float | None


@dataclass(frozen=True)
class RightView:
    """Whether the bot may do something in Rancher. `what` is a resource, `purpose` what it is needed for; `state` is
    ok, no or unknown, `missing` those of `verbs` that are not granted, `why` says where, or why nobody knows."""

    what: str
    verbs: tuple[str, ...]
    purpose: str
    state: str
    missing: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class MachineView:
    """A machine as Rancher sees it. `failure` holds AWS's words where the creation failed, '' otherwise, `undeleted`
    those where the removal has failed.

    `created` says the EC2 instance runs (infrastructure ready); `node` is the Kubernetes node's name once joined.
    """

    name: str
    uid: str
    pool: str
    phase: str
    created: bool
    node: str
    failure: str
    message: str
    undeleted: str = ""


@dataclass(frozen=True)
class ClusterView:
    """The provisioning cluster with its machines, from one snapshot. Conditions absent are None, not False.

    `stalled`: why Rancher says that it cannot go on (condition Stalled), '' while it does not say so.
    """

    name: str
    request_label: str
    management_id: str
    deleting: bool
    ready: bool
    updated: bool | None
    observed: bool
    connected: bool | None
    state: str
    transitioning: bool
    error: bool
    message: str
    machines: tuple[MachineView, ...]
    stalled: str = ""

    def pool(self, name: str) -> tuple[MachineView, ...]:
        """The machines of one pool."""
        return tuple(machine for machine in self.machines if machine.pool == name)


@dataclass(frozen=True)
class RepoView:
    """A cluster repo: `ready` when its index has been downloaded; `message` says why not."""

    ready: bool
    message: str
    request_label: str


@dataclass(frozen=True)
class AppView:
    """An installed Helm release: `status` in Helm's words (deployed, failed, pending-install, …)."""

    status: str
    version: str
    revision: int


@dataclass(frozen=True)
class Release:
    """A Helm release of some chart, wherever it is."""

    name: str
    namespace: str
    chart: str
    version: str
    status: str


@dataclass(frozen=True)
class ChartOrder:
    """What to install: an exact version, and values as Helm takes them."""

    repo: str
    chart: str
    version: str
    release: str
    namespace: str
    project: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class StoredSecret:
    """A Kubernetes Secret, without what is in it: its type, and the names of its keys."""

    type: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class News:
    """`names` of the clusters that have changed; there can be no more before `look_in` world seconds have gone by."""

    names: frozenset[str] = frozenset()
    look_in: float = 0.0


class Rancher(Protocol):
    """Rancher's management API, and the catalog API of downstream clusters. Every method may raise `WorldError`s."""

    def about(self) -> RancherAbout: ...
    def rights(self, management_id: str) -> tuple[RightView, ...]:
        """What the bot needs in Rancher, and whether it has it. `management_id`: of a cluster of its own; '' leaves out
        what comes with one."""

    def kubernetes_versions(self, distribution: Distribution = "rke2") -> tuple[str, ...]:
        """Versions that this Rancher can install, oldest first; empty when it cannot tell (air gap)."""

    def default_kubernetes(self, distribution: Distribution = "rke2") -> str:
        """The version Rancher would choose, with its leading v; '' when unknown."""

    def has_credential(self, credential: str) -> bool:
        """Whether the cloud credential (cattle-global-data:cc-…) exists and is visible to us."""

    def secret(self, name: str) -> StoredSecret | None:
        """A Secret of fleet-default; None when it is not there, `Refused` when we may not see."""

    def ensure_machine_config(self, envelope: Envelope, pool: Pool, request_id: str) -> None:
        """Create the pool's Amazonec2Config or find it there; raises `Foreign` when it is another's."""

    def ensure_cluster(self, envelope: Envelope, request_id: str) -> None:
        """Create the provisioning cluster or find it there; raises `Foreign` when it is another's."""

    def observe(self, name: str, *, newer_than: float) -> ClusterView | None:
        """The cluster from a snapshot whose request started after `newer_than` (real time).

        None when it is not there, which is believed only from a GET by id. Raises `Unread` while the snapshot is older
        than `newer_than` and too young to be made anew.
        """

    def changed(self) -> News:
        """The clusters that look otherwise in Rancher than when this was asked last; all, the first time."""

    def size_pools(self, envelope: Envelope, pools: tuple[Pool, ...], request_id: str) -> None:
        """Give pools their `count` and let them work where they were held, all in one change; places that the cluster
        lacks are added, with a machine config of their own first, of the request that made the cluster.

        Raises `Permanent` where a pool would come to more machines than the envelope has, in all its places, or where
        the cluster has no such pool.
        """

    def trim_pools(self, name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        """Lower each pool of the cluster to at most what `most` says, those that it does not name to 0; raise none.
        Rancher makes refused machines anew for ever: this is what stops it. Returns what was too large, in words."""

    def mark_machine(self, machine: str) -> None:
        """When its pool shrinks, this machine goes first; nothing happens when it is gone."""

    def remove_machine(self, machine: str) -> None:
        """Have it removed; Rancher makes another, as its pool keeps its size. Nothing happens when it is gone."""

    def delete_cluster(self, name: str, request_ids: tuple[str, ...]) -> None:
        """Ask for its removal; nothing happens when it is gone or already going.
        Raises `Foreign` when its request label is none of `request_ids`."""

    def management_cluster_gone(self, management_id: str) -> bool: ...
    def system_project(self, management_id: str) -> str | None:
        """The id (c-m-…:p-…) of the System project, None while it does not exist yet."""

    def ensure_repo(
        self, management_id: str, name: str, url: str, request_id: str, network: Network = DIRECT
    ) -> RepoView:
        """Create the cluster repo or look at it; a failed download is asked for again. It trusts the network's CA."""

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]: ...
    def install_chart(self, management_id: str, order: ChartOrder) -> str:
        """Start install-or-upgrade; returns the operation's name. The verdict comes from `app`."""

    def operation_log(self, management_id: str, namespace: str, operation: str) -> str:
        """The last lines of Helm's own output; '' when it is gone."""

    def app(self, management_id: str, namespace: str, release: str) -> AppView | None: ...
    def releases(self, management_id: str) -> tuple[Release, ...]:
        """Every Helm release in that cluster."""

    def has_role(self, role: str) -> bool:
        """Whether a role of that id exists and is visible to us."""

    def bind_role(self, management_id: str, principal: str, role: str, *, person: str = "") -> None:
        """Give a Rancher principal a role in that cluster; nothing happens when it has it.

        `person` is the Slack id by which `unbind` finds it again, '' for a group.
        """

    def unbind(self, management_id: str, person: str) -> None:
        """Take away every role that `bind_role` gave to that person in that cluster, to everybody where `person` is
        ''; others' gifts stay."""

    def let_tokens_through(self, management_id: str, *, may_change: bool) -> None:
        """See to it that Rancher's proxy takes tokens of that cluster's own service accounts.

        Raises `Permanent` where it does not and may not be changed, `Refused` where the bot has no right to.
        """
