"""What is wrong in the configuration or in the account: one line each that says what to do, and nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.checks.questions import UBUNTU
from bot.core.checks.refusal import in_one_line
from bot.core.spec import PoolSpec, Preflight
from bot.sandbox.aws import Reservation
from bot.sandbox.aws.front import Front
from tests.core.account import POOLS, PRESETS, World

READS = ("Describe", "Get", "List")


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    """The account's front, as new again after each test."""
    front = world.account.front
    quotas = dict(front.quotas.values)
    front.calls.clear()
    yield front
    front.rules.clear()
    front.capacity.reservations.clear()
    front.quotas.values = quotas
    front.quotas.increases.clear()


def refused(world: World, front: Front, preset: str = "blog", **options: object) -> tuple[str, str]:
    """Reason and remedy, when the order came to nothing and nothing was made."""
    found: Preflight = world.ask(preset, **options)
    assert found.envelope is None
    assert all(call.partition(":")[2].startswith(READS) or call == "ec2:RunInstances" for call in front.calls)
    machines = boto3.client("ec2", region_name=world.account.region)
    front.rules.clear()
    assert machines.describe_instances()["Reservations"] == [], "a dry run at most"
    reason, remedy = in_one_line(found)
    assert "\n" not in reason + remedy
    assert remedy
    return reason, remedy


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch):
    """Put another GPU type into the preset."""

    def change(**gpu: object) -> None:
        pool: PoolSpec = replace(POOLS[2], **gpu)
        monkeypatch.setitem(PRESETS, "blog", replace(PRESETS["blog"], pools=(*POOLS[:2], pool)))

    return change


def test_a_region_that_there_is_not(world, front):
    world.cloud, world.target = Ec2Cloud("us-east-9"), {"region": "us-east-9"}
    reason, remedy = refused(world, front)
    assert reason == "AWS has no region us-east-9."
    assert "Correct region" in remedy


def test_a_region_that_is_not_opted_in(world, front):
    world.cloud, world.target = Ec2Cloud("ap-east-2"), {"region": "ap-east-2"}
    reason, remedy = refused(world, front)
    assert reason == "The account has not opted in to ap-east-2."
    assert "enable-region" in remedy


def test_a_type_that_there_is_not(world, front, preset):
    preset(instance_type="p5.5xlarge")
    reason, remedy = refused(world, front)
    assert "AWS lists no p5.5xlarge in us-east-1" in reason
    assert "p5.4xlarge" in remedy


def test_an_image_for_another_chip(world, front):
    world.target = {"ami": UBUNTU.replace("amd64", "arm64")}
    assert "is for arm64, t3.xlarge is x86_64" in refused(world, front)[0]


def test_a_subnet_of_another_vpc(world, front):
    ec2 = boto3.client("ec2", region_name=world.account.region)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    front.calls.clear()
    world.target = {"subnets": (subnet,)}
    reason, remedy = refused(world, front)
    assert f"1 subnets, not all of them in {world.account.vpc}" in reason
    assert "vpc and subnets in the target" in remedy
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_a_full_subnet(world, front):
    ec2 = boto3.client("ec2", region_name=world.account.region)
    small = ec2.create_subnet(VpcId=world.account.vpc, CidrBlock="172.31.255.240/28", AvailabilityZone="us-east-1a")
    subnet = small["Subnet"]["SubnetId"]
    front.calls.clear()
    world.target = {"subnets": (subnet,)}
    reason, remedy = refused(world, front, gpus=12)
    assert "11 free addresses, 14 are needed" in reason
    assert "larger subnet" in remedy
    ec2.delete_subnet(SubnetId=subnet)


def test_expired_keys(world, front):
    front.refuse("*", "ExpiredToken", "The security token included in the request is expired", status=403)
    reason, remedy = refused(world, front)
    assert "ExpiredToken" in reason
    assert "renew its credentials" in remedy


def test_keys_of_another_account(world, front):
    world.target = {"account": "210987654321"}
    reason, remedy = refused(world, front)
    assert reason == "The bot's keys belong to AWS account 123456789012, target default to 210987654321."
    assert "Give the bot keys of that account" in remedy


def test_throttled_for_a_minute(world, front):
    front.throttle()
    reason, remedy = refused(world, front)
    assert "RequestLimitExceeded" in reason
    assert "asked again more slowly" in remedy
    assert world.ask().envelope is not None, "once it is over"


def test_half_of_the_calls_denied(world, front):
    front.refuse("ec2:Describe*", "UnauthorizedOperation", "You are not authorized.", status=403, every=2)
    front.refuse("s*:*", "AccessDeniedException", "You are not authorized.", every=2)
    reason, remedy = refused(world, front)
    assert "could not check: AWS answered " in reason, "which half it is goes by the order of the calls"
    assert "manifests/iam/bot.json" in remedy or "must allow " in remedy


def test_what_may_not_be_asked_and_is_not_needed_does_not_stand_in_the_way(world, front):
    for calls in (
        "servicequotas:*",
        "pricing:*",
        "ec2:DescribeCapacityReservations",
        "ec2:GetSpot*",
        "ec2:RunInstances",
    ):
        front.refuse(calls, "UnauthorizedOperation", "You are not authorized.", status=403)
    world.cloud = Ec2Cloud(world.account.region)
    found = world.ask()
    assert found.refusals == ()
    assert found.envelope is not None
    assert found.envelope.max_price_per_hour is None
    unknown = {check.name for check in found.checks if check.state == "unknown"}
    assert unknown == {"quota Standard", "quota P", "permission", "capacity", "price"}


def test_over_quota_the_other_families_are_suggested(world, front):
    front.quotas.values["L-417A185B"] = 4.0
    front.quotas.increases["L-417A185B"] = (64.0, "CASE_OPENED")
    reason, remedy = refused(world, front)
    assert "8 vCPUs needed, 0 of 4 in use; an increase to 64 has been asked for" in reason
    assert remedy.startswith("Wait for the increase")
    assert "g4dn.xlarge (1 × T4 with 16 GiB, $0.53 an hour)" in remedy


@pytest.mark.parametrize("account", [False], indirect=True)
def test_another_region_of_the_target_is_suggested_too(world, front):
    world.target = {"regions": ("us-west-2",)}
    for family in ("L-DB2E81BA", "L-417A185B"):
        front.quotas.values[family] = 0.0
    reason, _ = refused(world, front)
    assert "g4dn.xlarge (1 × T4 with 16 GiB, $0.53 an hour) in us-west-2" in reason


def test_a_reservation_decides_the_zone_and_places_are_in_order(world, front):
    front.capacity.reservations[:] = [Reservation("p3.2xlarge", "us-east-1b", 1, 1)]
    envelope = world.ask().envelope
    assert envelope is not None
    assert envelope.gpu_pools[0].zone == "b"
    assert [(place.instance_type, place.zone) for place in envelope.places] == [
        ("p3.2xlarge", "b"),
        ("p3.2xlarge", "a"),
    ]


def test_the_whole_price_is_part_of_what_is_approved(world, front):
    envelope = world.ask().envelope
    disks = (60 + 60 + 120) * front.prices.gp3_gib_month / 730
    assert envelope is not None
    assert envelope.max_price_per_hour == pytest.approx(2 * 0.1664 + 3.06 + disks)
    assert envelope.gpu_price_per_hour == pytest.approx(3.06)


def test_prices_are_asked_for_once_a_day(world, front):
    world.ask()
    front.calls.clear()
    world.ask()
    assert front.calls["pricing:GetProducts"] == 0
    assert front.calls["ec2:DescribeSubnets"] == 1
