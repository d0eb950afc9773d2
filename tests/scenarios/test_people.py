"""People at once, twice, too late, and those who may not."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from scene import BYSTANDER, LEAD, LEAD2, REQUESTER, Scene, scene

from bot.core.records import RequestRow
from bot.store import open_store
from handlers.directory import FRESH_EVERY_S


def requests_in(now: Scene) -> list[RequestRow]:
    """Every request in the bot's store."""
    with open_store(f"sqlite:///{now.stage.database}").reading() as tx:
        return [request for cluster in tx.clusters(living=False) for request in tx.requests_of(cluster.id)]


def approvals_in(now: Scene) -> list[str]:
    """Who approved, over all requests in the bot's store."""
    with open_store(f"sqlite:///{now.stage.database}").reading() as tx:
        return [
            approval.approver
            for cluster in tx.clusters(living=False)
            for request in tx.requests_of(cluster.id)
            for approval in tx.approvals(request.id)
        ]


async def test_two_ask_for_one_name_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await asyncio.gather(now.create("train", user=REQUESTER), now.create("train", user=LEAD))
        await now.card("train")
        winner = requests_in(now)[0].requester
        loser = {REQUESTER: LEAD, LEAD: REQUESTER}[winner]
        await now.told(winner, "Got it: train")
        refusal = await now.told(loser, "“train” is in use")
        assert f"<@{winner}>" in refusal.text
        assert [request.requester for request in requests_in(now)] == [winner]
        assert len(now.parents("train")) == 1


async def test_two_leads_approve_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create("train")
        card = await now.card("train")
        await asyncio.gather(now.click(card, "approve", LEAD), now.click(card, "approve", LEAD2))
        await now.happened("cluster-created", "train")
        (first,) = approvals_in(now)
        second = {LEAD: LEAD2, LEAD2: LEAD}[first]
        await now.told(first, "You approved train")
        await now.told(second, "already approved")
        assert now.made("train", ["cluster-created"]) == {"cluster-created": 1}


async def test_everything_delivered_twice_counts_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create("train", duplicate=True)
        card = await now.card("train")
        await now.click(card, "approve", duplicate=True)
        await now.happened("machine-created", "train")
        assert len(requests_in(now)) == 1
        assert approvals_in(now) == [LEAD]
        assert len(now.parents("train")) == 1
        assert now.made("train", ["cluster-created"]) == {"cluster-created": 1}


async def test_approved_after_it_lapsed(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create("train")
        card = await now.card("train")
        now.stage.clock.forward(25 * 3600)
        await now.click(card, "approve")
        await now.told(LEAD, "lapsed")
        await now.shown("train", "Lapsed")
        assert now.stage.world.events == []
        since = now.mark
        await now.create("train")
        await now.told(REQUESTER, "Got it: train", since)


async def test_a_lead_who_joined_the_group_a_moment_ago(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=1) as now:
        await now.create("train")
        card = await now.card("train")
        await now.click(card, "approve", BYSTANDER)
        await now.told(BYSTANDER, "Only a lead")
        leads = now.slack.groups["S0LEADS"]
        now.slack.groups["S0LEADS"] = dataclasses.replace(leads, users=(*leads.users, BYSTANDER))
        await asyncio.sleep(FRESH_EVERY_S)
        await now.click(card, "approve", BYSTANDER)
        await now.told(BYSTANDER, "You became a lead after this was asked")
        await now.create("serve")
        await now.approve("serve", BYSTANDER)
        assert approvals_in(now) == [BYSTANDER]


@pytest.mark.parametrize("who", ["U0GUEST", "U0FOREIGN"])
async def test_a_click_from_outside(tmp_path: Path, who: str) -> None:
    async with scene(tmp_path, speed=1) as now:
        await now.create("train")
        await now.click(await now.card("train"), "approve", who)
        await now.told(who, "cannot use this bot")
        assert approvals_in(now) == []


BAD_LINES = [
    ("crate train", "create"),
    ("create Train_1 --preset starter --gpus 1 --hours 8 --reason x", "small letters"),
    ("create local --preset starter --gpus 1 --hours 8 --reason x", "keeps for itself"),
    ("create train --preset nosuch --gpus 1 --hours 8 --reason x", "There is no preset “nosuch”"),
    ("create train --preset starter --gpus 0 --hours 8 --reason x", "“0” will not do"),
    ("create train --preset starter --gpus 10000 --hours 8 --reason x", "“10000” will not do"),
    ("create train --preset starter --gpus 1 --hours 1000 --reason x", "“1000” will not do"),
    ("delete nosuch", "There is no cluster “nosuch”"),
    ("status nosuch", "There is no cluster “nosuch”"),
]


async def test_bad_lines_get_a_clear_answer(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=1) as now:
        for typed, answer in BAD_LINES:
            since = now.mark
            await now.type(typed)
            await now.answered(REQUESTER, answer, since)
        assert requests_in(now) == []


async def test_a_reason_is_shown_as_it_was_typed(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=1) as now:
        await now.type("create train --preset starter --gpus 1 --hours 8 --reason '<!channel> R&D *now*'")
        card = await now.card("train")
        quoted = next(b for b in card.blocks if b["type"] == "rich_text")["elements"][0]
        assert [e["text"] for e in quoted["elements"]] == ["<!channel> R&D *now*"]
        assert "<!channel>" not in card.text
