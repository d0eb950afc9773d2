"""What Slack or the store takes away for a while: channels, threads, messages. Nothing that is due is lost."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from bot.core import lifecycle
from bot.core.records import MessageKind, RequestState, StepState
from bot.sandbox.slack import Event
from handlers.publisher import Publisher
from handlers.sender import CLOSED_CHANNEL_S
from tests.handlers.harness import APPROVALS, BYSTANDER, CHANNEL, LEAD, Bot, all_text
from tests.handlers.test_publisher import settled

DIRECT = "D0REQUESTER"


@pytest.fixture
def by_hand(bot: Bot) -> Publisher:
    """The bot's own publisher has died; another is started by hand, one look at a time."""
    bot.publisher.stop()
    return Publisher(store=bot.store, desk=bot.desk, clock=bot.clock, clients=bot.clients)


def in_slack(bot: Bot, change: Callable[[], object]) -> None:
    async def changing() -> None:
        change()

    bot.slack.do(changing())


def expelled(bot: Bot, channel: str = CHANNEL) -> Callable[[], None]:
    """The bot is thrown out of a channel; returns how to let it in again."""
    before = bot.workspace.channels[channel]
    outside = dataclasses.replace(before, members=before.members - {"U0BOT"})
    in_slack(bot, lambda: bot.workspace.channels.update({channel: outside}))
    return lambda: in_slack(bot, lambda: bot.workspace.channels.update({channel: before}))


def deleted(bot: Bot, channel: str, ts: str) -> None:
    """An admin deletes a message."""
    in_slack(bot, lambda: bot.workspace.delete(bot.workspace.messages[channel, ts]))


def said(bot: Bot, channel: str, text: str) -> list[Event]:
    return [
        e
        for e in bot.workspace.events
        if e.kind in ("message", "edit") and e.channel == channel and text in all_text(e)
    ]


def undecided(bot: Bot, by_hand: Publisher) -> str:
    """A request whose message with the buttons is in Slack."""
    request = bot.asks()
    by_hand.look()
    assert said(bot, CHANNEL, "Approve")
    return request.id


def test_a_closed_channel_is_tried_again_until_it_takes_everything(bot: Bot, by_hand: Publisher) -> None:
    request_id = undecided(bot, by_hand)
    bot.desk.decide(LEAD, request_id, approve=True)
    let_in = expelled(bot)
    bot.fails(request_id, "because")
    for _ in range(3):
        by_hand.look()
    calls = bot.workspace.calls["chat.update"]
    assert {m.failed for m in bot.messages(request_id)} == {""}
    assert bot.request(request_id).state == RequestState.FAILED

    let_in()
    by_hand.look()
    assert bot.workspace.calls["chat.update"] == calls, "a closed channel is not hammered"
    bot.clock.real_shift += CLOSED_CHANNEL_S + 1
    for _ in range(2):
        by_hand.look()
    assert all(m.sent_rev == m.wanted_rev for m in bot.messages(request_id))
    (outcome,) = said(bot, CHANNEL, "making train-a failed")
    assert outcome.thread_ts


def test_an_outcome_that_the_channel_does_not_take_is_told_to_the_requester_once(bot: Bot, by_hand: Publisher) -> None:
    request_id = undecided(bot, by_hand)
    bot.desk.decide(LEAD, request_id, approve=True)
    expelled(bot)
    bot.fails(request_id, "because")
    by_hand.look()
    (told,) = said(bot, DIRECT, "making train-a failed")
    assert f"I cannot post in <#{CHANNEL}>" in all_text(told)
    another = Publisher(store=bot.store, desk=bot.desk, clock=bot.clock, clients=bot.clients)
    for _ in range(2):
        bot.clock.real_shift += CLOSED_CHANNEL_S + 1
        another.look()
    assert said(bot, DIRECT, "train-a") == [told], "not even after a restart"


def test_a_direct_message_that_slack_has_no_time_for_comes_later(bot: Bot, by_hand: Publisher) -> None:
    request_id = undecided(bot, by_hand)
    bot.desk.decide(LEAD, request_id, approve=True)
    expelled(bot)
    bot.fails(request_id, "because")
    bot.workspace.inject("conversations.open", times=1)
    by_hand.look()
    assert not said(bot, DIRECT, "train-a")
    bot.clock.real_shift += 2
    by_hand.look()
    assert len(said(bot, DIRECT, "making train-a failed")) == 1


@pytest.mark.parametrize("settings", [{"approvals_channel": APPROVALS}], indirect=True)
def test_a_card_waits_for_its_channel_while_the_others_go_on(bot: Bot, by_hand: Publisher) -> None:
    let_in = expelled(bot, APPROVALS)
    bot.asks()
    by_hand.look()
    assert said(bot, CHANNEL, "train-a")
    let_in()
    bot.clock.real_shift += CLOSED_CHANNEL_S + 1
    by_hand.look()
    assert len(said(bot, APPROVALS, "Approve")) == 1


def test_a_line_of_a_deleted_thread_begins_a_new_one(bot: Bot, by_hand: Publisher) -> None:
    request_id = undecided(bot, by_hand)
    (old,) = bot.messages(request_id)
    deleted(bot, CHANNEL, old.ts)
    with bot.store.transaction() as tx:
        row = tx.request(request_id)
        assert row is not None
        lifecycle.post(tx, row, MessageKind.OUTCOME, bot.clock.now())
    for _ in range(2):
        by_hand.look()
    parent, line = bot.messages(request_id)
    assert parent.ts not in ("", old.ts) and not line.failed
    assert bot.workspace.messages[CHANNEL, line.ts].thread_ts == parent.ts


@pytest.mark.parametrize("settings", [{"approvals_channel": APPROVALS}, {}], indirect=True)
def test_status_brings_a_deleted_card_back(bot: Bot) -> None:
    request = bot.asks()
    card = bot.sees(lambda e: e.kind in ("message", "edit") and any(b["type"] == "actions" for b in e.blocks))
    assert card.channel and card.ts
    settled(bot, request.id)
    deleted(bot, card.channel, card.ts)
    since = bot.now
    bot.clock.real_shift += 10
    bot.types(BYSTANDER, "status train-a")
    again = bot.sees(
        lambda e: e.kind == "message" and e.channel == card.channel and any(b["type"] == "actions" for b in e.blocks),
        since,
    )
    assert again.ts != card.ts
    bot.clicks(LEAD, "approve", again)
    bot.told(LEAD, "You approved train-a")


@pytest.fixture
def broken_store(bot: Bot) -> Iterator[Callable[[str, str], None]]:
    """Let the store refuse a change of the messages, by a trigger of SQLite's; '' mends it."""

    def refuse(column: str, when: str) -> None:
        with closing(sqlite3.connect(bot.path, isolation_level=None)) as database:
            database.execute("DROP TRIGGER IF EXISTS broken")
            if column:
                database.execute(
                    f"CREATE TRIGGER broken BEFORE UPDATE OF {column} ON messages WHEN {when} "
                    "BEGIN SELECT RAISE(ABORT, 'no room'); END"
                )

    yield refuse


@pytest.mark.parametrize("when", ["NEW.sending <> ''", "NEW.sending = ''"], ids=["before the post", "after it"])
def test_a_store_in_trouble_costs_no_message_and_makes_none_twice(
    bot: Bot, by_hand: Publisher, broken_store: Callable[[str, str], None], when: str
) -> None:
    request = bot.asks()
    broken_store("sending", when)
    for _ in range(3):
        by_hand.look()
    (parent,) = bot.messages(request.id)
    assert not parent.failed and not parent.ts
    broken_store("", "")
    by_hand.look()
    (parent,) = bot.messages(request.id)
    assert parent.ts and parent.sent_rev == parent.wanted_rev and not parent.sending
    assert len([e for e in bot.workspace.events if e.kind == "message"]) == 1


# --- the socket -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_socket_is_lost_while_each_step_runs(bot: Bot) -> None:
    """What is said in the thread meanwhile is heard once the bot is back, and progress never stood still."""
    request = bot.asks()
    card = bot.card()
    bot.desk.decide(LEAD, request.id, approve=True)
    steps = len(bot.steps(request.id))
    for number in range(1, steps + 1):
        since = bot.now
        bot.slack.do(bot.workspace.socket_mode.drop())
        assert bot.workspace.socket_mode.connections == 0
        bot.runs(request.id, *[StepState.DONE] * (number - 1), StepState.RUNNING)
        bot.clock.real_shift += 60  # Slack lets an app connect once a minute
        bot.publisher.wake()
        bot.shown(f"step {number} of {steps}", since=since)
        for _ in range(400):
            if bot.workspace.socket_mode.connections:
                break
            time.sleep(0.05)
        since = bot.now
        assert bot.slack.do(bot.workspace.mention(BYSTANDER, CHANNEL, "status", thread_ts=card.ts)).acked
        told = bot.sees(lambda e: e.kind == "message" and e.user == "U0BOT" and e.thread_ts == card.ts, since)
        assert f"step {number} of {steps}" in all_text(told)
    assert bot.workspace.socket_mode.late_acks == []
