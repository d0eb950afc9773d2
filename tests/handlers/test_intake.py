"""From a row to an answer: crashes, faults, answers whose way is gone."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.causes.insight import Insight
from bot.core.desk import Ask
from bot.core.policy import Verb
from bot.core.records import InboundRow
from bot.core.spec import Draft, Problem
from bot.core.sweeping import Sweeping
from handlers.answering import Answerer
from handlers.calls import make_clients
from handlers.inbox import Gesture, Inbound, inbound_from_json
from handlers.intake import LEASE_S, Intake
from handlers.views.listing import listing
from handlers.windows import Windows
from tests.handlers.conftest import no_world
from tests.handlers.harness import CHANNEL, LEAD, LINE, REQUESTER, Bot, all_text
from tests.handlers.older_slack import older_slack

ASKED = Inbound(Verb.CREATE, REQUESTER, CHANNEL, draft=Draft("train-a", "starter", "1", "8", "try it"))


def test_what_a_crashed_process_left_is_done_once(bot: Bot) -> None:
    bot.intake.stop()
    bot.inbox.put("command:1", ASKED)
    with bot.store.transaction() as tx:  # another process takes it and dies before it is done
        assert len(tx.claim_inbound(real=bot.clock.real(), lease_s=LEASE_S, limit=5)) == 1
    again = another_intake(bot)
    bot.clock.real_shift += LEASE_S + 1
    bot.told(REQUESTER, "Got it: train-a")
    again.stop()
    assert bot.only_request("train-a").requester == REQUESTER


def test_what_was_done_before_the_crash_is_not_done_again(bot: Bot) -> None:
    bot.intake.stop()
    bot.inbox.put("command:1", ASKED)
    request = bot.desk.ask_create(
        Ask(REQUESTER, CHANNEL, "command:1"), ASKED.draft or Draft()
    )  # done, and then the power went
    again = another_intake(bot)
    bot.told(REQUESTER, "Got it: train-a")
    again.stop()
    assert bot.only_request("train-a").id == request.request_id


@pytest.mark.parametrize("odd", [{"gesture": "later"}, {"another": 1}, {"draft": {"colour": "red"}}])
def test_what_another_release_wrote_down_is_closed_and_told_once(bot: Bot, odd: dict[str, object]) -> None:
    payload = json.dumps({**dataclasses.asdict(Inbound(Verb.LIST, REQUESTER, CHANNEL)), **odd})
    with bot.store.transaction() as tx:
        tx.add(InboundRow("command:old", "later", payload, received_real=bot.clock.real()))
    bot.told(REQUESTER, "Please do it again")
    bot.clock.real_shift += LEASE_S + 1
    bot.types(REQUESTER, "list")
    bot.told(REQUESTER, "There are no clusters")
    assert len([e for e in bot.workspace.events if e.kind == "ephemeral" and "do it again" in all_text(e)]) == 1
    with bot.store.transaction() as tx:
        left = tx.claim_inbound(real=bot.clock.real() + LEASE_S + 1, lease_s=LEASE_S, limit=5)
    assert "command:old" not in [row.key for row in left]


def another_intake(bot: Bot) -> Intake:
    intake = Intake(
        store=bot.store,
        inbox=bot.inbox,
        desk=bot.desk,
        insight=Insight(desk=bot.desk, clock=bot.clock, outside=no_world),
        sweeping=Sweeping(
            desk=bot.desk,
            store=bot.store,
            clock=bot.clock,
            directory=bot.directory,
            regions=(),
            sweeper=lambda _: bot.sweeps,
            cloud=lambda _: bot.sweeps,
        ),
        directory=bot.directory,
        answerer=Answerer(bot.clients.answering, bot.clock),
        clock=bot.clock,
        windows=Windows(bot.clients.asking),
        homes=bot.homes,
    )
    intake.start()
    return intake


def test_our_own_fault_has_an_id_that_the_log_holds(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    request = bot.asks()
    with bot.store.transaction() as tx:
        tx.change(request, envelope="{}")  # what is stored cannot be read
    bot.types(REQUESTER, "status train-a")
    answer = bot.told(REQUESTER, "Something went wrong on my side")
    (incident,) = re.findall(r"i-[0-9a-f]{8}", answer.text)
    assert f"incident {incident}" in caplog.text and "Traceback" in caplog.text
    bot.types(REQUESTER, "help")
    bot.told(REQUESTER, "For example")


def test_without_a_response_url_the_answer_is_ephemeral(bot: Bot) -> None:
    bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL))
    bot.told(REQUESTER, "There are no clusters")
    assert bot.workspace.calls["chat.postEphemeral"] == 1


def test_a_response_url_that_is_gone_does_not_lose_the_answer(bot: Bot) -> None:
    url = f"{bot.slack.api_url.removesuffix('/api/')}/response/nowhere"
    bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL, response_url=url))
    bot.told(REQUESTER, "There are no clusters")
    assert bot.workspace.calls["chat.postEphemeral"] == 1


def test_an_old_response_url_is_not_tried(bot: Bot) -> None:
    bot.intake.stop()
    bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL, response_url="http://127.0.0.1:9/never"))
    bot.clock.real_shift += 30 * 60
    again = another_intake(bot)
    bot.told(REQUESTER, "There are no clusters")
    again.stop()


def test_an_answer_that_cannot_be_given_is_logged(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, "C0NOWHERE"))
    deadline = time.monotonic() + 5
    while "no answer to" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "channel_not_found" in caplog.text


def test_refused_blocks_are_answered_plainly(bot: Bot) -> None:
    story = bot.desk.story_by_id(bot.asks().id)
    assert story is not None
    page = listing([story])
    with older_slack("table") as older:
        clients = make_clients("xoxb-1", f"{older.url}/api/")
        answerer = Answerer(clients.answering, bot.clock)
        for url in (f"{older.url}/response", ""):
            inbound = Inbound(Verb.LIST, REQUESTER, CHANNEL, response_url=url)
            answerer.answer(inbound, page, received_real=bot.clock.real(), visible=False)
    assert [method for method, _ in older.accepted] == ["response", "chat.postEphemeral"]
    assert older.refused == 2 and all("train-a" in str(said["blocks"]) for _, said in older.accepted)


def test_a_click_is_answered_while_many_ask(bot: Bot) -> None:
    bot.asks("train-z")
    card = bot.card("train-z")
    for i in range(40):
        bot.inbox.put(f"x:{i}", Inbound(Verb.HELP, REQUESTER, CHANNEL))
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "You approved train-z")


def test_keys_are_forgotten_after_a_day(bot: Bot) -> None:
    bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL))
    all_handled(bot)
    assert not bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL))
    bot.clock.real_shift += 25 * 3600
    since = bot.now
    bot.types(REQUESTER, "help")
    bot.told(REQUESTER, "For example", since)
    assert bot.inbox.put("x:1", Inbound(Verb.LIST, REQUESTER, CHANNEL))


def test_secrets_do_not_stay_in_the_store(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a"))
    bot.shown("train-a: Checking")
    bot.types(REQUESTER, "list")
    bot.told(REQUESTER, "There is 1 cluster")
    all_handled(bot)


def all_handled(bot: Bot) -> None:
    """Wait until every row is handled, its payload emptied."""
    deadline = time.monotonic() + 5
    with contextlib.closing(sqlite3.connect(bot.path)) as store:
        while left := store.execute("SELECT payload FROM seen WHERE payload <> ''").fetchall():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


DRAFTS = st.builds(
    Draft, name=st.text(), reason=st.text(), problems=st.tuples(st.builds(Problem, st.text(), st.text()))
)


@settings(deadline=None)
@given(
    st.builds(
        Inbound,
        gesture=st.sampled_from([*Verb, *Gesture]),
        user=st.text(),
        channel=st.text(),
        name=st.text(),
        draft=st.none() | DRAFTS,
        told=st.booleans(),
    )
)
def test_what_is_written_down_is_what_was_meant(inbound: Inbound) -> None:
    assert inbound_from_json(json.dumps(dataclasses.asdict(inbound), ensure_ascii=False)) == inbound
