"""What preflight makes of what it was told: pure judgements, one function a check.

A check reads answers; one that did not come raises where it is read, and `judged` turns that into "could not check".
A check returns None where another one has already said what there is to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, cast

from bot.core.ports import (
    Identity,
    Instance,
    InstanceType,
    MachineImage,
    Permanent,
    Refused,
    Subnet,
    Temporary,
    WorldError,
)
from bot.core.spec import Check, ClusterSpec, PoolSpec, Preset, Target
from bot.core.suggest import WITHDRAWN, nearest

OK, NO, UNKNOWN = "ok", "no", "unknown"

T = TypeVar("T")

# The GPU Operator's default driver (595 in v26.7.0) has dropped Volta: R580 is the last branch that drives it
# (NVIDIA/cloud-native-docs: gpu-operator/platform-support.rst). GPU as EC2 names it → a driver of its last branch.
_LAST_DRIVER = {"V100": "580.173.02"}


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What the outside said, or why it did not."""

    value: T | None = None
    error: WorldError | None = None

    def get(self) -> T:
        """The value; raises the `WorldError` that came instead."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


@dataclass(frozen=True)
class Facts:
    """The order and every answer about it. `zones` by type name; `gpu_types` is asked for only to suggest one."""

    spec: ClusterSpec
    preset: Preset
    target: Target
    max_gpus: int
    identity: Answer[Identity]
    credential: Answer[bool]
    kubernetes: Answer[str]
    kubernetes_known: Answer[tuple[str, ...]]
    types: Answer[dict[str, InstanceType]]
    zones: Mapping[str, Answer[tuple[str, ...]]]
    gpu_types: Answer[tuple[InstanceType, ...]]
    subnets: Answer[tuple[Subnet, ...]]
    image: Answer[MachineImage]
    security_group: Answer[str | None]
    left_overs: Answer[tuple[Instance, ...]]

    @property
    def type_names(self) -> tuple[str, ...]:
        """The distinct types of the preset's pools, in their order."""
        return tuple(dict.fromkeys(pool.instance_type for pool in self.preset.pools))

    def gpu_machine(self) -> InstanceType | None:
        """The type of the GPU pool, None when AWS does not list it."""
        return self.types.get().get(self.preset.gpu_pool.instance_type)

    def machines(self, pool: PoolSpec) -> int:
        """How many machines the pool gets. Raises `Permanent` when its GPUs cannot be counted."""
        if not pool.gpu:
            return pool.count or 1
        machine = self.gpu_machine()
        if machine is None or not machine.gpus:
            raise Permanent(f"{pool.instance_type} has no whole GPU that AWS tells of")
        return -(-self.spec.gpus // machine.gpus)

    def placeable(self) -> bool:
        """Whether every type is listed, offered somewhere, and the GPU machines can be counted."""
        machine = self.gpu_machine()
        offered = all(name in self.types.get() and self.zones[name].get() for name in self.type_names)
        return offered and machine is not None and machine.gpus > 0


class Finding(NamedTuple):
    """A `Check` that has no name yet."""

    state: str
    detail: str
    remedy: str


Judge = Callable[[Facts], Finding | None]


def all_checks(facts: Facts) -> tuple[Check, ...]:
    """Every check, in the order in which people read them."""
    types = {f"instance type {name}": _type_check(name) for name in facts.type_names}
    checks: dict[str, Judge] = {
        "AWS account": _account,
        "cloud credential": _credential,
        "Kubernetes version": _kubernetes,
        **types,
        "GPU": _whole_gpus,
        "GPU count": _gpu_count,
        "driver": _driver,
        "machine image": _image,
        "zone and subnet": _place,
        "security group": _security_group,
        "left-overs": _left_overs,
    }
    found = (judged(name, facts, check) for name, check in checks.items())
    return tuple(check for check in found if check is not None)


def judged(name: str, facts: Facts, judge: Judge) -> Check | None:
    """The judge's own word; where an answer is missing, "no" if the thing is not there, else "could not check"."""
    try:
        finding = judge(facts)
    except (Temporary, Refused) as error:
        finding = _unknown(error.reason, error.remedy)
    except WorldError as error:
        finding = _no(error.reason, error.remedy)
    return None if finding is None else Check(name, finding.state, finding.detail, finding.remedy)


def _ok(detail: str, remedy: str = "") -> Finding:
    return Finding(OK, detail, remedy)


def _no(detail: str, remedy: str) -> Finding:
    return Finding(NO, detail, remedy)


def _unknown(why: str, remedy: str = "") -> Finding:
    return Finding(UNKNOWN, f"could not check: {why}", remedy)


def _account(facts: Facts) -> Finding:
    identity, target = facts.identity.get(), facts.target
    if target.account and target.account != identity.account:
        return _no(
            f"The bot's keys belong to AWS account {identity.account}, target {target.name} to {target.account}.",
            "Give the bot keys of that account, or correct account in the target.",
        )
    return _ok(f"{identity.account}, as {identity.arn}")


def _credential(facts: Facts) -> Finding:
    credential = facts.target.cloud_credential
    if facts.credential.get():
        return _ok(credential)
    return _no(
        f"Rancher shows the bot no cloud credential {credential or '(none is configured)'}.",
        "Create it in Rancher as the bot's user, or correct cloud_credential in the target.",
    )


def _kubernetes(facts: Facts) -> Finding:
    version, known = facts.kubernetes.get(), facts.kubernetes_known.get()
    if version in known:
        return _ok(version)
    if not known:
        return _unknown(f"Rancher lists no versions to look {version} up in")
    return _no(
        f"This Rancher cannot install {version}.",
        f"Set kubernetes in preset {facts.preset.name} to one of: {', '.join(known[-3:])}.",
    )


def _type_check(wanted: str) -> Callable[[Facts], Finding]:
    def check(facts: Facts) -> Finding:
        region = facts.target.region
        kind = facts.types.get().get(wanted)
        if kind is None and wanted in WITHDRAWN:
            return _cannot_have(wanted, f"AWS no longer lists {wanted} in {region}", facts)
        if kind is None:
            return _cannot_have(wanted, f"AWS lists no {wanted} in {region} (withdrawn or misspelt)", facts)
        zones = facts.zones[wanted].get()
        if not zones:
            return _cannot_have(wanted, f"No zone of {region} offers {wanted}", facts)
        return _ok(f"offered in {', '.join(zones)}")

    return check


def _cannot_have(wanted: str, why: str, facts: Facts) -> Finding:
    """Says what to take instead; for GPU machines only, for the others it would be guesswork."""
    mend = f"Change instance_type in preset {facts.preset.name}"
    if wanted != facts.preset.gpu_pool.instance_type:
        return _no(f"{why}.", f"{mend}.")
    try:
        near = _nearest(wanted, facts)
    except WorldError as error:
        return _no(f"{why}.", f"{mend}. The nearest could not be looked up: {error.reason}")
    if not near:
        return _no(f"{why}; nor any machine with NVIDIA GPUs that this preset's image runs on.", f"{mend}.")
    described = [describe(kind) for kind in near]
    return _no(f"{why}; the nearest that is offered is {described[0]}.", f"{mend} to one of: {', '.join(described)}.")


def _nearest(wanted: str, facts: Facts) -> tuple[InstanceType, ...]:
    """Stand-ins that the preset's image runs on."""
    architecture = facts.image.value.architecture if facts.image.value is not None else ""
    usable = tuple(kind for kind in facts.gpu_types.get() if architecture in ("", kind.architecture))
    last = WITHDRAWN.get(wanted)
    listed = facts.types.get().get(wanted)
    if last is not None:
        return nearest(last.gpu_memory_mib, last.gpus, wanted, usable)
    if listed is not None and listed.gpus:
        return nearest(listed.gpu_memory_mib, listed.gpus, wanted, usable)
    return nearest(None, facts.spec.gpus, wanted, usable)


def describe(kind: InstanceType) -> str:
    """g4dn.xlarge (1 × T4 with 16 GiB)."""
    return f"{kind.name} ({kind.gpus} × {kind.gpu_name} with {kind.gpu_memory_mib / 1024:.0f} GiB)"


def _whole_gpus(facts: Facts) -> Finding | None:
    machine = facts.gpu_machine()
    if machine is None:
        return None
    if machine.gpus and machine.gpu_manufacturer == "NVIDIA":
        return _ok(describe(machine))
    if machine.gpu_manufacturer == "NVIDIA":
        has = f"only a share of an NVIDIA {machine.gpu_name}, which the GPU Operator's driver does not drive"
    else:
        has = f"no NVIDIA GPU but {machine.gpu_manufacturer} {machine.gpu_name}" if machine.gpu_name else "no GPU"
    return _no(
        f"{machine.name} has {has}.",
        f"Choose a type with whole NVIDIA GPUs for pool {facts.preset.gpu_pool.name} of preset {facts.preset.name}.",
    )


def _gpu_count(facts: Facts) -> Finding | None:
    machine = facts.gpu_machine()
    if machine is None or not machine.gpus:
        return None
    gpus, each = facts.spec.gpus, machine.gpus
    if gpus % each == 0:
        return _ok(f"{gpus} in {gpus // each} × {machine.name}")
    near = nearest_counts(gpus, each, facts.max_gpus)
    ask = f"ask for {' or '.join(map(str, near))}" if near else f"policy allows {facts.max_gpus}, less than a machine"
    return _no(
        f"{gpus} is no multiple of {each}: {ask}.",
        f"A {machine.name} has {each} GPUs and comes whole; use another preset for fewer.",
    )


def nearest_counts(gpus: int, each: int, most: int) -> tuple[int, ...]:
    """The two multiples of `each` nearest to `gpus` from both sides, from one machine up; none above `most`.

    Below one machine that is one machine and two.
    """
    low = max(gpus // each, 1) * each
    return tuple(count for count in (low, low + each) if count <= most)


def _driver(facts: Facts) -> Finding | None:
    machine, driver, preset = facts.gpu_machine(), facts.preset.driver, facts.preset
    if machine is None or not machine.gpus:
        return None
    last = _LAST_DRIVER.get(machine.gpu_name, "")
    branch = last.partition(".")[0]
    chosen = driver or f"the default of GPU Operator {preset.operator}"
    if not last or driver.startswith(f"{branch}."):
        return _ok(chosen)
    return _no(
        f"Branch {branch} is the last that drives {machine.gpu_name}; the preset takes {chosen}.",
        f'Set driver = "{last}" in preset {preset.name}.',
    )


def _image(facts: Facts) -> Finding:
    image, types = facts.image.get(), facts.types.get()
    foreign = [k for k in types.values() if k.architecture != image.architecture]
    if foreign:
        return _no(
            f"{image.id} is for {image.architecture}, {foreign[0].name} is {foreign[0].architecture}.",
            f"Name an AMI for {foreign[0].architecture}, or types of one architecture.",
        )
    for pool in facts.preset.pools:
        if pool.root_gib < image.root_gib:
            return _no(
                f"{image.id} needs a root disk of {image.root_gib} GiB, pool {pool.name} asks for {pool.root_gib}.",
                f"Set root_gib of pool {pool.name} to {image.root_gib} or more.",
            )
    if image.deprecated:
        return _ok(f"{image.id} {image.name}, deprecated by its owner", "Move to a newer image before it is gone.")
    return _ok(f"{image.id} {image.name}")


def best_subnets(facts: Facts) -> tuple[Subnet, ...]:
    """Where all machines fit by kind: the roomiest subnet of each zone that offers every type, roomiest zone first.

    Only plain zones count: Rancher's EC2 driver takes a letter (rancher/machine: drivers/amazonec2/amazonec2.go),
    which leaves out local and wavelength zones.
    """
    zones = set.intersection(*(set(facts.zones[name].get()) for name in facts.type_names))
    plain = {zone for zone in zones if len(zone.removeprefix(facts.target.region)) == 1}
    best: dict[str, Subnet] = {}
    for subnet in sorted(facts.subnets.get(), key=lambda s: (-s.free_addresses, s.zone, s.id)):
        if subnet.zone in plain:
            best.setdefault(subnet.zone, subnet)
    return tuple(best.values())


def _place(facts: Facts) -> Finding | None:
    region, target = facts.target.region, facts.target
    subnets = facts.subnets.get()
    vpc = target.vpc or next((subnet.vpc for subnet in subnets), "the default VPC")
    if not subnets or any(subnet.vpc != vpc for subnet in subnets):
        which = f"{len(subnets)} subnets, not all of them" if subnets else "no subnet"
        return _no(f"Target {target.name} has {which} in {vpc}.", "Correct vpc and subnets in the target.")
    if not facts.placeable():
        return None
    best, needed = best_subnets(facts), sum(facts.machines(pool) for pool in facts.preset.pools)
    if not best:
        offers = "; ".join(f"{kind} in {', '.join(facts.zones[kind].get())}" for kind in facts.type_names)
        has = ", ".join(sorted({subnet.zone for subnet in subnets}))
        return _no(
            f"No zone of {region} with a subnet of ours ({has}) offers every type: {offers}.",
            "Add a subnet in a zone that offers them all, or choose other types.",
        )
    place = best[0]
    if place.free_addresses < needed:
        return _no(
            f"{place.id} in {place.zone} has {place.free_addresses} free addresses, {needed} are needed.",
            "Remove what is not used in it, or name a larger subnet in the target.",
        )
    return _ok(f"{place.zone}, {place.id}, {place.free_addresses} free addresses for {needed} machines")


def _security_group(facts: Facts) -> Finding:
    group, region = facts.target.security_group, facts.target.region
    if not group:
        return _no(
            f"Target {facts.target.name} names no security group; Rancher's own would be open to the world.",
            "Name one that exists as security_group in the target.",
        )
    if (found := facts.security_group.get()) is not None:
        return _ok(f"{group} ({found})")
    vpc = facts.target.vpc or next((subnet.vpc for subnet in facts.subnets.get()), "")
    return _no(
        f"There is no security group {group} in {vpc or 'the VPC'}; Rancher would make an open one of that name.",
        f"aws ec2 create-security-group --region {region} --vpc-id {vpc} --group-name {group} "
        '--description "Nodes of GPU clusters"; then let its members reach each other, and Rancher tcp 22 and 6443.',
    )


def _left_overs(facts: Facts) -> Finding:
    machines = facts.left_overs.get()
    if not machines:
        return _ok("no machine of that name in EC2")
    listed = ", ".join(f"{machine.id} ({machine.state})" for machine in machines)
    return _no(
        f"Machines of a cluster {facts.spec.name} are still in EC2: {listed}.",
        "Wait until they are gone, terminate them in the AWS console, or choose another name.",
    )
