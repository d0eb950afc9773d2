"""EC2, STS and Systems Manager of one region, read only: the core's `Cloud` on boto3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING

from boto3.session import Session
from botocore.config import Config

from bot.aws.errors import NAME_REGION, translated
from bot.core.ports import Identity, Instance, InstanceType, MachineImage, Permanent, Subnet

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef, InstanceTypeInfoTypeDef, SubnetTypeDef

_NOT_TERMINATED = ("pending", "running", "shutting-down", "stopping", "stopped")
_AMI_ID = re.compile(r"ami-[0-9a-f]{8,17}")

# AWS has no filter for "has GPUs"; every NVIDIA type's name starts with one of these (EC2 instance type families).
_GPU_FAMILIES = ("g*", "p*")


def _config(region: str) -> Config:
    """Time-outs so short that a look stays short; three attempts in all, as botocore's standard mode does them."""
    return Config(
        region_name=region,
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=25,
        user_agent_extra=f"gpu-cluster/{version('gpu-cluster')}",
    )


class Ec2Cloud:
    """One region of one AWS account; thread safe, one set of clients for all threads.

    Credentials and endpoints come from the environment as in every AWS tool. Every method raises the core's
    `Temporary`, `Permanent` or `Refused` with AWS's own words in the reason; so does making one, when no region
    is named or a named profile is missing.
    """

    def __init__(self, region: str) -> None:
        if not region:
            raise Permanent("The target names no AWS region.", NAME_REGION)
        with translated("sts"):
            session, config = Session(), _config(region)
            self._ec2 = session.client("ec2", config=config)
            self._ssm = session.client("ssm", config=config)
            self._sts = session.client("sts", config=config)
        self.region = region
        self._gpu_types: tuple[InstanceType, ...] = ()
        self._gpu_types_lock = Lock()

    def identity(self) -> Identity:
        with translated("sts"):
            caller = self._sts.get_caller_identity()
        return Identity(caller["Account"], caller["Arn"])

    def instance_types(self, names: tuple[str, ...]) -> dict[str, InstanceType]:
        # By filter: asked by name, one that AWS does not know would hide the others (InvalidInstanceType).
        return {kind.name: kind for kind in self._types(names) if kind.name in names}

    def gpu_types(self) -> tuple[InstanceType, ...]:
        with self._gpu_types_lock:
            if not self._gpu_types:
                nvidia = [k for k in self._types(_GPU_FAMILIES) if k.gpus and k.gpu_manufacturer == "NVIDIA"]
                here = self._offered_here([kind.name for kind in nvidia])
                self._gpu_types = tuple(sorted((k for k in nvidia if k.name in here), key=lambda k: k.name))
            return self._gpu_types

    def _types(self, patterns: tuple[str, ...]) -> Iterator[InstanceType]:
        with translated("ec2"):
            pages = self._ec2.get_paginator("describe_instance_types").paginate(
                Filters=[_filter("instance-type", *patterns)]
            )
            for page in pages:
                yield from map(_instance_type, page["InstanceTypes"])

    def _offered_here(self, names: list[str]) -> frozenset[str]:
        if not names:
            return frozenset()
        with translated("ec2"):
            pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="region", Filters=[_filter("instance-type", *names)]
            )
            return frozenset(offer["InstanceType"] for page in pages for offer in page["InstanceTypeOfferings"])

    def zones_offering(self, name: str) -> tuple[str, ...]:
        with translated("ec2"):
            pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone", Filters=[_filter("instance-type", name)]
            )
            return tuple(sorted(offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"]))

    def subnets(self, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
        where = [_filter("subnet-id", *ids)] if ids else [_filter("vpc-id", vpc or self._default_vpc())]
        with translated("ec2"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(Filters=where)
            found = tuple(_subnet(item) for page in pages for item in page["Subnets"])
        if missing := sorted(set(ids) - {subnet.id for subnet in found}):
            raise Permanent(
                f"InvalidSubnetID.NotFound: {', '.join(missing)} not in {self.region}",
                "Correct subnets in the target, or its region.",
            )
        return found

    def _default_vpc(self) -> str:
        with translated("ec2"):
            vpcs = self._ec2.describe_vpcs(Filters=[_filter("is-default", "true")])["Vpcs"]
        if not vpcs:
            raise Permanent(f"The account has no default VPC in {self.region}.", "Name a vpc in the target.")
        return vpcs[0]["VpcId"]

    def image(self, reference: str) -> MachineImage:
        ami = self._parameter(reference) if reference.startswith("/") else reference
        if not _AMI_ID.fullmatch(ami):
            raise Permanent(f"“{ami}” is no AMI id.", "Give an AMI as ami-… or as an SSM parameter (/aws/…).")
        with translated("ec2"):
            images = self._ec2.describe_images(ImageIds=[ami], IncludeDeprecated=True)["Images"]
        if not images:
            raise Permanent(f"InvalidAMIID.NotFound: {ami} not in {self.region}", "An AMI belongs to one region.")
        if (state := images[0]["State"]) != "available":
            raise Permanent(f"InvalidAMIID.Unavailable: {ami} is {state}", "Choose an AMI that is available.")
        return _image(images[0])

    def _parameter(self, name: str) -> str:
        try:
            with translated("ssm"):
                return self._ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except Permanent as error:
            if "ParameterNotFound" not in error.reason:
                raise
            remedy = "Correct the name; Canonical publishes some releases under ebs-gp2, others under ebs-gp3."
            raise Permanent(f"ParameterNotFound: {name} in {self.region}", remedy) from error

    def security_group_id(self, vpc: str, name: str) -> str | None:
        where = [_filter("group-name", name), _filter("vpc-id", vpc or self._default_vpc())]
        with translated("ec2"):
            groups = self._ec2.describe_security_groups(Filters=where)["SecurityGroups"]
        return groups[0]["GroupId"] if groups else None

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        where = [_filter(f"tag:{tag}", value), _filter("instance-state-name", *_NOT_TERMINATED)]
        with translated("ec2"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=where)
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


def _filter(name: str, *values: str) -> FilterTypeDef:
    return {"Name": name, "Values": list(values)}


def _instance_type(item: InstanceTypeInfoTypeDef) -> InstanceType:
    """`gpus` counts whole GPUs: a type with a share of one (g6f, gr6f) says Count 0."""
    architectures = item["ProcessorInfo"]["SupportedArchitectures"]
    gpu = next(iter(item.get("GpuInfo", {}).get("Gpus", [])), None)
    kind = InstanceType(
        name=item["InstanceType"],
        vcpus=item["VCpuInfo"]["DefaultVCpus"],
        memory_mib=item["MemoryInfo"]["SizeInMiB"],
        architecture="arm64" if "arm64" in architectures else "x86_64",
    )
    if gpu is None:
        return kind
    return replace(
        kind,
        gpus=gpu.get("Count", 0),
        gpu_name=gpu.get("Name", ""),
        gpu_manufacturer=gpu.get("Manufacturer", ""),
        gpu_memory_mib=gpu.get("MemoryInfo", {}).get("SizeInMiB", 0),
    )


def _subnet(item: SubnetTypeDef) -> Subnet:
    return Subnet(item["SubnetId"], item["VpcId"], item["AvailabilityZone"], item["AvailableIpAddressCount"])


def _image(item: ImageTypeDef) -> MachineImage:
    sizes = (
        disk.get("Ebs", {}).get("VolumeSize", 0)
        for disk in item.get("BlockDeviceMappings", [])
        if disk.get("DeviceName") == item.get("RootDeviceName")
    )
    deprecated_at = item.get("DeprecationTime")
    return MachineImage(
        id=item["ImageId"],
        name=item.get("Name", ""),
        architecture=item["Architecture"],
        owner=item["OwnerId"],
        root_gib=next(sizes, 0),
        deprecated=deprecated_at is not None and datetime.fromisoformat(deprecated_at) <= datetime.now(UTC),
    )
