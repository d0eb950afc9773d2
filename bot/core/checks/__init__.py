"""What preflight makes of what it was told: pure judgements, one function a check.

A check reads answers; one that did not come raises where it is read, and `judged` turns that into "could not check".
"""

from __future__ import annotations

from bot.core.capacity.families import family_of, spot_code
from bot.core.checks import (
    account,
    alternatives,
    belongings,
    capacity,
    machines,
    money,
    network,
    quota,
    software,
    together,
)
from bot.core.checks.facts import Facts
from bot.core.checks.finding import NO, Judge, judged
from bot.core.ports import Refused
from bot.core.spec import Check

_RANCHER: dict[str, Judge] = {
    "cloud credential": account.credential,
    "Kubernetes version": account.kubernetes,
    "registry login": belongings.registry_login,
}


def all_checks(facts: Facts) -> tuple[Check, ...]:
    """Every check, in the order in which people read them.

    Where account or region will not do, what else AWS would say follows from that and is left out.
    """
    rancher = _judge(facts, _RANCHER)
    where = _judge(facts, {"region": account.region})
    if where[0].state == NO:
        return (*where, *rancher)
    who = _judge(facts, {"AWS account": account.account})
    if isinstance(facts.identity.error, Refused) or who[0].state == NO:
        return (*who, *rancher)
    return (*who, *where, *rancher, *_judge(facts, _about_machines(facts)))


def _about_machines(facts: Facts) -> dict[str, Judge]:
    types: dict[str, Judge] = {f"instance type {name}": machines.instance_type(name) for name in facts.type_names}
    families = dict.fromkeys(family_of(name) for name in facts.type_names)
    quotas: dict[str, Judge] = {f"quota {family.name}": quota.quota(family) for family in families}
    spot = dict.fromkeys(spot_code(pool.instance_type) for pool in facts.preset.pools if pool.spot)
    quotas |= {f"spot quota {code}".strip(): quota.spot_quota(code) for code in spot}
    return {
        **types,
        "GPU": machines.whole_gpus,
        "GPU count": machines.gpu_count,
        **quotas,
        "alternatives": alternatives.alternatives,
        "machine image": software.image,
        "probe image": together.probe_image,
        "network": together.network,
        "driver": software.driver,
        "combination": software.combination,
        "zone and subnet": network.place,
        "way out": network.way_out,
        "security group": network.security_group,
        "instance profile": belongings.instance_profile,
        "disk key": belongings.disk_key,
        "pull secrets": belongings.pull_secrets,
        "permission": account.permission,
        "capacity": capacity.capacity,
        "price": money.price,
        "spot": money.spot,
        "budget": money.budget,
        "left-overs": account.left_overs,
    }


def _judge(facts: Facts, judges: dict[str, Judge]) -> tuple[Check, ...]:
    found = (judged(name, facts, judge) for name, judge in judges.items())
    return tuple(check for check in found if check is not None)
