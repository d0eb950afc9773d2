"""Waiting for capacity: until when, what it costs meanwhile, and how that is said."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.core.capacity.placing import Placing
from bot.core.costs.money import dollars
from bot.core.steps.base import Look

_LONGEST_LOOK_S = 300.0


def until(look: Look) -> float:
    """When the wait that was asked for is over, world time; it began when the machines were first asked for."""
    return _began(look) + look.order.wait_hours * 3600


def look_in(held: Placing, now: float) -> float:
    """World seconds until the next look at an order that waits: at least every five minutes, for what it costs."""
    return max(min(held.next_at - now, _LONGEST_LOOK_S), 1.0)


def sentence(look: Look, held: Placing) -> str:
    """What is waited for, what it costs, when it goes on and when it ends."""
    price = look.order.waiting_price_per_hour
    hours = (look.clock.now() - _began(look)) / 3600
    cost = (
        "what the waiting control plane costs is unknown"
        if price is None
        else f"the waiting control plane costs {dollars(price)} an hour, {dollars(price * hours)} so far"
    )
    return (
        f"no place has capacity ({held.rounds} round{'s' * (held.rounds > 1)}), the GPU pools are held at 0; {cost}. "
        f"Next try at {_moment(held.next_at)}; the wait ends {_moment(until(look))}"
    )


def _began(look: Look) -> float:
    return look.row.started_at if look.row.started_at is not None else look.clock.now()


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%a %H:%M} UTC"
