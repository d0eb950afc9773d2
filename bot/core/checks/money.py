"""What it costs, and whether the team can pay for it."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok, unknown
from bot.core.costs.money import HOURS_A_MONTH, dollars
from bot.core.ports import WorldError
from bot.core.spec import PoolSpec


def price_per_hour(facts: Facts) -> float:
    """The most that machines and disks can cost, in US dollars an hour. Raises `WorldError` when a price is missing."""
    disk = facts.money.disk.get() / HOURS_A_MONTH
    machines = sum(
        facts.machines(p) * facts.money.machines[p.instance_type].get() for p in facts.preset.pools if not p.gpu
    )
    disks = sum(facts.machines(p) * p.root_gib * disk for p in facts.preset.pools)
    return machines + disks + gpu_price_per_hour(facts)


def gpu_price_per_hour(facts: Facts) -> float:
    """The GPU machines alone, at the dearest type that may be taken; spot ones at their bid, the on-demand price."""
    dearest = max(facts.money.machines[name].get() for name in facts.gpu_types())
    fixed = sum((p.count or 0) * facts.money.machines[p.instance_type].get() for p in facts.preset.fixed_gpu_pools)
    return facts.machines(facts.preset.gpu_pool) * dearest + fixed


def bid(facts: Facts, pool: PoolSpec) -> str:
    """What is offered for a spot machine, in US dollars an hour: the on-demand price, above which nobody would go.

    Of several types that may be taken, the dearest. Raises `WorldError` where the price is not known.
    """
    names = facts.gpu_types() if pool == facts.preset.gpu_pool else (pool.instance_type,)
    return f"{max(facts.money.machines[name].get() for name in names):.4f}"


def spot(facts: Facts) -> Finding | None:
    """What spot machines are bid for, and what everybody should know of them."""
    pools = [pool for pool in facts.preset.pools if pool.spot]
    if not pools or not facts.placeable():
        return None
    listed = facts.types.get()
    never = [pool for pool in pools if pool.instance_type in listed and not listed[pool.instance_type].spot]
    if never:
        return no(
            f"AWS does not sell {never[0].instance_type} as spot.",
            f"Take spot out of pool {never[0].name} of preset {facts.preset.name}, or choose another type.",
        )
    try:
        bids = ", ".join(f"{pool.name} at most ${bid(facts, pool)} an hour" for pool in pools)
    except WorldError as error:
        return no(
            f"A spot machine needs a bid, and the price is unknown: {error.reason}.",
            f"Take spot out of preset {facts.preset.name}, or let the bot ask for prices (pricing:GetProducts).",
        )
    return ok(
        f"{bids}, the on-demand price; EC2 takes a machine back with two minutes' notice, and Rancher tags it only "
        "after its start: a policy that demands tags at RunInstances refuses it"
    )


def whole_price(facts: Facts, hourly: float) -> float:
    """Dollars for the whole time, a wait for capacity included, in which no GPU machine runs."""
    waiting = (hourly - gpu_price_per_hour(facts)) * facts.spec.wait_hours if facts.spec.wait_hours else 0.0
    return hourly * facts.spec.hours + waiting


def known_price(facts: Facts) -> float | None:
    """`price_per_hour`, None where it is not known."""
    try:
        return price_per_hour(facts)
    except WorldError:
        return None


def known_machine_price(facts: Facts, instance_type: str) -> float | None:
    """Of one machine, in US dollars an hour; None where it is not known."""
    try:
        return facts.money.machines[instance_type].get()
    except WorldError:
        return None


def price(facts: Facts) -> Finding | None:
    if not facts.placeable():
        return None
    try:
        hourly = price_per_hour(facts)
    except WorldError as error:
        return unknown(error.reason, "The price is unknown, so the larger number of approvals applies.")
    whole = dollars(whole_price(facts, hourly))
    wait = f" and up to {facts.spec.wait_hours} hours of waiting" if facts.spec.wait_hours else ""
    hours = f"{facts.spec.hours} hours{wait}"
    return ok(f"at most {dollars(hourly)} an hour with disks, {whole} for {hours}{_spot(facts)}")


def _spot(facts: Facts) -> str:
    """What the GPU machines would cost as spot ones, for comparison."""
    try:
        cheapest = min(facts.money.spot.get().values(), default=None)
    except WorldError:
        return ""
    return (
        f"; a spot {facts.preset.gpu_pool.instance_type} costs {dollars(cheapest)} now" if cheapest is not None else ""
    )


def budget(facts: Facts) -> Finding | None:
    """The team's month: what it has spent, what it has promised, and this."""
    held = facts.committed
    if held is None or held.budget is None or not facts.placeable():
        return None
    left, hourly = held.left, known_price(facts)
    if hourly is None:
        return unknown(f"the price is unknown; {dollars(left)} of {dollars(held.budget)} are left this month")
    cost = whole_price(facts, hourly)
    if cost > left:
        hours = max(int(left / hourly), 0)
        fewer = f"Ask for {hours} hours or fewer, " if hours else "Wait for the next month, "
        return no(
            f"It costs up to {dollars(cost)}, and team {facts.spec.team} has {dollars(left)} of "
            f"{dollars(held.budget)} left this month.",
            f"{fewer}delete what is not used, or raise budget_per_month of team {facts.spec.team}.",
        )
    return ok(f"{dollars(left - cost)} of {dollars(held.budget)} would be left this month")
