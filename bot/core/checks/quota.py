"""Whether the account may run that many vCPUs of each family."""

from __future__ import annotations

from collections.abc import Callable

from bot.core.capacity.families import Family
from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok, unknown
from bot.core.checks.machines import listed
from bot.core.ports import WorldError


def quota(family: Family) -> Callable[[Facts], Finding | None]:
    """The family's quota against what runs and what this order adds."""

    def check(facts: Facts) -> Finding | None:
        if not facts.placeable():
            return None
        needed, held = facts.vcpus_needed()[family], facts.quotas[family.code].get()
        used = used_of(family, facts.in_use.get())
        asked = f"; an increase to {held.pending:g} has been asked for" if held.pending is not None else ""
        said = f"{needed} vCPUs needed, {used} of {held.limit:g} in use{asked}"
        if used + needed <= held.limit:
            return ok(said)
        return no(f"The quota of {family.name} machines is too small: {said}.", _remedy(family, used + needed, facts))

    return check


def spot_quota(code: str) -> Callable[[Facts], Finding | None]:
    """The quota of spot machines. What runs as spot now is not counted: AWS tells us of on-demand use only."""

    def check(facts: Facts) -> Finding | None:
        if not facts.placeable():
            return None
        needed = facts.spot_vcpus_needed().get(code, 0)
        if not code:
            return unknown("AWS's code for the spot quota of this family is not known here")
        held = facts.quotas[code].get()
        said = f"{needed} spot vCPUs needed of {held.limit:g}, besides what runs as spot already"
        if needed <= held.limit:
            return ok(said)
        return no(
            f"The spot quota is too small: {said}. New accounts have 0 for GPU machines.",
            f"{increase(facts.target.region, code, needed)}; or take spot out of preset {facts.preset.name}",
        )

    return check


def used_of(family: Family, in_use: dict[str, int]) -> int:
    """vCPUs of the family that run now."""
    return sum(vcpus for name, vcpus in in_use.items() if family.holds(name))


def increase(region: str, code: str, wanted: float) -> str:
    """The command that asks AWS for a larger quota, in vCPUs."""
    return (
        f"aws service-quotas request-service-quota-increase --region {region} --service-code ec2 "
        f"--quota-code {code} --desired-value {wanted:g}"
    )


def _remedy(family: Family, wanted: int, facts: Facts) -> str:
    pending = facts.quotas[family.code].get().pending
    if pending is not None and pending >= wanted:
        raise_it = "Wait for the increase that has been asked for."
    else:
        raise_it = increase(facts.target.region, family.code, wanted)
    if not family.holds(facts.preset.gpu_pool.instance_type):
        return raise_it
    try:
        near = facts.offers.get()
    except WorldError:
        return raise_it
    return f"{raise_it}; or change the preset to one of: {listed(near)}" if near else raise_it
