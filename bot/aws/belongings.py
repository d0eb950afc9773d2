"""What a target names beside machines and networks: the IAM instance profile, and the KMS key of the disks."""

from __future__ import annotations

from bot.aws.clients import Clients
from bot.aws.errors import translated
from bot.core.cloud import DiskKey, InstanceProfile


def instance_profile(clients: Clients, name: str) -> InstanceProfile:
    """The profile of that name. Raises `Permanent` when there is none."""
    with translated("iam"):
        found = clients.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    return InstanceProfile(found["Arn"], tuple(role["RoleName"] for role in found["Roles"]))


def disk_key(clients: Clients, arn: str) -> DiskKey:
    """The key of that ARN, an alias resolved. Raises `Permanent` when this region has none."""
    with translated("kms"):
        found = clients.kms.describe_key(KeyId=arn)["KeyMetadata"]
    return DiskKey(
        arn=found["Arn"],
        account=found.get("AWSAccountId", ""),
        state=found.get("KeyState", ""),
        spec=found.get("KeySpec", ""),
        usage=found.get("KeyUsage", ""),
    )
