"""Subnets, the ways out of them, and what a security group lets through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.cloud import Opening, Routes, SecurityGroup, Subnet
from bot.core.ports import Permanent

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import IpPermissionOutputTypeDef, RouteTableTypeDef, RouteTypeDef

_WORLD = "0.0.0.0/0"
_WAYS_OUT = (
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
    "VpcPeeringConnectionId",
)
_ALL_PORTS = (0, 65535)


def subnets(clients: Clients, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
    """The subnets named, or all of the VPC. Raises `Permanent` that names those which there are not."""
    wanted = [where("subnet-id", *ids)] if ids else [where("vpc-id", vpc or default_vpc(clients))]
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_subnets").paginate(Filters=wanted)
        found = tuple(
            Subnet(
                id=item["SubnetId"],
                vpc=item["VpcId"],
                zone=item["AvailabilityZone"],
                free_addresses=item["AvailableIpAddressCount"],
                zone_id=item.get("AvailabilityZoneId", ""),
            )
            for page in pages
            for item in page["Subnets"]
        )
    if missing := sorted(set(ids) - {subnet.id for subnet in found}):
        raise Permanent(
            f"InvalidSubnetID.NotFound: {', '.join(missing)} not in {clients.region}",
            "Correct subnets in the target, or its region.",
        )
    return found


def default_vpc(clients: Clients) -> str:
    """The id of the account's default VPC; raises `Permanent` when it has none."""
    with translated("ec2"):
        vpcs = clients.ec2.describe_vpcs(Filters=[where("is-default", "true")])["Vpcs"]
    if not vpcs:
        raise Permanent(f"The account has no default VPC in {clients.region}.", "Name a vpc in the target.")
    return vpcs[0]["VpcId"]


def routes(clients: Clients, vpc: str) -> Routes:
    """The ways out of a VPC, and whether names are resolved in it."""
    vpc = vpc or default_vpc(clients)
    with translated("ec2"):
        dns = clients.ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")
        pages = clients.ec2.get_paginator("describe_route_tables").paginate(Filters=[where("vpc-id", vpc)])
        tables = [table for page in pages for table in page["RouteTables"]]
    main, by_subnet = "", {}
    for table in tables:
        out = _way_out(table)
        for association in table.get("Associations", []):
            if association.get("Main"):
                main = out
            elif subnet := association.get("SubnetId"):
                by_subnet[subnet] = out
    return Routes(main, by_subnet, dns["EnableDnsSupport"].get("Value", True))


def _way_out(table: RouteTableTypeDef) -> str:
    """The default route's target; a black hole is none."""
    usable = (r for r in table.get("Routes", []) if r.get("State") != "blackhole")
    return next((_target(r) for r in usable if r.get("DestinationCidrBlock") == _WORLD), "")


def _target(route: RouteTypeDef) -> str:
    return next((str(value) for key in _WAYS_OUT if (value := route.get(key))), "")


def security_group(clients: Clients, vpc: str, name: str) -> SecurityGroup | None:
    """The group of that name in the VPC, with its rules."""
    wanted = [where("group-name", name), where("vpc-id", vpc or default_vpc(clients))]
    with translated("ec2"):
        groups = clients.ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
    if not groups:
        return None
    group = groups[0]
    return SecurityGroup(
        group["GroupId"],
        tuple(_openings(group.get("IpPermissions", []))),
        tuple(_openings(group.get("IpPermissionsEgress", []))),
    )


def _openings(rules: Sequence[IpPermissionOutputTypeDef]) -> Iterator[Opening]:
    for rule in rules:
        low, high = rule.get("FromPort", _ALL_PORTS[0]), rule.get("ToPort", _ALL_PORTS[1])
        peers = [
            *(block.get("CidrIp", "") for block in rule.get("IpRanges", [])),
            *(block.get("CidrIpv6", "") for block in rule.get("Ipv6Ranges", [])),
            *(pair.get("GroupId", "") for pair in rule.get("UserIdGroupPairs", [])),
            *(prefix.get("PrefixListId", "") for prefix in rule.get("PrefixListIds", [])),
        ]
        yield from (Opening(rule["IpProtocol"], low, high, peer) for peer in peers)
