"""Who is told of the bot's token, when, and how often."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bot.core.bot_token import BotToken
from bot.core.ports import RancherAbout, Temporary, WorldError
from bot.core.records import MessageKind
from bot.core.token_watch import TokenWatch, operators
from tests.core.stage import CATALOGUE, LEAD, SECOND_LEAD, Stage

DAY = 86400.0


class Told:
    """Rancher's word about the token."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ends: float | None = stage.clock.now() + 30 * DAY
        self.trouble: WorldError | None = None
        self.token = BotToken("token-a:1", stage.clock, mend="put it into its file")
        self.token.current()
        self.asked = 0
        self.watch = self.process()

    def about(self) -> RancherAbout:
        self.asked += 1
        if self.trouble:
            raise self.trouble
        self.token.accepted("token-a:1")
        return RancherAbout("v2.15.0", "u-bot", self.ends)

    def process(self, to: tuple[str, ...] = ("CLEADS",)) -> TokenWatch:
        return TokenWatch(store=self.stage.store, clock=self.stage.clock, rancher=self, token=self.token, to=to)  # type: ignore[arg-type]

    def refuse(self) -> None:
        self.trouble = self.token.refused("token-a:1", "401")

    def passes(self, days: float) -> None:
        """Looks every half an hour for that long."""
        for _ in range(round(days * 48)):
            self.watch.look()
            self.stage.clock.forward(1800)

    def said(self, where: str = "CLEADS") -> list[str]:
        with self.stage.store.reading() as tx:
            rows = tx.messages(f"operators-{where}")
        assert all(row.kind == MessageKind.OPERATORS and row.channel == where for row in rows)
        return [json.loads(row.body)["what"] for row in rows]


@pytest.fixture
def told(stage: Stage) -> Told:
    return Told(stage)


def test_a_week_ahead_once_a_day_and_again_when_it_is_refused(told: Told) -> None:
    told.passes(22.9)
    assert told.said() == []
    told.passes(2)
    assert 2 <= len(told.said()) <= 3 and set(told.said()) == {"token-expiring"}
    told.passes(5)
    before = told.said()
    assert 7 <= len(before) <= 8
    told.refuse()
    told.watch.look()
    assert told.said() == before, "a Rancher that restarts may refuse it for a moment"
    told.stage.clock.forward(90)
    told.watch.look()
    assert told.said() == [*before, "token-refused"]
    told.passes(0.2)
    assert told.said().count("token-refused") <= 2


def test_when_it_is_mended_that_is_said_once(told: Told) -> None:
    told.refuse()
    told.stage.clock.forward(90)
    told.watch.look()
    told.trouble = None
    told.passes(1)
    assert told.said() == ["token-refused", "token-mended"]
    told.refuse()
    told.stage.clock.forward(90)
    told.watch.look()
    assert told.said() == ["token-refused", "token-mended", "token-refused"], "the same day, and yet another time"


def test_nothing_is_said_of_a_token_that_nobody_could_ask_about(told: Told) -> None:
    told.refuse()
    told.stage.clock.forward(90)
    told.watch.look()
    told.token = BotToken("token-a:1", told.stage.clock)
    told.watch = told.process()
    told.trouble = Temporary("Rancher cannot be reached")
    told.passes(1)
    assert told.said() == ["token-refused"], "a bot that was restarted while Rancher is down knows nothing"


def test_two_processes_say_it_once(told: Told) -> None:
    told.ends = told.stage.clock.now() + DAY
    told.watch.look()
    told.process().look()
    assert told.said() == ["token-expiring"]


def test_rancher_is_asked_once_an_hour(told: Told) -> None:
    told.ends = None
    told.passes(1)
    assert told.asked == 24
    assert told.said() == []


def test_without_a_channel_the_leads_are_told_themselves(told: Told) -> None:
    assert operators(CATALOGUE, "CLEADS") == ("CLEADS",)
    everybody = operators(CATALOGUE, "")
    assert {LEAD, SECOND_LEAD} < set(everybody)
    assert everybody == tuple(sorted({lead for team in CATALOGUE.teams.values() for lead in team.leads}))
    told.watch = told.process(everybody)
    told.ends = told.stage.clock.now() + DAY
    told.watch.look()
    assert [told.said(person) for person in everybody] == [["token-expiring"]] * len(everybody)
    assert operators(dataclasses.replace(CATALOGUE, teams={}), "") == ()
