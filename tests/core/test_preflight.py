"""Preflight with the real AWS adapter on a listening account, and a Rancher that says what it is told to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from socket import socket
from threading import Barrier, Event
from typing import Any

import boto3
import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.checks.questions import UBUNTU
from bot.core.ports import Temporary
from bot.core.spec import Check, Preflight, Taint
from bot.core.wiring import Network
from bot.sandbox.aws import AwsStandIn
from tests.core.account import Rancher, World


class Stubborn:
    """Passes everything through, and answers at once what was asked before; `hang` makes some methods silent."""

    def __init__(self, real: object) -> None:
        self.released = Event()
        self._real = real
        self._silent: tuple[str, ...] = ()
        self._known: dict[tuple[Any, ...], Any] = {}

    def hang(self, *methods: str) -> None:
        self._silent = methods

    def __getattr__(self, name: str) -> Any:
        def answer(*args: Any) -> Any:
            if name in self._silent:
                self.released.wait()
            if (name, args) not in self._known:
                self._known[name, args] = getattr(self._real, name)(*args)
            return self._known[name, args]

        return answer


@pytest.fixture
def machines(account: AwsStandIn, cloud: Ec2Cloud) -> Iterator[Callable[..., list[str]]]:
    """Start machines in the account's first zone, gone again after the test."""
    ec2 = boto3.client("ec2", region_name=account.region)
    started: list[str] = []

    def start(count: int, **tags: str) -> list[str]:
        tagged = [{"Key": f"gpu-cluster/{key}", "Value": value} for key, value in tags.items()]
        made = ec2.run_instances(
            ImageId=cloud.image(UBUNTU).id,
            InstanceType="t3.xlarge",
            SubnetId=account.subnets[0],
            MinCount=count,
            MaxCount=count,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tagged}] if tagged else [],
        )
        started.extend(item["InstanceId"] for item in made["Instances"])
        return started

    yield start
    ec2.terminate_instances(InstanceIds=started)


@pytest.fixture
def stubborn(world: World) -> Iterator[World]:
    """A world that has been asked once, so that what does not hang answers at once."""
    world.cloud, world.rancher = cloud, rancher = Stubborn(world.cloud), Stubborn(world.rancher)
    assert world.ask().envelope is not None
    yield world
    cloud.released.set()
    rancher.released.set()


def states(found: Preflight) -> dict[str, str]:
    return {check.name: check.state for check in found.checks}


def named(found: Preflight, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def test_the_envelope_holds_everything_that_will_be_made(world):
    found = world.ask()
    assert {name: state for name, state in states(found).items() if state != "ok"} == {}
    envelope = found.envelope
    assert envelope is not None
    assert (envelope.account, envelope.region, envelope.vpc) == ("123456789012", "us-east-1", world.account.vpc)
    assert (envelope.kubernetes, envelope.operator, envelope.driver) == ("v1.35.8+rke2r1", "v26.7.0", "580.173.02")
    assert (envelope.gpus, envelope.hours, envelope.probe_image) == (1, 8, "python@sha256:0")
    assert (envelope.gpu.name, envelope.gpu.count, envelope.gpu.memory_mib) == ("V100", 1, 16384)
    assert [(pool.name, pool.count, pool.instance_type) for pool in envelope.pools] == [
        ("control", 1, "t3.xlarge"),
        ("workers", 1, "t3.xlarge"),
        ("gpu", 1, "p3.2xlarge"),
    ]
    assert {(pool.zone, pool.subnet) for pool in envelope.pools} == {("a", world.account.subnets[0])}
    assert {pool.ami for pool in envelope.pools} == {world.cloud.image(UBUNTU).id}


def test_only_gpu_machines_register_behind_the_gate(world):
    envelope = world.ask().envelope
    assert envelope is not None
    control, workers, gpu = envelope.pools
    assert gpu.taints == (Taint("nvidia.com/gpu", "present"), Taint("gpu-cluster/unverified", "true"))
    assert (control.taints, workers.taints) == ((), ())
    assert [dict(pool.labels)["gpu-cluster/pool"] for pool in envelope.pools] == ["control", "workers", "gpu"]
    assert dict(gpu.labels)["gpu-cluster/instance-type"] == "p3.2xlarge"


def test_the_same_order_twice_has_the_same_digest(world):
    first, second = world.ask().envelope, world.ask().envelope
    assert first is not None
    assert second is not None
    assert first.digest() == second.digest()


@pytest.mark.parametrize(("gpus", "machines"), [(8, 1), (16, 2)])
def test_the_gpu_pool_is_sized_by_the_order(world, gpus, machines):
    envelope = world.ask("h100", gpus=gpus).envelope
    assert envelope is not None
    assert envelope.gpu_pools[0].count == machines


def test_a_count_that_is_no_multiple(world):
    found = world.ask("h100", gpus=7)
    assert found.envelope is None
    assert [check.detail for check in found.refusals] == ["7 is no multiple of 8: ask for 8 or 16."]


@pytest.mark.parametrize("account", [False], indirect=True)
def test_without_the_p3_records_the_nearest_is_named(world):
    found = world.ask()
    assert found.envelope is None
    (refusal,) = found.refusals
    assert refusal.name == "instance type p3.2xlarge"
    assert "AWS no longer lists p3.2xlarge in us-east-1" in refusal.detail
    assert "g4dn.xlarge (1 × T4 with 16 GiB, $0.53 an hour)" in refusal.detail
    assert "g4dn.xlarge" in refusal.remedy


def test_a_fuller_zone_is_passed_over(world, machines):
    machines(3)
    envelope = world.ask().envelope
    assert envelope is not None
    assert {pool.zone for pool in envelope.pools} == {"b"}


def test_machines_of_that_name_are_left_overs_unless_they_are_this_requests(world, machines):
    (machine,) = machines(1, cluster="train", request="r-1")
    refused = named(world.ask(), "left-overs")
    assert (refused.state, machine in refused.detail) == ("no", True)
    assert named(world.ask(ignore_request="r-2"), "left-overs").state == "no"
    assert named(world.ask(ignore_request="r-1"), "left-overs").state == "ok"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ({"account": "210987654321"}, "AWS account"),
        ({"cloud_credential": "cattle-global-data:cc-2"}, "cloud credential"),
        ({"security_group": "nobody"}, "security group"),
        ({"subnets": ("subnet-0123456789abcdef0",)}, "zone and subnet"),
        ({"vpc": "vpc-0123456789abcdef0"}, "zone and subnet"),
        ({"ami": "ami-0123456789abcdef0"}, "machine image"),
        ({"ami": UBUNTU.replace("amd64", "arm64")}, "machine image"),
        ({"ami": ""}, "machine image"),
    ],
)
def test_a_target_that_is_wrong(world, target, name):
    world.target = target
    found = world.ask()
    assert states(found)[name] == "no"
    assert named(found, name).remedy
    assert found.envelope is None


def test_a_target_that_leaves_the_network_to_the_account(world):
    world.target = {"vpc": "", "subnets": ()}
    envelope = world.ask().envelope
    assert envelope is not None
    assert envelope.vpc == world.account.vpc


def test_a_preset_that_is_gone(world):
    found = world.ask("yesterday")
    assert [(check.state, check.detail) for check in found.checks] == [("no", "There is no preset yesterday any more.")]


def test_rancher_does_not_answer(world):
    world.rancher = Rancher(trouble=Temporary("Rancher: 503 Service Unavailable"))
    found = world.ask()
    assert found.envelope is None, "the version is Rancher's to choose"
    assert found.refusals == ()
    assert states(found)["Kubernetes version"] == states(found)["cloud credential"] == "unknown"
    assert "503" in named(found, "cloud credential").detail


def test_rancher_names_no_default(world):
    world.rancher = Rancher(versions=())
    found = world.ask()
    assert found.envelope is None
    assert "Set kubernetes in preset blog" in named(found, "Kubernetes version").remedy


def test_an_account_that_is_out_of_reach(world, monkeypatch):
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        world.cloud = Ec2Cloud(world.account.region)
    found = world.ask()
    assert found.envelope is None
    assert found.refusals == ()
    assert states(found)["cloud credential"] == "ok"
    assert "could not check" in named(found, "AWS account").detail


def test_what_hangs_could_not_be_checked_in_time(stubborn):
    stubborn.cloud.hang("subnets", "zones_offering")
    found = stubborn.ask(seconds=0.5)
    assert found.envelope is None
    assert states(found)["AWS account"] == "ok"
    assert states(found)["instance type p3.2xlarge"] == "unknown"
    assert named(found, "zone and subnet").detail == "could not check: no answer within 0.5 s"


def test_what_the_envelope_does_not_need_may_hang(stubborn):
    stubborn.rancher.hang("has_credential")
    found = stubborn.ask(seconds=0.5)
    assert states(found)["cloud credential"] == "unknown"
    assert found.envelope is not None


def test_everything_is_asked_at_once(world):
    """Nobody answers before all have been asked; asked one after another, the first would wait in vain."""
    waits = ("routes", "security_group", "allowed_to_start", "placement_scores")  # for another answer, by design
    # identity, region, types, zones of two types, quotas of three families, usage, subnets, image, left-overs,
    # reservations, prices of two types, spot and disk
    together = Barrier(17)

    class Together:
        def __init__(self, real: Ec2Cloud) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            def answer(*args: Any) -> Any:
                if name not in waits:
                    together.wait(timeout=10)
                return getattr(self._real, name)(*args)

            return answer

    world.cloud = Together(world.cloud)
    assert world.ask().envelope is not None


def test_what_the_target_names_beside_machines_is_looked_up(world):
    world.target = {"instance_profile": "nobody", "kms_key": "arn:aws:kms:us-east-1:123456789012:key/0"}
    world.network = Network(registry_secret="mirror-login", pull_secrets=("mirror",))
    found = world.ask()
    assert found.envelope is None
    wrong = {name: states(found)[name] for name in ("instance profile", "disk key", "registry login", "pull secrets")}
    assert wrong == dict.fromkeys(("instance profile", "disk key", "registry login"), "no") | {
        "pull secrets": "unknown"
    }
    assert all(named(found, name).remedy for name in wrong)


def test_placement_scores_are_asked_for_machines_not_gpus(world):
    asked = []

    class Noted:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def placement_scores(self, name: str, count: int) -> dict[str, int]:
            asked.append((name, count))
            return {}

    real, world.cloud = world.cloud, Noted()
    world.ask("h100", gpus=16)
    assert asked == [("p5.48xlarge", 2)]


def test_a_key_of_another_region_is_not_asked_for(world):
    world.target = {"kms_key": "arn:aws:kms:eu-west-1:123456789012:key/0"}
    world.account.front.calls.clear()
    assert named(world.ask(), "disk key").state == "no"
    assert world.account.front.calls["kms:DescribeKey"] == 0


def test_what_the_bot_may_not_look_up_could_not_be_checked(world):
    world.target = {"instance_profile": "nodes", "kms_key": "arn:aws:kms:us-east-1:123456789012:key/0"}
    rules = world.account.front.rules
    world.account.front.refuse("iam:*", "AccessDenied", "no", status=403)
    world.account.front.refuse("kms:*", "AccessDeniedException", "no")
    try:
        found = world.ask()
    finally:
        rules.clear()
    assert {states(found)[name] for name in ("instance profile", "disk key")} == {"unknown"}
    assert "iam:GetInstanceProfile" in named(found, "instance profile").remedy
    assert "kms:DescribeKey" in named(found, "disk key").remedy
    assert found.envelope is not None
