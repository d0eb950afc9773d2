"""How long a cancel takes to be seen, in world seconds: whatever Rancher or the cluster is being asked meanwhile."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import pytest

from bot.core.desk import Ask
from bot.core.records import RequestState
from tests.core.stage import CATALOGUE, DRAFT, Stage
from tests.core.test_cluster_moves import READS, WRITES
from tests.handlers.harness import CHANNEL, LEAD, REQUESTER, Bot, MovableClock, catalogue

CALL_S, PAUSE_S = 20.0, 5.0
"""World seconds that a call to the outside takes, and that pass between two looks."""


HERE = dataclasses.replace(CATALOGUE, teams=catalogue().teams)
"""What the stage's world has, for the people of the listening Slack."""


class SteppedClock(MovableClock):
    """World time passes only while the outside is being asked, and between looks."""

    def now(self) -> float:
        return 1_795_000_000.0 + self.world_shift


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


class Outside:
    """The engine's world behind a seam that counts calls; call number `moment` hangs until it is let go."""

    def __init__(self, bot: Bot, moment: int) -> None:
        self.stage = Stage(bot.store, bot.clock, bot.directory, HERE, {REQUESTER: "local://u-abcde"})  # type: ignore[arg-type]
        self.bot, self.moment = bot, moment
        self.heard: list[str] = []
        self.asked, self.let_go = threading.Event(), threading.Event()
        for seam in (self.stage.rancher, self.stage.kube):
            for name in (*READS, *WRITES):
                if hasattr(seam, name):
                    setattr(seam, name, self._hearing(name, getattr(seam, name)))

    def _hearing(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def hear(*given: object, **named: object) -> object:
            self.heard.append(name)
            if len(self.heard) == self.moment:
                self.asked.set()
                assert self.let_go.wait(30)
            self.bot.clock.world_shift += CALL_S
            return call(*given, **named)

        return hear

    def run(self) -> None:
        """The engine's looks, until the call that hangs has come back."""
        while not self.let_go.is_set():
            self.stage.engine.look_once()
            self.bot.clock.world_shift += PAUSE_S


def approved(bot: Bot, outside: Outside) -> str:
    story = outside.stage.desk.ask_create(Ask(REQUESTER, CHANNEL, "test:create"), DRAFT)
    outside.stage.engine.look_once()
    outside.stage.desk.decide(LEAD, story.request_id, approve=True)
    bot.shown("Approved, building begins")
    outside.heard.clear()
    return story.request_id


@pytest.mark.parametrize("settings", [{"catalogue": HERE}], indirect=True)
@pytest.mark.parametrize("moment", [17, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 34, 3) if n != 17)])
def test_a_cancel_is_shown_before_the_outside_has_answered(bot: Bot, moment: int) -> None:
    outside = Outside(bot, moment)
    request_id = approved(bot, outside)
    looking = threading.Thread(target=outside.run, daemon=True)
    looking.start()
    assert outside.asked.wait(30), "the create came to its end before"
    since, clicked, real = bot.now, bot.clock.now(), time.monotonic()
    assert bot.types(REQUESTER, f"cancel {DRAFT.name}").acked
    bot.told(REQUESTER, "Cancelled: create of train-a", since)
    bot.shown("train-a: Cancelled", since=since)
    seen = bot.clock.now() - clicked
    print(f"cancel during call {moment} ({outside.heard[-1]}): {seen:.0f} world s, {time.monotonic() - real:.2f} s")
    assert seen == 0, "the message waited for the outside"
    outside.let_go.set()
    looking.join(30)
    assert [name for name in outside.heard[moment:] if name in WRITES] == []
    assert bot.request(request_id).state == RequestState.CANCELLED
