"""One region of one AWS account, read only: the core's `Cloud` on boto3. Each idea has a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from bot.aws import announcements, belongings, capacity, images, kinds, network, prices, quotas
from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.cloud import (
    Announcement,
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
    Trial,
)

_NOT_TERMINATED = ("pending", "running", "shutting-down", "stopping", "stopped")


class Ec2Cloud:
    """One region of one AWS account; thread safe, one set of clients for all threads.

    Credentials and endpoints come from the environment as in every AWS tool. Every method raises the core's
    `Temporary`, `Permanent` or `Refused` with AWS's own words in the reason; so does making one, when no region
    is named or a named profile is missing. `made` makes the cloud of another region.
    """

    def __init__(self, region: str, made: Callable[[str], Ec2Cloud] | None = None) -> None:
        self._clients = Clients(region)
        self._elsewhere = made or Ec2Cloud
        self._prices: prices.Kept[float] = prices.Kept()
        self._spot: prices.Kept[dict[str, float]] = prices.Kept()
        self._gpu_types: tuple[InstanceType, ...] = ()
        self._gpu_types_lock = Lock()
        self.region = region

    def elsewhere(self, region: str) -> Ec2Cloud:
        return self._elsewhere(region)

    # --- the account --------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        with translated("sts"):
            caller = self._clients.sts.get_caller_identity()
        return Identity(caller["Account"], caller["Arn"])

    def region_status(self) -> str:
        with translated("ec2"):
            found = self._clients.somewhere.describe_regions(
                AllRegions=True, Filters=[where("region-name", self.region)]
            )["Regions"]
        return next((item["OptInStatus"] for item in found if item["RegionName"] == self.region), "")

    def quota(self, code: str) -> Quota:
        return quotas.quota(self._clients, code)

    def vcpus_in_use(self) -> dict[str, int]:
        return quotas.vcpus_in_use(self._clients)

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        wanted = [where(f"tag:{tag}", value), where("instance-state-name", *_NOT_TERMINATED)]
        with translated("ec2"):
            pages = self._clients.ec2.get_paginator("describe_instances").paginate(Filters=wanted)
            return tuple(
                Instance(
                    id=item["InstanceId"],
                    name=next((tag["Value"] for tag in item.get("Tags", []) if tag["Key"] == "Name"), ""),
                    type=item["InstanceType"],
                    state=item["State"]["Name"],
                    zone=item["Placement"]["AvailabilityZone"],
                )
                for page in pages
                for reservation in page["Reservations"]
                for item in reservation["Instances"]
            )

    def announcements(self) -> tuple[Announcement, ...]:
        return announcements.announcements(self._clients)

    # --- machines -----------------------------------------------------------------------------------------

    def instance_types(self, names: tuple[str, ...]) -> dict[str, InstanceType]:
        return {kind.name: kind for kind in kinds.listed(self._clients, names) if kind.name in names}

    def gpu_types(self) -> tuple[InstanceType, ...]:
        with self._gpu_types_lock:
            if not self._gpu_types:
                self._gpu_types = kinds.with_gpus(self._clients)
            return self._gpu_types

    def zones_offering(self, name: str) -> tuple[str, ...]:
        return kinds.zones_offering(self._clients, name)

    def image(self, reference: str) -> MachineImage:
        return images.image(self._clients, reference)

    def allowed_to_start(self, trial: Trial) -> bool:
        return capacity.allowed_to_start(self._clients, trial)

    def reservations(self, name: str) -> tuple[Reservation, ...]:
        return capacity.reservations(self._clients, name)

    def placement_scores(self, name: str, count: int) -> dict[str, int]:
        return capacity.placement_scores(self._clients, name, count)

    # --- the network --------------------------------------------------------------------------------------

    def subnets(self, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
        return network.subnets(self._clients, vpc, ids)

    def routes(self, vpc: str) -> Routes:
        return network.routes(self._clients, vpc)

    def security_group(self, vpc: str, name: str) -> SecurityGroup | None:
        return network.security_group(self._clients, vpc, name)

    # --- what else a target names ------------------------------------------------------------------------

    def instance_profile(self, name: str) -> InstanceProfile:
        return belongings.instance_profile(self._clients, name)

    def disk_key(self, arn: str) -> DiskKey:
        return belongings.disk_key(self._clients, arn)

    # --- money --------------------------------------------------------------------------------------------

    def on_demand_price(self, name: str) -> float:
        return self._prices.get(name, lambda: prices.on_demand(self._clients, name))

    def spot_prices(self, name: str) -> dict[str, float]:
        return self._spot.get(name, lambda: prices.spot(self._clients, name))

    def disk_price(self) -> float:
        return self._prices.get("gp3", lambda: prices.gp3(self._clients))
