"""What people ask for, what it resolves to, and what exactly is approved."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

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
    """

    name: str
    instance_type: str
    count: int | None = None
    control_plane: bool = False
    worker: bool = False
    gpu: bool = False
    root_gib: int = 60
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """A named kind of cluster. `kubernetes` empty: Rancher's default RKE2; `driver` empty: the chart's own.

    `together`: all GPU machines of one type in one zone, or none.
    """

    name: str
    description: str
    pools: tuple[PoolSpec, ...]
    kubernetes: str = ""
    operator: str = "v26.7.0"
    driver: str = ""
    ami: str = ""
    max_hours: int = 0
    together: bool = False

    @property
    def gpu_pool(self) -> PoolSpec:
        return next(pool for pool in self.pools if pool.gpu)


@dataclass(frozen=True)
class Target:
    """Where clusters are made: a Rancher, its cloud credential, a region and a network of one AWS account.

    `regions`: others in which a type may be suggested when this one lacks it.
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


@dataclass(frozen=True)
class Team:
    """Who belongs together. Slack user ids; `lead_group` is a Slack user group id; `channels` empty: any allowed.

    `budget_per_month` in US dollars a calendar month (UTC), None for no limit.
    """

    name: str
    leads: tuple[str, ...] = ()
    lead_group: str = ""
    members: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("default",)
    budget_per_month: float | None = None


@dataclass(frozen=True)
class Policy:
    """The limits that hold for everybody. `approval_hours`: hours after which an undecided request lapses.

    `approvals` are needed, but none while what the team has committed this month, this request included, stays
    below `no_approval_below`, and two once it is above `two_approvals_above` (US dollars; None: never).

    A place has refused after `tries_per_place` refusals a machine, or after `place_minutes` with at least one.
    `max_wait_hours`: longest `--wait`, 0 for none.
    """

    max_hours: int = 72
    max_gpus: int = 64
    approvals: int = 1
    approval_hours: int = 24
    no_approval_below: float = 0.0
    two_approvals_above: float | None = None
    tries_per_place: int = 3
    place_minutes: int = 15
    max_wait_hours: int = 48


@dataclass(frozen=True)
class Image:
    """The container image of the probe, by digest; `pull_secrets` exist in the namespace in which it runs.

    `level` is how long the probe looks: quick, standard or burn.
    """

    reference: str
    pull_secrets: tuple[str, ...] = ()
    level: str = "quick"


@dataclass(frozen=True)
class Catalogue:
    """Everything the configuration names, by name."""

    teams: dict[str, Team]
    targets: dict[str, Target]
    presets: dict[str, Preset]
    policy: Policy
    probe_image: Image

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

    `wait_hours`: for how long AWS is asked again when no place has capacity.
    """

    name: str
    preset: str
    gpus: int
    hours: int
    reason: str
    team: str
    target: str
    wait_hours: int = 0


@dataclass(frozen=True)
class Pool:
    """A machine pool as it will be made: counts and disks decided. `zone` is the letter only, as Rancher wants it."""

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


@dataclass(frozen=True)
class Place:
    """Where GPU machines may be: a type, a zone (the letter only) and the subnet there."""

    instance_type: str
    zone: str
    subnet: str


@dataclass(frozen=True)
class GpuExpectation:
    """What AWS says one machine of the type has; the verdict compares with it. `memory_mib` per GPU.

    An empty name and no memory where nobody was asked: then they are not compared.
    """

    instance_type: str
    name: str
    count: int
    memory_mib: int


_LATER = frozenset({"stand_ins", "together", "wait_hours"})
"""Fields that older releases did not know: empty, they leave the hash as it was, so that an approval outlives an
upgrade."""


@dataclass(frozen=True)
class Envelope:
    """What exactly is approved. Its hash binds the approval; the engine refuses anything outside it.

    `max_price_per_hour` in US dollars for machines and disks, None where no price is known; `gpu_price_per_hour` is
    the GPU machines' part of it. `places`: types and zones in the order in which they may be tried; `stand_ins` says
    what the other types among them have. `wait_hours` as in `ClusterSpec`, `together` as in `Preset`.
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
        """US dollars an hour while no GPU machine runs, None where no price is known."""
        if self.max_price_per_hour is None or self.gpu_price_per_hour is None:
            return self.max_price_per_hour
        return self.max_price_per_hour - self.gpu_price_per_hour

    @property
    def gpu_pools(self) -> tuple[Pool, ...]:
        return tuple(pool for pool in self.pools if pool.gpu)

    def digest(self) -> str:
        """SHA-256 over the canonical JSON: equal envelopes, equal digests, on every machine."""
        content = {k: v for k, v in dataclasses.asdict(self).items() if v or k not in _LATER}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Check:
    """One preflight check: `state` is ok, no or unknown ("could not check")."""

    name: str
    state: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Preflight:
    """What preflight found. `envelope` is None when something says no, or when it could not be resolved."""

    checks: tuple[Check, ...] = ()
    envelope: Envelope | None = None

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
    return ClusterSpec(draft.name, draft.preset, gpus, hours, reason, team.name, team.targets[0], wait_hours)


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
    message = f"There is no preset “{name}” for team {team.name}. " if name else "No preset was chosen. "
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
    pools = tuple(
        Pool(
            **{
                **pool,
                "labels": tuple((k, v) for k, v in pool["labels"]),
                "taints": tuple(Taint(**t) for t in pool["taints"]),
            }
        )
        for pool in raw["pools"]
    )
    places = tuple(Place(**place) for place in raw.get("places", []))
    others = tuple(GpuExpectation(**other) for other in raw.get("stand_ins", []))
    known = {"pools": pools, "gpu": GpuExpectation(**raw["gpu"]), "places": places, "stand_ins": others}
    return Envelope(**{**raw, **known})


def spec_from_json(text: str) -> ClusterSpec:
    """The spec as it was stored."""
    return ClusterSpec(**json.loads(text))


def checks_from_json(text: str) -> tuple[Check, ...]:
    """The preflight checks as they were stored (a JSON list)."""
    return tuple(Check(**item) for item in json.loads(text or "[]"))
