"""What whoever runs the bot has configured: presets, targets, teams, policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bot.core.spec.words import Taint
from bot.core.wiring import DIRECT, Addon, Network


@dataclass(frozen=True)
class PoolSpec:
    """A machine pool as a preset describes it. `root_gib` in GiB; `count` None for the pool sized by the order.

    `alternatives`: types that may be taken in this order where the first has no capacity; approved with it.
    `ami` empty: that of preset or target for the type's architecture. `spot` machines can be taken back by EC2.
    """

    name: str
    instance_type: str
    count: int | None = None
    control_plane: bool = False
    worker: bool = False
    gpu: bool = False
    root_gib: int = 60
    alternatives: tuple[str, ...] = ()
    ami: str = ""
    spot: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()


Distribution = Literal["rke2", "k3s"]


def distribution_of(version: str) -> Distribution:
    """By the version string, as Rancher decides it (rancher/rancher: pkg/capr/common.go GetRuntime)."""
    return "k3s" if "k3s" in version else "rke2"


@dataclass(frozen=True)
class Preset:
    """A named kind of cluster. `kubernetes` empty: Rancher's default of the distribution; `driver`: the chart's own.

    `operator_by` is catalog (Rancher's Apps) or manifest (a HelmChart in the cluster's additionalManifest). `base` is
    an exported cluster, see `bot.core.base`, '' without one. `addons` are charts that the cluster comes with.
    """

    name: str
    description: str
    pools: tuple[PoolSpec, ...]
    kubernetes: str = ""
    operator: str = "v26.7.0"
    driver: str = ""
    ami: str = ""
    max_hours: int = 0
    ami_arm64: str = ""
    distribution: Distribution = "rke2"
    operator_by: str = "catalog"
    base: str = ""
    addons: tuple[Addon, ...] = ()
    together: bool = False

    @property
    def gpu_pool(self) -> PoolSpec:
        """The GPU pool that the order sizes."""
        return next(pool for pool in self.pools if pool.gpu and pool.count is None)

    @property
    def types(self) -> tuple[str, ...]:
        """The types that the GPU pool may be made of, in the order in which they are tried; empty without one."""
        sized = next((pool for pool in self.pools if pool.gpu and pool.count is None), None)
        return () if sized is None else (sized.instance_type, *sized.alternatives)

    def of_type(self, instance_type: str) -> Preset:
        """The same with GPU machines of that type only; with '' as it is."""
        if not instance_type:
            return self
        sized = self.gpu_pool
        only = dataclasses.replace(sized, instance_type=instance_type, alternatives=())
        return dataclasses.replace(self, pools=tuple(only if pool is sized else pool for pool in self.pools))

    @property
    def fixed_gpu_pools(self) -> tuple[PoolSpec, ...]:
        """GPU pools with a size of their own."""
        return tuple(pool for pool in self.pools if pool.gpu and pool.count is not None)


@dataclass(frozen=True)
class Target:
    """Where clusters are made: a Rancher, its cloud credential, a region and a network of one AWS account.

    `regions`: others in which a type may be suggested when this one lacks it. `kms_key` encrypts the disks ('': the
    account's own key); `private` machines get no public address; `instance_profile` is an IAM instance profile's name.
    """

    name: str
    cloud_credential: str
    region: str
    vpc: str = ""
    subnets: tuple[str, ...] = ()
    security_group: str = ""
    ami: str = ""
    account: str = ""
    ssh_user: str = "ubuntu"
    regions: tuple[str, ...] = ()
    ami_arm64: str = ""
    kms_key: str = ""
    private: bool = False
    instance_profile: str = ""


@dataclass(frozen=True)
class Team:
    """Who belongs together. Slack user ids; `lead_group` is a Slack user group id; `channels` empty: any allowed.

    `budget_per_month` in US dollars a calendar month (UTC), None for no limit. `rancher_group`: the principal of the
    team's group in Rancher.
    """

    name: str
    leads: tuple[str, ...] = ()
    lead_group: str = ""
    members: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("default",)
    budget_per_month: float | None = None
    rancher_group: str = ""


@dataclass(frozen=True)
class Policy:
    """The limits that hold for everybody. `approval_hours`: hours after which an undecided request lapses.

    `extend_free_hours`: hours that may be added to one cluster in all without approval. `failed_hours`: hours
    after which a failed cluster is deleted, 0 for never; `keep_hours`: how much longer *Keep* lets it stay.
    `approvals` are needed, but none while what the team has committed this month, this request included, stays
    below `no_approval_below`, and two once it is above `two_approvals_above` (US dollars; None: never).
    `verify_every_hours`: idle GPUs of clusters in use are measured again so often; 0: only when somebody asks.

    A place has refused after `tries_per_place` refusals a machine, or after `place_minutes` with at least one.
    `max_wait_hours`: longest `--wait`, 0 for none.
    """

    max_hours: int = 72
    max_gpus: int = 64
    approvals: int = 1
    approval_hours: int = 24
    no_approval_below: float = 0.0
    two_approvals_above: float | None = None
    catalog_everywhere: bool = False
    verify_every_hours: int = 24
    extend_free_hours: int = 0
    failed_hours: int = 24
    keep_hours: int = 168

    @property
    def by_cost(self) -> bool:
        """Whether the number of approvals depends on what the team has committed."""
        return self.no_approval_below > 0 or self.two_approvals_above is not None

    tries_per_place: int = 3
    place_minutes: int = 15
    max_wait_hours: int = 48


@dataclass(frozen=True)
class Image:
    """The container image of the probe, by digest; `pull_secrets` exist in the namespace in which it runs.

    `level` is how long the probe looks: quick, standard or burn. `architectures` of the image: amd64, arm64.
    `vector_add` is the image of NVIDIA's sample, '' where it is not wanted; `dcgm_level` DCGM's run level, 0 for none,
    and `dcgm` its image.
    """

    reference: str
    pull_secrets: tuple[str, ...] = ()
    level: str = "quick"
    architectures: tuple[str, ...] = ("amd64", "arm64")
    vector_add: str = ""
    dcgm: str = ""
    dcgm_level: int = 0


@dataclass(frozen=True)
class AccessPolicy:
    """How people get in. `principals`: Rancher principals by Slack user id.

    `tokens`: whether people without one get a token of a service account, by way of Rancher's proxy (`rancher`), by
    the cluster's own endpoint (`cluster`), or not at all (`off`); good for `token_hours`.
    """

    principals: Mapping[str, str] = field(default_factory=dict)
    tokens: str = "rancher"
    token_hours: int = 8


@dataclass(frozen=True)
class EnablePolicy:
    """Which clusters of Rancher that are there already may be enabled: the team that owns each, by its name.

    `operator` is the version that is installed where there is none.
    """

    clusters: Mapping[str, str] = field(default_factory=dict)
    operator: str = "v26.7.0"


@dataclass(frozen=True)
class Catalogue:
    """Everything the configuration names, by name."""

    teams: dict[str, Team]
    targets: dict[str, Target]
    presets: dict[str, Preset]
    policy: Policy
    probe_image: Image
    access: AccessPolicy = AccessPolicy()
    enable: EnablePolicy = EnablePolicy()
    network: Network = DIRECT

    @property
    def regions(self) -> tuple[str, ...]:
        """Where clusters are or may be suggested, sorted."""
        return tuple(sorted({one for target in self.targets.values() for one in (target.region, *target.regions)}))

    def team_of(self, user: str, channel: str) -> Team:
        """The team a person asks for: the one that lists them, else the one that owns the channel, else `default`."""
        for team in self.teams.values():
            if user in team.members or user in team.leads:
                return team
        for team in self.teams.values():
            if channel in team.channels:
                return team
        return self.teams.get("default") or next(iter(self.teams.values()))
