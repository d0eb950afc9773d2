"""Changes of a cluster that is there: asked, approved, done; one at a time."""

from __future__ import annotations

import pytest

from bot.core.changes import Extend
from bot.core.desk import Conflict
from bot.core.ports import Permanent
from bot.core.records import RequestState
from bot.core.spec import Invalid
from tests.core.stage import DRAFT, LEAD, Stage


def test_extend_moves_the_end_by_what_was_approved(ready: Stage) -> None:
    with ready.store.reading() as tx:
        before = tx.living_cluster(DRAFT.name)
    asked = ready.desk.ask_change(ready.ask(), DRAFT.name, Extend(4))
    assert asked.state == RequestState.AWAITING_APPROVAL
    assert asked.envelope is not None and asked.envelope.hours == 12
    ready.desk.decide(LEAD, asked.request_id, approve=True)
    ready.look()
    with ready.store.reading() as tx:
        after = tx.living_cluster(DRAFT.name)
    assert ready.story(asked.request_id).state == RequestState.DONE
    assert before is not None and after is not None and before.expires_at is not None
    assert after.expires_at == before.expires_at + 4 * 3600


def test_extend_touches_nothing_outside(ready: Stage) -> None:
    """No machine config, no label, no cluster: it is the bot's own end that moves."""
    ready.rancher.trouble = Permanent("nobody is to be asked")
    asked = ready.desk.ask_change(ready.ask(), DRAFT.name, Extend(4))
    ready.desk.decide(LEAD, asked.request_id, approve=True)
    ready.look()
    assert ready.story(asked.request_id).state == RequestState.DONE


def test_one_change_at_a_time(ready: Stage) -> None:
    ready.desk.ask_change(ready.ask(), DRAFT.name, Extend(4))
    with pytest.raises(Conflict, match="one change at a time, and one is open: extend"):
        ready.desk.ask_change(ready.ask(), DRAFT.name, Extend(4))


def test_the_same_gesture_twice_is_one_change(ready: Stage) -> None:
    ask = ready.ask(key="once")
    first = ready.desk.ask_change(ask, DRAFT.name, Extend(4))
    assert ready.desk.ask_change(ask, DRAFT.name, Extend(4)).request_id == first.request_id


def test_what_is_not_ready_cannot_be_extended(stage: Stage) -> None:
    stage.create()
    with pytest.raises(Conflict, match="hours can be added once it is ready"):
        stage.desk.ask_change(stage.ask(), DRAFT.name, Extend(4))


def test_a_name_that_is_none(stage: Stage) -> None:
    with pytest.raises(Invalid):
        stage.desk.ask_change(stage.ask(), "No Name", Extend(4))
    with pytest.raises(Conflict, match="There is no cluster"):
        stage.desk.ask_change(stage.ask(), "nobody", Extend(4))
