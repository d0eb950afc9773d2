"""An instance profile and a key of the disks, in an account that has them and in one that says no."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.cloud import DiskKey
from bot.core.ports import Permanent, Refused


@pytest.fixture
def profile(account) -> Iterator[str]:
    """A profile without a role."""
    iam = boto3.client("iam", region_name=account.region)
    iam.create_instance_profile(InstanceProfileName="storage")
    yield "storage"
    iam.delete_instance_profile(InstanceProfileName="storage")


def test_a_profile_and_its_roles(cloud, account, profile):
    iam = boto3.client("iam", region_name=account.region)
    found = cloud.instance_profile(profile)
    assert (found.arn.rpartition("/")[2], found.roles) == ("storage", ())
    iam.create_role(RoleName="ebs", AssumeRolePolicyDocument="{}")
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName="ebs")
    try:
        assert cloud.instance_profile(profile).roles == ("ebs",)
    finally:
        iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName="ebs")
        iam.delete_role(RoleName="ebs")


def test_a_profile_that_is_not_there(cloud):
    with pytest.raises(Permanent, match="NoSuchEntity") as error:
        cloud.instance_profile("nobody")
    assert "instance_profile" in error.value.remedy


def test_a_key_by_arn_and_by_alias(cloud, account):
    kms = boto3.client("kms", region_name=account.region)
    arn = kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    whole = DiskKey(arn, account.account, "Enabled", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    assert cloud.disk_key(arn) == whole
    kms.create_alias(AliasName="alias/disks", TargetKeyId=arn)
    assert cloud.disk_key(f"arn:aws:kms:{account.region}:{account.account}:alias/disks") == whole
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    assert cloud.disk_key(arn).state == "Disabled"
    kms.delete_alias(AliasName="alias/disks")


def test_a_key_that_is_not_there(cloud, account):
    with pytest.raises(Permanent, match="NotFoundException") as error:
        cloud.disk_key(f"arn:aws:kms:{account.region}:{account.account}:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    assert "kms_key" in error.value.remedy


@pytest.mark.parametrize(
    ("call", "action", "body"),
    [
        (
            lambda cloud: cloud.instance_profile("nodes"),
            "iam:GetInstanceProfile",
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>",
        ),
        (
            lambda cloud: cloud.disk_key("arn:aws:kms:us-east-1:1:key/2"),
            "kms:DescribeKey",
            '{"__type":"AccessDeniedException","message":"m"}',
        ),
    ],
)
def test_what_the_bot_may_not_see_names_the_action(aws_says, call, action, body):
    aws_says((403, body))
    with pytest.raises(Refused) as refused:
        call(Ec2Cloud("us-east-1"))
    assert action in refused.value.remedy
