"""Each policy against the calls that the code makes, as the account counted them: no fewer rights, and no more."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.aws.sweep import Sweep
from bot.core.cloud import Trial
from bot.core.orphans import Thing
from bot.core.ports import WorldError
from bot.core.spec import LABEL_MANAGED
from bot.sandbox.aws import AwsStandIn
from bot.sandbox.aws.front import Front
from bot.sandbox.world.rancher.ec2 import Ec2 as Driver
from bot.settings import example_config

NOBLE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
IAM_NAME = {"tagging": "tag"}
"""Where IAM's prefix is not the name that requests are signed for."""


@pytest.fixture
def front(account: AwsStandIn) -> Iterator[Front]:
    account.front.calls.clear()
    yield account.front
    account.front.rules.clear()


def policy(name: str) -> list[dict[str, Any]]:
    return json.loads((resources.files("manifests") / "iam" / f"{name}.json").read_text())["Statement"]


def actions(statements: list[dict[str, Any]]) -> list[str]:
    return [a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]


def made(front: Front) -> set[str]:
    """The calls that were made, by IAM's names."""
    return {f"{IAM_NAME.get(service, service)}:{operation}" for service, _, operation in map(_split, front.calls)}


def _split(call: str) -> tuple[str, str, str]:
    return call.partition(":")


def machine(account: AwsStandIn, **tags: str) -> str:
    ec2 = boto3.client("ec2", region_name=account.region)
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}] if tags else []
    run = ec2.run_instances(
        ImageId=Ec2Cloud(account.region).image(NOBLE).id, InstanceType="t3.large", MinCount=1, MaxCount=1,
        TagSpecifications=tagged,
    )  # fmt: skip
    return run["Instances"][0]["InstanceId"]


def everything(account: AwsStandIn) -> None:
    """Every question that the core's `Cloud` and the sweep can ask."""
    cloud = Ec2Cloud(account.region)
    cloud.identity(), cloud.region_status(), cloud.vcpus_in_use()
    cloud.instance_types(("t3.large",)), cloud.gpu_types(), cloud.zones_offering("t3.large")
    cloud.subnets("", ()), cloud.routes(account.vpc), cloud.image(NOBLE)
    group = cloud.security_group(account.vpc, account.security_group)
    assert group is not None
    cloud.instances(LABEL_MANAGED, "true"), cloud.reservations("t3.large"), cloud.placement_scores("t3.large", 1)
    cloud.on_demand_price("t3.large"), cloud.spot_prices("t3.large"), cloud.disk_price()
    cloud.announcements()
    cloud.quota("L-1216C47A")
    account.front.refuse("servicequotas:GetServiceQuota", "NoSuchResourceException", times=1)
    cloud.quota("L-1216C47A")
    assert cloud.allowed_to_start(Trial("t3.large", cloud.image(NOBLE).id, account.subnets[0], group.id))
    cloud.instance_profile(profile_of_nodes(account)), cloud.disk_key(key_of_disks(account))
    Sweep(account.region).things()


def profile_of_nodes(account: AwsStandIn) -> str:
    """An instance profile with a role, made once in the account."""
    iam = boto3.client("iam", region_name=account.region)
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="nodes", AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="nodes")
        iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="nodes")
    return "nodes"


def key_of_disks(account: AwsStandIn) -> str:
    return boto3.client("kms", region_name=account.region).create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]


def test_the_bots_policy_is_what_the_bot_asks(account, front):
    everything(account)
    optional = {"ec2:RunInstances"}  # the dry run, where somebody grants it
    not_ours = {call for call in made(front) if call.partition(":")[2].startswith(("Create", "Add"))}  # the test's own
    assert made(front) - optional - not_ours == set(actions(policy("bot")))


def test_the_bots_policy_only_reads():
    assert all(a.partition(":")[2].startswith(("Describe", "Get", "List")) for a in actions(policy("bot")))
    assert all(statement["Effect"] == "Allow" for statement in policy("bot"))


def test_the_sweep_ends_what_carries_our_tag_and_nothing_else(account, front):
    ours = machine(account, **{LABEL_MANAGED: "true"})
    sweep = Sweep(account.region)
    front.calls.clear()
    sweep.end(Thing("machine", ours))
    for kind, identity in (
        ("volume", "vol-0"),
        ("interface", "eni-0"),
        ("address", "eipalloc-0"),
        ("spot request", "sir-0"),
    ):
        with contextlib.suppress(WorldError):  # that there is no such thing is no matter: the call was made
            sweep.end(Thing(kind, identity))
    assert made(front) == set(actions(policy("sweep")))
    (statement,) = policy("sweep")
    assert statement["Condition"] == {"StringEquals": {f"aws:ResourceTag/{LABEL_MANAGED}": "true"}}
    kinds = {arn.rpartition(":")[2] for arn in statement["Resource"]}
    assert kinds == {"elastic-ip/*", "instance/*", "network-interface/*", "spot-instances-request/*", "volume/*"}


def test_ranchers_policy_is_enough_for_its_driver(account, front):
    driver = Driver(boto3.client("ec2", region_name=account.region).meta.endpoint_url)
    ami = Ec2Cloud(account.region).image(NOBLE).id
    front.calls.clear()
    config = {
        "region": account.region, "zone": "a", "subnetId": account.subnets[0], "instanceType": "g4dn.xlarge",
        "ami": ami, "securityGroup": [account.security_group], "securityGroupReadonly": True, "tags": "a,b",
    }  # fmt: skip
    hardware = driver.launch(config, "train-gpu-1", "kubernetes.io/cluster/c-m-1").result(timeout=60)
    driver.terminate(account.region, hardware.instance_id).result(timeout=60)
    driver.close()
    allowed = actions(policy("rancher"))
    assert {call for call in made(front) if not any(fnmatchcase(call, action) for action in allowed)} == set()
    assert {"ec2:RunInstances", "ec2:TerminateInstances"} <= made(front)


def test_what_rancher_needs_besides_is_written_down_to_be_copied():
    """For keys of one's own, roles and spot machines: the statements of docs/contracts.md."""
    told = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
    statements = json.loads(told.partition("As statements of its policy:\n\n```json\n")[2].partition("```")[0])
    assert {s["Sid"]: s["Resource"].split(":")[2] for s in statements} == {
        "DisksKey": "kms",
        "DisksGrant": "kms",
        "NodesRole": "iam",
        "SpotStart": "ec2",
    }
    named = set(
        re.findall(r"`((?:kms|iam|ec2):\w+)`", told.partition("Rancher's keys need more")[2].partition("```")[0])
    )
    assert named == set(actions(statements))
    assert not named & set(actions(policy("rancher"))) - {"ec2:RunInstances"}


def test_ranchers_policy_is_a_second_wall():
    """Types and region are limited where machines start; every type of the example's presets is among them."""
    start = next(statement for statement in policy("rancher") if statement["Sid"] == "StartTheseTypesOnly")
    limits = start["Condition"]["StringEquals"]
    assert limits["aws:RequestedRegion"] == "REGION"
    example = "\n".join(line for line in example_config().splitlines() if not line.startswith("#"))
    wanted = {word.partition('"')[0] for word in example.split('instance_type = "')[1:]}
    assert wanted
    assert wanted == set(limits["ec2:InstanceType"])
    others = [s for s in policy("rancher") if s["Sid"] != "Read"]
    arns = [a for s in others for a in ([s["Resource"]] if isinstance(s["Resource"], str) else s["Resource"])]
    assert all(":REGION:" in arn for arn in arns)
    assert not any("CreateSecurityGroup" in a or "Authorize" in a or "iam:" in a for a in actions(others))
