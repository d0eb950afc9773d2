"""What people notice: acks in a rush, what a request costs in messages and clicks, how late Slack shows things."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from statistics import quantiles

from bot.sandbox.slack.events import Event
from bot.sandbox.slack.limits import RateLimiter
from bot.sandbox.stage import CHANNEL, Plot
from tests.bench.crowd import Crowd, Life, create_line, crowd, names
from tests.bench.figures import Figure
from tests.bench.flight import aloft
from tests.bench.meter import metered

_BOT, _REQUESTER, _LEAD = "U0BOT", "U0REQUESTER", "U0LEAD"
_LIFE_S = 3600.0
_CARD_S = 3.0
_RUSH_S = 2.0


async def rush(*, speed: float = 1, running: int = 1_000, commands: int = 500) -> list[Figure]:
    """500 slash commands within two seconds while very many requests run.

    They are seeded as in `flight`, with Slack's own limits lifted: at a post a second and 45 edits a minute the first
    would have ended before the last began. The limits hold again when the commands come.
    """
    async with crowd(Plot(speed=speed)) as people:
        workspace = people.stage.workspace
        limits, workspace.limiter = workspace.limiter, RateLimiter({})
        fleet = await aloft(people, running)
        workspace.limiter = limits
        seconds = await _typed(people, fleet, commands)
    how = (
        f"{commands} commands in {_RUSH_S:g} s (create, status, list, help: a quarter each), {running} requests running"
    )
    cuts = quantiles(seconds, n=100, method="inclusive")
    return [
        Figure("ack500_p99_ms", cuts[98] * 1000, "ms", how, target=250),
        Figure("ack500_max_ms", max(seconds) * 1000, "ms", how, target=1000),
    ]


async def _typed(people: Crowd, fleet: list[str], commands: int) -> list[float]:
    """Evenly over the two seconds, whatever becomes of those before."""
    waiting = []
    for line in islice(_lines(fleet), commands):
        waiting.append(asyncio.create_task(people.type(line)))
        await asyncio.sleep(_RUSH_S / commands)
    return [delivery.seconds for delivery in await asyncio.gather(*waiting)]


def _lines(fleet: list[str]) -> Iterator[str]:
    for number, name in enumerate(cycle(fleet)):
        yield create_line(f"typed-{number:03}")
        yield f"/gpu-cluster status {name}"
        yield "/gpu-cluster list"
        yield "/gpu-cluster help"


async def manners(*, speed: float = 20, requests: int = 5) -> list[Figure]:
    """Messages, calls and clicks of requests that end verified, and how soon the channel shows it."""
    async with crowd(Plot(speed=speed)) as people, metered(people.stage) as cost:
        asked = names("people", requests)
        await people.ask(asked)
        await people.approve(requests, requests * _CARD_S)
        lives = await people.verified(asked, _LIFE_S / speed)
        await people.published(requests * 8 * _CARD_S)
        events = list(people.stage.workspace.events)
    posted = [e for e in events if e.kind == "message" and e.channel == CHANNEL and e.user == _BOT]
    in_channel = [e for e in posted if e.thread_ts is None or _broadcast(e)]
    late = sorted(seconds for life in lives for seconds in _lateness(life, events, speed))
    cuts = quantiles(late, n=20, method="inclusive")
    how = f"{requests} requests at once, world speed {speed:g}"
    return [
        Figure("slack_calls_per_finished_request", cost.slack_calls / requests, "calls", f"{how}; until all is shown"),
        Figure("channel_messages_per_request", len(in_channel) / requests, "messages", how, target=2),
        Figure(
            "event_to_message_p95_s", cuts[18], "s", f"{how}; from approved, and from ready, to the edit; real time"
        ),
        Figure("requester_actions", _acts(events, _REQUESTER) / requests, "", f"{how}; lines and clicks", target=3),
        Figure("lead_actions", _acts(events, _LEAD) / requests, "", f"{how}; lines and clicks", target=1),
    ]


def _broadcast(event: Event) -> bool:
    """The one reply that the channel sees, too: the outcome."""
    return event.metadata is not None and event.metadata.get("event_type") == "gpu_cluster_outcome"


def _acts(events: Iterable[Event], user: str) -> int:
    return sum(e.user == user and (e.kind in ("command", "click")) for e in events)


def _lateness(life: Life, events: list[Event], speed: float) -> Iterator[float]:
    """Real seconds from a change in the store to the message that shows it."""
    name = life.cluster.name
    for at, words in ((life.request.approved_at, ("Approved", "Building")), (life.cluster.ready_at, ("Ready",))):
        if at is None:
            continue
        shown = (e for e in events if e.kind == "edit" and e.at_world >= at and name in e.text)
        first = next((e for e in shown if any(word in e.text for word in words)), None)
        if first is not None:
            yield (first.at_world - at) / speed
