"""The three runs. Each is a stage of its own, with a bot that nobody has used before."""

from __future__ import annotations

import asyncio
from statistics import fmean, median, quantiles

from bot.sandbox.stage import Plot, Stage
from tests.bench.crowd import Crowd, Life, create_line, crowd, names
from tests.bench.figures import Figure
from tests.bench.meter import metered

_CARD_S = 3.0
"""Real seconds that a card may take at most: Slack lets the bot post one a second."""
_LIFE_S = 3600.0
"""World seconds that a request may take at most."""
_ROUNDS = 3
_BETWEEN_S = 4.0


async def acks(
    *, speed: float, busy_speed: float, end_speed: float, running: int = 50, commands: int = 100
) -> list[Figure]:
    """How long Slack waits for the acknowledgement of commands typed at one moment, while requests run.

    At `speed`, then at `busy_speed`, where the same requests are looked at more often; `end_speed` brings them home.
    """
    async with crowd(Plot(speed=speed)) as people:
        asked = names("ack", running)
        await people.ask(asked)
        await people.approve(running, running * _CARD_S)
        await people.running(running, 60)
        quiet = await _bursts(people, "quiet", commands, asked)
        people.stage.clock.set_speed(busy_speed)
        busy = await _bursts(people, "busy", commands, asked)
        people.stage.clock.set_speed(end_speed)
        await people.verified(asked, _LIFE_S / end_speed)
    how = (
        f"{_ROUNDS} times {commands} commands at one moment (create with a complete line, status, list, help: a "
        f"quarter each), {running} requests running"
    )
    return [
        *_latencies("", quiet, f"{how}, world speed {speed:g}"),
        *_latencies(f"_at_{busy_speed:g}", busy, f"{how}, world speed {busy_speed:g}"),
    ]


def _latencies(suffix: str, seconds: list[float], how: str) -> list[Figure]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    return [
        Figure(f"ack_p50_ms{suffix}", cuts[49] * 1000, "ms", how),
        Figure(f"ack_p99_ms{suffix}", cuts[98] * 1000, "ms", how, target=250),
        Figure(f"ack_max_ms{suffix}", max(seconds) * 1000, "ms", how),
    ]


async def _bursts(people: Crowd, name: str, commands: int, asked: list[str]) -> list[float]:
    """Some bursts, with time between them in which the answers are given."""
    seconds: list[float] = []
    for turn in range(_ROUNDS):
        seconds += await _burst(people, f"{name}-{turn}", commands, asked)
        await asyncio.sleep(_BETWEEN_S)
    return seconds


async def _burst(people: Crowd, name: str, commands: int, asked: list[str]) -> list[float]:
    """All at one moment; the seconds each took. A command that gets no ack within 3 s counts with those 3 s."""
    quarter = range(commands // 4)
    lines = [
        line
        for turn in quarter
        for line in (
            create_line(f"{name}-{turn:02}"),
            f"/gpu-cluster status {asked[turn % len(asked)]}",
            "/gpu-cluster list",
            "/gpu-cluster help",
        )
    ]
    return [delivery.seconds for delivery in await asyncio.gather(*map(people.type, lines))]


async def overhead(*, speed: float, requests: int = 10) -> list[Figure]:
    """How much longer requests take than the world itself needs, and what one costs in calls."""
    async with crowd(Plot(speed=speed)) as people, metered(people.stage) as cost:
        asked = names("over", requests)
        await people.ask(asked)
        await people.approve(requests, requests * _CARD_S)
        lives = await people.verified(asked, _LIFE_S / speed)
        await people.published(requests * 8 * _CARD_S)
        ratios = [_ratio(life, people.stage) for life in lives]
    how = f"{requests} requests at once, world speed {speed:g}"
    spread = f"mean; {min(ratios):.3f} to {max(ratios):.3f}, median {median(ratios):.3f}"
    return [
        Figure("overhead_ratio", fmean(ratios), "", f"{how}; {spread}", target=1.05),
        Figure("rancher_calls_per_request", cost.rancher_calls / requests, "calls", f"{how}; Rancher and its clusters"),
        Figure("slack_calls_per_request", cost.slack_calls / requests, "calls", f"{how}; until all is published"),
    ]


def _ratio(life: Life, stage: Stage) -> float:
    """World time from approval to verified, over the world's own critical path."""
    ready_at, approved_at = life.cluster.ready_at, life.request.approved_at
    if ready_at is None or approved_at is None:
        raise ValueError(f"{life.cluster.name} has no times")
    return (ready_at - approved_at) / stage.world.critical_path(life.cluster.name)


async def load(*, first_speed: float, speed: float, requests: int = 200) -> list[Figure]:
    """What the bot's process costs with very many requests under way.

    Cards come one a second, as Slack allows. Until all are approved the world runs at `first_speed`, slow enough that
    the first request still runs when the last one starts; from then on at `speed`.
    """
    async with crowd(Plot(speed=first_speed)) as people, metered(people.stage) as cost:
        asked = names("load", requests)
        await people.ask(asked)
        await people.approve(requests, requests * _CARD_S)
        people.stage.clock.set_speed(speed)
        await people.verified(asked, _LIFE_S / speed)
    how = (
        f"the bot's process alone, {requests} requests, up to {people.most_running} running side by side, from asking "
        f"to verified; world speed {first_speed:g} until all are approved, then {speed:g}"
    )
    return [
        Figure("cpu_s", cost.cpu_s, "s", how),
        Figure("peak_rss_mb", cost.peak_rss_mb, "MiB", how),
        Figure("rancher_calls_per_request_crowded", cost.rancher_calls / requests, "calls", how),
        Figure("slack_calls_per_request_crowded", cost.slack_calls / requests, "calls", f"{how}; what Slack allowed"),
    ]
