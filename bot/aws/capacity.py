"""Hints at capacity, and the dry run. Nothing that AWS offers promises that a machine will start."""

from __future__ import annotations

from botocore.exceptions import ClientError

from bot.aws.clients import Clients, where
from bot.aws.errors import from_code, translated
from bot.core.cloud import Reservation, Trial

_WOULD_HAVE = "DryRunOperation"


def reservations(clients: Clients, name: str) -> tuple[Reservation, ...]:
    """Active capacity reservations of the type with machines left."""
    wanted = [where("instance-type", name), where("state", "active")]
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_capacity_reservations").paginate(Filters=wanted)
        return tuple(
            Reservation(
                id=item["CapacityReservationId"],
                zone=item["AvailabilityZone"],
                free=item["AvailableInstanceCount"],
                open=item.get("InstanceMatchCriteria") == "open",
            )
            for page in pages
            for item in page["CapacityReservations"]
            if item["AvailableInstanceCount"] > 0
        )


def placement_scores(clients: Clients, name: str, count: int) -> dict[str, int]:
    """1 to 10 by zone id; AWS scores a single type lower than a choice of three or more."""
    with translated("ec2"):
        answer = clients.ec2.get_spot_placement_scores(
            InstanceTypes=[name],
            TargetCapacity=count,
            TargetCapacityUnitType="units",
            SingleAvailabilityZone=True,
            RegionNames=[clients.region],
        )
    return {item["AvailabilityZoneId"]: item["Score"] for item in answer["SpotPlacementScores"]}


def allowed_to_start(clients: Clients, trial: Trial) -> bool:
    """A dry run of RunInstances; False when AWS answers as if it had started one."""
    try:
        clients.ec2.run_instances(
            DryRun=True,
            ImageId=trial.image,
            InstanceType=trial.instance_type,  # type: ignore[arg-type]  # AWS has newer types than the stubs
            SubnetId=trial.subnet,
            SecurityGroupIds=[trial.security_group],
            MinCount=1,
            MaxCount=1,
        )
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == _WOULD_HAVE:
            return True
        raise from_code(error, "ec2") from error
    return False
