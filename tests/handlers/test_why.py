"""`why` and `logs` in Slack: typed, mentioned, refused; and what the pages hold whatever there is to say."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.causes.insight import NOW, STORED, Explanation, Logs, Reason
from bot.core.ports import PodLog
from bot.sandbox.slack import Event
from handlers.views.render import render
from handlers.views.why import logs, why
from tests.handlers.harness import BYSTANDER, LEAD, REQUESTER, Bot, all_text
from tests.handlers.stories import TEXT, plain_story, stories
from tests.handlers.test_views import fit

REASONS = st.lists(
    st.builds(Reason, what=TEXT, remedy=TEXT, code=st.sampled_from(["", "diag-04"]), proof=TEXT,
              seen=st.sampled_from([NOW, STORED])),
    max_size=14,
)  # fmt: skip
UNSEEN = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
PODS = st.lists(
    st.builds(PodLog, namespace=TEXT, pod=TEXT, app=TEXT, node=TEXT, container=TEXT, state=TEXT, text=TEXT), max_size=14
)


@settings(max_examples=40, deadline=None)
@given(stories(), REASONS, st.booleans(), st.lists(TEXT, max_size=7), UNSEEN)
def test_an_explanation_fits(story, reasons, looked, unanswered, unseen) -> None:
    fit(why(Explanation(story, tuple(reasons), looked, tuple(unanswered), unseen)))


@settings(max_examples=40, deadline=None)
@given(PODS, st.lists(TEXT, max_size=3))
def test_logs_fit(pods, unanswered) -> None:
    fit(logs(Logs("train-a", tuple(pods), tuple(unanswered))))


def test_a_cause_has_a_number_a_code_a_remedy_and_a_command() -> None:
    reason = Reason("driver on n1: no headers", "Pin the kernel.", "diag-04", "kubectl logs x", STORED)
    other = Reason("n1 is not Ready", "Replace it.")
    page = why(Explanation(plain_story("x"), (reason, other), True, (), (("RKE2's own log", "journalctl"),)))
    said = str(render(page).blocks)
    for text in ("1. diag-04 ", "no headers (when it was made)", "Pin the kernel.", "kubectl logs x", "2. ",
                 "I cannot see RKE2's own log"):  # fmt: skip
        assert text in said


def test_nothing_wrong_is_said(bot: Bot) -> None:
    story = dataclasses.replace(plain_story("x"), cluster="train-a")
    assert "train-a: nothing is wrong that shows in" in str(why(Explanation(story, (), True, (), ())))


def test_typed_and_mentioned(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.desk.decide(LEAD, request.id, approve=True)
    bot.fails(request.id, "The driver does not build.", "Pin the kernel.")
    bot.types(REQUESTER, "why train-a")
    told = bot.told(REQUESTER, "The driver does not build.")
    assert "Pin the kernel." in all_text(told)
    assert card.ts is not None
    since = bot.now
    bot.slack.do(bot.workspace.mention(LEAD, card.channel or "", "why", thread_ts=card.ts))

    def answered(event: Event) -> bool:
        return event.kind == "message" and event.thread_ts == card.ts and "Why: train-a" in all_text(event)

    bot.sees(answered, since)


def test_logs_of_what_has_no_machines(bot: Bot) -> None:
    bot.asks()
    bot.types(REQUESTER, "logs train-a")
    bot.told(REQUESTER, "train-a has no machines yet")


@pytest.mark.parametrize("settings", [{}], indirect=True)
def test_a_bystander_may_where_everybody_is_a_teammate(bot: Bot) -> None:
    bot.asks()
    bot.types(BYSTANDER, "why train-a")
    bot.told(BYSTANDER, "Why: train-a")
    bot.types(BYSTANDER, "why nobody-1")
    bot.told(BYSTANDER, "There is no cluster “nobody-1”")
    bot.types(BYSTANDER, "logs c-abcde")
    bot.told(BYSTANDER, "That is not a cluster's name.")
    bot.types(BYSTANDER, "why")
    bot.told(BYSTANDER, "/gpu-cluster why")
