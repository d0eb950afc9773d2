"""What is left in an account: found by tag or by name, and told apart by the clusters that there are."""

from __future__ import annotations

import time

import boto3
import pytest

from bot.aws.sweep import Sweep
from bot.core.orphans import JUST_NOW_S, Thing, orphans
from bot.core.records import ClusterRow, ClusterState
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED
from bot.sandbox.aws import AwsStandIn
from bot.store import SqliteStore

NOW = 1_795_000_000.0


def tags(**named: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in named.items()]


@pytest.fixture
def ec2(account: AwsStandIn):
    return boto3.client("ec2", region_name=account.region)


def kinds(account: AwsStandIn) -> dict[str, str]:
    return {thing.id: thing.kind for thing in Sweep(account.region).things()}


def test_machines_volumes_interfaces_and_load_balancers_of_ours_and_no_others(account, ec2):
    ours = tags(**{LABEL_MANAGED: "true", LABEL_CLUSTER: "old", "Name": "old-gpu-1"})
    owned = tags(**{"kubernetes.io/cluster/c-m-old": "owned"})
    made = [
        ec2.run_instances(
            ImageId="ami-0a2404d64c7e80003", InstanceType="t3.large", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tagged}] if tagged else [],
        )["Instances"][0]["InstanceId"]
        for tagged in (ours, [])
    ]  # fmt: skip
    volumes = [
        ec2.create_volume(
            Size=8,
            AvailabilityZone="us-east-1a",
            TagSpecifications=[{"ResourceType": "volume", "Tags": t}] if t else [],
        )["VolumeId"]
        for t in (owned, [])
    ]
    eni = ec2.create_network_interface(SubnetId=account.subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.create_tags(Resources=[eni], Tags=owned)
    elb = boto3.client("elbv2", region_name=account.region)
    balancer = elb.create_load_balancer(Name="old", Subnets=list(account.subnets[:2]), Tags=owned)["LoadBalancers"][0]
    found = kinds(account)
    assert (found[made[0]], found[volumes[0]], found[eni]) == ("machine", "volume", "interface")
    assert found[balancer["LoadBalancerArn"]] == "load balancer"
    assert not {made[1], volumes[1]} & set(found)
    (machine,) = (thing for thing in Sweep(account.region).things() if thing.id == made[0])
    assert (machine.cluster, machine.name, machine.detail) == ("old", "old-gpu-1", "t3.large")
    assert (machine.ours, machine.type) == (True, "t3.large")
    assert machine.since == pytest.approx(time.time(), abs=600)
    Sweep(account.region).end(machine)
    assert made[0] not in kinds(account)
    assert Sweep(account.region).find(machine) is None, "what is ending is gone"
    (disk,) = (thing for thing in Sweep(account.region).things() if thing.id == volumes[0])
    assert (disk.ours, disk.gib) == (False, 8)


def test_addresses_and_spot_requests_of_ours_that_are_left(account, ec2):
    ours = tags(**{LABEL_MANAGED: "true", LABEL_CLUSTER: "old"})
    owned = tags(**{"kubernetes.io/cluster/c-m-old": "owned"})
    free, theirs, held = (ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(3))
    for address in (free, held):
        ec2.create_tags(Resources=[address], Tags=owned)
    machine = ec2.run_instances(ImageId="ami-0a2404d64c7e80003", InstanceType="t3.large", MinCount=1, MaxCount=1)
    ec2.associate_address(AllocationId=held, InstanceId=machine["Instances"][0]["InstanceId"])
    specification = {"ImageId": "ami-0a2404d64c7e80003", "InstanceType": "t3.large"}
    spot = [
        ec2.request_spot_instances(InstanceCount=1, LaunchSpecification=specification)["SpotInstanceRequests"][0][
            "SpotInstanceRequestId"
        ]
        for _ in range(2)
    ]
    ec2.create_tags(Resources=spot[:1], Tags=ours)
    found = kinds(account)
    assert (found[free], found[spot[0]]) == ("address", "spot request")
    assert not {theirs, held, spot[1]} & set(found)


def test_each_kind_that_may_be_ended_is_found_by_its_id_and_ended(account, ec2):
    ours = tags(**{LABEL_MANAGED: "true", LABEL_CLUSTER: "old"})
    zone = "us-east-1a"
    volume = ec2.create_volume(Size=9, AvailabilityZone=zone)["VolumeId"]
    eni = ec2.create_network_interface(SubnetId=account.subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    specification = {"ImageId": "ami-0a2404d64c7e80003", "InstanceType": "t3.large"}
    asked = ec2.request_spot_instances(InstanceCount=1, LaunchSpecification=specification)["SpotInstanceRequests"]
    spot = asked[0]["SpotInstanceRequestId"]
    ec2.create_tags(Resources=[volume, eni, address, spot], Tags=ours)
    sweep = Sweep(account.region)
    mine = {thing.id: thing for thing in sweep.things() if thing.id in {volume, eni, address, spot}}
    assert {thing.kind for thing in mine.values()} == {"volume", "interface", "address", "spot request"}
    for thing in mine.values():
        assert sweep.find(thing) == thing
        assert thing.ours
        sweep.end(thing)
        assert sweep.find(thing) is None
    assert sweep.find(Thing("key pair", "key-1")) is None
    with pytest.raises(ValueError, match="never ended"):
        sweep.end(Thing("key pair", "key-1"))


@pytest.mark.parametrize(
    ("thing", "kept"),
    [
        (Thing("machine", "i-1", cluster="old", ours=True), ""),
        (Thing("volume", "vol-1", owner="c-m-old", ours=True), ""),
        (Thing("volume", "vol-2", owner="c-m-old"), "people's data"),
        (Thing("key pair", "key-1", name="old-gpu-x7k2p-abcde"), "no tag"),
        (Thing("load balancer", "arn", owner="c-m-old", ours=True), "what runs in a cluster made it"),
        (Thing("machine", "i-4", cluster="never", ours=True), "another bot's"),
    ],
)
def test_what_a_person_must_end_by_hand(store, thing, kept):
    with store.reading() as tx:
        (orphan,) = orphans(tx, [thing], NOW)
    assert orphan.kept == "" if not kept else kept in orphan.kept


def row(name: str, state: ClusterState, gone_at: float | None = None, management_id: str = "") -> ClusterRow:
    return ClusterRow(
        id=f"k-{name}", name=name, team="default", target="default", owner="U1", channel="C1", state=state,
        created_at=NOW - 9e4, gone_at=gone_at, management_id=management_id,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "store.db")
    with store.transaction() as tx:
        tx.add(row("live", ClusterState.READY, management_id="c-m-live"))
        tx.add(row("old", ClusterState.GONE, NOW - JUST_NOW_S - 1, "c-m-old"))
        tx.add(row("fresh", ClusterState.GONE, NOW - JUST_NOW_S + 60, "c-m-fresh"))
    return store


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (Thing("machine", "i-1", cluster="old"), "its cluster is gone"),
        (Thing("machine", "i-2", cluster="live"), None),
        (Thing("machine", "i-3", cluster="fresh"), None),
        (Thing("machine", "i-4", cluster="never"), "no cluster of this bot"),
        (Thing("volume", "vol-1", owner="c-m-old"), "its cluster is gone"),
        (Thing("volume", "vol-2", owner="c-m-live"), None),
        (Thing("volume", "vol-3", owner="c-m-somebody-elses"), None),
        (Thing("key pair", "key-1", name="old-gpu-x7k2p-abcde"), "its cluster is gone"),
        (Thing("key pair", "key-2", name="live-gpu-x7k2p-abcde"), None),
        (Thing("key pair", "key-3", name="old-laptop"), None),
        (Thing("key pair", "key-4", name="older-gpu-x7k2p-abcde"), None),
    ],
)
def test_what_is_an_orphan(store, thing, why):
    with store.reading() as tx:
        assert [one.why for one in orphans(tx, [thing], NOW)] == ([why] if why else [])
