"""How many orders end verified in a world in which AWS refuses 30 % of all machines."""

from __future__ import annotations

from bot.sandbox.stage import Plot
from tests.bench.crowd import crowd, names
from tests.bench.figures import Figure

_CARD_S = 8.0
"""Real seconds a card may take: lines about refusals share Slack's one message a second with the cards."""
_LIFE_S = 7200.0
"""World seconds that an order may take at most, all its tries included."""


async def under_errors(*, speed: float, singles: int = 24, doubles: int = 8) -> list[Figure]:
    """The whole bot on the whole sandbox: orders of one and of two GPU machines, side by side."""
    alone, pairs = names("one", singles), names("two", doubles)
    async with crowd(Plot(speed=speed, faults=("capacity-30",))) as people:
        await people.ask(alone)
        await people.ask(pairs, gpus=2)
        await people.approve(singles + doubles, (singles + doubles) * _CARD_S)
        lives = await people.ended([*alone, *pairs], _LIFE_S / speed)
        refused = sum(entry.kind == "machine-failed" for entry in people.stage.world.events)
        made = sum(entry.kind == "instance-running" for entry in people.stage.world.events)
    share = sum(life.verified for life in lives) / len(lives)
    bad = sorted({life.request.reason or life.cluster.state for life in lives if not life.verified})
    how = (
        f"{singles} orders of one GPU machine and {doubles} of two, each with two plain machines; 30 % of all creates "
        f"fail ({refused} refused, {made} started); the whole bot, world speed {speed:g}"
    )
    if bad:
        how += f"; not verified: {'; '.join(reason[:120] for reason in bad)}"
    return [Figure("verified_under_30pct_errors", share, "", how, target=0.95, at_least=True)]
