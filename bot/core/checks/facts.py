"""The order and every answer about it: what the checks judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from bot.core.capacity.families import Family, family_of, spot_code
from bot.core.capacity.suggest import Offer
from bot.core.cloud import (
    DiskKey,
    Identity,
    Instance,
    InstanceProfile,
    InstanceType,
    MachineImage,
    Quota,
    Reservation,
    Routes,
    SecurityGroup,
    Subnet,
)
from bot.core.costs.ledger import Committed
from bot.core.ports import Permanent, StoredSecret, WorldError
from bot.core.spec import ClusterSpec, Image, PoolSpec, Preset, Target
from bot.core.wiring import DIRECT, Network

T = TypeVar("T")
PROBE_IMAGE = Image("")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What the outside said, or why it did not."""

    value: T | None = None
    error: WorldError | None = None

    def get(self) -> T:
        """The value; raises the `WorldError` that came instead."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


@dataclass(frozen=True)
class Money:
    """What things cost, in US dollars: machines an hour by type, spot ones by zone, disks a GiB-month."""

    machines: Mapping[str, Answer[float]] = field(default_factory=dict)
    spot: Answer[dict[str, float]] = field(default_factory=lambda: Answer({}))
    disk: Answer[float] = field(default_factory=lambda: Answer(0.0))


@dataclass(frozen=True)
class Facts:
    """The order and every answer about it. `zones` by type name, `quotas` by code, `images` by pool; a pool that is
    not among them has `image`.

    `offers` are asked for only where one must be suggested; `trial` is None where nothing could be tried;
    `instance_profile`, `disk_key` and `registry_secret` are None where none is named. `committed` is what the team has
    spent and promised this month, None where nobody counts.
    """

    spec: ClusterSpec
    preset: Preset
    target: Target
    max_gpus: int
    identity: Answer[Identity]
    region: Answer[str]
    credential: Answer[bool]
    kubernetes: Answer[str]
    kubernetes_known: Answer[tuple[str, ...]]
    types: Answer[dict[str, InstanceType]]
    zones: Mapping[str, Answer[tuple[str, ...]]]
    offers: Answer[tuple[Offer, ...]]
    subnets: Answer[tuple[Subnet, ...]]
    routes: Answer[Routes]
    image: Answer[MachineImage]
    security_group: Answer[SecurityGroup | None]
    left_overs: Answer[tuple[Instance, ...]]
    quotas: Mapping[str, Answer[Quota]]
    in_use: Answer[dict[str, int]]
    trial: Answer[bool | None]
    reservations: Answer[tuple[Reservation, ...]]
    scores: Answer[dict[str, int]]
    money: Money
    committed: Committed | None = None
    images: Mapping[str, Answer[MachineImage]] = field(default_factory=dict)
    probe_image: Image = PROBE_IMAGE
    network: Network = DIRECT
    instance_profile: Answer[InstanceProfile | None] = field(default_factory=Answer)
    disk_key: Answer[DiskKey | None] = field(default_factory=Answer)
    registry_secret: Answer[StoredSecret | None] = field(default_factory=Answer)

    @property
    def type_names(self) -> tuple[str, ...]:
        """The distinct types of the preset's pools, in their order."""
        return tuple(dict.fromkeys(pool.instance_type for pool in self.preset.pools))

    def gpu_machine(self) -> InstanceType | None:
        """The type of the GPU pool, None when AWS does not list it."""
        return self.types.get().get(self.preset.gpu_pool.instance_type)

    def machines(self, pool: PoolSpec) -> int:
        """How many machines the pool gets. Raises `Permanent` when its GPUs cannot be counted."""
        if pool.count is not None or not pool.gpu:
            return pool.count or 1
        machine = self.gpu_machine()
        if machine is None or not machine.gpus:
            raise Permanent(f"{pool.instance_type} has no whole GPU that AWS tells of")
        return max(-(-(self.spec.gpus - self.fixed_gpus()) // machine.gpus), 1)

    def fixed_gpus(self) -> int:
        """GPUs of the pools that have a size of their own: the order's number counts them, too."""
        listed = self.types.get()
        return sum(
            (pool.count or 0) * listed[pool.instance_type].gpus
            for pool in self.preset.fixed_gpu_pools
            if pool.instance_type in listed
        )

    def image_of(self, pool: PoolSpec) -> MachineImage:
        """The pool's machine image. Raises the `WorldError` that came instead."""
        return self.images.get(pool.name, self.image).get()

    def placeable(self) -> bool:
        """Whether every type is listed, offered somewhere, and the GPU machines can be counted."""
        machine = self.gpu_machine()
        offered = all(name in self.types.get() and self.zones[name].get() for name in self.type_names)
        return offered and machine is not None and machine.gpus > 0

    def gpu_types(self) -> tuple[str, ...]:
        """The GPU pool's type and those alternatives that could stand in for it: as many GPUs, the same chip."""
        first = self.gpu_machine()
        if first is None:
            return ()
        listed = self.types.get()
        sold = (name for name in self.preset.gpu_pool.alternatives if name in listed and listed[name].on_demand)
        names = (name for name in sold if self.zones[name].get())
        like = (n for n in names if (listed[n].gpus, listed[n].architecture) == (first.gpus, first.architecture))
        return (first.name, *like)

    def vcpus_needed(self) -> dict[Family, int]:
        """What the order would count against each family's on-demand quota."""
        needed: Counter[Family] = Counter()
        for pool in self.preset.pools:
            machine = self.types.get()[pool.instance_type]
            needed[family_of(pool.instance_type)] += 0 if pool.spot else self.machines(pool) * machine.vcpus
        return dict(needed)

    def spot_vcpus_needed(self) -> dict[str, int]:
        """The same for spot machines, by the quota's code."""
        needed: Counter[str] = Counter()
        for pool in self.preset.pools:
            if pool.spot:
                vcpus = self.types.get()[pool.instance_type].vcpus
                needed[spot_code(pool.instance_type)] += self.machines(pool) * vcpus
        return dict(needed)
