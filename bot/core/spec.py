"""What people ask for, what it resolves to, and what exactly is approved."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.core.wiring import DIRECT, POD_CIDR, SERVICE_CIDR, Addon, Network

# A cluster's name is part of machine and host names, which Rancher builds as cluster-pool-hash-random:
# 30 characters leave room for the rest (rancher/webhook: provisioning.cattle.io/v1/cluster/validator.go).
NAME = re.compile(r"[a-z][a-z0-9-]{0,28}[a-z0-9]")
_RANCHER_OWN_ID = re.compile(r"c-[a-z0-9]{5}")
REASON_MAX = 300
"""Longest reason, in characters; it stands on a card beside everything else."""

MAX_GPUS = 1024
"""More GPUs than this in one order is taken for a slip of the finger whatever the policy says."""

UNVERIFIED_TAINT = "gpu-cluster/unverified"
GPU_TAINT = "nvidia.com/gpu"
GPU_RESOURCE = "nvidia.com/gpu"

LABEL_MANAGED = "gpu-cluster/managed"
LABEL_REQUEST = "gpu-cluster/request"
LABEL_CLUSTER = "gpu-cluster/cluster"
LABEL_POOL = "gpu-cluster/pool"
LABEL_PERSON = "gpu-cluster/person"
LABEL_TYPE = "gpu-cluster/instance-type"
"""The EC2 type: without AWS's cloud provider RKE2 puts its own name into Kubernetes' label for it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what somebody typed: where, what, and what to do about it."""

    field: str
    message: str


class Invalid(Exception):
    """What was asked for cannot be; `problems` says why, one line a field."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(p.message for p in problems))
        self.problems = problems


@dataclass(frozen=True)
class Taint:
    key: str
    value: str
    effect: str = "NoSchedule"


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


@dataclass(frozen=True)
class ClusterSpec:
    """What one person asked for, in their words, after checking. `gpus` in all, `hours` from ready.

    `wait_hours`: for how long AWS is asked again when no place has capacity. `instance_type` of the GPU machines and
    `zone` (the letter only): the only one that will do, '' for whichever preset and target allow.
    """

    name: str
    preset: str
    gpus: int
    hours: int
    reason: str
    team: str
    target: str
    wait_hours: int = 0
    instance_type: str = ""
    zone: str = ""


@dataclass(frozen=True)
class GpuExpectation:
    """What AWS says one machine of the type has; the verdict compares with it. `memory_mib` per GPU.

    An empty name and no memory where nobody was asked: then they are not compared.
    """

    instance_type: str
    name: str
    count: int
    memory_mib: int


@dataclass(frozen=True)
class Existing:
    """A cluster that was there before us, as the survey found it.

    `nodes`: its GPU nodes by name, with how many GPUs each should hand out, None where nobody can tell.
    `taints`: those of its GPU nodes, which the operator must tolerate. `adopted`: its GPU Operator stays as it is.
    `host_driver`: the driver is installed on the machines, so the operator brings none.
    """

    management_id: str
    nodes: tuple[tuple[str, int | None], ...]
    taints: tuple[Taint, ...] = ()
    adopted: bool = False
    host_driver: bool = False


@dataclass(frozen=True)
class Pool:
    """A machine pool as it will be made: counts and disks decided. `zone` is the letter only, as Rancher wants it.

    `spot_price` is the bid in US dollars an hour, '' for machines on demand. `expect` is what a machine of a GPU pool
    has, None where the envelope's own `gpu` holds.
    """

    name: str
    instance_type: str
    count: int
    control_plane: bool
    worker: bool
    gpu: bool
    root_gib: int
    zone: str
    subnet: str
    ami: str
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()
    spot_price: str = ""
    expect: GpuExpectation | None = None


@dataclass(frozen=True)
class Place:
    """Where GPU machines may be: a type, a zone (the letter only) and the subnet there.

    `price_per_hour` of one machine there without its disk, in US dollars; None where it is not known.
    """

    instance_type: str
    zone: str
    subnet: str
    price_per_hour: float | None = None

    def same_as(self, pool: Pool) -> bool:
        """Whether the pool's machines stand there."""
        return (self.instance_type, self.zone, self.subnet) == (pool.instance_type, pool.zone, pool.subnet)


@dataclass(frozen=True)
class Envelope:
    """What exactly is approved. Its hash binds the approval; the engine refuses anything outside it.

    `max_price_per_hour` in US dollars for machines and disks, None where no price is known; `gpu_price_per_hour` is
    the GPU machines' part of it. `places`: types and zones in the order in which they may be tried. `gpus` counts
    those of all GPU pools; `gpu` is what the pool has that the order sizes.
    `existing`: nothing is made, this is what is there. `stand_ins` says what the other types among the places have.
    `wait_hours` as in `ClusterSpec`, `together` as in `Preset`.
    """

    name: str
    team: str
    target: str
    preset: str
    account: str
    region: str
    vpc: str
    cloud_credential: str
    security_group: str
    ssh_user: str
    kubernetes: str
    operator: str
    driver: str
    probe_image: str
    pools: tuple[Pool, ...]
    gpu: GpuExpectation
    gpus: int
    hours: int
    max_price_per_hour: float | None = None
    gpu_price_per_hour: float | None = None
    places: tuple[Place, ...] = ()
    existing: Existing | None = None
    kms_key: str = ""
    private: bool = False
    instance_profile: str = ""
    operator_by: str = "catalog"
    catalog_everywhere: bool = False
    network: Network = DIRECT
    addons: tuple[Addon, ...] = ()
    base: str = ""

    @property
    def distribution(self) -> Distribution:
        return distribution_of(self.kubernetes)

    @property
    def cidrs(self) -> tuple[str, str]:
        """Of pods and services, as the base file has them or by default."""
        config = ((json.loads(self.base or "{}").get("spec") or {}).get("rkeConfig") or {}).get("machineGlobalConfig")
        config = config or {}
        return str(config.get("cluster-cidr") or POD_CIDR), str(config.get("service-cidr") or SERVICE_CIDR)

    @property
    def has_fixed_gpus(self) -> bool:
        """Whether a GPU pool beside the one that the order sizes is part of it."""
        return any(pool.expect is not None for pool in self.gpu_pools)

    @property
    def sized_pool(self) -> Pool:
        """The GPU pool that the order sizes: the one that may move to other places."""
        return next(pool for pool in self.gpu_pools if pool.expect is None)

    def expectation(self, pool: str) -> GpuExpectation:
        """What a machine of that pool should have."""
        return next((p.expect for p in self.pools if p.name == pool and p.expect is not None), self.gpu)

    stand_ins: tuple[GpuExpectation, ...] = ()
    together: bool = False
    wait_hours: int = 0

    @property
    def max_cost(self) -> float | None:
        """US dollars for the whole time that is approved, None where no price is known."""
        if self.max_price_per_hour is None:
            return None
        return self.max_price_per_hour * self.hours + (self.waiting_price_per_hour or 0.0) * self.wait_hours

    @property
    def waiting_price_per_hour(self) -> float | None:
        """US dollars an hour while capacity is waited for, None where no price is known.

        Fixed GPU pools run meanwhile; with any, the whole price counts, which is at most too high.
        """
        if self.max_price_per_hour is None or self.gpu_price_per_hour is None or self.has_fixed_gpus:
            return self.max_price_per_hour
        return self.max_price_per_hour - self.gpu_price_per_hour

    @property
    def gpu_pools(self) -> tuple[Pool, ...]:
        return tuple(pool for pool in self.pools if pool.gpu)

    def digest(self) -> str:
        """SHA-256 over the canonical JSON: equal envelopes, equal digests, on every machine.

        What has come with later releases is left out while it says nothing, so that approvals of older ones hold.
        """
        plain = _without_silence(dataclasses.asdict(self), _SINCE)
        plain["pools"] = [_without_silence(pool, _SINCE_POOL) for pool in plain["pools"]]
        plain["places"] = [_without_silence(place, _SINCE_PLACE) for place in plain["places"]]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


_SINCE = {
    "existing": None,
    "kms_key": "",
    "private": False,
    "instance_profile": "",
    "operator_by": "catalog",
    "catalog_everywhere": False,
    "network": dataclasses.asdict(DIRECT),
    "addons": (),
    "base": "",
    "stand_ins": (),
    "together": False,
    "wait_hours": 0,
}
"""Fields of an envelope that the first release did not have, with what they were then."""

_SINCE_POOL = {"spot_price": "", "expect": None}
_SINCE_PLACE = {"price_per_hour": None}


def _without_silence(plain: dict[str, Any], silent: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key not in silent or value != silent[key]}


@dataclass(frozen=True)
class Check:
    """One preflight check: `state` is ok, no or unknown ("could not check"). An ok with a remedy is a warning."""

    name: str
    state: str
    detail: str
    remedy: str = ""

    @property
    def warns(self) -> bool:
        """Whether all is well, but not with everything."""
        return self.state == "ok" and bool(self.remedy)


@dataclass(frozen=True)
class Choices:
    """What an order of a preset and type could still choose: zones (letters, best first), and by how many GPUs.

    `gpus_each`: what one machine has; `gpus_fixed`: what comes with the preset beside them. 0 where unknown.
    """

    zones: tuple[str, ...] = ()
    gpus_each: int = 0
    gpus_fixed: int = 0


@dataclass(frozen=True)
class Preflight:
    """What preflight found. `envelope` is None when something says no, or when it could not be resolved; `choices` are
    known in either case."""

    checks: tuple[Check, ...] = ()
    envelope: Envelope | None = None
    choices: Choices = Choices()

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.state == "no")


@dataclass(frozen=True)
class Draft:
    """A create as typed or filled in, nothing checked yet; an empty string is a thing not said."""

    name: str = ""
    preset: str = ""
    gpus: str = ""
    hours: str = ""
    reason: str = ""
    problems: tuple[Problem, ...] = field(default=())
    wait: str = ""
    instance_type: str = ""
    zone: str = ""

    @property
    def complete(self) -> bool:
        return all((self.name, self.preset, self.gpus, self.hours, self.reason))


def name_problem(name: str) -> str | None:
    """Why Rancher (or we) would refuse this name, or None."""
    if NAME.fullmatch(name) and name != "local" and not _RANCHER_OWN_ID.fullmatch(name):
        return None
    if name == "local" or _RANCHER_OWN_ID.fullmatch(name):
        return f"“{name}” is a name Rancher keeps for itself; choose another, such as “{name}-gpu”."
    return (
        "A cluster name has 2 to 30 characters: small letters, digits and dashes, first a letter, "
        "last a letter or digit. Example: train-a."
    )


def check_draft(draft: Draft, team: Team, catalogue: Catalogue) -> ClusterSpec:
    """Everything that can be said about a create without asking anybody.

    Raises `Invalid` with every problem at once, so that a person mends them all in one go.
    """
    problems = list(draft.problems)
    if (bad_name := name_problem(draft.name)) is not None:
        problems.append(Problem("name", bad_name))
    preset = _preset(draft.preset, team, catalogue, problems)
    if preset is not None and draft.instance_type and draft.instance_type not in preset.types:
        known = ", ".join(preset.types)
        message = f"Preset {preset.name} is not made of “{draft.instance_type}”; choose one of: {known}."
        problems.append(Problem("type", message))
    zone = _zone(draft.zone, team, catalogue, problems)
    gpus = _whole_number(draft.gpus, "gpus", 1, min(catalogue.policy.max_gpus, MAX_GPUS), "GPUs", problems)
    max_hours = catalogue.policy.max_hours
    if preset is not None and preset.max_hours:
        max_hours = min(max_hours, preset.max_hours)
    hours = _whole_number(draft.hours.removesuffix("h"), "hours", 1, max_hours, "hours", problems)
    wait_hours = _wait_hours(draft.wait, catalogue.policy.max_wait_hours, problems)
    reason = draft.reason.strip()
    if not reason:
        problems.append(Problem("reason", "Say what it is for: a lead reads it before approving."))
    elif len(reason) > REASON_MAX:
        problems.append(Problem("reason", f"The reason is {len(reason)} characters long; {REASON_MAX} at most."))
    if problems:
        raise Invalid(*problems)
    return ClusterSpec(
        draft.name, draft.preset, gpus, hours, reason, team.name, team.targets[0], wait_hours, draft.instance_type, zone
    )


def draft_of(spec: ClusterSpec) -> Draft:
    """What somebody would have to type to ask for the same."""
    wait = f"{spec.wait_hours}h" if spec.wait_hours else ""
    typed = (spec.name, spec.preset, str(spec.gpus), str(spec.hours), spec.reason)
    return Draft(*typed, wait=wait, instance_type=spec.instance_type, zone=spec.zone)


_ZONE = re.compile(r"[a-z]")


def _zone(text: str, team: Team, catalogue: Catalogue, problems: list[Problem]) -> str:
    """The letter of a zone, typed as such or with its region before it. Whether it is there, AWS says later."""
    target = catalogue.targets.get(team.targets[0])
    region = target.region if target is not None else ""
    letter = text.lower().removeprefix(region)
    if not text or _ZONE.fullmatch(letter):
        return letter
    problems.append(Problem("zone", f"“{text}” is no zone of {region}: type its letter, as in {region}a."))
    return ""


def _wait_hours(text: str, most: int, problems: list[Problem]) -> int:
    """`--wait 48h`; nothing said is no waiting."""
    if not text:
        return 0
    if most == 0:
        problems.append(Problem("wait", "Waiting for capacity is switched off (max_wait_hours = 0 under [policy])."))
        return 0
    bare = text.removesuffix("h")
    if bare.isascii() and bare.isdigit() and len(bare) < 10 and 1 <= int(bare) <= most:
        return int(bare)
    message = f"“{text}” will not do: say how many hours to wait for capacity, 1h to {most}h."
    problems.append(Problem("wait", message))
    return 0


def _preset(name: str, team: Team, catalogue: Catalogue, problems: list[Problem]) -> Preset | None:
    allowed = [n for n in catalogue.presets if not team.presets or n in team.presets]
    if name in allowed:
        return catalogue.presets[name]
    known = ", ".join(sorted(allowed))
    close = difflib.get_close_matches(name.lower(), allowed, n=1) if name else []
    meant = f"Did you mean {close[0]}? " if close else ""
    message = f"There is no preset “{name}” for team {team.name}. {meant}" if name else "No preset was chosen. "
    problems.append(Problem("preset", message + f"Choose one of: {known}."))
    return None


def _whole_number(text: str, key: str, low: int, high: int, unit: str, problems: list[Problem]) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    problems.append(Problem(key, f"“{text}” will not do: {unit} must be a whole number from {low} to {high}."))
    return 0


def to_json(value: Any) -> str:
    """A dataclass of this module as JSON, for a column of the store."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True)


def envelope_from_json(text: str) -> Envelope:
    """The envelope as it was stored; raises ValueError or KeyError when it is not one."""
    raw = json.loads(text)
    later = {
        "places": tuple(Place(**place) for place in raw.get("places", [])),
        "addons": tuple(Addon(**addon) for addon in raw.get("addons", [])),
        "network": _network(raw.get("network") or {}),
        "existing": _existing(raw.get("existing")),
        "stand_ins": tuple(GpuExpectation(**other) for other in raw.get("stand_ins", [])),
    }
    pools = tuple(_pool(pool) for pool in raw["pools"])
    return Envelope(**{**raw, **later, "pools": pools, "gpu": GpuExpectation(**raw["gpu"])})


def _pool(raw: dict[str, Any]) -> Pool:
    expect = raw.get("expect")
    return Pool(
        **{
            **raw,
            "labels": tuple((k, v) for k, v in raw["labels"]),
            "taints": tuple(Taint(**t) for t in raw["taints"]),
            "expect": GpuExpectation(**expect) if expect else None,
        }
    )


def _existing(raw: dict[str, Any] | None) -> Existing | None:
    if raw is None:
        return None
    nodes = tuple((name, count) for name, count in raw["nodes"])
    return Existing(**{**raw, "nodes": nodes, "taints": tuple(Taint(**taint) for taint in raw["taints"])})


def _network(raw: dict[str, Any]) -> Network:
    lists = {key: tuple(raw.get(key) or ()) for key in ("no_proxy", "pull_secrets")}
    mirrors = tuple((host, instead) for host, instead in raw.get("mirrors") or ())
    return Network(**{**raw, **lists, "mirrors": mirrors})


def spec_from_json(text: str) -> ClusterSpec:
    """The spec as it was stored."""
    return ClusterSpec(**json.loads(text))


def checks_from_json(text: str) -> tuple[Check, ...]:
    """The preflight checks as they were stored (a JSON list)."""
    return tuple(Check(**item) for item in json.loads(text or "[]"))
