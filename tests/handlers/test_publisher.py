"""Progress on show: what is posted, edited, held back, fallen back on, given up, and found again after a crash."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from bot.core import lifecycle
from bot.core.records import ClusterState, MessageKind, RequestState, StepState
from bot.core.verification.verdict import CheckResult, GpuResult, NodeResult, Report, report_to_json
from bot.sandbox.slack import Event
from handlers.calls import make_clients
from handlers.pacing import EDITS, KEPT_FOR_STATES, Pace
from handlers.publisher import LEASE_S, Publisher
from tests.handlers.harness import APPROVALS, CHANNEL, LEAD, REQUESTER, Bot, all_text
from tests.handlers.older_slack import older_slack

T = TypeVar("T")


def approved(bot: Bot, name: str = "train-a") -> tuple[str, Event]:
    """A request that a lead has approved, and its message."""
    request = bot.asks(name)
    card = bot.card(name)
    bot.desk.decide(LEAD, request.id, approve=True)
    return request.id, card


def report(good: int = 1, bad: int = 0) -> Report:
    def gpu(index: int, ok: bool) -> GpuResult:
        check = CheckResult("matmul", ok, "" if ok else "3 of 4096 wrong")
        reasons = () if ok else ("matmul failed: 3 of 4096 wrong",)
        verdict = "verified" if ok else "failed"
        return GpuResult(
            "n1", index, f"GPU-{index}", "Tesla T4", 15360, "580", (check,), 250.0, 12.0, 12.5, 41, verdict, reasons
        )

    gpus = tuple(gpu(i, i < good) for i in range(good + bad))
    reasons = tuple(f"n1 GPU {g.index}: {r}" for g in gpus for r in g.reasons)
    verdict = "verified" if not bad else "degraded" if good else "failed"
    node = NodeResult("n1", "uid-1", verdict, good + bad, gpus, reasons)
    return Report(verdict, good, good + bad, (node,), reasons)


def finishes(bot: Bot, request_id: str, found: Report) -> None:
    """What the engine does at the end of a create."""
    bot.runs(request_id, *[StepState.DONE] * 13)
    access = {"rancher_url": "https://rancher.example", "management_id": "c-m-1", "bound_to": "", "role": ""}
    now = bot.clock.now()
    with bot.store.transaction() as tx:
        for row in tx.steps(request_id):
            if row.kind == "verify@1":
                tx.change(row, facts=json.dumps({"report": report_to_json(found)}))
            if row.kind.startswith("access@"):
                tx.change(row, facts=json.dumps({**access, "storage_class": ""}))
        request = tx.request(request_id)
        assert request is not None
        done = lifecycle.move(tx, request, RequestState.DONE, actor="engine", at=now)
        cluster = tx.cluster(done.cluster_id)
        state = ClusterState.READY if found.verdict == "verified" else ClusterState.DEGRADED
        lifecycle.move_cluster(tx, cluster, state, request=done, at=now, ready_at=now, expires_at=now + 8 * 3600)
        lifecycle.post(tx, done, MessageKind.RESULTS, now)
        lifecycle.post(tx, done, MessageKind.OUTCOME, now)
    bot.publisher.wake()


def outcome_of(bot: Bot) -> Event:
    return bot.sees(
        lambda e: e.kind == "message" and e.metadata is not None and e.metadata["event_type"] == "gpu_cluster_outcome"
    )


def test_the_story_of_a_good_cluster(bot: Bot) -> None:
    request_id, card = approved(bot)
    bot.runs(request_id, StepState.DONE, StepState.DONE, StepState.RUNNING)
    running = bot.shown("Building, step 3 of 14")
    (plan,) = (b for b in running.blocks if b["type"] == "plan")
    assert plan["block_id"] == f"plan-{request_id}" and plan["tasks"][2]["status"] == "in_progress"
    assert "machines are starting" in all_text(running) and "Usually takes about 19 min" in all_text(running)
    line = {"step": "control_plane", "what": "done", "text": "", "at": bot.clock.now()}
    with bot.store.transaction() as tx:
        request = tx.request(request_id)
        assert request is not None
        lifecycle.post(tx, request, MessageKind.LINE, bot.clock.now(), json.dumps(line))
    finishes(bot, request_id, report())
    outcome = outcome_of(bot)
    assert outcome.text == "<@U0REQUESTER> train-a is ready: 1 of 1 GPU verified."
    assert outcome.metadata is not None
    assert outcome.metadata["event_payload"] | {"request": "", "reason": "", "remedy": ""} == {
        "request": "",
        "cluster": "train-a",
        "kind": "create",
        "state": "ready",
        "verdict": "verified",
        "gpus": 1,
        "reason": "",
        "remedy": "",
    }
    said = all_text(outcome)
    assert "kubectl run smi" in said and "nvidia.com/gpu" in said and "none: pods have no volumes" in said
    assert "https://rancher.example/dashboard/c/c-m-1/explorer" in said and "$6.00" in said
    table = bot.shown("1 of 1 GPU verified")
    assert any(b["type"] == "table" for b in table.blocks) and "Tesla T4" in all_text(table)
    assert "other GPUs" not in all_text(table), "a column in which nothing stands"
    thread = [e for e in bot.workspace.events if e.kind == "message" and e.thread_ts == card.ts]
    assert thread[0].text.startswith("*Control plane and first worker answer*")
    assert thread.index(table) < thread.index(outcome)
    assert bot.workspace.messages[CHANNEL, str(outcome.ts)].broadcast
    bot.shown("train-a: Ready")


def test_a_degraded_cluster_says_why_and_what_to_do(bot: Bot) -> None:
    request_id, _ = approved(bot)
    finishes(bot, request_id, report(good=1, bad=1))
    outcome = outcome_of(bot)
    assert "degraded: 1 of 2 GPUs verified" in outcome.text and outcome.metadata is not None
    assert outcome.metadata["event_payload"]["state"] == "degraded"
    assert "matmul failed: 3 of 4096 wrong" in outcome.metadata["event_payload"]["reason"]
    assert "/gpu-cluster delete train-a" in all_text(outcome)


def test_a_failure_names_the_cause_word_for_word(bot: Bot) -> None:
    request_id, _ = approved(bot)
    bot.runs(request_id, StepState.DONE, StepState.FAILED)
    reason = "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity"
    bot.fails(request_id, reason, "Ask for another zone: <https://x>")
    outcome = outcome_of(bot)
    assert reason in outcome.text and outcome.metadata is not None
    assert outcome.metadata["event_payload"]["reason"] == reason
    said = all_text(outcome)
    assert "step 2 of 14" in said and "Describe the machines" in said
    assert "machine 1: out of capacity" in said and "i-0badcafe" in said and "/gpu-cluster delete train-a" in said


def test_what_looks_the_same_is_not_sent_again(bot: Bot) -> None:
    request_id, _ = approved(bot)
    bot.shown("Approved, building begins")
    bot.clock.real_shift += 10
    edits = bot.workspace.calls["chat.update"]
    with bot.store.transaction() as tx:
        lifecycle.rerender(tx, request_id, urgent=False)
    settled(bot, request_id)
    assert bot.workspace.calls["chat.update"] == edits


def eventually(look: Callable[[], T]) -> T:
    """What `look` returns once it no longer fails an assertion."""
    for _ in range(100):
        with contextlib.suppress(AssertionError):
            return look()
        time.sleep(0.05)
    return look()


def settled(bot: Bot, request_id: str) -> None:
    """Wait until Slack has what the store wants."""

    def look() -> None:
        bot.publisher.wake()
        assert all(m.sent_rev == m.wanted_rev or m.failed for m in bot.messages(request_id))

    eventually(look)


def test_a_storm_of_429_loses_nothing(bot: Bot) -> None:
    request_id, _ = approved(bot)
    bot.shown("Approved, building begins")
    bot.workspace.inject_429(2)
    since = bot.now
    bot.fails(request_id, "because")
    for _ in range(2):
        bot.clock.real_shift += 1.5  # Retry-After: 1
        bot.publisher.wake()
    bot.shown("train-a: Failed", since=since)
    outcome_of(bot)
    settled(bot, request_id)
    outcomes = [e for e in bot.workspace.events if e.kind == "message" and "making train-a failed" in e.text]
    assert len(outcomes) == 1


def test_a_deleted_message_is_posted_anew(bot: Bot) -> None:
    request_id, card = approved(bot)
    bot.shown("Approved, building begins")
    message = bot.workspace.messages[CHANNEL, str(card.ts)]

    async def delete() -> None:
        bot.workspace.delete(message)

    bot.slack.do(delete())
    since = bot.now
    bot.fails(request_id, "because")
    again = bot.sees(lambda e: e.kind == "message" and e.thread_ts is None and "Failed" in e.text, since)
    assert again.ts != card.ts
    assert outcome_of(bot).thread_ts == again.ts


def test_a_body_that_makes_no_sense_stops_nobody(bot: Bot) -> None:
    request_id, _ = approved(bot)
    with bot.store.transaction() as tx:
        request = tx.request(request_id)
        assert request is not None
        lifecycle.post(tx, request, MessageKind.LINE, bot.clock.now(), '{"nonsense": 1}')
    bot.runs(request_id, StepState.RUNNING)
    bot.fails(request_id, "because")
    outcome_of(bot)
    assert [m.failed for m in bot.messages(request_id) if m.kind == MessageKind.LINE] == ["fault"]


# --- one publisher by hand: crashes and refusals -----------------------------------------------------------------


@pytest.fixture
def by_hand(bot: Bot) -> Iterator[Publisher]:
    """The bot's own publisher has died; another is started by hand, one look at a time."""
    bot.publisher.stop()
    yield Publisher(store=bot.store, desk=bot.desk, clock=bot.clock, clients=bot.clients)


def test_progress_waits_but_a_state_does_not(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    bot.desk.decide(LEAD, request.id, approve=True)
    by_hand.look()
    bot.runs(request.id, StepState.RUNNING)
    by_hand.look()
    bot.shown("step 1 of 14")
    since = bot.now
    bot.runs(request.id, StepState.DONE, StepState.RUNNING)  # mere progress: not within three seconds
    by_hand.look()
    assert bot.now == since
    bot.fails(request.id, "because")
    by_hand.look()
    assert bot.shown("train-a: Failed", since=since).kind == "edit"


@pytest.mark.parametrize("settings", [{"approvals_channel": APPROVALS}], indirect=True)
def test_the_leads_are_not_called_before_there_is_something_to_decide(bot: Bot, by_hand: Publisher) -> None:
    bot.types(REQUESTER, 'create train-a --preset starter --gpus 1 --hours 8 --reason "try it"')
    bot.sees(lambda e: e.kind == "ephemeral" and "Got it" in e.text)
    request = eventually(lambda: bot.only_request("train-a"))
    by_hand.look()
    assert not any(e.channel == APPROVALS for e in bot.workspace.events)
    bot.checks(request.id)
    by_hand.look()
    assert bot.card(channel=APPROVALS).kind == "message"


def test_a_crash_between_post_and_commit_shows_twice_rather_than_never(
    bot: Bot, by_hand: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    request = bot.asks()
    (parent,) = bot.messages(request.id)
    with bot.store.transaction() as tx:
        tx.change(parent, sending="publisher-dead:1")
    with caplog.at_level(logging.WARNING):
        by_hand.look()
    assert "it may appear twice" in caplog.text
    (parent,) = bot.messages(request.id)
    assert parent.ts and not parent.sending and parent.sent_rev == parent.wanted_rev


def test_a_post_without_an_answer_is_tried_again(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    bot.workspace.inject("chat.postMessage", times=1, status=503)
    by_hand.look()
    (parent,) = bot.messages(request.id)
    assert not parent.ts and not parent.failed
    bot.clock.real_shift += 3
    by_hand.look()
    assert bot.messages(request.id)[0].ts


def test_after_a_restart_every_open_message_is_rendered_anew(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    by_hand.look()
    (parent,) = bot.messages(request.id)
    message = bot.workspace.messages[CHANNEL, parent.ts]
    message.text, message.blocks = "lost", []  # an edit that was answered and never kept
    again = Publisher(store=bot.store, desk=bot.desk, clock=bot.clock, clients=bot.clients)
    bot.clock.real_shift += LEASE_S + 1
    since = bot.now
    again.look()
    assert "Waiting for approval" in bot.shown("train-a", since=since).text


def test_only_one_publishes(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    with bot.store.transaction() as tx:
        assert tx.take_lease("publisher", "another", real=bot.clock.real(), seconds=LEASE_S)
    by_hand.look()
    assert not bot.messages(request.id)[0].ts
    bot.clock.real_shift += LEASE_S + 1
    by_hand.look()
    assert bot.messages(request.id)[0].ts


def test_blocks_that_are_refused_are_said_plainly_for_an_hour(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    with bot.store.transaction() as tx:
        row = tx.request(request.id)
        assert row is not None
        lifecycle.approve(tx, row, LEAD, "a test", bot.clock.now(), needed=1)
    with older_slack("plan") as older:
        clients = make_clients("xoxb-1", f"{older.url}/api/")
        publisher = Publisher(store=bot.store, desk=bot.desk, clock=bot.clock, clients=clients)
        for minutes, refused in ((0, 1), (30, 1), (61, 2)):
            bot.clock.real_shift = minutes * 60
            bot.runs(request.id, StepState.RUNNING if minutes != 30 else StepState.DONE)
            publisher.look()
            assert older.refused == refused
    assert [method for method, _ in older.accepted] == ["chat.postMessage", "chat.update", "chat.update"]
    assert "under way: Check again" in str(older.accepted[0][1]["blocks"])


def test_a_refused_token_leaves_everything_due(bot: Bot, by_hand: Publisher) -> None:
    request = bot.asks()
    bot.workspace.bot_token = "xoxb-rotated"
    by_hand.look()
    (parent,) = bot.messages(request.id)
    assert not parent.failed and not parent.ts


def test_the_pace_keeps_room_for_states() -> None:
    pace = Pace()
    for i in range(EDITS - KEPT_FOR_STATES):
        assert pace.edit_in(f"m{i}", urgent=False, real=1000.0 + i / 10) == 0
        pace.edited(f"m{i}", 1000.0 + i / 10)
    assert pace.edit_in("other", urgent=False, real=1010.0) == pytest.approx(50.0)
    for i in range(KEPT_FOR_STATES):
        assert pace.edit_in("other", urgent=True, real=1010.0) == 0
        pace.edited(f"u{i}", 1010.0)
    assert pace.edit_in("other", urgent=True, real=1011.0) == pytest.approx(49.0)
    assert pace.edit_in("other", urgent=True, real=1060.0) == 0


def test_a_message_moves_at_most_every_three_seconds() -> None:
    pace = Pace()
    pace.edited("m", 1000.0)
    assert pace.edit_in("m", urgent=False, real=1001.0) == pytest.approx(2.0)
    assert pace.edit_in("m", urgent=True, real=1001.0) == 0
    pace.hold("chat.update", 5.0, 1001.0)
    assert pace.edit_in("m", urgent=True, real=1002.0) == pytest.approx(4.0)
