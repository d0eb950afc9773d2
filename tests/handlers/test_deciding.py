"""Approve and Deny: who may, who may not, and what comes of it."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.core.records import RequestState
from bot.core.spec import Team, to_json
from handlers.directory import FRESH_EVERY_S
from tests.handlers.harness import (
    APPROVALS,
    BYSTANDER,
    LEAD,
    LEAD2,
    REQUESTER,
    Bot,
    all_text,
    catalogue,
    envelope,
)


def test_a_lead_approves(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    assert "S0LEADS" in all_text(card) and "at most $0.75 an hour, $6.00 for 8 hours" in all_text(card)
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "You approved train-a")
    after = bot.shown("Approved, building begins")
    assert not any(b["type"] == "actions" for b in after.blocks) and "Approved by" in all_text(after)
    assert bot.request(request.id).state == RequestState.APPROVED


def test_who_has_just_left_the_leads_does_not_approve(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    assert LEAD in bot.directory.group("S0LEADS")

    async def leave() -> None:
        group = bot.workspace.groups["S0LEADS"]
        bot.workspace.groups["S0LEADS"] = dataclasses.replace(group, users=(LEAD2,))

    bot.slack.do(leave())
    bot.clock.real_shift += FRESH_EVERY_S + 1
    assert LEAD in bot.directory.group("S0LEADS"), "still in the cache"
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "Only a lead")
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL


def test_the_confirmation_says_what_it_costs(bot: Bot) -> None:
    bot.asks()
    (actions,) = (b for b in bot.card().blocks if b["type"] == "actions")
    confirm = actions["elements"][0]["confirm"]["text"]["text"]
    assert "1 × g4dn.xlarge (GPU workers)" in confirm and "$6.00 for 8 hours" in confirm


def test_a_price_that_is_not_known_is_said_to_be_unknown(bot: Bot) -> None:
    bot.asks(price=None)
    assert "price: unknown." in all_text(bot.card())


def test_a_lead_denies(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.denies(LEAD, card)
    bot.told(LEAD, "You denied train-a")
    outcome = bot.sees(lambda e: e.kind == "message" and "was denied" in e.text)
    assert outcome.thread_ts == card.ts and "<@U0REQUESTER>" in outcome.text
    assert outcome.metadata is not None and outcome.metadata["event_payload"]["state"] == "denied"
    assert bot.request(request.id).state == RequestState.DENIED


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (BYSTANDER, "Only a lead of team default"),
        ("U0GUEST", "Guests, deactivated accounts"),
        ("U0GONE", "Guests, deactivated accounts"),
        ("U0FOREIGN", "people of other workspaces"),
        (REQUESTER, "You asked for this yourself"),
    ],
)
def test_who_may_not_is_told_and_the_card_stays(bot: Bot, user: str, said: str) -> None:
    request = bot.asks()
    card = bot.card()
    since = bot.now
    assert bot.clicks(user, "approve", card).acked
    assert "S0LEADS" in all_text(bot.told(user, said)), "who can"
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL
    edits = [e for e in bot.workspace.events[since:] if e.kind == "edit"]
    assert all(e.blocks[-1]["type"] == "actions" for e in edits)


def test_two_leads_at_once_have_one_winner(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda user: bot.clicks(user, "approve", card), [LEAD, LEAD2]))
    bot.sees(lambda e: e.kind == "ephemeral" and "You approved train-a" in e.text)
    loser = bot.sees(lambda e: e.kind == "ephemeral" and "already approved" in e.text)
    winner = bot.request(request.id).decided_by
    assert loser.ephemeral_to != winner and f"<@{winner}>" in loser.text
    with bot.store.reading() as tx:
        assert len(tx.approvals(request.id)) == 1


def test_a_click_delivered_twice_counts_once(bot: Bot) -> None:
    request = bot.asks()
    bot.clicks(LEAD, "approve", bot.card(), duplicate=True)
    bot.told(LEAD, "You approved train-a")
    bot.shown("Approved, building begins")
    assert not any("already" in all_text(e) for e in bot.workspace.events)
    with bot.store.reading() as tx:
        assert len(tx.approvals(request.id)) == 1


@pytest.mark.parametrize("settings", [{"approvals": 2}], indirect=True)
def test_two_approvals_need_two_people(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "1 of 2")
    bot.shown("1 of 2 approvals")
    since = bot.now
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "approved this already", since)
    bot.clicks(LEAD2, "approve", card)
    bot.told(LEAD2, "it starts now")
    assert bot.request(request.id).state == RequestState.APPROVED


def test_too_late(bot: Bot) -> None:
    bot.asks()
    card = bot.card()
    bot.clock.world_shift += 25 * 3600
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "has lapsed")


def test_a_request_that_changed_is_not_approved_by_an_old_card(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    dearer = envelope("train-a", price=99.0)
    with bot.store.transaction() as tx:
        tx.change(request, envelope=to_json(dearer), envelope_hash=dearer.digest())
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "has changed since this card")
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL


def test_nobody_decides_while_slack_cannot_say_who_is_a_lead(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.clock.real_shift += 70  # the cache is over
    bot.workspace.inject("usergroups.users.list", times=1, status=500)
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "could not tell who is a lead")
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL
    bot.clicks(LEAD, "approve", card)
    bot.told(LEAD, "You approved train-a")


def test_a_new_lead_is_looked_up_again_before_a_refusal(bot: Bot) -> None:
    bot.asks()
    card = bot.card()
    assert LEAD in bot.directory.group("S0LEADS")
    group = bot.workspace.groups["S0LEADS"]
    bot.workspace.groups["S0LEADS"] = type(group)(group.id, group.handle, group.name, (*group.users, BYSTANDER))
    bot.clock.real_shift += 5  # well within the cache's minute
    request = bot.only_request("train-a")
    bot.clicks(BYSTANDER, "approve", card)
    bot.told(BYSTANDER, "You became a lead after this was asked")
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL
    later = bot.asks("train-b")
    bot.clicks(BYSTANDER, "approve", bot.card("train-b"))
    bot.told(BYSTANDER, "You approved train-b")
    assert bot.request(later.id).state == RequestState.APPROVED


@pytest.mark.parametrize("settings", [{"approvals_channel": APPROVALS}], indirect=True)
def test_the_card_in_another_channel(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card(channel=APPROVALS)
    parent = bot.shown("Waiting for approval")
    assert not any(b["type"] == "actions" for b in parent.blocks)
    bot.clicks(LEAD, "approve", card)
    both = (bot.shown("Approved, building begins"), bot.shown("Approved, building begins", channel=APPROVALS))
    assert not any(b["type"] == "actions" for e in both for b in e.blocks)
    assert {row.kind for row in bot.messages(request.id)} == {"parent", "card"}


BUDGETED = Team("default", lead_group="S0LEADS", budget_per_month=100.0)


@pytest.mark.parametrize(
    "settings", [{"catalogue": dataclasses.replace(catalogue(), teams={"default": BUDGETED})}], indirect=True
)
def test_the_card_shows_the_budget_and_who_joined_the_leads_today(bot: Bot) -> None:
    group = bot.workspace.groups["S0LEADS"]
    assert LEAD in bot.directory.group("S0LEADS")
    bot.workspace.groups["S0LEADS"] = dataclasses.replace(group, users=(*group.users, BYSTANDER))
    bot.clock.real_shift += 70  # the cache is over
    bot.asks()
    told = all_text(bot.card())
    assert "$100.00 of $100.00 left, $94.00 after this" in told
    assert "changed in the last 24 h" in told and BYSTANDER in told and "It lapses" in told


def test_a_denied_delete_leaves_the_cluster_its_own_story(bot: Bot) -> None:
    bot.asks("train-a")
    bot.clicks(LEAD, "approve", bot.card())
    bot.told(LEAD, "You approved train-a")
    bot.types(REQUESTER, "delete train-a")
    bot.denies(LEAD, bot.sees(lambda e: e.kind == "message" and "to delete the cluster" in e.text))
    bot.sees(lambda e: e.kind == "message" and "was denied" in e.text)
    since = bot.now
    bot.types(REQUESTER, "status train-a")
    assert "Approved, building begins" in all_text(bot.told(REQUESTER, "train-a", since))
