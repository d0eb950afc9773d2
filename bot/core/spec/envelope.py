"""What exactly is approved, and the checks before it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bot.core.spec.catalogue import Distribution, distribution_of
from bot.core.spec.words import Taint
from bot.core.wiring import DIRECT, POD_CIDR, SERVICE_CIDR, Addon, Network


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
    """One preflight check: `state` is ok, no or unknown ("could not check"). An ok with a remedy is a warning.

    `passing`: it is unknown for the moment only, for want of an answer.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""
    passing: bool = False

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


def to_json(value: Any) -> str:
    """A dataclass of this module as JSON, for a column of the store."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True)


@lru_cache(maxsize=2048)
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


def checks_from_json(text: str) -> tuple[Check, ...]:
    """The preflight checks as they were stored (a JSON list)."""
    return tuple(Check(**item) for item in json.loads(text or "[]"))
