"""Asking: by line, by form, in a thread; and the ways of asking wrongly."""

from __future__ import annotations

import pytest

from bot.sandbox.slack import Event
from tests.handlers.harness import APPROVALS, BYSTANDER, CHANNEL, LEAD, LINE, REQUESTER, Bot, all_text
from tests.handlers.test_publisher import finishes, report


def opened_form(bot: Bot, since: int = 0) -> Event:
    return bot.sees(lambda e: e.kind == "view" and e.metadata is not None and e.metadata["what"] == "opened", since)


def submit(bot: Bot, form: Event, **values: str) -> None:
    assert form.metadata is not None
    given = {"name": "train-a", "preset": "starter", "gpus": "1", "hours": "8", "reason": "try it", **values}
    bot.slack.do(bot.workspace.submit_view(REQUESTER, form.metadata["view_id"], given))


def prefilled(form: Event) -> dict[str, str]:
    elements = {b["block_id"]: b["element"] for b in form.blocks if b["type"] == "input"}
    values = {k: e.get("initial_value") or e.get("initial_option", {}).get("value") for k, e in elements.items()}
    return {k: v for k, v in values.items() if v}


def test_a_complete_line_asks_at_once(bot: Bot) -> None:
    delivery = bot.types(REQUESTER, LINE.format(name="train-a"))
    assert delivery.acked and delivery.payload is not None and "Got it: train-a" in delivery.payload["text"]
    parent = bot.shown("train-a: Checking")
    assert parent.metadata is not None and parent.metadata["event_type"] == "gpu_cluster_request"
    assert "try it" in all_text(parent) and "<@U0REQUESTER>" in parent.text


@pytest.mark.parametrize(
    "text",
    [
        'create train-a name=train-a preset=starter gpus=1 hours=8 reason="try it"',
        "create train-a —preset starter —gpus 1 —hours=8 —reason “try it”",
        'CREATE train-a --preset=starter --gpus=1 --hours 8h --reason "try it"',
    ],
)
def test_a_line_may_be_written_in_other_ways(bot: Bot, text: str) -> None:
    bot.types(REQUESTER, text)
    assert "try it" in all_text(bot.shown("train-a: Checking"))


def test_an_empty_create_opens_the_form_without_reproach(bot: Bot) -> None:
    bot.types(REQUESTER, "create")
    form = opened_form(bot)
    assert [b["block_id"] for b in form.blocks if b["type"] == "input"] == ["name", "preset", "gpus", "hours", "reason"]
    assert prefilled(form) == {"preset": "starter"} and "Please mend" not in all_text(form)


def test_the_form_asks_for_the_same_thing_only_once(bot: Bot) -> None:
    bot.types(REQUESTER, "create train-a --gpus 1")
    form = opened_form(bot)
    assert prefilled(form) == {"name": "train-a", "gpus": "1", "preset": "starter"}
    values = {"preset": "starter", "hours": "8", "reason": "try it"}
    assert form.metadata is not None
    bot.slack.do(bot.workspace.submit_view(REQUESTER, form.metadata["view_id"], values, duplicate=True))
    bot.told(REQUESTER, "Got it: train-a")
    bot.shown("train-a: Checking")
    assert bot.only_request("train-a").requester == REQUESTER


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ("create Train_A --gpus 1 --preset starter --hours 8 --reason x", "name", "small letters"),
        ("create local --gpus 1 --preset starter --hours 8 --reason x", "name", "Rancher keeps"),
        ("create c-abcde --gpus 1 --preset starter --hours 8 --reason x", "name", "Rancher keeps"),
        ("create train-a --gpus 1 --preset nope --hours 8 --reason x", "preset", "no preset “nope”"),
        ("create train-a --gpus 0 --preset starter --hours 8 --reason x", "gpus", "from 1 to 64"),
        ("create <!channel> --gpus 1 --preset starter --hours 8 --reason x", "name", "2 to 30 characters"),
        ("create train-a --gpus 10000 --preset starter --hours 8 --reason x", "gpus", "from 1 to 64"),
        ("create train-a --gpus two --preset starter --hours 8 --reason x", "gpus", "whole number"),
        ("create train-a --gpus 1 --preset starter --hours 1000 --reason x", "hours", "from 1 to 72"),
        ("create train-a --gpus --preset starter --hours 8 --reason x", "gpus", "needs a value"),
    ],
)
def test_what_is_wrong_stands_at_its_field(bot: Bot, typed: str, field: str, said: str) -> None:
    bot.types(REQUESTER, typed)
    form = opened_form(bot)
    blocks = list(form.blocks)
    above = blocks[next(i for i, b in enumerate(blocks) if b.get("block_id") == field) - 1]
    assert above["type"] == "context" and said in above["elements"][0]["text"]
    with bot.store.reading() as tx:
        assert tx.clusters() == []


def test_more_problems_than_a_form_can_hold_are_counted(bot: Bot) -> None:
    stray = " ".join(f"word{i} more{i}" for i in range(70))
    bot.types(REQUESTER, f"create train-a {stray} {'--gpus ' * 120}")
    form = opened_form(bot)
    assert len(form.blocks) < 100
    told = all_text(form)
    assert "“word0”" in told and "and 132 more problems" in told


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"name": "-"}, "name", "2 to 30 characters"),
        ({"gpus": "0"}, "gpus", "from 1 to 64"),
        ({"gpus": "10000"}, "gpus", "from 1 to 64"),
        ({"hours": "100"}, "hours", "from 1 to 72"),
        ({"reason": "x" * 301}, "reason", "301 characters"),
    ],
)
def test_the_form_says_at_the_field_what_is_wrong(bot: Bot, values: dict[str, str], field: str, said: str) -> None:
    bot.types(REQUESTER, "create")
    form = opened_form(bot)
    submit(bot, form, **values)
    wrong = bot.sees(lambda e: e.kind == "view" and e.metadata is not None and e.metadata["what"] == "errors")
    assert wrong.metadata is not None and said in wrong.metadata["errors"][field]
    submit(bot, form)  # still open; mended, it is taken
    bot.shown("train-a: Checking")


def test_words_that_are_not_understood_are_named(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a") + " --gups 3 and more")
    form = opened_form(bot)
    assert "do not know --gups" in all_text(form) and "“more”" in all_text(form)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("crate x", "/gpu-cluster create"),
        ("statsu x", "/gpu-cluster status"),
        ("sing", "/gpu-cluster help"),
        ("scale x", "Type it like this: /gpu-cluster scale NAME POOL 4"),
        ("history", "Which cluster?"),
        ('create x --reason "oh', "quotation mark is open"),
        ("status", "Which cluster?"),
        ("delete", "Which cluster?"),
        ("export", "Which cluster?"),
        ("export nowhere", "There is no cluster “nowhere”"),
        ("export &", "not a cluster's name"),
        ("status <!channel>", "not a cluster's name"),
        ("status nowhere", "There is no cluster “nowhere”"),
        ("delete nowhere", "There is no cluster “nowhere”"),
        ("delete &", "not a cluster's name"),
        ("list", "There are no clusters now"),
        ("cost", "Nothing has been spent this month"),
        ("cost 2", "Nothing has been spent this month"),
        ("cost nowhere", "Nothing has been spent on a cluster “nowhere”"),
        ("cost &", "not a cluster's name"),
        ("help", "you are: lead, other member, teammate. You may: create, list"),
        ("", "/gpu-cluster create"),
    ],
)
def test_every_word_gets_an_answer(bot: Bot, typed: str, said: str) -> None:
    assert bot.types(REQUESTER, typed).acked
    assert "<!" not in bot.told(REQUESTER, said).text.replace("<!subteam^S0LEADS>", "")


def test_help_names_the_approvers(bot: Bot) -> None:
    bot.types(BYSTANDER, "help")
    answer = bot.told(BYSTANDER, "Approved by")
    assert "S0LEADS" in all_text(answer) and "starter" in all_text(answer)


def test_a_reason_can_ping_nobody(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a").replace("try it", "R&D <!channel> @lead *now*"))
    parent = bot.shown("train-a: Checking")
    (quote,) = (e for b in parent.blocks if b["type"] == "rich_text" for e in b["elements"] if "quote" in e["type"])
    assert quote["elements"] == [{"type": "text", "text": "R&D <!channel> <@U0LEAD|lead> *now*"}]
    rest = [b for b in parent.blocks if b["type"] != "rich_text"]
    assert "<!channel>" not in str(rest) and "channel" not in parent.text
    bot.types(REQUESTER, "status train-a")
    assert "<!channel>" not in bot.told(REQUESTER, "train-a").text


def test_a_name_in_use_is_given_back_with_what_was_typed(bot: Bot) -> None:
    bot.asks("train-a")
    bot.types(LEAD, LINE.format(name="train-a"))
    answer = bot.told(LEAD, "is in use")
    assert "/gpu-cluster create train-a --preset starter --gpus 1 --hours 8" in all_text(answer)


def test_two_ask_for_one_name_at_once(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a"))
    bot.types(LEAD, LINE.format(name="train-a"))
    bot.shown("train-a: Checking")
    late = {REQUESTER: LEAD, LEAD: REQUESTER}[bot.only_request("train-a").requester]
    bot.told(late, "is in use")


def test_a_line_delivered_twice_is_one_request(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a"), duplicate=True)
    bot.shown("train-a: Checking")
    bot.types(REQUESTER, "list")
    bot.told(REQUESTER, "There is 1 cluster")
    assert not any("in use" in all_text(e) for e in bot.workspace.events)


@pytest.mark.parametrize("user", ["U0GUEST", "U0FOREIGN"])
def test_outsiders_are_refused(bot: Bot, user: str) -> None:
    bot.types(user, LINE.format(name="train-a"))
    said = "another workspace" if user == "U0FOREIGN" else "Guests, deactivated accounts"
    bot.told(user, said)
    with bot.store.reading() as tx:
        assert tx.clusters() == []


def test_where_the_bot_is_not_it_asks_for_an_invitation(bot: Bot) -> None:
    bot.types(REQUESTER, LINE.format(name="train-a"), channel="C0OTHER")
    bot.told(REQUESTER, "/invite @gpu-cluster")
    with bot.store.reading() as tx:
        assert tx.clusters() == []


@pytest.mark.parametrize("settings", [{"channels": (CHANNEL, APPROVALS)}], indirect=True)
def test_other_channels_are_shown_the_way(bot: Bot) -> None:
    delivery = bot.types(REQUESTER, "list", channel="C0OTHER")
    assert delivery.acked and delivery.payload is not None and "<#C0GPU>" in delivery.payload["text"]


def test_status_in_a_thread_is_for_everybody(bot: Bot) -> None:
    request = bot.asks("train-a")
    card = bot.card()
    bot.slack.do(bot.workspace.mention(BYSTANDER, CHANNEL, "status", thread_ts=card.ts, duplicate=True))
    answer = bot.sees(lambda e: e.kind == "message" and e.thread_ts == card.ts and e.user == "U0BOT")
    assert "Waiting for approval" in all_text(answer)
    assert not any(b["type"] == "actions" for b in answer.blocks)
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, "delete", thread_ts=card.ts))
    bot.told(REQUESTER, "Got it: delete train-a")
    bot.sees(lambda e: e.kind == "message" and "to delete the cluster train-a" in e.text)
    replies = [e for e in bot.workspace.events if e.kind == "message" and e.thread_ts == card.ts and e.user == "U0BOT"]
    assert len(replies) == 1, "the duplicate was answered"
    assert bot.request(request.id).state == "awaiting_approval"


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("status", "train-a: Ready"),
        ("why", "nothing is wrong that shows"),
        ("logs", "train-a has no machines yet"),
        ("verify", "Got it: measure"),
        ("extend 4h", "Got it: keep the cluster 4 hours longer (train-a)"),
        (f"share <@{BYSTANDER}>", "(train-a)"),
        ("cancel", "Nothing is under way"),
        ("help", "/gpu-cluster create"),
        ("history 1", "asked to create"),
        ("delete", "Got it: delete train-a"),
    ],
)
def test_in_its_thread_no_cluster_has_to_be_named(bot: Bot, said: str, answered: str) -> None:
    card = ready(bot)
    since = bot.now
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, said, thread_ts=card.ts))
    told = bot.sees(lambda e: e.kind in ("message", "ephemeral") and answered in all_text(e), since)
    assert told.kind == "ephemeral" or told.thread_ts == card.ts


def ready(bot: Bot) -> Event:
    """The message of a cluster that stands, with eight hours to go."""
    request = bot.asks()
    card = bot.card()
    bot.desk.decide(LEAD, request.id, approve=True)
    finishes(bot, request.id, report())
    bot.shown("train-a: Ready")
    return card


def test_a_thread_of_nothing_says_so(bot: Bot) -> None:
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, "status"))
    bot.told(REQUESTER, "This thread belongs to no cluster")
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, "dance"))
    bot.told(REQUESTER, "I do not know “dance”")
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, 'create x --reason "open'))
    bot.told(REQUESTER, "quotation mark")
    bot.slack.do(bot.workspace.mention(REQUESTER, CHANNEL, "create train-b --gpus 1"))
    assert "No preset was chosen" in all_text(bot.told(REQUESTER, "cannot be asked"))


def test_an_export_is_told_to_who_asks_in_pieces_that_slack_takes(bot: Bot) -> None:
    request = bot.asks()
    bot.card()
    bot.types(REQUESTER, "export train-a")
    answer = bot.told(REQUESTER, "as YAML, without secrets")
    assert f"# train-a of {request.id}" in all_text(answer)
    assert sum(block["type"] == "rich_text" for block in answer.blocks) > 1
