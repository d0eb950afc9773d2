"""What is left in a region of clusters: found by tag, and by name where AWS's driver tags nothing.

Rancher's driver tags instances and their volumes; key pairs bear the machine's name (rancher/machine:
drivers/amazonec2/amazonec2.go). What a cluster's own workloads make (volumes of claims, load balancers) carries
kubernetes.io/cluster/<id>.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from boto3.session import Session

from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.orphans import Thing
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

_OWNED = "kubernetes.io/cluster/"
_ALIVE = ("pending", "running", "stopping", "stopped")


class Sweep:
    """One region. Reads, and on a person's word ends what carries our tag."""

    def __init__(self, region: str) -> None:
        self._clients = Clients(region)
        with translated("tag"):
            self._tagging = Session().client("resourcegroupstaggingapi", region_name=region)
        self.region = region

    def things(self) -> tuple[Thing, ...]:
        """Machines, volumes, interfaces, addresses, spot requests and key pairs of clusters, and load balancers that
        workloads made."""
        return (
            *self._machines(),
            *self._volumes(),
            *self._interfaces(),
            *self._addresses(),
            *self._spot_requests(),
            *self._key_pairs(),
            *self._load_balancers(),
        )

    def find(self, thing: Thing) -> Thing | None:
        """The thing as AWS shows it now, by its id; None when it is gone, or ending, or in use."""
        lister = {
            "machine": self._machines,
            "volume": self._volumes,
            "interface": self._interfaces,
            "address": self._addresses,
            "spot request": self._spot_requests,
        }.get(thing.kind)
        return next(lister(thing.id), None) if lister else None

    def end(self, thing: Thing) -> None:
        """End one thing for good; with the shipped policy AWS refuses unless it carries our tag.

        Raises ValueError for a kind that the bot never ends.
        """
        ec2 = self._clients.ec2
        with translated("ec2"):
            match thing.kind:
                case "machine":
                    ec2.terminate_instances(InstanceIds=[thing.id])
                case "volume":
                    ec2.delete_volume(VolumeId=thing.id)
                case "interface":
                    ec2.delete_network_interface(NetworkInterfaceId=thing.id)
                case "address":
                    ec2.release_address(AllocationId=thing.id)
                case "spot request":
                    ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[thing.id])
                case _:
                    raise ValueError(f"a {thing.kind} is never ended")

    def _machines(self, only: str = "") -> Iterator[Thing]:
        wanted = [where("tag-key", LABEL_MANAGED), where("instance-state-name", *_ALIVE), *_id("instance-id", only)]
        with translated("ec2"):
            for page in self._clients.ec2.get_paginator("describe_instances").paginate(Filters=wanted):
                for reservation in page["Reservations"]:
                    for item in reservation["Instances"]:
                        kind, since = str(item["InstanceType"]), item.get("LaunchTime")
                        yield _thing("machine", item["InstanceId"], item.get("Tags", []), kind, type=kind, since=since)

    def _volumes(self, only: str = "") -> Iterator[Thing]:
        """Those that no machine holds: the others end with their machine."""
        with translated("ec2"):
            for page in self._clients.ec2.get_paginator("describe_volumes").paginate(
                Filters=[where("status", "available"), *_id("volume-id", only)]
            ):
                for item in page["Volumes"]:
                    if _ours(tags := item.get("Tags", [])):
                        gib, since = item["Size"], item.get("CreateTime")
                        yield _thing("volume", item["VolumeId"], tags, f"{gib} GiB", gib=gib, since=since)

    def _interfaces(self, only: str = "") -> Iterator[Thing]:
        with translated("ec2"):
            for page in self._clients.ec2.get_paginator("describe_network_interfaces").paginate(
                Filters=[where("status", "available"), *_id("network-interface-id", only)]
            ):
                for item in page["NetworkInterfaces"]:
                    if _ours(item.get("TagSet", [])):
                        yield _thing("interface", item["NetworkInterfaceId"], item.get("TagSet", []))

    def _addresses(self, only: str = "") -> Iterator[Thing]:
        """Elastic IPs that nothing holds; each costs by the hour."""
        with translated("ec2"):
            for item in self._clients.ec2.describe_addresses(Filters=_id("allocation-id", only))["Addresses"]:
                if not item.get("AssociationId") and _ours(item.get("Tags", [])):
                    yield _thing("address", item["AllocationId"], item.get("Tags", []), item.get("PublicIp", ""))

    def _spot_requests(self, only: str = "") -> Iterator[Thing]:
        """Those that may still start a machine, or that hold one."""
        wanted = [where("state", "open", "active"), *_id("spot-instance-request-id", only)]
        with translated("ec2"):
            pages = self._clients.ec2.get_paginator("describe_spot_instance_requests").paginate(Filters=wanted)
            for page in pages:
                for item in page["SpotInstanceRequests"]:
                    if _ours(item.get("Tags", [])):
                        kind = item.get("LaunchSpecification", {}).get("InstanceType", "")
                        since = item.get("CreateTime")
                        yield _thing(
                            "spot request", item["SpotInstanceRequestId"], item.get("Tags", []), kind, since=since
                        )

    def _key_pairs(self) -> Iterator[Thing]:
        """All of them: they carry no tag, and whose they are is told by the name."""
        with translated("ec2"):
            for item in self._clients.ec2.describe_key_pairs()["KeyPairs"]:
                identity, since = item.get("KeyPairId", item["KeyName"]), item.get("CreateTime")
                yield Thing("key pair", identity, name=item["KeyName"], since=since.timestamp() if since else None)

    def _load_balancers(self) -> Iterator[Thing]:
        with translated("tag"):
            pages = self._tagging.get_paginator("get_resources").paginate(
                ResourceTypeFilters=["elasticloadbalancing:loadbalancer"]
            )
            for page in pages:
                for item in page["ResourceTagMappingList"]:
                    tags: list[TagTypeDef] = [{"Key": t["Key"], "Value": t["Value"]} for t in item.get("Tags", [])]
                    if _ours(tags):
                        yield _thing("load balancer", item["ResourceARN"], tags)


def _ours(tags: list[TagTypeDef]) -> bool:
    return any(tag["Key"] == LABEL_MANAGED or tag["Key"].startswith(_OWNED) for tag in tags)


def _id(name: str, only: str) -> list[FilterTypeDef]:
    """The filter for one id, none for all."""
    return [where(name, only)] if only else []


def _thing(
    kind: str,
    identity: str,
    tags: list[TagTypeDef],
    detail: str = "",
    *,
    type: str = "",
    gib: int = 0,
    since: datetime | None = None,
) -> Thing:
    by_key = {tag["Key"]: tag["Value"] for tag in tags}
    owner = next((key.removeprefix(_OWNED) for key in by_key if key.startswith(_OWNED)), "")
    return Thing(
        kind,
        identity,
        by_key.get("Name", ""),
        by_key.get(LABEL_CLUSTER, ""),
        owner,
        detail,
        ours=by_key.get(LABEL_MANAGED) == "true",
        type=type,
        gib=gib,
        since=since.timestamp() if since else None,
    )
