"""The judgements of preflight, one by one, from answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.capacity.suggest import Offer
from bot.core.checks import all_checks
from bot.core.checks.facts import Answer, Facts, Money
from bot.core.checks.machines import nearest_counts
from bot.core.checks.money import gpu_price_per_hour, price_per_hour
from bot.core.checks.network import best_subnets
from bot.core.cloud import (
    Identity,
    Instance,
    InstanceType,
    MachineImage,
    Opening,
    Quota,
    Reservation,
    Routes,
    SecurityGroup,
    Subnet,
)
from bot.core.costs.ledger import Committed
from bot.core.ports import Permanent, Refused, Temporary
from bot.core.spec import Check, ClusterSpec, PoolSpec, Preset, Target

T3 = InstanceType("t3.xlarge", 4, 16384, "x86_64")
T4 = InstanceType("g4dn.xlarge", 4, 16384, "x86_64", 1, "T4", "NVIDIA", 16384)
H100 = InstanceType("p5.48xlarge", 192, 2097152, "x86_64", 8, "H100", "NVIDIA", 81920)
V100 = InstanceType("p3.2xlarge", 8, 62464, "x86_64", 1, "V100", "NVIDIA", 16384)
G6F = InstanceType("g6f.large", 2, 8192, "x86_64", 0, "L4", "NVIDIA", 2861)
AMD = InstanceType("g4ad.xlarge", 4, 16384, "x86_64", 1, "Radeon Pro V520", "AMD", 8192)
ZONES = ("us-east-1a", "us-east-1b")
AMONG, SSH, OUT = (
    Opening("-1", 0, 65535, "sg-1"),
    Opening("tcp", 22, 22, "10.0.0.0/8"),
    Opening("-1", 0, 65535, "0.0.0.0/0"),
)
GROUP = SecurityGroup("sg-1", (AMONG, SSH), (OUT,))


def facts_about(gpu: InstanceType = T4, gpus: int = 1, **changes: object) -> Facts:
    """Everything is well, with one GPU type; `changes` are fields of `Facts`."""
    pools = (
        PoolSpec("control", "t3.xlarge", 1, control_plane=True),
        PoolSpec("workers", "t3.xlarge", 2, worker=True),
        PoolSpec("gpu", gpu.name, worker=True, gpu=True, root_gib=120),
    )
    facts = Facts(
        spec=ClusterSpec("train", "any", gpus, 8, "r", "default", "default"),
        preset=Preset("any", "", pools),
        target=Target("default", "cattle-global-data:cc-1", "us-east-1", security_group="nodes"),
        max_gpus=64,
        identity=Answer(Identity("123456789012", "arn:aws:iam::123456789012:user/bot")),
        credential=Answer(True),
        kubernetes=Answer("v1.35.8+rke2r1"),
        kubernetes_known=Answer(("v1.34.1+rke2r1", "v1.35.8+rke2r1")),
        types=Answer({kind.name: kind for kind in (T3, gpu)}),
        zones={"t3.xlarge": Answer(ZONES), gpu.name: Answer(ZONES)},
        region=Answer("opt-in-not-required"),
        offers=Answer(()),
        subnets=Answer((Subnet("subnet-a", "vpc-1", "us-east-1a", 50), Subnet("subnet-b", "vpc-1", "us-east-1b", 60))),
        image=Answer(MachineImage("ami-1", "ubuntu-noble-24.04", "x86_64", "099720109477", 8, False)),
        routes=Answer(Routes("igw-1")),
        security_group=Answer(GROUP),
        left_overs=Answer(()),
        quotas={code: Answer(Quota(code, 1000)) for code in ("L-1216C47A", "L-DB2E81BA", "L-417A185B")},
        in_use=Answer({}),
        trial=Answer(True),
        reservations=Answer(()),
        scores=Answer({}),
        money=Money({"t3.xlarge": Answer(0.2), gpu.name: Answer(1.0)}, Answer({}), Answer(0.073)),
    )
    return replace(facts, **changes)


def check(name: str, facts: Facts) -> Check:
    return next(check for check in all_checks(facts) if check.name == name)


def names(facts: Facts) -> set[str]:
    return {check.name for check in all_checks(facts)}


def test_all_is_well():
    assert {check.state for check in all_checks(facts_about())} == {"ok"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("identity", "AWS account"),
        ("credential", "cloud credential"),
        ("kubernetes", "Kubernetes version"),
        ("kubernetes_known", "Kubernetes version"),
        ("types", "instance type g4dn.xlarge"),
        ("subnets", "zone and subnet"),
        ("image", "machine image"),
        ("security_group", "security group"),
        ("left_overs", "left-overs"),
    ],
)
@pytest.mark.parametrize("kind", [Temporary, Refused])
def test_what_cannot_be_asked_could_not_be_checked(field, name, kind):
    found = check(name, facts_about(**{field: Answer(error=kind("ExpiredToken: m", "Renew it."))}))
    assert (found.state, found.detail, found.remedy) == ("unknown", "could not check: ExpiredToken: m", "Renew it.")


@pytest.mark.parametrize(("field", "name"), [("image", "machine image"), ("subnets", "zone and subnet")])
def test_what_is_not_there_is_refused_in_the_words_of_aws(field, name):
    found = check(name, facts_about(**{field: Answer(error=Permanent("InvalidX.NotFound: x", "Correct it."))}))
    assert (found.state, found.detail, found.remedy) == ("no", "InvalidX.NotFound: x", "Correct it.")


def test_another_account_than_the_targets():
    facts = facts_about()
    found = check("AWS account", replace(facts, target=replace(facts.target, account="210987654321")))
    assert found.state == "no"
    assert "123456789012" in found.detail
    assert "210987654321" in found.detail


def test_a_credential_that_rancher_does_not_show():
    found = check("cloud credential", facts_about(credential=Answer(False)))
    assert found.state == "no"
    assert "cattle-global-data:cc-1" in found.detail


def test_a_kubernetes_that_rancher_cannot_install():
    found = check("Kubernetes version", facts_about(kubernetes=Answer("v1.29.0+rke2r1")))
    assert found.state == "no"
    assert "v1.35.8+rke2r1" in found.remedy


def test_a_rancher_that_lists_no_versions():
    assert check("Kubernetes version", facts_about(kubernetes_known=Answer(()))).state == "unknown"


def test_a_withdrawn_type_and_the_nearest():
    facts = facts_about(V100, types=Answer({"t3.xlarge": T3}), offers=Answer((Offer(T4), Offer(H100))))
    found = check("instance type p3.2xlarge", replace(facts, zones={**facts.zones, "p3.2xlarge": Answer(())}))
    assert found.state == "no"
    assert "no longer lists p3.2xlarge in us-east-1" in found.detail
    assert "nearest that is offered is g4dn.xlarge (1 × T4 with 16 GiB)" in found.detail
    assert "p5.48xlarge" in found.remedy
    assert not {"GPU", "GPU count", "driver", "zone and subnet"} & names(facts), "said once is enough"


def test_nothing_that_could_stand_in():
    found = check("instance type p3.2xlarge", facts_about(V100, types=Answer({"t3.xlarge": T3})))
    assert "nor any machine with NVIDIA GPUs" in found.detail


def test_a_type_that_no_zone_offers():
    facts = facts_about(H100, gpus=8, offers=Answer((Offer(T4),)))
    found = check("instance type p5.48xlarge", replace(facts, zones={**facts.zones, "p5.48xlarge": Answer(())}))
    assert found.state == "no"
    assert "No zone of us-east-1 offers p5.48xlarge; the nearest that is offered is g4dn.xlarge" in found.detail


def test_an_unknown_type_when_the_list_cannot_be_had():
    gone = Answer[tuple[Offer, ...]](error=Temporary("RequestLimitExceeded"))
    found = check("instance type p3.2xlarge", facts_about(V100, types=Answer({"t3.xlarge": T3}), offers=gone))
    assert found.state == "no"
    assert "RequestLimitExceeded" in found.remedy


def test_an_unknown_machine_without_gpus_is_not_guessed():
    found = check(
        "instance type t3.xlarge", facts_about(types=Answer({"g4dn.xlarge": T4}), offers=Answer((Offer(T4),)))
    )
    assert (found.state, "nearest" in found.detail) == ("no", False)


@pytest.mark.parametrize(
    ("gpu", "has"),
    [
        (G6F, "only a share of an NVIDIA L4"),
        (AMD, "no NVIDIA GPU but AMD Radeon"),
        (replace(T3, name="m5.large"), "no GPU"),
    ],
)
def test_a_pool_without_whole_nvidia_gpus(gpu, has):
    found = check("GPU", facts_about(gpu))
    assert found.state == "no"
    assert has in found.detail


@pytest.mark.parametrize(
    ("gpus", "most", "words"),
    [
        (7, 64, "7 is no multiple of 8: ask for 8 or 16."),
        (12, 64, "12 is no multiple of 8: ask for 8 or 16."),
        (63, 64, "63 is no multiple of 8: ask for 56 or 64."),
        (12, 12, "12 is no multiple of 8: ask for 8."),
        (3, 4, "3 is no multiple of 8: policy allows 4, less than a machine."),
    ],
)
def test_a_count_that_is_no_multiple(gpus, most, words):
    found = check("GPU count", facts_about(H100, gpus=gpus, max_gpus=most))
    assert (found.state, found.detail) == ("no", words)


@given(st.integers(1, 1024), st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 1024))
def test_the_counts_named_can_be_had_and_lie_next_to_the_wish(gpus, each, most):
    near = nearest_counts(gpus, each, most)
    assert all(0 < count <= most and count % each == 0 for count in near)
    if gpus + each <= most and gpus >= each:
        low, high = near
        assert low <= gpus < high == low + each
    if gpus < each and 2 * each <= most:
        assert near == (each, 2 * each)
    assert bool(near) == (max(gpus // each, 1) * each <= most)


@given(st.integers(1, 16), st.sampled_from([1, 2, 4, 8]))
def test_a_multiple_is_always_right_and_makes_whole_machines(machines, each):
    facts = facts_about(replace(H100, gpus=each), gpus=machines * each, max_gpus=1024)
    assert check("GPU count", facts).state == "ok"
    assert facts.machines(facts.preset.gpu_pool) == machines


@pytest.mark.parametrize(("driver", "state"), [("", "no"), ("595.91.07", "no"), ("580.173.02", "ok"), ("5801.1", "no")])
def test_volta_needs_the_last_driver_branch_that_knows_it(driver, state):
    facts = facts_about(V100)
    found = check("driver", replace(facts, preset=replace(facts.preset, driver=driver)))
    assert found.state == state
    assert state == "ok" or 'driver = "580.173.02"' in found.remedy


def test_an_image_of_another_architecture():
    facts = facts_about()
    arm = replace(facts.image.get(), architecture="arm64")
    found = check("machine image", replace(facts, image=Answer(arm)))
    assert found.state == "no"
    assert "ami-1 is for arm64" in found.detail


def test_an_image_larger_than_a_root_disk():
    facts = facts_about()
    found = check("machine image", replace(facts, image=Answer(replace(facts.image.get(), root_gib=100))))
    assert found.state == "no"
    assert "pool control asks for 60" in found.detail


def test_a_deprecated_image_is_said_and_used():
    facts = facts_about()
    found = check("machine image", replace(facts, image=Answer(replace(facts.image.get(), deprecated=True))))
    assert (found.state, "deprecated" in found.detail) == ("ok", True)


def subnet(name: str, zone: str, free: int, vpc: str = "vpc-1") -> Subnet:
    return Subnet(f"subnet-{name}", vpc, f"us-east-1{zone}", free)


def test_the_roomiest_zone_that_offers_all_is_taken():
    nets = (subnet("1", "a", 10), subnet("2", "b", 40), subnet("3", "b", 90), subnet("4", "c", 900))
    facts = facts_about(subnets=Answer(nets))
    assert [net.id for net in best_subnets(facts)] == ["subnet-3", "subnet-1"]
    assert check("zone and subnet", facts).detail == (
        "us-east-1b, subnet-3, 90 free addresses for 4 machines; then us-east-1a"
    )


def test_equal_room_is_decided_by_name():
    facts = facts_about(subnets=Answer((subnet("9", "b", 50), subnet("8", "a", 50), subnet("7", "a", 50))))
    assert best_subnets(facts)[0].id == "subnet-7"


def test_local_zones_are_left_out():
    facts = facts_about(subnets=Answer((subnet("1", "-bos-1a", 900), subnet("2", "a", 9))))
    everywhere = Answer((*ZONES, "us-east-1-bos-1a"))
    facts = replace(facts, zones=dict.fromkeys(facts.zones, everywhere))
    assert [net.id for net in best_subnets(facts)] == ["subnet-2"]


@pytest.mark.parametrize(
    ("nets", "words"),
    [
        ((), "has no subnet in the default VPC"),
        ((subnet("1", "a", 9), subnet("2", "a", 9, "vpc-2")), "2 subnets, not all of them in vpc-1"),
        ((subnet("1", "a", 3), subnet("2", "b", 2)), "subnet-1 in us-east-1a has 3 free addresses, 4 are needed"),
        ((subnet("1", "c", 99),), "No zone of us-east-1 with a subnet of ours (us-east-1c) offers every type"),
    ],
)
def test_no_place_for_the_machines(nets, words):
    found = check("zone and subnet", facts_about(subnets=Answer(nets)))
    assert found.state == "no"
    assert words in found.detail


def test_a_security_group_that_is_missing_comes_with_the_command_that_makes_it():
    found = check("security group", facts_about(security_group=Answer(None)))
    assert found.state == "no"
    assert "aws ec2 create-security-group --region us-east-1 --vpc-id vpc-1 --group-name nodes" in found.remedy


def test_a_target_without_a_security_group():
    facts = facts_about()
    assert check("security group", replace(facts, target=replace(facts.target, security_group=""))).state == "no"


@pytest.mark.parametrize(
    ("status", "words"), [("", "AWS has no region us-east-1"), ("not-opted-in", "has not opted in")]
)
def test_a_region_that_will_not_do_says_all_there_is_to_say(status, words):
    facts = facts_about(region=Answer(status))
    assert words in check("region", facts).detail
    assert names(facts) == {"region", "cloud credential", "Kubernetes version"}


def test_keys_that_aws_does_not_take_are_said_once():
    facts = facts_about(identity=Answer(error=Refused("ExpiredToken: m", "Renew it.")))
    assert [(one.name, one.state) for one in all_checks(facts) if one.state != "ok"] == [("AWS account", "unknown")]


def test_a_type_that_is_sold_in_blocks_only():
    found = check("instance type p5.48xlarge", facts_about(replace(H100, on_demand=False), gpus=8))
    assert (found.state, "capacity blocks only" in found.detail) == ("no", True)


def test_a_quota_counts_the_family_with_what_runs():
    facts = facts_about(H100, gpus=16, in_use=Answer({"p4d.24xlarge": 96, "g6.xlarge": 500, "t3.large": 2}))
    found = check("quota P", facts)
    assert (found.state, found.detail) == ("ok", "384 vCPUs needed, 96 of 1000 in use")
    assert check("quota Standard", facts).detail == "12 vCPUs needed, 2 of 1000 in use"


def over_quota(pending: float | None = None, **changes: object) -> Check:
    facts = facts_about(H100, gpus=16, **changes)
    small = {**facts.quotas, "L-417A185B": Answer(Quota("L-417A185B", 300, pending))}
    return check("quota P", replace(facts, quotas=small))


def test_over_quota_comes_with_the_command_that_asks_for_more():
    found = over_quota(offers=Answer((Offer(T4, 0.5),)), in_use=Answer({"p5.48xlarge": 192}))
    assert found.state == "no"
    assert "384 vCPUs needed, 192 of 300 in use" in found.detail
    assert "--quota-code L-417A185B --desired-value 576" in found.remedy
    assert "g4dn.xlarge (1 × T4 with 16 GiB, $0.50 an hour)" in found.remedy


def test_an_increase_under_way_is_told_and_waited_for_where_it_is_enough():
    assert "an increase to 400 has been asked for" in over_quota(400).detail
    assert over_quota(400).remedy.startswith("Wait for the increase")
    assert over_quota(350).remedy.startswith("aws service-quotas request")


def test_without_a_way_out():
    facts = facts_about(routes=Answer(Routes("")))
    found = check("way out", facts)
    assert (found.state, "subnet-a, subnet-b" in found.detail) == ("no", True)
    assert "zone and subnet" not in names(facts), "said once is enough"
    dns = check("way out", facts_about(routes=Answer(Routes("igw-1", dns=False))))
    assert "--enable-dns-support" in dns.remedy


def test_a_subnet_without_a_way_out_is_passed_over():
    facts = facts_about(routes=Answer(Routes("igw-1", {"subnet-b": ""})))
    assert [net.id for net in best_subnets(facts)] == ["subnet-a"]
    assert "1 subnet without one left out" in check("way out", facts).detail


@pytest.mark.parametrize(
    ("ingress", "egress", "words", "remedy"),
    [
        ((SSH,), (OUT,), "reach each other on tcp 6443", "--protocol=-1 --source-group sg-1"),
        ((AMONG,), (OUT,), "nobody in on tcp 22", "--protocol tcp --port 22"),
        ((AMONG, SSH), (AMONG,), "out on tcp 443 to nobody", "authorize-security-group-egress"),
    ],
)
def test_a_rule_that_is_missing_comes_with_the_command_that_makes_it(ingress, egress, words, remedy):
    found = check("security group", facts_about(security_group=Answer(SecurityGroup("sg-1", ingress, egress))))
    assert (found.state, words in found.detail, remedy in found.remedy) == ("no", True, True)


def test_a_group_that_is_open_to_the_world_says_so():
    world = Opening("tcp", 0, 65535, "0.0.0.0/0")
    found = check("security group", facts_about(security_group=Answer(SecurityGroup("sg-1", (AMONG, world), (OUT,)))))
    assert (found.state, "open to the world: tcp 22, tcp 2376, tcp 6443" in found.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("image", "kubernetes", "operator", "state", "words"),
    [
        (
            "ubuntu-noble-24.04-amd64",
            "v1.35.8+rke2r1",
            "v26.7.0",
            "ok",
            "Kubernetes 1.35, GPU Operator v26.7.0, Ubuntu 24.04",
        ),
        ("ubuntu-focal-20.04-amd64", "v1.35.8+rke2r1", "v26.7.0", "no", "no driver container for Ubuntu 20.04"),
        ("ubuntu-noble-24.04-amd64", "v1.30.1+rke2r1", "v26.7.0", "unknown", "has validated 1.33 to 1.36"),
        ("al2023-ami", "v1.35.8+rke2r1", "v26.7.0", "unknown", "not known here"),
        ("ubuntu-noble-24.04-amd64", "v1.35.8+rke2r1", "v99.1.0", "unknown", "not known here"),
    ],
)
def test_what_goes_together(image, kubernetes, operator, state, words):
    facts = facts_about(kubernetes=Answer(kubernetes))
    facts = replace(
        facts,
        image=Answer(replace(facts.image.get(), name=image)),
        preset=replace(facts.preset, operator=operator),
    )
    found = check("combination", facts)
    assert (found.state, words in found.detail) == (state, True)


@pytest.mark.parametrize(
    ("trial", "state"),
    [(Answer(True), "ok"), (Answer(error=Refused("UnauthorizedOperation")), "unknown"), (Answer(None), None)],
)
def test_a_dry_run(trial, state):
    facts = facts_about(trial=trial)
    found = [one for one in all_checks(facts) if one.name == "permission"]
    assert [one.state for one in found] == ([state] if state else [])


def test_a_dry_run_that_finds_a_mistake():
    found = check("permission", facts_about(trial=Answer(error=Permanent("Unsupported: m", "Mend it."))))
    assert (found.state, found.detail) == ("no", "Unsupported: m")


def test_an_open_reservation_is_shown_and_steers_the_zone():
    held = (Reservation("cr-1", "us-east-1a", 2, True), Reservation("cr-2", "us-east-1b", 9, False))
    facts = facts_about(reservations=Answer(held))
    assert best_subnets(facts_about())[0].zone == "us-east-1b", "the roomier one without"
    assert best_subnets(facts)[0].zone == "us-east-1a"
    found = check("capacity", facts)
    assert found.detail.startswith("open reservation: 2 in us-east-1a (cr-1)")
    assert "cr-2 is targeted, and Rancher's EC2 driver can use open ones only" in found.detail


def test_placement_scores_by_zone():
    facts = facts_about(scores=Answer({"use1-az1": 3, "use1-az9": 9}))
    nets = tuple(
        replace(net, zone_id=zone) for net, zone in zip(facts.subnets.get(), ("use1-az1", "use1-az2"), strict=True)
    )
    assert check("capacity", replace(facts, subnets=Answer(nets))).detail.endswith("score (of 10): us-east-1a 3")


def test_reservations_that_cannot_be_asked_for_do_not_stand_in_the_way():
    facts = facts_about(reservations=Answer(error=Refused("UnauthorizedOperation")))
    assert check("capacity", facts).state == "unknown"
    assert best_subnets(facts)


def test_the_price_holds_machines_and_disks():
    facts = facts_about(gpus=2)
    # 3 × t3.xlarge at 0.2, 2 × GPU at 1.0, disks of 3 × 60 and 2 × 120 GiB at 0.073 / 730
    assert price_per_hour(facts) == pytest.approx(0.6 + 2.0 + (180 + 240) * 0.0001)
    assert check("price", facts).detail == "at most $2.64 an hour with disks, $21.14 for 8 hours"


def test_the_dearest_that_may_be_taken_sets_the_price():
    other = replace(T4, name="g5.xlarge")
    facts = facts_about()
    pools = (*facts.preset.pools[:2], replace(facts.preset.gpu_pool, alternatives=("g5.xlarge", "zz.9", "p5.48xlarge")))
    facts = replace(
        facts,
        preset=replace(facts.preset, pools=pools),
        types=Answer({**facts.types.get(), "g5.xlarge": other, "p5.48xlarge": H100}),
        zones={**facts.zones, "g5.xlarge": Answer(ZONES), "p5.48xlarge": Answer(ZONES)},
        money=replace(facts.money, machines={**facts.money.machines, "g5.xlarge": Answer(3.0)}),
    )
    assert facts.gpu_types() == ("g4dn.xlarge", "g5.xlarge"), "only what has as many GPUs"
    assert gpu_price_per_hour(facts) == 3.0


def test_a_price_that_is_not_known():
    facts = facts_about()
    unpriced = replace(facts.money, machines={**facts.money.machines, "t3.xlarge": Answer(error=Temporary("503"))})
    found = check("price", replace(facts, money=unpriced))
    assert (found.state, "larger number of approvals" in found.remedy) == ("unknown", True)


def test_the_spot_price_is_shown_beside():
    facts = facts_about()
    found = check(
        "price", replace(facts, money=replace(facts.money, spot=Answer({"us-east-1a": 0.3, "us-east-1b": 0.2})))
    )
    assert found.detail.endswith("a spot g4dn.xlarge costs $0.20 now")


@pytest.mark.parametrize(
    ("spent", "state", "words"),
    [(0.0, "ok", "of $50.00 would be left"), (45.0, "no", "has $5.00 of $50.00 left"), (50.0, "no", "has $0.00")],
)
def test_a_budget(spent, state, words):
    found = check("budget", facts_about(committed=Committed(spent, 0.0, 50.0)))
    assert (found.state, words in found.detail) == (state, True)
    assert state == "ok" or found.remedy.startswith(("Ask for 3 hours or fewer", "Wait for the next month"))


def test_left_over_machines_are_named():
    left = Instance("i-1", "train-gpu-1", "g4dn.xlarge", "shutting-down", "us-east-1a")
    found = check("left-overs", facts_about(left_overs=Answer((left,))))
    assert found.state == "no"
    assert "i-1 (shutting-down)" in found.detail
