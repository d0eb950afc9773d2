"""The form as it is filled in, Deny with a reason, Details, the buttons, direct messages, shortcuts, the Home tab."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

import pytest

from bot.core import lifecycle
from bot.core.records import RequestState, StepState
from bot.sandbox.slack import Event
from handlers.approvals import STATUS_SHORTCUT
from handlers.forms import SHORTCUT
from handlers.publisher import SILENT_S, SWEEP_EVERY_S
from handlers.redact import Redaction
from tests.handlers.harness import BYSTANDER, CHANNEL, LEAD, LINE, PRESET, REQUESTER, TWO_TYPES, Bot, all_text


def window(bot: Bot, what: str, text: str = "", since: int = 0, user: str = REQUESTER) -> Event:
    """The view of that person that was opened, updated or published with this text."""
    return bot.sees(
        lambda e: (
            e.kind == "view"
            and e.user == user
            and e.metadata is not None
            and e.metadata["what"] == what
            and text in all_text(e)
        ),
        since,
    )


def view_id(event: Event) -> str:
    assert event.metadata is not None
    return str(event.metadata["view_id"])


def changes(bot: Bot, form: Event, action: str, value: str = "", **values: str) -> None:
    work = bot.workspace.click_view(REQUESTER, view_id(form), action, value or None, values=values)
    assert bot.slack.do(work).acked


# --- the form -------------------------------------------------------------------------------------------------


def test_the_form_works_out_the_price_as_it_is_filled_in(bot: Bot) -> None:
    bot.looks.gpus_each = 4
    bot.types(REQUESTER, "create train-a")
    form = window(bot, "opened")
    changes(bot, form, "gpus", "4", hours="8")
    shown = window(bot, "updated", "Before you ask")
    told = all_text(shown)
    assert "at most $0.75 an hour, $6.00 for 8 hours" in told and "0 of 64 in use" in told and "Quota G and VT" in told
    assert "1 approval needed, as the policy asks for every request" in told and "S0LEADS" in told
    assert "A g4dn.xlarge has 4: 4, 8, 12" in told and "GPU machines: g4dn.xlarge" in told
    with bot.store.reading() as tx:
        assert tx.clusters(living=False) == []
    values = {"name": "train-a", "gpus": "4", "hours": "8", "reason": "try it"}
    bot.slack.do(bot.workspace.submit_view(REQUESTER, view_id(form), values))
    bot.shown("train-a: Checking")


def by_action(event: Event) -> dict[str, dict[str, object]]:
    """The inputs of a form by field."""
    return {b["element"]["action_id"]: b for b in event.blocks if b["type"] == "input"}


def choices(block: dict[str, object]) -> list[str]:
    element = block["element"]
    assert isinstance(element, dict)
    return [option["value"] for option in element["options"]]


@pytest.mark.parametrize("settings", [{"presets": (PRESET, TWO_TYPES)}], indirect=True)
def test_preset_type_zone_and_counts_follow_from_one_another(bot: Bot) -> None:
    bot.types(REQUESTER, "create train-a")
    form = window(bot, "opened")
    assert "type" not in by_action(form) and "zone" not in by_action(form)
    changes(bot, form, "preset", "two-types")
    shown = window(bot, "updated", "Zone a")
    assert choices(by_action(shown)["type"]) == ["any", "g4dn.xlarge", "g5.xlarge"]
    assert choices(by_action(shown)["zone"]) == ["any", "a", "b"]
    assert "Before you ask" not in all_text(shown), "no price before it is known of what"
    since = bot.now
    bot.looks.zones, bot.looks.gpus_each = ("c",), 4
    changes(bot, form, "type", "g5.xlarge")
    shown = window(bot, "updated", "Zone c", since)
    assert choices(by_action(shown)["zone"]) == ["any", "c"] and "A g5.xlarge has 4: 4, 8, 12" in all_text(shown)
    changes(bot, form, "zone", "c", gpus="4", hours="8", reason="try it")
    window(bot, "updated", "Before you ask", since)
    asked = bot.looks.asked[-1]
    assert (asked.preset, asked.instance_type, asked.zone, asked.gpus) == ("two-types", "g5.xlarge", "c", 4)
    bot.slack.do(bot.workspace.submit_view(REQUESTER, view_id(form), {"name": "train-a"}))
    told = all_text(bot.shown("train-a: Checking"))
    assert "only g5.xlarge in zone c" in told
    bot.types(REQUESTER, "create")
    again = by_action(window(bot, "updated", "Before you ask", bot.now))
    initial = {field: again[field]["element"].get("initial_option", {}).get("value") for field in ("type", "zone")}  # type: ignore[attr-defined]
    assert initial == {"type": "g5.xlarge", "zone": "c"}


@pytest.mark.parametrize("settings", [{"presets": (PRESET, TWO_TYPES)}], indirect=True)
def test_another_preset_forgets_type_and_zone_of_the_first(bot: Bot) -> None:
    bot.types(REQUESTER, "create train-a --preset two-types --type g5.xlarge --zone eu-west-1b --gpus 1")
    form = window(bot, "opened")
    assert by_action(form)["type"]["block_id"] == "type-two-types" and "zone" in by_action(form)
    changes(bot, form, "preset", "starter", hours="8")
    shown = window(bot, "updated", "Before you ask")
    assert "type" not in by_action(shown) and choices(by_action(shown)["zone"]) == ["any", "a", "b"]
    assert bot.looks.asked[-1].zone == bot.looks.asked[-1].instance_type == ""


@pytest.mark.parametrize("settings", [{"presets": (PRESET, TWO_TYPES)}], indirect=True)
def test_what_the_preset_or_the_account_does_not_allow_stands_at_its_field(bot: Bot) -> None:
    line = 'create train-a --preset two-types --gpus 1 --hours 8 --reason "x"'
    bot.types(REQUESTER, f"{line} --type p5.48xlarge")
    assert "not made of “p5.48xlarge”; choose one of: g4dn.xlarge, g5.xlarge" in all_text(window(bot, "opened"))
    bot.types(REQUESTER, f"{line} --zone moon")
    assert "“moon” is no zone of eu-west-1" in all_text(window(bot, "opened", "moon"))
    bot.types(REQUESTER, "create train-b --preset two-types --zone d --gpus 1")
    form = window(bot, "opened", "train-b")
    since = bot.now
    changes(bot, form, "hours", "8", zone="d")
    blocks = list(window(bot, "updated", "Choose one of: a, b", since).blocks)
    at = next(i for i, b in enumerate(blocks) if str(b.get("block_id", "")).startswith("zone-"))
    assert "has no subnet of ours" in all_text(replace(form, blocks=(blocks[at - 1],)))


def test_what_the_account_refuses_stands_at_its_field(bot: Bot) -> None:
    bot.looks.gpus_each = 4
    bot.types(REQUESTER, "create train-a")
    form = window(bot, "opened")
    changes(bot, form, "gpus", "3", hours="8")
    blocks = list(window(bot, "updated", "A machine has 4 GPUs").blocks)
    above = blocks[next(i for i, b in enumerate(blocks) if b.get("block_id") == "gpus") - 1]
    assert "ask for 4" in all_text(replace(form, blocks=(above,)))


def test_what_is_wrong_is_said_while_it_is_typed(bot: Bot) -> None:
    bot.types(REQUESTER, "create")
    form = window(bot, "opened")
    changes(bot, form, "gpus", "1000", hours="8")
    window(bot, "updated", "from 1 to 64")
    assert bot.looks.asked == [], "AWS is not asked about what cannot be"


def test_an_answer_for_an_older_choice_is_dropped(bot: Bot) -> None:
    bot.looks.wait = threading.Event()
    bot.types(REQUESTER, "create train-a")
    form = window(bot, "opened")
    changes(bot, form, "hours", "8", gpus="1")
    bot.sees(lambda e: len(bot.looks.asked) == 1 or "Working out" in all_text(e))
    changes(bot, form, "hours", "9", gpus="1")
    bot.looks.wait.set()
    window(bot, "updated", "for 9 hours")
    assert not any("for 8 hours" in all_text(e) for e in bot.workspace.events)


def test_the_form_comes_filled_in_with_the_last_request(bot: Bot) -> None:
    bot.asks("train-a")
    bot.types(REQUESTER, "create")
    inputs = {b["block_id"]: b["element"] for b in window(bot, "opened").blocks if b["type"] == "input"}
    assert inputs["gpus"]["initial_value"] == "1" and inputs["hours"]["initial_value"] == "8"
    assert inputs["reason"]["initial_value"] == "try it" and "initial_value" not in inputs["name"]


def test_a_dry_run_asks_nobody_and_makes_nothing(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a") + " --dry-run")
    told = all_text(bot.told(REQUESTER, "what it would be"))
    assert "$6.00 for 8 hours" in told and "Nobody was asked" in told and "--reason" in told
    bot.types(REQUESTER, "create train-a --gpus 1 --dry-run --preset startr")
    assert "Did you mean starter?" in all_text(bot.told(REQUESTER, "cannot be asked"))
    with bot.store.reading() as tx:
        assert tx.clusters(living=False) == []
    assert not any(e.kind == "message" for e in bot.workspace.events)


# --- decisions ------------------------------------------------------------------------------------------------


def test_deny_asks_for_a_reason_that_reaches_the_requester(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.clicks(LEAD, "deny", card)
    asked = window(bot, "opened", "Why", user=LEAD)
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL
    bot.slack.do(bot.workspace.submit_view(LEAD, view_id(asked), {"reason": " "}))
    assert "Say why" in str(window(bot, "errors", user=LEAD).metadata)
    bot.slack.do(bot.workspace.submit_view(LEAD, view_id(asked), {"reason": "ask for 2 <!channel>"}, duplicate=True))
    bot.told(LEAD, "You denied train-a")
    assert "ask for 2" in all_text(bot.sees(lambda e: e.kind == "message" and "was denied" in e.text))
    assert bot.request(request.id).reason == "ask for 2 <!channel>"


def test_who_may_not_deny_is_told_after_the_reason(bot: Bot) -> None:
    request = bot.asks()
    bot.denies(BYSTANDER, bot.card())
    bot.told(BYSTANDER, "Only a lead of team default")
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL


def test_details_show_every_check_and_what_exactly_is_approved(bot: Bot) -> None:
    bot.asks()
    bot.clicks(BYSTANDER, "details", bot.card())
    window(bot, "opened", "One moment", user=BYSTANDER)
    told = all_text(window(bot, "updated", "What exactly", user=BYSTANDER))
    assert "account 123456789012" in told and "ami-1" in told and "anything outside of this is refused" in told
    bot.clicks("U0GUEST", "details", bot.card())
    window(bot, "updated", "Guests, deactivated accounts", user="U0GUEST")


def test_what_lapsed_is_asked_for_again_with_one_click(bot: Bot) -> None:
    request = bot.asks()
    bot.card()
    waiting = bot.request(request.id)
    with bot.store.transaction() as tx:
        lifecycle.lapse(tx, waiting, bot.clock.now())
    bot.publisher.wake()
    lapsed = bot.sees(lambda e: e.kind == "message" and "has lapsed" in e.text)
    bot.clicks(BYSTANDER, "again", lapsed)
    bot.told(BYSTANDER, "Only who asked for it")
    since = bot.now
    for _ in range(3):
        bot.clicks(REQUESTER, "again", lapsed)
    bot.told(REQUESTER, "Got it: train-a", since)
    bot.shown("train-a: Checking", since=since)
    with bot.store.reading() as tx:
        assert len(tx.clusters(living=False)) == 2


def test_a_reminder_stands_in_the_thread_and_none_comes_after_a_decision(bot: Bot) -> None:
    request = bot.asks()
    card = bot.card()
    bot.clock.world_shift += 20 * 3600
    waiting = bot.request(request.id)
    with bot.store.transaction() as tx:
        lifecycle.remind(tx, waiting, bot.clock.now())
    bot.publisher.wake()
    called = bot.sees(lambda e: e.kind == "message" and "please decide on" in e.text)
    assert called.thread_ts == card.ts and "<!subteam^S0LEADS>" in called.text


# --- places ---------------------------------------------------------------------------------------------------


def test_a_direct_message_is_answered_and_nothing_is_posted_in_private(bot: Bot) -> None:
    bot.asks()
    bot.slack.do(bot.workspace.dm(REQUESTER, "status train-a", duplicate=True))
    answer = bot.sees(lambda e: e.kind == "message" and e.channel == "D0REQUESTER" and e.user == "U0BOT")
    assert "Waiting for approval" in all_text(answer)
    bot.slack.do(bot.workspace.dm(REQUESTER, LINE.format(name="train-b")))
    bot.sees(lambda e: e.channel == "D0REQUESTER" and "posted in a channel" in all_text(e))
    with bot.store.reading() as tx:
        assert tx.living_cluster("train-b") is None


@pytest.mark.parametrize("settings", [{"channels": (CHANNEL,)}], indirect=True)
def test_what_is_asked_in_private_is_posted_in_the_channel(bot: Bot) -> None:
    bot.slack.do(bot.workspace.dm(REQUESTER, LINE.format(name="train-b")))
    bot.shown("train-b: Checking")
    bot.slack.do(bot.workspace.shortcut(REQUESTER, SHORTCUT))
    form = window(bot, "opened")
    values = {"name": "train-c", "preset": "starter", "gpus": "1", "hours": "8", "reason": "x"}
    bot.slack.do(bot.workspace.submit_view(REQUESTER, view_id(form), values))
    bot.shown("train-c: Checking")


def test_the_message_shortcut_tells_of_the_cluster(bot: Bot) -> None:
    bot.asks()
    card = bot.card()
    bot.slack.do(bot.workspace.shortcut(BYSTANDER, STATUS_SHORTCUT, CHANNEL, card.ts))
    window(bot, "updated", "Waiting for approval", user=BYSTANDER)
    other = bot.slack.do(bot.workspace.say(BYSTANDER, CHANNEL, "hello"))
    bot.slack.do(bot.workspace.shortcut(BYSTANDER, STATUS_SHORTCUT, CHANNEL, other.ts))
    window(bot, "updated", "belongs to no cluster", user=BYSTANDER)


def test_the_home_tab_shows_decides_and_follows(bot: Bot) -> None:
    request = bot.asks()
    bot.slack.do(bot.workspace.open_home(REQUESTER))
    assert "train-a" in all_text(window(bot, "published", "Waiting for approval"))
    bot.slack.do(bot.workspace.open_home(LEAD))
    home = window(bot, "published", "for you to decide", user=LEAD)
    assert "$6.00 for 8 hours" in all_text(home)
    assert "Ask for a GPU cluster" in all_text(home) and "lapses" in all_text(home).lower()
    bot.homes.look()
    calls = bot.workspace.calls["views.publish"]
    bot.homes.look()
    assert bot.workspace.calls["views.publish"] == calls, "nothing has changed"
    since = bot.now
    assert bot.slack.do(bot.workspace.click_view(LEAD, view_id(home), "approve", duplicate=True)).acked
    bot.sees(lambda e: e.channel == "D0LEAD" and "You approved train-a" in e.text, since)
    assert bot.request(request.id).state == RequestState.APPROVED
    bot.homes.look()
    assert "for you to decide" not in all_text(window(bot, "published", user=LEAD, since=since))
    window(bot, "published", "Approved", since=since)
    bot.slack.do(bot.workspace.open_home("U0GUEST"))
    window(bot, "published", "Guests, deactivated accounts", user="U0GUEST")


def test_no_news_is_said_and_taken_back(bot: Bot) -> None:
    request = bot.asks()
    bot.clicks(LEAD, "approve", bot.card())
    bot.told(LEAD, "You approved train-a")
    bot.runs(request.id, StepState.RUNNING)
    bot.clock.world_shift += SILENT_S + 60
    bot.clock.real_shift += SWEEP_EVERY_S + 1
    bot.publisher.wake()
    bot.shown("No news for 2 min")
    since = bot.now
    silent = bot.request(request.id)
    with bot.store.transaction() as tx:
        tx.change(silent, next_look_at=bot.clock.now() + 30)
    bot.clock.real_shift += SWEEP_EVERY_S + 1
    bot.publisher.wake()
    assert "No news" not in all_text(bot.shown("Building", since=since))


# --- secrets --------------------------------------------------------------------------------------------------


def test_no_secret_of_a_whole_scenario_is_in_the_log(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(Redaction())
    caplog.set_level(logging.DEBUG)
    bot.types(REQUESTER, "create")
    form = window(bot, "opened")
    changes(bot, form, "gpus", "1", hours="8")
    window(bot, "updated", "Before you ask")
    bot.workspace.inject("chat.update", times=2)
    bot.asks()
    card = bot.card()
    bot.clicks(BYSTANDER, "approve", card)
    bot.told(BYSTANDER, "Only a lead")
    bot.clicks(LEAD, "details", card)
    details = window(bot, "updated", user=LEAD)
    bot.slack.do(bot.workspace.close_view(LEAD, view_id(details)))
    bot.denies(LEAD, card)
    bot.told(LEAD, "You denied")
    bot.slack.do(bot.workspace.open_home(LEAD))
    window(bot, "published", user=LEAD)
    secrets = {bot.workspace.bot_token, bot.workspace.app_token, *bot.workspace.triggers}
    secrets |= set(bot.workspace.response_urls)
    ours = [record for record in caplog.records if not record.name.startswith("aiohttp")]  # that is Slack's own log
    told = "\n".join(caplog.handler.format(record) for record in ours)
    assert len(told) > 1_000 and [secret for secret in secrets if secret in told] == []


# --- bad moments ----------------------------------------------------------------------------------------------


def test_a_form_that_could_not_be_opened_says_what_to_type(bot: Bot) -> None:
    bot.workspace.inject("views.open", times=1, status=500)
    bot.types(REQUESTER, "create train-a --gpus 1")
    assert "/gpu-cluster create train-a" in all_text(bot.told(REQUESTER, "could not be opened"))


def test_a_window_that_could_not_be_opened_is_told_of(bot: Bot) -> None:
    """The trigger of a click lives three seconds: whoever pressed hears of it, and nothing is decided."""
    request = bot.asks()
    card = bot.card()
    send = bot.workspace.socket_mode.send

    async def late(kind: Any, payload: dict[str, Any], retry: Any = None) -> Any:
        bot.clock.real_shift += 4
        return await send(kind, payload, retry)

    bot.workspace.socket_mode.send = late  # type: ignore[method-assign]
    for action in ("deny", "details"):
        since = bot.now
        bot.clicks(LEAD, action, card)
        bot.told(LEAD, "could not be opened in time", since)
    since = bot.now
    bot.slack.do(bot.workspace.shortcut(BYSTANDER, STATUS_SHORTCUT, CHANNEL, card.ts))
    bot.told(BYSTANDER, "/gpu-cluster status", since)
    bot.types(REQUESTER, "create train-b --gpus 1")
    bot.told(REQUESTER, "/gpu-cluster create train-b", since)
    bot.slack.do(bot.workspace.shortcut(REQUESTER, SHORTCUT))
    bot.sees(lambda e: e.channel == "D0REQUESTER" and "type the whole line" in all_text(e), since)
    assert not any(e.kind == "view" and e.metadata and e.metadata["what"] == "opened" for e in bot.workspace.events)
    assert bot.request(request.id).state == RequestState.AWAITING_APPROVAL


def test_a_window_that_was_closed_meanwhile_hurts_nobody(bot: Bot) -> None:
    bot.looks.wait = threading.Event()
    bot.types(REQUESTER, "create train-a")
    form = window(bot, "opened")
    changes(bot, form, "hours", "8", gpus="1")
    bot.slack.do(bot.workspace.close_view(REQUESTER, view_id(form)))
    bot.looks.wait.set()
    bot.types(REQUESTER, "list")
    bot.told(REQUESTER, "There are no clusters")
