"""Preflight: can this be had, and what exactly would be made? Asked of AWS and Rancher side by side, in seconds."""

from __future__ import annotations

from dataclasses import replace

from bot.core.checks import all_checks
from bot.core.checks.facts import Facts
from bot.core.checks.finding import NO
from bot.core.checks.money import bid, gpu_price_per_hour, known_machine_price, known_price
from bot.core.checks.network import best_subnets, subnets_of_any_zone, vpc_of
from bot.core.checks.questions import Questions
from bot.core.costs.ledger import Committed
from bot.core.ports import Cloud, Rancher, WorldError
from bot.core.spec import (
    GPU_TAINT,
    LABEL_POOL,
    LABEL_TYPE,
    UNVERIFIED_TAINT,
    Catalogue,
    Check,
    Choices,
    ClusterSpec,
    Envelope,
    GpuExpectation,
    Place,
    Pool,
    PoolSpec,
    Preflight,
    Taint,
)


def preflight(
    spec: ClusterSpec,
    catalogue: Catalogue,
    *,
    cloud: Cloud,
    rancher: Rancher,
    seconds: float = 10.0,
    ignore_request: str = "",
    committed: Committed | None = None,
) -> Preflight:
    """Every check, and the envelope when none says no and all it needs is known.

    Returns within `seconds` (real time); what has not answered by then is "could not check". Machines that carry
    the label of `ignore_request` are no left-overs. `committed` is what the team has spent and promised without
    this order. Raises nothing for what the outside says or does not say.
    """
    preset, target = catalogue.presets.get(spec.preset), catalogue.targets.get(spec.target)
    if preset is None or target is None:
        gone = f"preset {spec.preset}" if preset is None else f"target {spec.target}"
        return Preflight((Check("configuration", NO, f"There is no {gone} any more.", "Put it back, or ask anew."),))
    if spec.instance_type and spec.instance_type not in preset.types:
        why = f"Preset {preset.name} is not made of {spec.instance_type} any more."
        return Preflight((Check("configuration", NO, why, f"Ask anew, for one of: {', '.join(preset.types)}."),))
    preset = preset.of_type(spec.instance_type)
    questions = Questions(spec, preset, target, cloud, rancher, ignore_request, catalogue.network)
    facts = questions.facts(catalogue.policy.max_gpus, seconds, committed)
    facts = replace(facts, probe_image=catalogue.probe_image, network=catalogue.network)
    checks = all_checks(facts)
    envelope = None if any(check.state == NO for check in checks) else _envelope(facts, catalogue)
    return Preflight(checks, envelope, _choices(facts))


def _choices(facts: Facts) -> Choices:
    """What may be chosen, as far as it is known: for people who fill in a form."""
    try:
        zones = tuple(subnet.zone.removeprefix(facts.target.region) for subnet in subnets_of_any_zone(facts))
        machine = facts.gpu_machine()
        return Choices(zones, machine.gpus if machine else 0, facts.fixed_gpus())
    except WorldError:
        return Choices()


def _envelope(facts: Facts, catalogue: Catalogue) -> Envelope | None:
    """What exactly would be made; None when an answer that it needs is missing (its check says which)."""
    spec, preset, target = facts.spec, facts.preset, facts.target
    try:
        hourly = known_price(facts)
        return Envelope(
            name=spec.name,
            team=spec.team,
            target=target.name,
            preset=preset.name,
            account=facts.identity.get().account,
            region=target.region,
            vpc=vpc_of(facts),
            cloud_credential=target.cloud_credential,
            security_group=target.security_group,
            ssh_user=target.ssh_user,
            kubernetes=facts.kubernetes.get(),
            operator=preset.operator,
            driver=preset.driver,
            probe_image=catalogue.probe_image.reference,
            pools=tuple(_pool(pool, facts) for pool in preset.pools),
            gpu=_expected(preset.gpu_pool, facts),
            gpus=spec.gpus,
            hours=spec.hours,
            max_price_per_hour=hourly,
            gpu_price_per_hour=None if hourly is None else gpu_price_per_hour(facts),
            places=_places(facts),
            kms_key=target.kms_key,
            private=target.private,
            instance_profile=target.instance_profile,
            operator_by=preset.operator_by,
            catalog_everywhere=catalogue.policy.catalog_everywhere,
            network=catalogue.network,
            addons=preset.addons,
            base=preset.base,
            stand_ins=_stand_ins(facts),
            together=preset.together,
            wait_hours=spec.wait_hours,
        )
    except WorldError:
        return None


def _places(facts: Facts) -> tuple[Place, ...]:
    """Types in the preset's order, each in every zone that has it, best zone first."""
    region = facts.target.region
    return tuple(
        Place(name, subnet.zone.removeprefix(region), subnet.id, known_machine_price(facts, name))
        for name in facts.gpu_types()
        for subnet in best_subnets(facts)
        if subnet.zone in facts.zones[name].get()
    )


def _stand_ins(facts: Facts) -> tuple[GpuExpectation, ...]:
    """What AWS says of the other types that may be taken."""
    listed, first = facts.types.get(), facts.preset.gpu_pool.instance_type
    kinds = (listed[name] for name in facts.gpu_types() if name != first)
    return tuple(GpuExpectation(kind.name, kind.gpu_name, kind.gpus, kind.gpu_memory_mib) for kind in kinds)


def _pool(pool: PoolSpec, facts: Facts) -> Pool:
    """A pool with everything decided; GPU pools register behind both taints (the gate takes one away)."""
    place = best_subnets(facts)[0]
    ours = (Taint(GPU_TAINT, "present"), Taint(UNVERIFIED_TAINT, "true")) if pool.gpu else ()
    return Pool(
        name=pool.name,
        instance_type=pool.instance_type,
        count=facts.machines(pool),
        control_plane=pool.control_plane,
        worker=pool.worker,
        gpu=pool.gpu,
        root_gib=pool.root_gib,
        zone=place.zone.removeprefix(facts.target.region),
        subnet=place.id,
        ami=facts.image_of(pool).id,
        labels=(
            (LABEL_POOL, pool.name),
            *(((LABEL_TYPE, pool.instance_type),) if pool.gpu else ()),
            *pool.labels,
        ),
        taints=(*ours, *pool.taints),
        spot_price=bid(facts, pool) if pool.spot else "",
        expect=_expected(pool, facts) if pool.gpu and pool.count is not None else None,
    )


def _expected(pool: PoolSpec, facts: Facts) -> GpuExpectation:
    machine = facts.types.get()[pool.instance_type]
    return GpuExpectation(machine.name, machine.gpu_name, machine.gpus, machine.gpu_memory_mib)
