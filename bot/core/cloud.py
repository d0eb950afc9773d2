"""The seam to AWS: what the core asks of one region of one account, and the values that cross.

Everything is read only. Money is in US dollars, sizes in MiB and GiB as the names say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Identity:
    account: str
    arn: str


@dataclass(frozen=True)
class InstanceType:
    """From DescribeInstanceTypes. `gpu_memory_mib` per GPU; `architecture` is x86_64 or arm64.

    `on_demand` is False for types that are sold in capacity blocks only, `spot` for those that are not sold as spot.
    """

    name: str
    vcpus: int
    memory_mib: int
    architecture: str
    gpus: int = 0
    gpu_name: str = ""
    gpu_manufacturer: str = ""
    gpu_memory_mib: int = 0
    on_demand: bool = True
    spot: bool = True


@dataclass(frozen=True)
class Subnet:
    """`zone` by name (us-east-1a), `zone_id` the same in every account (use1-az4)."""

    id: str
    vpc: str
    zone: str
    free_addresses: int
    zone_id: str = ""


@dataclass(frozen=True)
class Routes:
    """Where a VPC's subnets send what is for the world: the default route's target (igw-…, nat-…, tgw-…), '' for none.

    `main` holds for every subnet that is not in `by_subnet`. `dns` whether the VPC resolves names.
    """

    main: str
    by_subnet: Mapping[str, str] = field(default_factory=dict)
    dns: bool = True

    def out_of(self, subnet: str) -> str:
        """The way out of that subnet, '' for none."""
        return self.by_subnet.get(subnet, self.main)


@dataclass(frozen=True)
class Opening:
    """One rule of a security group. `protocol` tcp, udp, … or -1 for all; `peer` a CIDR block, sg-… or pl-…."""

    protocol: str
    low: int
    high: int
    peer: str

    def covers(self, protocol: str, port: int) -> bool:
        """Whether that port is open by this rule."""
        return self.protocol == "-1" or (self.protocol == protocol and self.low <= port <= self.high)


@dataclass(frozen=True)
class SecurityGroup:
    id: str
    ingress: tuple[Opening, ...]
    egress: tuple[Opening, ...]


@dataclass(frozen=True)
class MachineImage:
    """`root_gib` is the size of its root snapshot in GiB, `created_at` in Unix seconds; 0 where unknown."""

    id: str
    name: str
    architecture: str
    owner: str
    root_gib: int
    deprecated: bool
    created_at: float = 0.0


@dataclass(frozen=True)
class Instance:
    """`state` in EC2's words: pending, running, stopping, stopped, shutting-down (terminated ones are not listed)."""

    id: str
    name: str
    type: str
    state: str
    zone: str


@dataclass(frozen=True)
class Announcement:
    """What EC2 itself says will befall a machine, or has: a spot request's status or an event of its maintenance.

    `code` in EC2's words (marked-for-termination, instance-retirement, …), `due_at` Unix seconds, None where it is not
    said. `name` and `cluster` are the machine's tags Name and gpu-cluster/cluster, '' for what has none. `event` is
    EC2's id of an event, '' for the end of a spot request, of which a machine has one.
    """

    instance: str
    name: str
    cluster: str
    code: str
    due_at: float | None = None
    event: str = ""


@dataclass(frozen=True)
class Quota:
    """A limit in vCPUs. `pending` the value that an open request to raise it asks for, None without one."""

    code: str
    limit: float
    pending: float | None = None


@dataclass(frozen=True)
class Trial:
    """A machine that RunInstances is asked about without starting it."""

    instance_type: str
    image: str
    subnet: str
    security_group: str


@dataclass(frozen=True)
class Reservation:
    """A capacity reservation with `free` machines left. Only an `open` one is used by whoever starts a machine."""

    id: str
    zone: str
    free: int
    open: bool


@dataclass(frozen=True)
class InstanceProfile:
    """An IAM instance profile, and the names of its roles: IAM allows one, and none is of no use."""

    arn: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class DiskKey:
    """A KMS key in KMS's words: `state` Enabled, Disabled, PendingDeletion, …; `spec` SYMMETRIC_DEFAULT, …; `usage`
    ENCRYPT_DECRYPT, …. `arn` is that of the key itself, also where an alias was asked for."""

    arn: str
    account: str
    state: str
    spec: str
    usage: str


class Cloud(Protocol):
    """EC2 and its friends in one region, read only. `Permanent` when it is not there, `Refused` when denied."""

    region: str

    def elsewhere(self, region: str) -> Cloud:
        """The same account in another region."""

    def identity(self) -> Identity: ...
    def region_status(self) -> str:
        """opt-in-not-required, opted-in or not-opted-in; '' when AWS knows no such region."""

    def instance_types(self, names: tuple[str, ...]) -> dict[str, InstanceType]:
        """Those of `names` that AWS lists in this region; unknown and withdrawn ones are simply missing."""

    def gpu_types(self) -> tuple[InstanceType, ...]:
        """Every listed type with whole NVIDIA GPUs in this region (cached for the process)."""

    def zones_offering(self, name: str) -> tuple[str, ...]:
        """Availability zones (eu-west-1a, …) that offer the type, sorted."""

    def subnets(self, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
        """The subnets named, or all of the VPC (the account's default VPC where `vpc` is empty)."""

    def routes(self, vpc: str) -> Routes:
        """The ways out of a VPC."""

    def security_group(self, vpc: str, name: str) -> SecurityGroup | None: ...
    def image(self, reference: str) -> MachineImage:
        """By AMI id, or by SSM parameter name (starts with /)."""

    def instance_profile(self, name: str) -> InstanceProfile:
        """The IAM instance profile of that name."""

    def disk_key(self, arn: str) -> DiskKey:
        """The KMS key of that ARN, which may be an alias's."""

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        """Instances with that tag that are not terminated."""

    def announcements(self) -> tuple[Announcement, ...]:
        """What EC2 has announced for any machine in the region; two calls, a third only where there is something."""

    def quota(self, code: str) -> Quota:
        """An EC2 quota by its code (L-…)."""

    def vcpus_in_use(self) -> dict[str, int]:
        """vCPUs of all on-demand instances that are pending or running, by instance type."""

    def allowed_to_start(self, trial: Trial) -> bool:
        """Whether RunInstances would take this, by a dry run: rights and parameters, neither quota nor capacity.

        Raises `Refused` when the bot's own identity may not.
        """

    def reservations(self, name: str) -> tuple[Reservation, ...]:
        """Active capacity reservations of the type that have machines left."""

    def placement_scores(self, name: str, count: int) -> dict[str, int]:
        """How likely spot machines are, 1 to 10, by zone id."""

    def on_demand_price(self, name: str) -> float:
        """Dollars an hour for a Linux machine (cached for a day)."""

    def spot_prices(self, name: str) -> dict[str, float]:
        """Dollars an hour by zone, as of now (cached for a day)."""

    def disk_price(self) -> float:
        """Dollars a GiB-month of gp3 (cached for a day)."""
