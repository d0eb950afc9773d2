"""The types: whether AWS has them here, what GPUs they hold, and whether the order makes whole machines."""

from __future__ import annotations

from collections.abc import Callable

from bot.core.capacity.suggest import WITHDRAWN, Offer, describe
from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok
from bot.core.cloud import InstanceType
from bot.core.ports import WorldError
from bot.core.spec import PoolSpec


def instance_type(wanted: str) -> Callable[[Facts], Finding]:
    """Listed, sold by the hour, and offered in some zone."""

    def check(facts: Facts) -> Finding:
        region = facts.target.region
        kind = facts.types.get().get(wanted)
        if kind is None and wanted in WITHDRAWN:
            return _cannot_have(wanted, f"AWS no longer lists {wanted} in {region}", facts)
        if kind is None:
            return _cannot_have(wanted, f"AWS lists no {wanted} in {region} (withdrawn or misspelt)", facts)
        if not kind.on_demand:
            why = f"AWS sells {wanted} in capacity blocks only, which Rancher's EC2 driver cannot use"
            return _cannot_have(wanted, why, facts)
        zones = facts.zones[wanted].get()
        if not zones:
            return _cannot_have(wanted, f"No zone of {region} offers {wanted}", facts)
        return ok(f"offered in {', '.join(zones)}")

    return check


def _cannot_have(wanted: str, why: str, facts: Facts) -> Finding:
    """Says what to take instead; for GPU machines only, for the others it would be guesswork."""
    mend = f"Change instance_type in preset {facts.preset.name}"
    if wanted != facts.preset.gpu_pool.instance_type:
        return no(f"{why}.", f"{mend}.")
    try:
        near = facts.offers.get()
    except WorldError as error:
        return no(f"{why}.", f"{mend}. The nearest could not be looked up: {error.reason}")
    if not near:
        return no(f"{why}; nor any machine with NVIDIA GPUs that this preset's image runs on.", f"{mend}.")
    return no(f"{why}; the nearest that is offered is {near[0]}.", f"{mend} to one of: {listed(near)}.")


def listed(offers: tuple[Offer, ...]) -> str:
    """Offers in words, best first."""
    return ", ".join(map(str, offers))


def whole_gpus(facts: Facts) -> Finding | None:
    """Of every GPU pool: the first that will not do, else what there is."""
    listed = facts.types.get()
    pools = (facts.preset.gpu_pool, *facts.preset.fixed_gpu_pools)
    kinds = [(pool, listed[pool.instance_type]) for pool in pools if pool.instance_type in listed]
    bad = next(((p, m) for p, m in kinds if not (m.gpus and m.gpu_manufacturer == "NVIDIA")), None)
    if bad is not None:
        return _no_whole_gpu(*bad, facts)
    return ok("; ".join(dict.fromkeys(describe(machine) for _, machine in kinds))) if kinds else None


def _no_whole_gpu(pool: PoolSpec, machine: InstanceType, facts: Facts) -> Finding:
    if machine.gpu_manufacturer == "NVIDIA":
        has = f"only a share of an NVIDIA {machine.gpu_name}, which the GPU Operator's driver does not drive"
    else:
        has = f"no NVIDIA GPU but {machine.gpu_manufacturer} {machine.gpu_name}" if machine.gpu_name else "no GPU"
    return no(
        f"{machine.name} has {has}.",
        f"Choose a type with whole NVIDIA GPUs for pool {pool.name} of preset {facts.preset.name}.",
    )


def gpu_count(facts: Facts) -> Finding | None:
    machine = facts.gpu_machine()
    if machine is None or not machine.gpus:
        return None
    fixed, each = facts.fixed_gpus(), machine.gpus
    gpus = facts.spec.gpus - fixed
    if gpus > 0 and gpus % each == 0:
        besides = f", besides {_fixed(facts)}" if fixed else ""
        return ok(f"{gpus} in {gpus // each} × {machine.name}{besides}")
    if fixed:
        near = tuple(n + fixed for n in nearest_counts(gpus, each, facts.max_gpus - fixed))
        return no(
            f"{facts.spec.gpus} GPUs in all cannot be had: {_fixed(facts)} come with the preset, "
            f"and {machine.name} with {each} each.",
            f"Ask for {' or '.join(map(str, near))}." if near else f"Policy allows {facts.max_gpus} in one request.",
        )
    near = nearest_counts(gpus, each, facts.max_gpus)
    ask = f"ask for {' or '.join(map(str, near))}" if near else f"policy allows {facts.max_gpus}, less than a machine"
    return no(
        f"{gpus} is no multiple of {each}: {ask}.",
        f"A {machine.name} has {each} GPUs and comes whole; use another preset for fewer.",
    )


def _fixed(facts: Facts) -> str:
    """The GPU pools of a size of their own, in words."""
    listed = facts.types.get()
    pools = [pool for pool in facts.preset.fixed_gpu_pools if pool.instance_type in listed]
    each = (f"{(p.count or 0) * listed[p.instance_type].gpus} in {p.count} × {p.instance_type}" for p in pools)
    return " and ".join(each)


def nearest_counts(gpus: int, each: int, most: int) -> tuple[int, ...]:
    """The two multiples of `each` nearest to `gpus` from both sides, from one machine up; none above `most`.

    Below one machine that is one machine and two.
    """
    low = max(gpus // each, 1) * each
    return tuple(count for count in (low, low + each) if count <= most)
