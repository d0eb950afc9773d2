"""What EC2 says will befall machines, by their tags, and nothing that is over."""

from __future__ import annotations

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.ports import Refused
from bot.core.spec import LABEL_CLUSTER
from bot.sandbox.aws import AwsStandIn


@pytest.fixture
def machine(account: AwsStandIn) -> str:
    ec2 = boto3.client("ec2", region_name=account.region)
    tags = [{"Key": "Name", "Value": "train-gpu-1"}, {"Key": LABEL_CLUSTER, "Value": "train"}]
    made = ec2.run_instances(
        ImageId="ami-0a2404d64c7e80003", InstanceType="t3.large", MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )  # fmt: skip
    return made["Instances"][0]["InstanceId"]


def test_announcements(account: AwsStandIn, machine: str) -> None:
    cloud, front = Ec2Cloud(account.region), account.front
    front.calls.clear()
    assert cloud.announcements() == ()
    assert sum(front.calls.values()) == 2, "nothing more is asked where nothing is announced"

    front.announced.announce(machine, "instance-retirement", account.region)
    front.announced.announce("i-0forgotten", "instance-terminated-no-capacity", account.region)
    front.announced.announce(machine, "instance-retirement", "eu-west-1")
    retired, forgotten = sorted(cloud.announcements(), key=lambda a: a.name, reverse=True)
    assert (retired.instance, retired.name, retired.cluster) == (machine, "train-gpu-1", "train")
    assert retired.code == "instance-retirement"
    assert retired.due_at == 4_070_908_800.0, "the event that comes, not the one that is over"
    assert (forgotten.name, forgotten.cluster) == ("", "")

    assert (retired.event, forgotten.event) == ("instance-event-instance-retirement-0", "")

    front.announced.announce(machine, "instance-reboot", account.region)
    front.announced.announce(machine, "marked-for-termination", account.region)
    of_it = [a for a in cloud.announcements() if a.instance == machine]
    assert [a.code for a in of_it] == ["marked-for-termination", "instance-retirement", "instance-reboot"]
    assert len({a.event for a in of_it}) == 3, "each has a name of its own"


def test_who_may_not_ask_is_told_the_right(account: AwsStandIn) -> None:
    said = "You are not authorized to perform: ec2:DescribeInstanceStatus"
    account.front.refuse("ec2:DescribeInstanceStatus", "UnauthorizedOperation", said, status=403, times=1)
    with pytest.raises(Refused) as refused:
        Ec2Cloud(account.region).announcements()
    assert "ec2:DescribeInstanceStatus" in refused.value.remedy
