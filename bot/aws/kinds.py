"""Instance types: what they have, and where they are offered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.cloud import InstanceType

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeInfoTypeDef

# AWS has no filter for "has GPUs"; every NVIDIA type's name starts with one of these (EC2 instance type families).
_GPU_FAMILIES = ("g*", "p*")


def listed(clients: Clients, patterns: tuple[str, ...]) -> Iterator[InstanceType]:
    """The types that AWS lists in the region, by name or pattern.

    By filter: asked by name, one that AWS does not know would hide the others (InvalidInstanceType).
    """
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_instance_types").paginate(
            Filters=[where("instance-type", *patterns)]
        )
        for page in pages:
            yield from map(_instance_type, page["InstanceTypes"])


def with_gpus(clients: Clients) -> tuple[InstanceType, ...]:
    """Types with whole NVIDIA GPUs that the region offers, by name."""
    nvidia = [kind for kind in listed(clients, _GPU_FAMILIES) if kind.gpus and kind.gpu_manufacturer == "NVIDIA"]
    here = _offered(clients, "region", *(kind.name for kind in nvidia))
    return tuple(sorted((kind for kind in nvidia if (kind.name, clients.region) in here), key=lambda kind: kind.name))


def zones_offering(clients: Clients, name: str) -> tuple[str, ...]:
    """Availability zones by name, sorted."""
    return tuple(sorted(zone for _, zone in _offered(clients, "availability-zone", name)))


def _offered(clients: Clients, scope: str, *names: str) -> frozenset[tuple[str, str]]:
    """Pairs of type and place."""
    if not names:
        return frozenset()
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_instance_type_offerings").paginate(
            LocationType="region" if scope == "region" else "availability-zone",
            Filters=[where("instance-type", *names)],
        )
        return frozenset(
            (offer["InstanceType"], offer["Location"]) for page in pages for offer in page["InstanceTypeOfferings"]
        )


def _instance_type(item: InstanceTypeInfoTypeDef) -> InstanceType:
    """`gpus` counts whole GPUs: a type with a share of one (g6f, gr6f) says Count 0."""
    architectures = item["ProcessorInfo"]["SupportedArchitectures"]
    gpu = next(iter(item.get("GpuInfo", {}).get("Gpus", [])), None)
    kind = InstanceType(
        name=item["InstanceType"],
        vcpus=item["VCpuInfo"]["DefaultVCpus"],
        memory_mib=item["MemoryInfo"]["SizeInMiB"],
        architecture="arm64" if "arm64" in architectures else "x86_64",
        on_demand="on-demand" in item.get("SupportedUsageClasses", ["on-demand"]),
        spot="spot" in item.get("SupportedUsageClasses", ["spot"]),
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
