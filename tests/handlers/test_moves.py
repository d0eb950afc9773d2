"""The moves in Slack: words, buttons below a failure and a warning, the switch, the history."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from bot.core import expiry, lifecycle
from bot.core.changes import Change, Extend, Scale
from bot.core.desk import History
from bot.core.records import AuditRow, ClusterState, Kind, RequestState, StepState, SwitchRow
from bot.core.spec import Invalid
from bot.core.story import Story
from handlers.grammar import change_of, page_of
from handlers.views import moves
from handlers.views.help import Rights, help_page
from handlers.views.history import history
from handlers.views.notices import notice
from tests.handlers.harness import BYSTANDER, LEAD, REQUESTER, Bot, all_text
from tests.handlers.stories import TEXT, stories
from tests.handlers.test_views import fit, slowly


@pytest.mark.parametrize(
    ("typed", "in_thread", "name", "change"),
    [
        ("extend a 4h", False, "a", Extend(4)),
        ("extend a 4 h", False, "a", Extend(4)),
        ("extend 4h", True, "", Extend(4)),
        ("extend a 12", True, "a", Extend(12)),
        ("scale a gpu 4", False, "a", Scale("gpu", 4)),
        ("scale a 4", False, "a", Scale("", 4)),
        ("scale gpu 4", True, "", Scale("gpu", 4)),
        ("scale 4", True, "", Scale("", 4)),
        ("scale a gpu 0", True, "a", Scale("gpu", 0)),
    ],
)
def test_changes_as_they_are_typed(typed: str, in_thread: bool, name: str, change: Change) -> None:
    verb, *words = typed.split()
    assert change_of(verb, tuple(words), in_thread=in_thread) == (name, change)


@pytest.mark.parametrize(
    "typed",
    [
        *("extend", "extend a", "extend a 0", "extend a -1", "extend a four", "extend a 4h 5h", "extend a 99999h"),
        *("scale", "scale a", "scale 4", "scale a gpu", "scale a gpu -1", "scale a gpu 1.5", "scale a b c 4"),
    ],
)
def test_changes_that_cannot_be_read(typed: str) -> None:
    verb, *words = typed.split()
    with pytest.raises(Invalid):
        change_of(verb, tuple(words), in_thread=False)


@pytest.mark.parametrize("words", [("x",), ("-1",), ("1", "2"), ("99999",)])
def test_pages_that_are_none(words: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        page_of(words)


# --- buttons ------------------------------------------------------------------------------------------------------


def failed(bot: Bot) -> str:
    """A create that has failed with something made; its request's id."""
    request = bot.asks()
    bot.clicks(LEAD, "approve", bot.card())
    bot.told(LEAD, "You approved")
    bot.runs(request.id, StepState.DONE, StepState.FAILED)
    bot.fails(request.id, "Rancher is full")
    with bot.store.transaction() as tx:
        row = tx.request(request.id)
        assert row is not None
        cluster, at = tx.cluster(row.cluster_id), bot.clock.now()
        lifecycle.move_cluster(tx, cluster, ClusterState.FAILED, request=row, at=at, due_at=at)
    return request.id


def test_the_three_buttons_below_a_failure(bot: Bot) -> None:
    request_id = failed(bot)
    outcome = bot.shown("Retry from this step")
    bot.clicks(REQUESTER, "keep", outcome)
    bot.told(REQUESTER, "train-a is kept until")
    bot.shown("keeps train-a until")
    bot.clicks(REQUESTER, "retry", outcome)
    bot.told(REQUESTER, "goes on from the step that failed")
    assert bot.request(request_id).state == RequestState.RUNNING
    assert [row.state for row in bot.steps(request_id)][:2] == [StepState.DONE, StepState.PENDING]
    bot.clicks(REQUESTER, "keep", outcome)
    bot.told(REQUESTER, "only a failed cluster")
    bot.clicks(REQUESTER, "cleanup", outcome)
    bot.told(REQUESTER, "Got it: delete train-a")


def test_the_button_of_a_create_that_runs(bot: Bot) -> None:
    request = bot.asks()
    bot.clicks(LEAD, "approve", bot.card())
    bot.told(LEAD, "You approved")
    bot.runs(request.id, StepState.DONE, StepState.RUNNING)
    running = bot.shown("Cancel …")
    message = bot.workspace.messages[str(running.channel), str(running.ts)]
    before = [dict(block) for block in message.blocks]
    bot.clicks(REQUESTER, "cancel", running)
    bot.told(REQUESTER, "Cancelled: create of train-a")
    bot.shown("train-a: Cancelled")
    assert bot.request(request.id).state == RequestState.CANCELLED
    with bot.store.reading() as tx:
        (removal,) = (r for r in tx.requests_of(request.cluster_id) if r.kind == Kind.DELETE)
    message.blocks = before  # somebody's client still shows the button
    bot.clicks(REQUESTER, "cancel", running)
    bot.told(REQUESTER, "What this button cancels is not under way any more")
    assert bot.request(removal.id).state == removal.state


def test_the_warnings_button_counts_once(bot: Bot) -> None:
    request = bot.asks()
    bot.clicks(LEAD, "approve", bot.card())
    bot.told(LEAD, "You approved")
    now = bot.clock.now()
    with bot.store.transaction() as tx:
        row = tx.request(request.id)
        assert row is not None
        cluster = lifecycle.move_cluster(
            tx, tx.cluster(row.cluster_id), ClusterState.READY, request=row, at=now, ready_at=now - 7 * 3600,
            expires_at=now + 3000, due_at=now,
        )  # fmt: skip
        done = lifecycle.start(tx, row, now)
        lifecycle.move(tx, done, RequestState.DONE, actor="engine", at=now)
        expiry.attend(tx, cluster, bot.desk.catalogue.policy, now)
    bot.publisher.wake()
    warning = bot.shown("is deleted")
    assert f"<@{REQUESTER}>" in warning.text
    for user in (REQUESTER, REQUESTER, LEAD):
        bot.clicks(user, "extend", warning)
    bot.told(REQUESTER, "Got it: keep the cluster 4 hours longer")
    bot.types(REQUESTER, "status train-a")
    bot.told(REQUESTER, "keep the cluster 4 hours longer")
    with bot.store.reading() as tx:
        assert [r.kind for r in tx.requests_of(cluster.id)] == [Kind.CREATE, Kind.EXTEND]


def test_cancel_the_switch_and_the_history(bot: Bot) -> None:
    bot.asks()
    bot.types(REQUESTER, "history train-a")
    assert "passed its checks" in all_text(bot.told(REQUESTER, "asked to create"))
    bot.types(REQUESTER, "cancel train-a")
    bot.told(REQUESTER, "Cancelled: create of train-a")
    assert f"Cancelled by <@{REQUESTER}>" in all_text(bot.shown("was cancelled"))
    bot.types(BYSTANDER, "stop-creates now")
    bot.told(BYSTANDER, "Only a lead can do that")
    bot.types(LEAD, 'stop-creates "the <!channel> invoice"')
    bot.told(LEAD, "New clusters are stopped")
    since = bot.now
    bot.types(REQUESTER, "list")
    assert f"<@{LEAD}>" in all_text(bot.told(REQUESTER, "New clusters are stopped", since))
    bot.types(REQUESTER, 'create train-b --preset starter --gpus 1 --hours 8 --reason "try it"')
    bot.told(REQUESTER, "has stopped them", since)
    bot.types(LEAD, "allow-creates")
    bot.told(LEAD, "can be asked for again", since)


# --- pages --------------------------------------------------------------------------------------------------------


@slowly
@given(stories(), TEXT)
def test_notices_and_a_history_whatever_is_in_them(story: Story, text: str) -> None:
    for what in ("expiring", "expired", "failed-over", "kept"):
        facts = {"what": what, "at": 1.0, "ends": 2.0, "expires": 3.0, "by": text, "rate": None}
        fit(notice(json.dumps(facts), story))
    lines = tuple(
        AuditRow(1.0, actor, action, "r", "k", text)
        for actor in ("engine", "policy", "U0LEAD", text)
        for action in ("asked to scale", "approved", "cluster building → failed", "running → failed", text)
    )
    fit(history(History(story.cluster, lines, {"r": Kind.SCALE}, 1, 3)))
    rights = help_page(Rights((), (), "default", ()), {})
    fit(moves.while_stopped(rights, SwitchRow("stop-creates", True, "U0LEAD", text, 1.0)))
