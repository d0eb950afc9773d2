"""Many people on one stage who ask for clusters and approve them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bot.core.records import ClusterRow, ClusterState, RequestRow, RequestState
from bot.core.verification.verdict import VERIFIED
from bot.sandbox.play import has_button
from bot.sandbox.slack.delivery import Delivery
from bot.sandbox.stage import CHANNEL, Plot, Stage
from bot.store import open_store

_REQUESTER, _LEAD = "U0REQUESTER", "U0LEAD"
_LOOK_S = 1.0
_AT_ONCE = 20
"""So many people ask or click at the same moment where it is not their waiting that is measured."""
_ENDED = (RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED, RequestState.DENIED, RequestState.LAPSED)


class NotVerified(Exception):
    """Requests did not end verified, or not in time."""


@dataclass(frozen=True)
class Life:
    """A request and its cluster as the bot's store has them; times are world time, Unix seconds."""

    request: RequestRow
    cluster: ClusterRow

    @property
    def verified(self) -> bool:
        return self.cluster.state == ClusterState.READY and self.cluster.verdict == VERIFIED


@contextlib.asynccontextmanager
async def crowd(plot: Plot) -> AsyncIterator[Crowd]:
    """A stage with the real bot on it, in a folder of its own, and people before it.

    When something does not come true, the exception carries the end of the bot's log as a note.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-cluster-bench-") as folder:
        async with Stage(Path(folder), plot) as stage:
            await stage.start_bot()
            try:
                yield Crowd(stage)
            except Exception as error:
                error.add_note(f"The end of the bot's log:\n{stage.bot_log(20)}")
                raise


class Crowd:
    """What they do. Every `within` is real seconds; `most_running` requests have been seen to run at once."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.most_running = 0
        self._store = open_store(f"sqlite:///{stage.database}")

    async def type(self, line: str) -> Delivery:
        """One slash command of the requester."""
        return await self.stage.workspace.slash(_REQUESTER, CHANNEL, line)

    async def ask(self, names: Sequence[str], *, gpus: int = 1) -> None:
        """One create for each name. Raises `NotVerified` when one is not acknowledged."""
        await _all_acked(self.type(create_line(name, gpus)) for name in names)

    async def approve(self, count: int, within: float) -> None:
        """A lead clicks Approve on so many cards as they come: Slack lets the bot post one a second, no more.

        Raises `NotVerified` when a click is not acknowledged, or the cards do not come in time.
        """
        clicked: set[str] = set()
        async with _deadline(within, lambda: f"{len(clicked)} of {count} requests could be approved"):
            while len(clicked) < count:
                await asyncio.sleep(_LOOK_S)
                new = self._cards() - clicked
                await _all_acked(self.stage.workspace.click(_LEAD, CHANNEL, ts, "approve") for ts in new)
                clicked |= new
                await self._lives()

    async def running(self, count: int, within: float) -> None:
        """Wait until so many requests run at the same time."""
        async with _deadline(within, lambda: f"at most {self.most_running} of {count} requests ran at once"):
            while self.most_running < count:
                await asyncio.sleep(_LOOK_S)
                _must_not_have_ended(await self._lives())

    async def verified(self, names: Sequence[str], within: float) -> list[Life]:
        """Wait for the end of the requests of these names; raises `NotVerified` unless all end verified."""
        mine = await self.ended(names, within)
        if bad := [life for life in mine if not life.verified]:
            first = bad[0]
            raise NotVerified(
                f"{len(bad)} of {len(names)} did not end verified; {first.cluster.name} is {first.cluster.state}, "
                f"{first.cluster.verdict or 'not measured'}: {first.request.reason}"
            )
        return mine

    async def ended(self, names: Sequence[str], within: float) -> list[Life]:
        """Wait for the end of these names' requests, whatever it is; raises `NotVerified` when it does not come."""
        mine: list[Life] = []
        async with _deadline(within, lambda: f"{_ended(mine)} of {len(names)} requests have ended"):
            while _ended(mine) < len(names):
                await asyncio.sleep(_LOOK_S)
                mine = [life for life in await self._lives() if life.cluster.name in names]
        return mine

    async def published(self, within: float) -> None:
        """Wait until Slack shows everything that the store says."""
        left = 1
        async with _deadline(within, lambda: f"{left} messages are not sent yet"):
            while left:
                await asyncio.sleep(_LOOK_S)
                left = await asyncio.to_thread(self._unsent)

    def _cards(self) -> set[str]:
        """The `ts` of every message with an Approve button."""
        messages = self.stage.workspace.messages.values()
        return {m.ts for m in messages if m.channel == CHANNEL and has_button(m, "approve")}

    async def _lives(self) -> list[Life]:
        lives = await asyncio.to_thread(self._read_lives)
        running = sum(life.request.state == RequestState.RUNNING for life in lives)
        self.most_running = max(self.most_running, running)
        return lives

    def _read_lives(self) -> list[Life]:
        with self._store.reading() as tx:
            return [Life(tx.requests_of(row.id)[0], row) for row in tx.clusters(living=False)]

    def _unsent(self) -> int:
        with self._store.reading() as tx:
            return len(tx.due_messages(10_000))


def create_line(name: str, gpus: int = 1) -> str:
    """A complete line: it asks at once, without a form."""
    return f'/gpu-cluster create {name} --preset starter --gpus {gpus} --hours 8 --reason "bench"'


def names(prefix: str, count: int) -> list[str]:
    """Names for so many clusters."""
    return [f"{prefix}-{number:03}" for number in range(count)]


async def _all_acked(gestures: Iterable[Coroutine[Any, Any, Delivery]]) -> None:
    waiting = iter(gestures)
    while some := list(islice(waiting, _AT_ONCE)):
        for delivery in await asyncio.gather(*some):
            if not delivery.acked:
                raise NotVerified(f"the bot did not acknowledge in time: {delivery.error}")


def _must_not_have_ended(lives: Sequence[Life]) -> None:
    """While all are still to come, one that has ended is why they never will: say so, and wait for nothing."""
    for life in lives:
        if life.request.state in _ENDED:
            raise NotVerified(f"{life.cluster.name} is {life.request.state}: {life.request.reason}")


def _ended(lives: Sequence[Life]) -> int:
    return sum(life.request.state in _ENDED for life in lives)


@contextlib.asynccontextmanager
async def _deadline(seconds: float, so_far: Callable[[], str]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise NotVerified(f"not in {seconds:.0f} s: {so_far()}") from None
