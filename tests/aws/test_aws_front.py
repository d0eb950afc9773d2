"""What stands in front of moto speaks AWS's protocols: boto3 itself reads every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bot.sandbox.aws import AwsStandIn, Reservation
from bot.sandbox.aws.front import Front

ONCE = Config(retries={"total_max_attempts": 1})
PRICE = [{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "g4dn.xlarge"}]


@pytest.fixture
def front(account: AwsStandIn) -> Iterator[Front]:
    """The front, as new again after each test."""
    yield account.front
    account.front.rules.clear()
    account.front.capacity.reservations.clear()
    account.front.quotas.increases.clear()


def client(service: str, region: str = "us-east-1"):
    return boto3.client(service, region_name=region, config=ONCE)


def refusal(ask) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        ask()
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_quota_with_an_increase_under_way(front):
    quotas, code = client("service-quotas"), "L-DB2E81BA"
    front.quotas.increases[code] = (4096.0, "CASE_OPENED")
    told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    assert told["Value"] == front.quotas.values[code]
    (asked,) = quotas.list_requested_service_quota_change_history_by_quota(ServiceCode="ec2", QuotaCode=code)[
        "RequestedQuotas"
    ]
    assert (asked["DesiredValue"], asked["Status"]) == (4096.0, "CASE_OPENED")
    assert refusal(lambda: quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0")) == (
        "NoSuchResourceException",
        400,
    )


def test_a_price_is_json_within_json(front):
    (product,) = client("pricing").get_products(ServiceCode="AmazonEC2", Filters=PRICE)["PriceList"]
    (term,) = json.loads(product)["terms"]["OnDemand"].values()
    (rate,) = term["priceDimensions"].values()
    assert float(rate["pricePerUnit"]["USD"]) == front.prices.on_demand["g4dn.xlarge"]


def test_spot_prices_are_below_on_demand_in_every_zone(front):
    offers = client("ec2").describe_spot_price_history(InstanceTypes=["p5.48xlarge"])["SpotPriceHistory"]
    assert len({offer["AvailabilityZone"] for offer in offers}) > 1
    assert all(0 < float(offer["SpotPrice"]) < front.prices.on_demand["p5.48xlarge"] for offer in offers)


def test_reservations_by_type(front):
    front.capacity.reservations[:] = [Reservation("p5.48xlarge", "us-east-1b", 2, 1)]
    ec2 = client("ec2")

    def held(kind: str):
        wanted = [{"Name": "instance-type", "Values": [kind]}]
        return ec2.describe_capacity_reservations(Filters=wanted)["CapacityReservations"]

    assert [(one["AvailabilityZone"], one["AvailableInstanceCount"]) for one in held("p5.48xlarge")] == [
        ("us-east-1b", 1)
    ]
    assert held("g4dn.xlarge") == []


def test_placement_scores(front):
    front.capacity.scores["use1-az1"] = 7
    scores = client("ec2").get_spot_placement_scores(InstanceTypes=["g4dn.xlarge"], TargetCapacity=1)
    assert [item["Score"] for item in scores["SpotPlacementScores"]] == [7]
    front.capacity.scores.clear()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: client("ec2").describe_vpcs(),
        lambda: client("sts").get_caller_identity(),
        lambda: client("pricing").get_products(ServiceCode="AmazonEC2"),
    ],
    ids=["ec2", "query", "json"],
)
def test_a_refusal_in_each_protocol(front, ask):
    front.refuse("*", "Nope", "not today", status=403)
    assert refusal(ask) == ("Nope", 403)


def test_every_second_call_and_so_many_times(front):
    front.refuse("ec2:DescribeVpcs", "Nope", every=2, times=1)
    answered = []
    for _ in range(6):
        try:
            client("ec2").describe_vpcs()
            answered.append(True)
        except ClientError:
            answered.append(False)
    assert answered == [True, False, True, True, True, True]


def test_no_capacity_in_one_subnet(account, front):
    front.refuse("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, where={"SubnetId": account.subnets[0]})
    ec2 = client("ec2")
    order = {"ImageId": "ami-0a2404d64c7e80003", "InstanceType": "t3.large", "MinCount": 1, "MaxCount": 1}
    assert refusal(lambda: ec2.run_instances(**order, SubnetId=account.subnets[0])) == (
        "InsufficientInstanceCapacity",
        500,
    )
    (made,) = ec2.run_instances(**order, SubnetId=account.subnets[1])["Instances"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_a_region_that_there_is_not(front):
    assert refusal(lambda: client("ec2", "us-east-9").describe_vpcs()) == ("AuthFailure", 401)


def test_calls_are_counted_by_their_iam_names(front):
    front.calls.clear()
    client("ec2").describe_vpcs()
    assert front.calls == {"ec2:DescribeVpcs": 1}
