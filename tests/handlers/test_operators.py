"""What is about no request: said in the leads' channel, or to people directly."""

from __future__ import annotations

import json

import pytest

from bot.core.records import MessageKind, MessageRow
from handlers.views.operators import operators
from tests.handlers.harness import APPROVALS, LEAD, Bot, all_text


def put(bot: Bot, where: str, **facts: object) -> None:
    body = json.dumps({"mend": "put it into /run/token", **facts})
    with bot.store.transaction() as tx:
        tx.add(MessageRow(f"m-{where}", f"operators-{where}", MessageKind.OPERATORS, where, bot.clock.now(), body))
    bot.publisher.wake()


def test_the_leads_channel_is_told(bot: Bot) -> None:
    put(bot, APPROVALS, what="token-expiring", ends=bot.clock.now() + 86400)
    said = bot.shown("token ends", APPROVALS)
    assert "put it into /run/token" in all_text(said)
    assert said.thread_ts is None
    assert said.metadata is not None and said.metadata["event_payload"]["kind"] == "operators"


def test_a_lead_is_told_directly_where_there_is_no_channel(bot: Bot) -> None:
    put(bot, LEAD, what="token-refused", since=bot.clock.now() - 90)
    said = bot.sees(lambda e: e.kind == "message" and "has not accepted" in all_text(e))
    assert said.channel is not None and said.channel.startswith("D")
    assert "what runs costs money" in all_text(said)


def test_a_body_that_is_none() -> None:
    with pytest.raises(ValueError, match="no message other"):
        operators('{"what": "other", "mend": ""}')
