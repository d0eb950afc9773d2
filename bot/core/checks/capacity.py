"""Hints at whether machines can be had now. AWS promises none: these help to choose, and to know what to expect."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, ok
from bot.core.ports import WorldError


def capacity(facts: Facts) -> Finding | None:
    """Reservations and spot placement scores; never a refusal."""
    if not facts.placeable():
        return None
    held = facts.reservations.get()
    ours = [f"{one.free} in {one.zone} ({one.id})" for one in held if one.open]
    closed = [one.id for one in held if not one.open]
    said = f"open reservation: {', '.join(ours)}" if ours else "no open reservation, so EC2 promises nothing"
    if closed:
        said += f"; {', '.join(closed)} is targeted, and Rancher's EC2 driver can use open ones only"
    return ok(f"{said}{_scores(facts)}")


def _scores(facts: Facts) -> str:
    """Spot placement by zone, a hint at how scarce the type is; nothing where AWS does not tell."""
    try:
        scores, zones = facts.scores.get(), {subnet.zone_id: subnet.zone for subnet in facts.subnets.get()}
    except WorldError:
        return ""
    named = [f"{zones[zone]} {score}" for zone, score in sorted(scores.items()) if zone in zones]
    return f"; spot placement score (of 10): {', '.join(named)}" if named else ""
