"""From a button, menu or checkbox that a person presses to the ``action`` object that Slack sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.sandbox.slack.blocks import Block, interactive_elements
from bot.sandbox.slack.errors import Refused
from bot.sandbox.slack.forms import element_state

_PRESSED = frozenset({"button", "icon_button"})


def action_for(
    user: str,
    blocks: list[Block],
    action_id: str,
    value: str | None,
    block_id: str | None,
    action_ts: str,
) -> dict[str, Any]:
    """The action of ``user`` using the element ``action_id`` in ``blocks``.

    ``value`` tells buttons of one ``action_id`` apart and is what is picked in anything else. Raises Refused when
    there is no such element, or it is hidden from the user, or it does not offer ``value``.
    """
    for block, element in _elements(blocks):
        if element["action_id"] != action_id or block_id not in (None, block["block_id"]):
            continue
        if element["type"] in _PRESSED and value not in (None, element.get("value")):
            continue
        if user not in element.get("visible_to_user_ids", [user]):
            raise Refused(f"{user} does not see {action_id!r}")
        return _action(block, element, value, action_ts)
    raise Refused(f"there is nothing to press named {action_id!r}")


def label(action: dict[str, Any]) -> str:
    """What the person pressed or picked, in words."""
    chosen = action.get("selected_option") or action
    return str(chosen.get("text", {}).get("text", action["action_id"]))


def _elements(blocks: list[Block]) -> Iterator[tuple[Block, dict[str, Any]]]:
    for block in blocks:
        children = block.get("child_blocks", [])
        yield from _elements(children)
        if not children:
            yield from ((block, element) for element in interactive_elements(block))


def _action(block: Block, element: dict[str, Any], value: str | None, action_ts: str) -> dict[str, Any]:
    common = {"action_id": element["action_id"], "block_id": block["block_id"], "action_ts": action_ts}
    if element["type"] in _PRESSED:
        shown: dict[str, Any] = {key: element[key] for key in ("text", "value", "style") if key in element}
        return {"type": element["type"], **shown, **common}
    return {**element_state(element, value), **common}
