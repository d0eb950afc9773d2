"""The adapter against a listening AWS: what it reads, and what it makes of what is not there."""

from __future__ import annotations

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.ports import Permanent

NOBLE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{chip}/hvm/ebs-gp3/ami-id"


def test_identity(cloud, account):
    assert cloud.identity().account == account.account
    assert cloud.identity().arn.startswith("arn:aws:sts::")


def test_an_unknown_type_does_not_hide_the_others(cloud):
    kinds = cloud.instance_types(("p3.2xlarge", "zz.9", "t3.large", "g5g.xlarge"))
    assert set(kinds) == {"p3.2xlarge", "t3.large", "g5g.xlarge"}
    p3 = kinds["p3.2xlarge"]
    assert (p3.gpus, p3.gpu_name, p3.gpu_manufacturer, p3.gpu_memory_mib) == (1, "V100", "NVIDIA", 16384)
    assert (p3.vcpus, p3.memory_mib, p3.architecture) == (8, 61 * 1024, "x86_64")
    assert kinds["t3.large"].gpus == 0
    assert kinds["g5g.xlarge"].architecture == "arm64"


def test_a_name_is_no_pattern(cloud):
    assert cloud.instance_types(("p*",)) == {}


def test_a_share_of_a_gpu_counts_as_none(cloud):
    g6f = cloud.instance_types(("g6f.large",))["g6f.large"]
    assert (g6f.gpus, g6f.gpu_name) == (0, "L4")


def test_gpu_types_are_whole_nvidia_ones_of_the_region(cloud):
    kinds = cloud.gpu_types()
    names = {kind.name for kind in kinds}
    assert {"p3.2xlarge", "g4dn.xlarge", "p5.4xlarge"} <= names
    assert not {"g6f.large", "g4ad.xlarge", "t3.large"} & names
    assert all(kind.gpus and kind.gpu_manufacturer == "NVIDIA" for kind in kinds)
    assert all(cloud.zones_offering(kind.name) for kind in kinds[::10])
    assert cloud.gpu_types() is kinds, "asked for once a process"


def test_gpu_types_of_a_region_that_lacks_some(account):
    paris = {kind.name for kind in Ec2Cloud("eu-west-3").gpu_types()}
    assert "g4dn.xlarge" in paris
    assert "p3.2xlarge" not in paris


def test_zones_that_offer_a_type(cloud):
    assert cloud.zones_offering("p3.2xlarge") == ("us-east-1a", "us-east-1b")
    assert cloud.zones_offering("zz.9") == ()


def test_subnets_of_a_vpc_of_the_default_one_and_by_name(cloud, account):
    everywhere = cloud.subnets(account.vpc, ())
    assert {subnet.id for subnet in everywhere} == set(account.subnets)
    assert cloud.subnets("", ()) == everywhere
    (one,) = cloud.subnets(account.vpc, account.subnets[1:2])
    assert (one.vpc, one.zone) == (account.vpc, "us-east-1b")
    assert one.free_addresses > 4000


def test_a_subnet_that_is_not_there_is_named(cloud, account):
    with pytest.raises(Permanent, match=r"InvalidSubnetID\.NotFound: subnet-0123456789abcdef0"):
        cloud.subnets(account.vpc, (account.subnets[0], "subnet-0123456789abcdef0"))


@pytest.mark.parametrize(("chip", "architecture"), [("amd64", "x86_64"), ("arm64", "arm64")])
def test_an_image_by_parameter_and_by_id(cloud, chip, architecture):
    image = cloud.image(NOBLE.format(chip=chip))
    assert (image.architecture, image.owner, image.deprecated) == (architecture, "099720109477", False)
    assert image.root_gib > 0
    assert "24.04" in image.name
    assert cloud.image(image.id) == image


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("/aws/service/canonical/ubuntu/server/12.04/ami-id", "ParameterNotFound: /aws/service/canonical"),
        ("ami-0123456789abcdef0", r"InvalidAMIID\.NotFound"),
        ("ubuntu", "no AMI id"),
    ],
)
def test_an_image_that_is_not_there(cloud, reference, reason):
    with pytest.raises(Permanent, match=reason):
        cloud.image(reference)


def test_security_group_by_name(cloud, account):
    group = cloud.security_group(account.vpc, account.security_group)
    assert group.id.startswith("sg-")
    assert any(rule.covers("tcp", 9345) and rule.peer == group.id for rule in group.ingress)
    assert [rule.peer for rule in group.ingress if (rule.protocol, rule.low) == ("tcp", 22)] == ["172.31.0.0/16"]
    assert any(rule.covers("tcp", 443) and rule.peer == "0.0.0.0/0" for rule in group.egress)
    assert cloud.security_group("", account.security_group) == group
    assert cloud.security_group(account.vpc, "nobody") is None


def test_instances_by_tag_without_the_terminated(cloud, account):
    ec2 = boto3.client("ec2", region_name=account.region)
    tags = [{"Key": "gpu-cluster/cluster", "Value": "blog"}, {"Key": "Name", "Value": "blog-gpu-x-1"}]
    before = cloud.subnets(account.vpc, account.subnets[:1])[0].free_addresses
    made = ec2.run_instances(
        ImageId=cloud.image(NOBLE.format(chip="amd64")).id,
        InstanceType="p3.2xlarge",
        SubnetId=account.subnets[0],
        MinCount=2,
        MaxCount=2,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    first, second = (item["InstanceId"] for item in made)
    assert cloud.subnets(account.vpc, account.subnets[:1])[0].free_addresses == before - 2
    ec2.terminate_instances(InstanceIds=[first])
    (left,) = cloud.instances("gpu-cluster/cluster", "blog")
    assert (left.id, left.name, left.type, left.zone) == (second, "blog-gpu-x-1", "p3.2xlarge", "us-east-1a")
    assert left.state in {"pending", "running"}
    assert cloud.instances("gpu-cluster/cluster", "other") == ()
