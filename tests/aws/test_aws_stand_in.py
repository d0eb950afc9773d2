"""The stand-in refuses what AWS refuses, and has what AWS has and moto lacks."""

from __future__ import annotations

import subprocess
import sys

import boto3
import pytest
from botocore.exceptions import ClientError

from bot.sandbox.aws import AwsStandIn

NOBLE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"


@pytest.fixture
def ec2(account: AwsStandIn):
    return boto3.client("ec2", region_name=account.region)


@pytest.fixture
def ssm(account: AwsStandIn):
    return boto3.client("ssm", region_name=account.region)


@pytest.mark.parametrize("release", ["22.04", "24.04"])
@pytest.mark.parametrize(("chip", "architecture"), [("amd64", "x86_64"), ("arm64", "arm64")])
def test_canonicals_parameters_lead_to_canonicals_images(ec2, ssm, release, chip, architecture):
    name = f"/aws/service/canonical/ubuntu/server/{release}/stable/current/{chip}/hvm/ebs-gp3/ami-id"
    ami = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    (image,) = ec2.describe_images(ImageIds=[ami])["Images"]
    assert image["Architecture"] == architecture
    assert image["OwnerId"] == "099720109477"
    assert image["RootDeviceName"] == "/dev/sda1"
    assert release in image["Name"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"InstanceType": "zz.9"}, "InvalidInstanceType"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
    ],
)
def test_a_machine_of_unknown_parts_is_refused(account, ec2, ssm, changed, code):
    ami = ssm.get_parameter(Name=NOBLE)["Parameter"]["Value"]
    order = {"ImageId": ami, "InstanceType": "t3.large", "SubnetId": account.subnets[0], "MinCount": 1, "MaxCount": 1}
    with pytest.raises(ClientError) as refused:
        ec2.run_instances(**{**order, **changed})
    assert refused.value.response["Error"]["Code"].startswith(code)


def test_the_p3_family_is_listed_and_offered_in_two_zones(ec2):
    kinds = ec2.describe_instance_types(InstanceTypes=["p3.2xlarge", "p3.8xlarge", "p3.16xlarge"])["InstanceTypes"]
    gpus = {kind["InstanceType"]: kind["GpuInfo"]["Gpus"][0] for kind in kinds}
    assert {name: gpu["Count"] for name, gpu in gpus.items()} == {"p3.2xlarge": 1, "p3.8xlarge": 4, "p3.16xlarge": 8}
    assert {gpu["Name"] for gpu in gpus.values()} == {"V100"}
    offers = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["p3.2xlarge"]}]
    )["InstanceTypeOfferings"]
    assert len(offers) == 2


def test_the_network_is_ready_for_a_cluster(account, ec2):
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [account.security_group]}])[
        "SecurityGroups"
    ]
    assert group["VpcId"] == account.vpc
    sources = [source["CidrIp"] for rule in group["IpPermissions"] for source in rule["IpRanges"]]
    assert sources
    assert "0.0.0.0/0" not in sources
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    assert any(r["DestinationCidrBlock"] == "0.0.0.0/0" and r["GatewayId"].startswith("igw-") for r in table["Routes"])
    zones = [net["AvailabilityZone"] for net in ec2.describe_subnets(SubnetIds=list(account.subnets))["Subnets"]]
    assert len(zones) == len(set(zones)) > 2


def test_requests_are_not_logged(account, capfd):
    boto3.client("sts", region_name=account.region).get_caller_identity()
    assert capfd.readouterr() == ("", "")


def test_a_second_one_in_the_same_process_is_refused(account):
    with pytest.raises(RuntimeError, match="one account a process"):
        AwsStandIn().start()


def test_one_in_another_process_is_another_account(account, ec2):
    """Both listen at once, and what is made in one is not in the other."""
    ec2.create_key_pair(KeyName="only-here")
    script = """
import boto3
from bot.sandbox.aws import AwsStandIn
other = AwsStandIn(p3=False)
ec2 = boto3.client("ec2", region_name=other.region, endpoint_url=other.start())
kinds = ec2.describe_instance_types(Filters=[{"Name": "instance-type", "Values": ["p3.2xlarge"]}])["InstanceTypes"]
print(len(ec2.describe_key_pairs()["KeyPairs"]), len(kinds))
other.stop()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "0"]
