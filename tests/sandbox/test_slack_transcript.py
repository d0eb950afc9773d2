"""The transcript: the same events always print the same, and say what a person would want to know."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC
from typing import Any

from rich.console import Console

from bot.sandbox.slack import Event, Workspace
from bot.sandbox.transcript import Transcript, event_json, names_of

NOON = 1_800_014_580.0
PLAIN = Event(
    at_real=NOON,
    at_world=NOON,
    kind="message",
    channel="C0GPU",
    thread_ts=None,
    ts="1.0",
    user="U0BOT",
    text="",
)


def event(**fields: Any) -> Event:
    return replace(PLAIN, **fields)


def header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def printed(*events: Event, width: int = 100) -> str:
    """What a terminal that is none would show."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    Transcript(names_of(Workspace()), console, tz=UTC).show(events)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_a_command_is_one_line() -> None:
    typed = event(kind="command", user="U0REQUESTER", text="/gpu-cluster create blog --reason a&amp;b")
    assert printed(typed) == "12:03 #gpu-clusters  requester   /gpu-cluster create blog --reason a&b"


def test_markup_is_read() -> None:
    text = (
        "<@U0LEAD> in <#C0APPROVE>: *8* hours `x &lt; y`, <https://a.example|docs>, <!subteam^S0LEADS>,"
        f" until <!date^{int(NOON) + 3600}^{{time}} ({{ago}})|later> :white_check_mark:"
    )
    expected = "@lead in #gpu-approvals: 8 hours x < y, docs (https://a.example), @gpu-leads, until 13:03 (in 1 h) ✅"
    assert expected in printed(event(text=text), width=160)


def test_the_channel_is_named_when_it_changes() -> None:
    shown = printed(event(text="a"), event(text="b"), event(text="c", channel="C0APPROVE"))
    assert [line.count("#") for line in shown.splitlines()] == [1, 0, 1]


def test_an_edit_shows_only_what_changed() -> None:
    before = event(text="x", blocks=(header("step 4 of 14"), section("for *8* hours")))
    after = event(kind="edit", text="x", blocks=(header("step 5 of 14"), section("for *8* hours")))
    shown = printed(before, after, after)
    assert shown.splitlines()[-1].endswith("~ step 5 of 14")
    assert shown.count("8 hours") == 1
    assert len(shown.splitlines()) == 3, "an edit that changes nothing prints nothing"


def test_a_list_is_compared_item_by_item() -> None:
    def items(*texts: str) -> dict[str, Any]:
        sections = [{"type": "rich_text_section", "elements": [{"type": "text", "text": text}]} for text in texts]
        return {"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "bullet", "elements": sections}]}

    shown = printed(event(blocks=(items("a", "b"),)), event(kind="edit", blocks=(items("a", "c"),)))
    assert [line.split()[-1] for line in shown.splitlines()] == ["a", "b", "c"]


def test_a_long_edit_is_cut() -> None:
    after = event(kind="edit", blocks=tuple(section(f"line {n}") for n in range(9)))
    assert printed(event(text="x"), after).splitlines()[-1].endswith("~ and 3 more lines")


def test_replies_ephemerals_and_clicks_are_marked() -> None:
    reply = printed(event(thread_ts="0.9", text="pong"))
    assert "↳ in the thread" in reply
    assert reply.index("pong") > reply.index("↳")
    assert "(only visible to lead)" in printed(event(kind="ephemeral", ephemeral_to="U0LEAD", text="no"))
    assert printed(event(kind="click", user="U0LEAD", text="Approve")).endswith("lead        presses [Approve]")
    assert "no answer from the bot (operation_timeout)" in printed(event(kind="timeout", text="operation_timeout"))
    assert "message deleted" in printed(event(kind="delete"))
    file = {"title": "gpus.csv", "size": 7}
    assert "file: gpus.csv (7 bytes)" in printed(event(kind="file", metadata=file))


def test_forms() -> None:
    details = {"view_id": "V1", "what": "errors", "errors": {"name": "taken"}}
    shown = printed(event(kind="view", user="U0REQUESTER", text="New cluster", metadata=details))
    assert "is told what is wrong in the form “New cluster”" in shown
    assert "name: taken" in shown


def test_tables_are_tables_even_where_there_is_little_room() -> None:
    rows = [["GPU", "Memory", "Driver", "Checks", "Verdict"], ["gpu-1/0 V100", "16 GiB", "580", "5 of 5", "verified"]]
    cells = [[{"type": "raw_text", "text": text} for text in row] for row in rows]
    table = {"type": "table", "rows": cells, "column_settings": [{}, {"align": "right"}]}
    shown = printed(event(blocks=(section("before"), table, section("after"))), width=80)
    assert "│ gpu-1/0 V100 │ 16 GiB │ 580    │ 5 of 5 │ verified │" in shown
    assert shown.index("before") < shown.index("gpu-1/0") < shown.index("after")


def test_plans_rich_text_and_buttons() -> None:
    rich = {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_section",
                "elements": [{"type": "user", "user_id": "U0LEAD"}, {"type": "text", "text": " said"}],
            }
        ],
    }
    plan = {
        "type": "plan",
        "title": "Building",
        "tasks": [{"type": "task_card", "task_id": "a", "title": "Preflight", "status": "complete", "details": rich}],
    }
    button = {"type": "button", "text": {"type": "plain_text", "text": "Approve"}}
    fields = {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Preset*\nblog"}]}
    shown = printed(event(blocks=(plan, rich, fields, {"type": "actions", "elements": [button]})))
    for expected in ("Building", "✓ Preflight  @lead said", "Preset: blog", "[Approve]"):
        assert expected in shown


def test_an_event_as_json() -> None:
    decoded = json.loads(event_json(event(text="é", blocks=(header("h"),), metadata={"id": 1})))
    assert (decoded["kind"], decoded["text"], decoded["blocks"][0]["type"]) == ("message", "é", "header")
    assert decoded["at_world"] == NOON
    assert "\n" not in event_json(event(text="a\nb"))


def test_progress_is_lines_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with Transcript({}, console).progress(2) as begin:
        begin("ask")
        begin("approve")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "[1/2] ask\n[2/2] approve\n"
