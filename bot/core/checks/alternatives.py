"""The other types that an order may move to: which of them could be had, should it come to that."""

from __future__ import annotations

from bot.core.capacity.families import family_of, spot_code
from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, ok, unknown
from bot.core.checks.quota import increase, used_of
from bot.core.ports import Temporary, WorldError


def alternatives(facts: Facts) -> Finding | None:
    """Never a no: the first type may well be had. EC2 ends an order that moves to a type whose quota has no room."""
    names = facts.preset.gpu_pool.alternatives
    if not names or not facts.placeable():
        return None
    usable, lacking = facts.gpu_types(), []
    said, unsure = [], []
    for name in names:
        if name not in usable:
            lacking.append(f"take {name} out of preset {facts.preset.name}")
            said.append(
                f"{name} is left out: not sold by the hour here, or with other GPUs a machine or another architecture"
            )
            continue
        try:
            short = _missing(name, facts)
        except WorldError as error:
            unsure.append(f"{name}: {error.reason}")
            continue
        if short is None:
            said.append(f"{name} has room")
        else:
            said.append(f"{name} has none ({short[0]}): an order that moves there fails")
            lacking.append(short[1])
    if unsure and not lacking:
        return unknown("; ".join((*unsure, *said)))
    return ok("; ".join((*said, *(f"could not check {one}" for one in unsure))), "; ".join(dict.fromkeys(lacking)))


def _missing(name: str, facts: Facts) -> tuple[str, str] | None:
    """With all GPU machines of that type: what is short and how to mend it; None where there is room."""
    pool, family = facts.preset.gpu_pool, family_of(name)
    others = [one for one in facts.preset.pools if one is not pool and one.spot == pool.spot]
    code = spot_code(name) if pool.spot else family.code
    if not code or code not in facts.quotas:
        raise Temporary(f"AWS's code for the quota of {name} is not known here")
    beside = sum(
        facts.machines(one) * facts.types.get()[one.instance_type].vcpus
        for one in others
        if (spot_code(one.instance_type) if pool.spot else family_of(one.instance_type).code) == code
    )
    needed = beside + facts.machines(pool) * facts.types.get()[name].vcpus
    used = 0 if pool.spot else used_of(family, facts.in_use.get())
    held = facts.quotas[code].get()
    if used + needed <= held.limit:
        return None
    in_use = "" if pool.spot else f", {used} in use"
    said = f"{needed} {'spot ' * pool.spot}vCPUs of {family.name} needed{in_use}, the quota is {held.limit:g}"
    return said, increase(facts.target.region, code, used + needed)
