"""Machine images, by id or by the SSM parameter under which their maker publishes the newest."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.aws.clients import Clients
from bot.aws.errors import translated
from bot.core.cloud import MachineImage
from bot.core.ports import Permanent

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef

_AMI_ID = re.compile(r"ami-[0-9a-f]{8,17}")


def image(clients: Clients, reference: str) -> MachineImage:
    """By AMI id or parameter name. Raises `Permanent` when it is not there or not available."""
    ami = _parameter(clients, reference) if reference.startswith("/") else reference
    if not _AMI_ID.fullmatch(ami):
        raise Permanent(f"“{ami}” is no AMI id.", "Give an AMI as ami-… or as an SSM parameter (/aws/…).")
    with translated("ec2"):
        images = clients.ec2.describe_images(ImageIds=[ami], IncludeDeprecated=True)["Images"]
    if not images:
        raise Permanent(f"InvalidAMIID.NotFound: {ami} not in {clients.region}", "An AMI belongs to one region.")
    if (state := images[0]["State"]) != "available":
        raise Permanent(f"InvalidAMIID.Unavailable: {ami} is {state}", "Choose an AMI that is available.")
    if (root := images[0].get("RootDeviceType", "ebs")) != "ebs":
        raise Permanent(f"{ami} starts from {root}; Rancher's driver makes an EBS disk.", "Choose an EBS-backed AMI.")
    if images[0].get("EnaSupport") is False:
        raise Permanent(f"{ami} has no ENA support, without which current types do not start.", "Choose a newer AMI.")
    return _image(images[0])


def _parameter(clients: Clients, name: str) -> str:
    try:
        with translated("ssm"):
            return clients.ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except Permanent as error:
        if "ParameterNotFound" not in error.reason:
            raise
        remedy = "Correct the name; Canonical publishes some releases under ebs-gp2, others under ebs-gp3."
        raise Permanent(f"ParameterNotFound: {name} in {clients.region}", remedy) from error


def _image(item: ImageTypeDef) -> MachineImage:
    sizes = (
        disk.get("Ebs", {}).get("VolumeSize", 0)
        for disk in item.get("BlockDeviceMappings", [])
        if disk.get("DeviceName") == item.get("RootDeviceName")
    )
    deprecated_at, created = item.get("DeprecationTime"), item.get("CreationDate")
    return MachineImage(
        id=item["ImageId"],
        name=item.get("Name", ""),
        architecture=item["Architecture"],
        owner=item["OwnerId"],
        root_gib=next(sizes, 0),
        deprecated=deprecated_at is not None and datetime.fromisoformat(deprecated_at) <= datetime.now(UTC),
        created_at=datetime.fromisoformat(created).timestamp() if created else 0.0,
    )
