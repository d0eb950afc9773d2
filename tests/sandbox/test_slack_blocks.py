"""Blocks, views and metadata: what Slack refuses, refused by name, place and rule."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.slack.blocks import check_blocks, check_metadata, check_view, with_ids

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(**fields: Any) -> Json:
    return {"type": "button", "text": plain("Go"), "action_id": "go", **fields}


def section(text: str = "words", **fields: Any) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **fields}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def select(count: int, **fields: Any) -> Json:
    options = [{"text": plain(f"o{n}"), "value": f"v{n}"} for n in range(count)]
    return {"type": "static_select", "action_id": "pick", "options": options, **fields}


def field(element: Json, **fields: Any) -> Json:
    return {"type": "input", "label": plain("Label"), "element": element, **fields}


def table(rows: int, columns: int) -> Json:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * columns] * rows}


def text_input(**fields: Any) -> Json:
    return {"type": "plain_text_input", "action_id": "name", **fields}


RICH = {
    "type": "rich_text",
    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "hello"}]}],
}
CONFIRM = {"title": plain("Sure?"), "text": plain("It costs"), "confirm": plain("Yes"), "deny": plain("No")}
TASK = {"type": "task_card", "task_id": "a", "title": "A", "status": "complete", "details": RICH}

ACCEPTED = [
    section("x" * 3000, fields=[{"type": "mrkdwn", "text": "y" * 2000}] * 10, accessory=button()),
    {"type": "header", "text": plain("h" * 150)},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "c"}] * 10},
    actions(*(button(action_id=f"b{n}", value="v" * 2000, confirm=CONFIRM) for n in range(25))),
    actions(select(100)),
    {"type": "divider", "block_id": "d" * 255},
    {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a"},
    {"type": "markdown", "text": "m" * 12000},
    table(100, 20),
    {
        "type": "data_table",
        "caption": "GPUs",
        "page_size": 8,
        "rows": [[{"type": "raw_text", "text": "GPU"}], [{"type": "raw_number", "value": 1.5, "text": "1.5"}]],
    },
    {"type": "plan", "title": "Building", "tasks": [TASK]},
    TASK,
    RICH,
    {"type": "container", "title": plain("More"), "child_blocks": [section()], "is_collapsible": True},
    field(text_input(max_length=30)),
]

REFUSED = [
    (section("x" * 3001), "/blocks/0/text/text", "no more than 3000 characters"),
    (section(""), "/blocks/0/text/text", "at least 1 characters"),
    ({"type": "section"}, "/blocks/0", "text or fields"),
    (section(fields=[plain("f")] * 11), "/blocks/0/fields", "no more than 10 items"),
    (section(fields=[plain("f" * 2001)]), "/blocks/0/fields/0/text", "2000 characters"),
    (section(colour="red"), "/blocks/0/colour", "unknown field: colour"),
    (section(block_id="b" * 256), "/blocks/0/block_id", "255 characters"),
    ({"type": "header", "text": plain("h" * 151)}, "/blocks/0/text/text", "150 characters"),
    ({"type": "header", "text": {"type": "mrkdwn", "text": "h"}}, "/blocks/0/text/type", "unsupported"),
    ({"type": "context", "elements": [plain("c")] * 11}, "/blocks/0/elements", "no more than 10"),
    (actions(*(button(action_id=f"b{n}") for n in range(26))), "/blocks/0/elements", "no more than 25"),
    (actions(button(), button()), "/blocks/0", "action_id already exists in block: go"),
    (actions(button(value="v" * 2001)), "/blocks/0/elements/0/value", "2000 characters"),
    (actions(button(text=plain("t" * 76))), "/blocks/0/elements/0/text/text", "75 characters"),
    (actions(button(style="green")), "/blocks/0/elements/0/style", "one of primary, danger"),
    (actions(button(visible_to_user_ids=["U1"] * 11)), "/visible_to_user_ids", "no more than 10"),
    (actions({"type": "button", "action_id": "go"}), "/blocks/0/elements/0", "missing required field: text"),
    (actions(button(confirm={**CONFIRM, "title": plain("t" * 101)})), "/confirm/title/text", "100 char"),
    (actions(select(101)), "/blocks/0/elements/0/options", "no more than 100"),
    (
        actions(select(2, initial_option={"text": plain("no"), "value": "no"})),
        "/blocks/0",
        "initial option must be one",
    ),
    (actions(text_input()), "/blocks/0/elements/0/type", "unsupported element type: plain_text_input"),
    ({"type": "image", "image_url": "https://example.com/a.png"}, "/blocks/0", "alt_text"),
    ({"type": "hologram"}, "/blocks/0/type", "unsupported block type: hologram"),
    ({"type": "alert", "text": plain("x")}, "/blocks/0/type", "unsupported block type: alert"),
    ("words", "/blocks/0", "must be an object"),
    (table(101, 1), "/blocks/0/rows", "no more than 100"),
    (table(1, 21), "/blocks/0/rows/0", "no more than 20"),
    ({"type": "table", "rows": [[{"type": "raw_text", "text": ""}]]}, "/rows/0/0/text", "at least 1"),
    ({"type": "data_table", "rows": [[plain("x")]]}, "/blocks/0", "missing required field: caption"),
    ({"type": "plan", "title": "P", "tasks": [{**TASK, "status": "ok"}]}, "/tasks/0/status", "one of pending"),
    ({"type": "plan", "title": "P", "tasks": [section()]}, "/blocks/0/tasks/0/type", "unsupported task"),
    ({"type": "markdown", "text": "m" * 12001}, "/blocks/0/text", "12000 characters"),
    ({**RICH, "elements": [{"type": "text", "text": "x"}]}, "/elements/0/type", "unsupported rich text"),
]


@pytest.mark.parametrize("block", ACCEPTED, ids=lambda block: str(block["type"]))
def test_what_slack_accepts(block: Json) -> None:
    assert check_blocks([block], "message") == []


@pytest.mark.parametrize(("block", "pointer", "rule"), REFUSED)
def test_what_slack_refuses_is_named(block: Json, pointer: str, rule: str) -> None:
    problems = check_blocks([block], "message")
    assert any(pointer in problem and rule in problem for problem in problems), problems


def test_fifty_blocks_pass_and_fifty_one_do_not() -> None:
    assert check_blocks([{"type": "divider"}] * 50, "message") == []
    assert "no more than 50 items" in check_blocks([{"type": "divider"}] * 51, "message")[0]
    assert check_blocks([{"type": "divider"}] * 100, "home") == []


def test_rules_across_blocks() -> None:
    twins = [{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}]
    assert "block_id already exists: a" in check_blocks(twins, "message")[0]
    assert "only one table" in check_blocks([table(1, 1), table(1, 1)], "message")[0]
    long = [{"type": "markdown", "text": "m" * 6001}] * 2
    assert "12000 characters together" in check_blocks(long, "message")[0]


def test_blocks_that_belong_elsewhere() -> None:
    assert check_blocks([{"type": "alert", "text": plain("x"), "level": "warning"}], "modal") == []
    for block in (table(1, 1), {"type": "plan", "title": "P"}, {"type": "markdown", "text": "m"}):
        assert "unsupported block type" in check_blocks([block], "modal")[0]


def modal(**fields: Any) -> Json:
    return {"type": "modal", "title": plain("New"), "blocks": [section()], **fields}


@pytest.mark.parametrize(
    ("view", "pointer", "rule"),
    [
        (modal(title=plain("t" * 25)), "/view/title/text", "24 characters"),
        (modal(submit=plain("s" * 25)), "/view/submit/text", "24 characters"),
        (modal(private_metadata="m" * 3001), "/view/private_metadata", "3000 characters"),
        (modal(callback_id="c" * 256), "/view/callback_id", "255 characters"),
        (modal(blocks=[section()] * 101), "/view/blocks", "no more than 100"),
        (modal(blocks=[field(text_input())]), "/view", "submit is required"),
        (modal(colour="red"), "/view/colour", "unknown field"),
        ({"type": "modal", "blocks": []}, "/view", "missing required field: title"),
        ({"type": "home", "title": plain("x"), "blocks": []}, "/view/title", "unknown field"),
        (modal(blocks=[section(text="")]), "/view/blocks/0/text/text", "at least 1"),
        ("view", "/view", "must be an object"),
    ],
)
def test_views_slack_refuses(view: Json, pointer: str, rule: str) -> None:
    problems = check_view(view)
    assert any(pointer in problem and rule in problem for problem in problems), problems


def test_views_slack_accepts() -> None:
    assert check_view(modal(submit=plain("Ask"), blocks=[field(text_input())], notify_on_close=True)) == []
    assert check_view({"type": "home", "blocks": [section()]}) == []


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"event_type": "card", "event_payload": {"id": "r1", "n": 1, "deep": {"a": True}}}, None),
        ({"event_type": "card", "event_payload": {"ids": ["r1"]}}, "invalid_metadata_format"),
        ({"event_type": "card", "event_payload": {"deep": {"a": {"b": 1}}}}, "invalid_metadata_format"),
        ({"event_type": "card"}, "invalid_metadata_format"),
        ("card", "invalid_metadata_format"),
        ({"event_type": "card", "event_payload": {"id": "x" * 20_000}}, "metadata_too_large"),
    ],
)
def test_metadata(metadata: object, code: str | None) -> None:
    assert check_metadata(metadata) == code


def test_stored_blocks_have_ids_and_the_given_ones_stay_untouched() -> None:
    given = [actions({"type": "button", "text": plain("Go")}), section(block_id="mine")]
    stored = with_ids(given)
    assert stored[0]["block_id"] and stored[0]["elements"][0]["action_id"]
    assert stored[1]["block_id"] == "mine"
    assert "block_id" not in given[0]
