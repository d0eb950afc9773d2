"""kill -9 in the middle: the next process goes on, and nothing is made or said twice.

What the dead process held, it holds until its leases run out: up to 30 s of real time.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from scene import MADE_ONCE, Scene, scene

AFTER_KILL_S = 75.0
POINTS = ("approved", "ordered", "operator", "measuring")


@pytest.mark.slow
async def test_killed_at_four_points_at_once(tmp_path: Path) -> None:
    """Four clusters, each at another point of its way when the bot dies."""
    async with scene(tmp_path) as now:
        await _bring_to_their_points(now)
        await now.stage.stop_bot(how=signal.SIGKILL)
        assert {point: _reached(now, point) for point in POINTS} == {
            "approved": None,
            "ordered": "cluster-created",
            "operator": "operation-created",
            "measuring": "job-created",
        }
        await now.stage.start_bot()
        now.stage.clock.set_speed(120)
        for point in POINTS:
            ended = await now.outcome(point, within=AFTER_KILL_S)
            assert (ended["state"], ended["verdict"]) == ("ready", "verified")
        assert {point: now.made(point) for point in POINTS} == dict.fromkeys(POINTS, MADE_ONCE)
        assert now.instances() == ["running"] * 3 * len(POINTS)
        for point in POINTS:
            assert len(now.parents(point)) == 1
            assert now.outcomes(point) == 1


async def _bring_to_their_points(now: Scene) -> None:
    for point in POINTS:
        await now.create(point)
    await now.approve("measuring")
    await now.happened("app-deployed", "measuring")
    await now.approve("operator")
    await now.happened("operation-created", "operator")
    await now.approve("ordered")
    await now.happened("cluster-created", "ordered")
    await now.happened("job-created", "measuring")
    now.stage.clock.set_speed(1)
    await now.approve("approved")


def _reached(now: Scene, cluster: str) -> str | None:
    """The last of the bot's own doings for that cluster."""
    doings = ("cluster-created", "operation-created", "job-created")
    seen = [e.kind for e in now.stage.world.events if e.cluster == cluster and e.kind in doings]
    return seen[-1] if seen else None


async def test_killed_at_the_click(tmp_path: Path) -> None:
    """The click was acknowledged, so it counts, whatever the bot had done about it."""
    async with scene(tmp_path) as now:
        await now.create("sandbox")
        card = await now.card("sandbox")
        assert (await now.click(card, "approve")).acked
        await now.stage.stop_bot(how=signal.SIGKILL)
        await now.stage.start_bot()
        ended = await now.outcome("sandbox", within=AFTER_KILL_S)
        assert (ended["state"], ended["verdict"]) == ("ready", "verified")
        assert now.made("sandbox") == MADE_ONCE
        assert now.instances() == ["running"] * 3
