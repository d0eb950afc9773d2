"""What stands in a form: told to the app while it is filled in, and kept when the app shows another view."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.sandbox.slack import Workspace
from bot.sandbox.slack.errors import Refused
from bot.sandbox.slack.forms import current_values, kept


def text(block: str, action: str, **more: Any) -> dict[str, Any]:
    label = {"type": "plain_text", "text": block}
    element = {"type": "plain_text_input", "action_id": action, "initial_value": "first"}
    return {"type": "input", "block_id": block, "label": label, "element": element, **more}


def test_what_was_typed_goes_before_what_the_view_opened_with() -> None:
    blocks = [text("a", "x"), text("b", "x")]
    values = current_values(blocks, {"a": "typed"})
    assert values["a"]["x"]["value"] == "typed" and values["b"]["x"]["value"] == "first"


def test_an_update_keeps_what_stands_in_the_same_inputs() -> None:
    before = [text("a", "x"), text("b", "x"), text("c", "x")]
    after = [text("a", "x"), text("b", "other")]
    assert kept({"a": "1", "b": "2", "c": "3"}, before, after) == {"a": "1"}


def test_an_input_tells_the_app_only_what_it_was_asked_to_tell() -> None:
    async def story() -> None:
        workspace = Workspace()
        modal = {
            "type": "modal",
            "title": {"type": "plain_text", "text": "t"},
            "submit": {"type": "plain_text", "text": "s"},
            "blocks": [text("quiet", "q"), text("loud", "l", dispatch_action=True)],
        }
        view = workspace.views.open("U0REQUESTER", modal)
        with pytest.raises(Refused, match="tells the app nothing"):
            await workspace.click_view("U0REQUESTER", view.id, "q", "x")
        with pytest.raises(Refused):
            await workspace.click_view("U0LEAD", view.id, "l", "x")
        await workspace.click_view("U0REQUESTER", view.id, "l", "now", values={"quiet": "before"})
        assert view.typed == {"quiet": "before", "loud": "now"}
        workspace.views.update(view, {**modal, "blocks": [text("loud", "l", dispatch_action=True)]}, view.hash)
        assert view.typed == {"loud": "now"}
        await workspace.close()

    asyncio.run(story())
