"""Where the machines go: zone, subnet, the way out, and what the security group lets through."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok
from bot.core.cloud import Opening, SecurityGroup, Subnet
from bot.core.ports import Permanent

_WORLD = ("0.0.0.0/0", "::/0")

# Among the nodes: the API server, etcd, the kubelet; of RKE2 (rancher/rke2-docs: docs/install/requirements.md) the
# supervisor and Calico with VXLAN; of K3s (k3s-io/docs: installation/requirements.md) flannel with VXLAN.
_ETCD_KUBELET = (("tcp", 2379), ("tcp", 2380), ("tcp", 10250))
_AMONG_NODES = {
    "rke2": (("tcp", 6443), ("tcp", 9345), *_ETCD_KUBELET, ("tcp", 5473), ("udp", 4789)),
    "k3s": (("tcp", 6443), *_ETCD_KUBELET, ("udp", 8472)),
}
_SSH = ("tcp", 22)
_OUT = (("tcp", 443),)


def best_subnets(facts: Facts) -> tuple[Subnet, ...]:
    """Those of any zone, or of the one zone that the order names."""
    only = f"{facts.target.region}{facts.spec.zone}" if facts.spec.zone else ""
    return tuple(subnet for subnet in subnets_of_any_zone(facts) if only in ("", subnet.zone))


def subnets_of_any_zone(facts: Facts) -> tuple[Subnet, ...]:
    """Where all machines fit by kind: the roomiest subnet of each zone that offers every type, best zone first.

    A zone with an open capacity reservation for the GPU machines comes first, then the roomiest. Only plain zones
    count: Rancher's EC2 driver takes a letter (rancher/machine: drivers/amazonec2/amazonec2.go), which leaves out
    local and wavelength zones. Subnets without a way out are left out where that is known.
    """
    zones = set.intersection(*(set(facts.zones[name].get()) for name in facts.type_names))
    plain = {zone for zone in zones if len(zone.removeprefix(facts.target.region)) == 1}
    best: dict[str, Subnet] = {}
    for subnet in sorted(
        facts.subnets.get(), key=lambda s: (-_reserved(facts, s.zone), -s.free_addresses, s.zone, s.id)
    ):
        if subnet.zone in plain and _has_way_out(facts, subnet):
            best.setdefault(subnet.zone, subnet)
    return tuple(best.values())


def _reserved(facts: Facts, zone: str) -> int:
    """Machines of the GPU pool's type that an open reservation holds for us there."""
    if facts.reservations.error is not None:
        return 0
    return sum(held.free for held in facts.reservations.get() if held.open and held.zone == zone)


def _has_way_out(facts: Facts, subnet: Subnet) -> bool:
    if facts.routes.error is not None:
        return True
    out = facts.routes.get().out_of(subnet.id)
    # Without a public address an internet gateway is no way out.
    return bool(out) and not (facts.target.private and out.startswith("igw-"))


def place(facts: Facts) -> Finding | None:
    region, target = facts.target.region, facts.target
    subnets = facts.subnets.get()
    vpc = target.vpc or next((subnet.vpc for subnet in subnets), "the default VPC")
    if not subnets or any(subnet.vpc != vpc for subnet in subnets):
        which = f"{len(subnets)} subnets, not all of them" if subnets else "no subnet"
        return no(f"Target {target.name} has {which} in {vpc}.", "Correct vpc and subnets in the target.")
    if not facts.placeable():
        return None
    best, needed = best_subnets(facts), sum(facts.machines(pool) for pool in facts.preset.pools)
    if not best and not any(_has_way_out(facts, subnet) for subnet in subnets):
        return None  # the way out is another check's
    if not best and (others := [subnet.zone for subnet in subnets_of_any_zone(facts)]):
        return no(
            f"{region}{facts.spec.zone} has no subnet of ours, or not every type.",
            f"Choose one of: {', '.join(others)}; or none, and the best is taken.",
        )
    if not best:
        offers = "; ".join(f"{kind} in {', '.join(facts.zones[kind].get())}" for kind in facts.type_names)
        has = ", ".join(sorted({subnet.zone for subnet in subnets}))
        return no(
            f"No zone of {region} with a subnet of ours ({has}) offers every type: {offers}.",
            "Add a subnet in a zone that offers them all, or choose other types.",
        )
    chosen = best[0]
    if chosen.free_addresses < needed:
        return no(
            f"{chosen.id} in {chosen.zone} has {chosen.free_addresses} free addresses, {needed} are needed.",
            "Remove what is not used in it, or name a larger subnet in the target.",
        )
    then = f"; then {', '.join(subnet.zone for subnet in best[1:])}" if best[1:] else ""
    return ok(f"{chosen.zone}, {chosen.id}, {chosen.free_addresses} free addresses for {needed} machines{then}")


def way_out(facts: Facts) -> Finding:
    """Nodes must reach Rancher, the registries and Ubuntu's mirrors."""
    routes, subnets = facts.routes.get(), facts.subnets.get()
    outs = {subnet.id: routes.out_of(subnet.id) for subnet in subnets}
    shut = sorted(subnet for subnet, out in outs.items() if not out)
    if not routes.dns:
        vpc = facts.target.vpc or next((subnet.vpc for subnet in subnets), "")
        return no(
            f"{vpc} resolves no names, so its nodes find neither Rancher nor a registry.",
            f"aws ec2 modify-vpc-attribute --region {facts.target.region} --vpc-id {vpc} --enable-dns-support",
        )
    if subnets and len(shut) == len(outs):
        return no(
            f"No subnet of target {facts.target.name} has a route to the internet: {', '.join(shut[:3])}.",
            "Add a default route (0.0.0.0/0) to a NAT gateway, an internet gateway or a transit gateway.",
        )
    if facts.target.private and all(out.startswith("igw-") for out in outs.values() if out):
        return no(
            f"Target {facts.target.name} is private, and its subnets lead to an internet gateway only, which machines "
            "without a public address cannot use.",
            "Name subnets behind a NAT or transit gateway, or take private out of the target.",
        )
    used = sorted({out for out in outs.values() if out})
    without = f"; {len(shut)} subnet{'s' * (len(shut) > 1)} without one left out" if shut else ""
    return ok(f"through {', '.join(used)}{without}")


def security_group(facts: Facts) -> Finding:
    name, target = facts.target.security_group, facts.target
    if not name:
        return no(
            f"Target {target.name} names no security group; Rancher's own would be open to the world.",
            "Name one that exists as security_group in the target.",
        )
    group = facts.security_group.get()
    if group is None:
        return _missing_group(facts)
    command = f"aws ec2 authorize-security-group-ingress --region {target.region} --group-id {group.id}"
    among = _AMONG_NODES[facts.preset.distribution]
    if shut := [f"{protocol} {port}" for protocol, port in among if not _open(group.ingress, protocol, port, group.id)]:
        return no(
            f"{name} ({group.id}) does not let the nodes reach each other on {', '.join(shut)}.",
            f"{command} --protocol=-1 --source-group {group.id}",
        )
    if not any(opening.covers(*_SSH) and opening.peer != group.id for opening in group.ingress):
        return no(
            f"{name} ({group.id}) lets nobody in on tcp 22, over which Rancher sets the nodes up.",
            f"{command} --protocol tcp --port 22 --cidr <Rancher's address>/32",
        )
    if any(not _out_to_world(group, protocol, port) for protocol, port in _OUT):
        return no(
            f"{name} ({group.id}) lets nodes out on tcp 443 to nobody: no Rancher, no registry.",
            f"aws ec2 authorize-security-group-egress --region {target.region} --group-id {group.id} "
            "--protocol tcp --port 443 --cidr 0.0.0.0/0",
        )
    open_to_all = _too_open(group)
    return ok(f"{name} ({group.id}){open_to_all}", "Let in only who needs them." if open_to_all else "")


def _missing_group(facts: Facts) -> Finding:
    name, region = facts.target.security_group, facts.target.region
    vpc = facts.target.vpc or next((subnet.vpc for subnet in facts.subnets.get()), "")
    return no(
        f"There is no security group {name} in {vpc or 'the VPC'}; Rancher would make an open one of that name.",
        f"aws ec2 create-security-group --region {region} --vpc-id {vpc} --group-name {name} "
        '--description "Nodes of GPU clusters"; then let its members reach each other, and Rancher tcp 22 and 6443.',
    )


def _open(rules: tuple[Opening, ...], protocol: str, port: int, peer: str) -> bool:
    return any(rule.covers(protocol, port) and rule.peer in (peer, *_WORLD) for rule in rules)


def _out_to_world(group: SecurityGroup, protocol: str, port: int) -> bool:
    """To anywhere but the group itself: a proxy or a mirror may stand in for the world."""
    return any(rule.covers(protocol, port) and rule.peer != group.id for rule in group.egress)


def _too_open(group: SecurityGroup) -> str:
    """What the whole world may reach, for people to wonder about."""
    ports = [
        f"{p} {n}" for p, n in (("tcp", 22), ("tcp", 2376), ("tcp", 6443)) if _open(group.ingress, p, n, _WORLD[0])
    ]
    return f"; open to the world: {', '.join(ports)}" if ports else ""


def vpc_of(facts: Facts) -> str:
    """The VPC that everything goes into; raises the `WorldError` that hides it."""
    best = best_subnets(facts)
    if not best:
        raise Permanent("no subnet will do")
    return best[0].vpc
