"""What the bot's process costs, and how many calls it makes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psutil

from bot.sandbox.stage import Stage

_SAMPLE_S = 0.5


@dataclass
class Cost:
    """CPU seconds (user and system) of the bot's process alone, its largest resident set in MiB, and its calls."""

    cpu_s: float = 0.0
    peak_rss_mb: float = 0.0
    rancher_calls: int = 0
    slack_calls: int = 0


@contextlib.asynccontextmanager
async def metered(stage: Stage) -> AsyncIterator[Cost]:
    """Fill in what the bot uses from here to the end of the block; memory counts from its start."""
    bot = _bot()
    cost = Cost()
    cpu, rancher, slack = _cpu_s(bot), stage.world.calls.total(), stage.workspace.calls.total()
    sampling = asyncio.create_task(_sample(bot, cost))
    try:
        yield cost
    finally:
        sampling.cancel()
    cost.cpu_s = _cpu_s(bot) - cpu
    cost.rancher_calls = stage.world.calls.total() - rancher
    cost.slack_calls = stage.workspace.calls.total() - slack


def _bot() -> psutil.Process:
    """The only process that a stage starts."""
    (bot,) = psutil.Process().children()
    return bot


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _sample(process: psutil.Process, cost: Cost) -> None:
    while True:
        cost.peak_rss_mb = max(cost.peak_rss_mb, process.memory_info().rss / 2**20)
        await asyncio.sleep(_SAMPLE_S)
