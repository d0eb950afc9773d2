"""Preflight on what a preset can say: combinations that go together, and those that do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.capacity.families import spot_code
from bot.core.checks.facts import Answer, Facts, Money
from bot.core.checks.money import gpu_price_per_hour
from bot.core.checks.network import best_subnets
from bot.core.checks.preflight import _envelope
from bot.core.cloud import InstanceType, MachineImage, Opening, Quota, Routes, SecurityGroup
from bot.core.ports import Permanent
from bot.core.spec import GpuExpectation, Image, PoolSpec, Taint
from bot.core.wiring import Network
from tests.core.stage import CATALOGUE
from tests.core.test_checks import GROUP, T3, T4, ZONES, check, facts_about, names

ARM = InstanceType("g5g.xlarge", 4, 8192, "arm64", 1, "T4g", "NVIDIA", 16384)
L4X4 = InstanceType("g6.12xlarge", 48, 196608, "x86_64", 4, "L4", "NVIDIA", 23034)
ARM_IMAGE = MachineImage("ami-arm", "ubuntu-noble-24.04", "arm64", "099720109477", 8, False)


def pools(facts: Facts, **gpu: Any) -> tuple[PoolSpec, ...]:
    return (*facts.preset.pools[:2], replace(facts.preset.pools[2], **gpu))


def several(gpus: int, main: InstanceType = L4X4) -> Facts:
    """A preset with a pool that the order sizes and one T4 of a fixed size."""
    facts = facts_about(main, gpus)
    dev = PoolSpec("dev", T4.name, 2, worker=True, gpu=True, root_gib=100)
    types = {kind.name: kind for kind in (T3, T4, main)}
    return replace(
        facts,
        preset=replace(facts.preset, pools=(*facts.preset.pools, dev)),
        types=Answer(types),
        zones={name: Answer(ZONES) for name in types},
        money=Money({"t3.xlarge": Answer(0.2), T4.name: Answer(0.5), main.name: Answer(4.0)}, Answer({}), Answer(0.0)),
    )


# --- several GPU pools ---------------------------------------------------------------------------------------------


def test_fixed_pools_take_theirs_and_the_order_sizes_the_rest() -> None:
    facts = several(10)
    assert check("GPU count", facts).detail == "8 in 2 × g6.12xlarge, besides 2 in 2 × g4dn.xlarge"
    assert [facts.machines(pool) for pool in facts.preset.pools] == [1, 2, 2, 2]
    assert gpu_price_per_hour(facts) == 2 * 4.0 + 2 * 0.5
    envelope = _envelope(facts, CATALOGUE)
    assert envelope is not None
    assert [(pool.name, pool.count, pool.gpu) for pool in envelope.pools[2:]] == [("gpu", 2, True), ("dev", 2, True)]
    assert envelope.gpus == 10
    assert envelope.expectation("gpu") == GpuExpectation("g6.12xlarge", "L4", 4, 23034)
    assert envelope.expectation("dev") == GpuExpectation("g4dn.xlarge", "T4", 1, 16384)
    assert {t.key for t in envelope.pools[3].taints} == {"nvidia.com/gpu", "gpu-cluster/unverified"}


@pytest.mark.parametrize(
    ("gpus", "near"), [(1, "6 or 10"), (2, "6 or 10"), (5, "6 or 10"), (7, "6 or 10"), (12, "10 or 14")]
)
def test_a_number_that_does_not_divide_names_the_nearest_in_all(gpus: int, near: str) -> None:
    found = check("GPU count", several(gpus))
    assert (found.state, found.remedy) == ("no", f"Ask for {near}.")


def test_a_fixed_pool_without_whole_gpus_is_refused() -> None:
    facts = several(6)
    bare = replace(facts.preset.pools[3], instance_type="t3.xlarge")
    facts = replace(facts, preset=replace(facts.preset, pools=(*facts.preset.pools[:3], bare)))
    assert "for pool dev of preset" in check("GPU", facts).remedy


# --- architectures -------------------------------------------------------------------------------------------------


def arm(**changes: Any) -> Facts:
    facts = facts_about(ARM, images={"gpu": Answer(ARM_IMAGE)})
    return replace(facts, probe_image=Image("python@sha256:0"), **changes)


def test_each_pool_gets_the_image_of_its_architecture() -> None:
    facts = arm()
    assert check("machine image", facts).state == "ok"
    envelope = _envelope(facts, CATALOGUE)
    assert envelope is not None
    assert [pool.ami for pool in envelope.pools] == ["ami-1", "ami-1", "ami-arm"]
    assert check("probe image", facts).detail == "for arm64"


def test_an_image_for_the_wrong_chip_says_which_key_is_missing() -> None:
    found = check("machine image", facts_about(ARM))
    assert (found.state, found.detail) == ("no", "ami-1 is for x86_64, g5g.xlarge is arm64.")
    assert "ami_arm64" in found.remedy


def test_a_probe_image_without_arm64_is_refused_for_arm64_gpus() -> None:
    found = check("probe image", replace(arm(), probe_image=Image("x", architectures=("amd64",))))
    assert found.state == "no"
    assert "pool gpu is arm64" in found.detail
    assert "probe image" not in names(facts_about())


# --- spot ----------------------------------------------------------------------------------------------------------


def spot(limit: float = 100.0, **changes: Any) -> Facts:
    facts = facts_about(gpus=2)
    facts = replace(facts, preset=replace(facts.preset, pools=pools(facts, spot=True)))
    return replace(facts, quotas={**facts.quotas, "L-3819A6DF": Answer(Quota("L-3819A6DF", limit))}, **changes)


def test_a_spot_pool_is_bid_for_at_the_on_demand_price_and_counts_against_its_own_quota() -> None:
    facts = spot()
    assert "gpu at most $1.0000 an hour, the on-demand price" in check("spot", facts).detail
    assert "tags it only after its start" in check("spot", facts).detail
    assert check("spot quota L-3819A6DF", facts).detail.startswith("8 spot vCPUs needed of 100")
    assert check("quota G and VT", facts).detail.startswith("0 vCPUs needed")
    envelope = _envelope(facts, CATALOGUE)
    assert envelope is not None
    assert [pool.spot_price for pool in envelope.pools] == ["", "", "1.0000"]


def test_a_spot_quota_of_zero_is_refused_with_the_command_that_raises_it() -> None:
    found = check("spot quota L-3819A6DF", spot(0))
    assert found.state == "no"
    assert "--quota-code L-3819A6DF --desired-value 8" in found.remedy


def test_without_a_price_there_is_no_bid() -> None:
    money = Money({"t3.xlarge": Answer(0.2), T4.name: Answer(error=Permanent("no price"))}, Answer({}), Answer(0.0))
    found = check("spot", spot(money=money))
    assert (found.state, found.detail) == ("no", "A spot machine needs a bid, and the price is unknown: no price.")
    assert "spot" not in names(facts_about())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("p4d.24xlarge", "L-7212CCBC"), ("p5.4xlarge", "L-C4BD4855"), ("g6.xlarge", "L-3819A6DF"),
        ("t3.large", "L-34B43A08"), ("hpc7a.12xlarge", ""),
    ],
)  # fmt: skip
def test_spot_quotas_by_type(kind: str, code: str) -> None:
    assert spot_code(kind) == code


# --- distributions and networks ------------------------------------------------------------------------------------


def group(*ports: tuple[str, int]) -> Answer[SecurityGroup | None]:
    among = tuple(Opening(protocol, port, port, "sg-1") for protocol, port in ports)
    return Answer(replace(GROUP, ingress=(*among, GROUP.ingress[1])))


COMMON = (("tcp", 6443), ("tcp", 2379), ("tcp", 2380), ("tcp", 10250))


def test_k3s_needs_the_ports_of_flannel_and_rke2_those_of_calico() -> None:
    facts = facts_about(security_group=group(*COMMON, ("udp", 8472)))
    k3s = replace(facts, preset=replace(facts.preset, distribution="k3s"))
    assert check("security group", k3s).state == "ok"
    assert "tcp 9345, tcp 5473, udp 4789" in check("security group", facts).detail


def test_a_version_of_k3s_that_this_rancher_does_not_know() -> None:
    found = check(
        "Kubernetes version", facts_about(kubernetes=Answer("v1.30.0+k3s1"), kubernetes_known=Answer(("v1.34.6+k3s1",)))
    )
    assert (found.state, found.remedy) == ("no", "Set kubernetes in preset any to one of: v1.34.6+k3s1.")


def test_private_machines_cannot_leave_through_an_internet_gateway() -> None:
    facts = facts_about(routes=Answer(Routes("igw-1")))
    private = replace(facts, target=replace(facts.target, private=True))
    assert check("way out", private).state == "no"
    assert "NAT" in check("way out", private).remedy
    assert check("way out", replace(private, routes=Answer(Routes("nat-1")))).state == "ok"
    mixed = replace(private, routes=Answer(Routes("igw-1", {"subnet-a": "nat-1"})))
    assert [subnet.id for subnet in best_subnets(mixed)] == ["subnet-a"], "subnet-b is roomier, and leads nowhere"


def test_what_the_network_is_stands_on_the_card() -> None:
    network = Network(proxy="http://p:1", ca="x", mirrors=(("docker.io", "m/hub"),), chart_mirror="https://m/c")
    assert check("network", facts_about(network=network)).detail == (
        "proxy http://p:1, own CA, docker.io from m/hub, charts from https://m/c"
    )
    assert "network" not in names(facts_about())


def test_all_of_it_goes_into_the_envelope_and_its_hash() -> None:
    facts = facts_about()
    own = pools(facts, labels=(("a", "b"),), taints=(Taint("c", "d"),))
    said = replace(
        facts,
        preset=replace(facts.preset, pools=own, base='{"spec":{}}'),
        target=replace(facts.target, kms_key="arn:aws:kms:x", private=True, instance_profile="nodes"),
        routes=Answer(Routes("nat-1")),
    )
    network = Network(chart_mirror="https://m/c")
    catalogue = replace(CATALOGUE, network=network, policy=replace(CATALOGUE.policy, catalog_everywhere=True))
    plain, full = _envelope(facts, CATALOGUE), _envelope(said, catalogue)
    assert plain is not None
    assert full is not None
    assert full.pools[2].labels == (
        ("gpu-cluster/pool", "gpu"),
        ("gpu-cluster/instance-type", "g4dn.xlarge"),
        ("a", "b"),
    )
    assert full.pools[2].taints[-1] == Taint("c", "d")
    assert (full.kms_key, full.private, full.instance_profile) == ("arn:aws:kms:x", True, "nodes")
    assert (full.network, full.base, full.catalog_everywhere) == (network, '{"spec":{}}', True)
    changes = ("kms_key", "private", "instance_profile", "network", "base", "catalog_everywhere", "pools")
    assert len({replace(plain, **{key: getattr(full, key)}).digest() for key in changes} | {plain.digest()}) == 8
