"""A click that Slack delivers a thousand times: the first counts, and nothing changes afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from bot.core import lifecycle
from bot.core.records import RequestState, StepState
from bot.sandbox.slack import Event
from tests.handlers.harness import CHANNEL, LEAD, REQUESTER, Bot
from tests.handlers.test_moves import failed
from tests.handlers.test_orphans import left as left

TIMES, AT_ONCE = 1_000, 50
STATE = ("clusters", "requests", "steps", "approvals", "audit", "credentials")
SAID = ("message", "ephemeral", "file")


def state(bot: Bot) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is so, and everything that was done."""
    with contextlib.closing(sqlite3.connect(bot.path)) as store:
        return {table: store.execute(f"SELECT * FROM {table}").fetchall() for table in STATE}


def said(bot: Bot) -> list[str]:
    return [event.text for event in bot.workspace.events if event.kind in SAID]


def replayed(bot: Bot, click: Callable[[], object], answered: Callable[[], object]) -> None:
    """Click once, wait for what comes of it, then have the very payload delivered again and again."""
    sent: list[tuple[Any, dict[str, Any]]] = []
    socket, send = bot.workspace.socket_mode, bot.workspace.socket_mode.send

    async def seen(kind: Any, payload: dict[str, Any], retry: Any = None) -> Any:
        sent.append((kind, payload))
        return await send(kind, payload, retry)

    socket.send = seen  # type: ignore[method-assign]
    click()
    socket.send = send  # type: ignore[method-assign]
    answered()
    bot.publisher.wake()
    before, told, edits = state(bot), said(bot), bot.workspace.calls["views.open"]

    async def again() -> None:
        for _ in range(TIMES // AT_ONCE):
            all_acked = await asyncio.gather(*(send(*sent[-1]) for _ in range(AT_ONCE)))
            assert all(one.acked for one in all_acked)

    bot.slack.do(again(), timeout=120)
    bot.types(REQUESTER, "help")
    bot.told(REQUESTER, "For example")
    assert state(bot) == before
    assert len(said(bot)) == len(told) + 1, "beside the help nothing was said"
    assert bot.workspace.calls["views.open"] == edits


def test_approve(bot: Bot) -> None:
    bot.asks()
    card = bot.card()

    def answered() -> None:
        bot.told(LEAD, "You approved train-a")
        bot.shown("Approved, building begins")

    replayed(bot, lambda: bot.clicks(LEAD, "approve", card), answered)


@pytest.mark.slow
def test_deny_with_its_reason(bot: Bot) -> None:
    bot.asks()
    bot.clicks(LEAD, "deny", bot.card())
    asked = bot.sees(lambda e: e.kind == "view" and e.user == LEAD)
    assert asked.metadata is not None
    view = asked.metadata["view_id"]

    def submit() -> None:
        bot.slack.do(bot.workspace.submit_view(LEAD, view, {"reason": "too dear"}))

    def answered() -> None:
        bot.told(LEAD, "You denied train-a")
        bot.shown("was denied")

    replayed(bot, submit, answered)


@pytest.mark.slow
def test_ask_again(bot: Bot) -> None:
    waiting = bot.request(bot.asks().id)
    bot.card()
    with bot.store.transaction() as tx:
        lifecycle.lapse(tx, waiting, bot.clock.now())
    bot.publisher.wake()
    lapsed = bot.sees(lambda e: e.kind == "message" and "has lapsed" in e.text)
    since = bot.now

    def answered() -> None:
        bot.told(REQUESTER, "Got it: train-a", since)
        bot.shown("train-a: Checking", since=since)

    replayed(bot, lambda: bot.clicks(REQUESTER, "again", lapsed), answered)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "told", "public"),
    [
        ("keep", "train-a is kept until", "keeps train-a until"),
        ("retry", "goes on from the step that failed", "step 2 of 14"),
        ("cleanup", "Got it: delete train-a", "to delete the cluster train-a"),
    ],
)
def test_below_a_failure(bot: Bot, action: str, told: str, public: str) -> None:
    request_id = failed(bot)
    outcome = bot.shown("Retry from this step")
    since = bot.now

    def answered() -> None:
        bot.told(REQUESTER, told, since)
        bot.shown(public, since=since)

    replayed(bot, lambda: bot.clicks(REQUESTER, action, outcome), answered)
    assert (bot.request(request_id).state == RequestState.RUNNING) == (action == "retry")


@pytest.mark.slow
def test_cancel(bot: Bot) -> None:
    request = bot.asks()
    bot.desk.decide(LEAD, request.id, approve=True)
    bot.runs(request.id, StepState.DONE, StepState.RUNNING)
    running = bot.shown("Cancel …")

    def answered() -> None:
        bot.told(REQUESTER, "Cancelled: create of train-a")
        bot.shown("train-a: Cancelled")
        bot.sees(lambda e: e.kind == "message" and "was cancelled" in e.text)

    replayed(bot, lambda: bot.clicks(REQUESTER, "cancel", running), answered)


@pytest.mark.slow
def test_end_orphans(left: Bot) -> None:
    left.types(LEAD, "orphans")
    card: Event = left.told(LEAD, "left in AWS of clusters")
    replayed(left, lambda: left.clicks(LEAD, "end-orphans", card), lambda: left.shown("has ended 2 of 2 things"))
    assert sorted(left.sweeps.ended) == ["i-1", "i-2"] and card.channel == CHANNEL
