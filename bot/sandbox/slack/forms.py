"""From what a person types into a modal to the ``state.values`` that Slack sends."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.sandbox.slack.elements import find_option
from bot.sandbox.slack.errors import Refused

Values = dict[str, dict[str, dict[str, Any]]]
_PICKERS = {
    "datepicker": "date",
    "timepicker": "time",
    "datetimepicker": "date_time",
    "users_select": "user",
    "channels_select": "channel",
    "conversations_select": "conversation",
}
_SEVERAL = frozenset({"checkboxes", "multi_static_select"})


def view_values(blocks: list[dict[str, Any]], typed: Mapping[str, str]) -> Values:
    """The state of every input in ``blocks``: ``typed`` maps block ids to plain strings, the rest keep their initials.

    Choices are named by option value or label, several separated by commas. Raises Refused for what a client would
    not send: an empty required field, an unknown choice, a number that is none or out of range, a block that is no
    input.
    """
    inputs = {block["block_id"]: block for block in blocks if block["type"] == "input"}
    if strange := typed.keys() - inputs.keys():
        raise Refused(f"the form has no input {', '.join(sorted(strange))}")
    values: Values = {}
    for block_id, block in inputs.items():
        element = block["element"]
        state = element_state(element, typed.get(block_id))
        if not block.get("optional", False) and not any(value for key, value in state.items() if key != "type"):
            raise Refused(f"{block['label']['text']}: please complete this required field")
        values[block_id] = {element["action_id"]: state}
    return values


def current_values(blocks: list[dict[str, Any]], typed: Mapping[str, str]) -> Values:
    """The state of every input as it stands: ``typed`` by block id, the rest as the view opened. May be incomplete;
    Refused for what a client would not let stand in a field."""
    inputs = [block for block in blocks if block["type"] == "input"]
    return {
        b["block_id"]: {b["element"]["action_id"]: element_state(b["element"], typed.get(b["block_id"]))}
        for b in inputs
    }


def kept(typed: Mapping[str, str], before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, str]:
    """What stays typed when a view is updated: Slack keeps what stands in an input whose block_id and action_id stay,
    whatever initial value the new view gives it."""
    same = _identities(before) & _identities(after)
    return {block: text for block, text in typed.items() if any(block == identity[0] for identity in same)}


def _identities(blocks: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    inputs = [block for block in blocks if block["type"] == "input"]
    return {(b["block_id"], b["element"]["action_id"], b["element"]["type"]) for b in inputs}


def element_state(element: Mapping[str, Any], typed: str | None) -> dict[str, Any]:
    """The state of one element after a person typed or chose ``typed`` (None: left as it opened)."""
    kind = element["type"]
    if kind in _SEVERAL:
        return {"type": kind, "selected_options": _several(element, typed)}
    if kind in ("static_select", "radio_buttons", "overflow"):
        chosen = element.get("initial_option") if typed is None else _choose(element, typed) if typed else None
        return {"type": kind, "selected_option": chosen}
    if kind in _PICKERS:
        initial = element.get(f"initial_{_PICKERS[kind]}")
        return {"type": kind, f"selected_{_PICKERS[kind]}": initial if typed is None else typed or None}
    text = element.get("initial_value") if typed is None else typed
    if text:
        _check_number(element, text) if kind == "number_input" else _check_length(element, text)
    return {"type": kind, "value": text or None}


def _choose(element: Mapping[str, Any], typed: str) -> dict[str, Any]:
    option = find_option(element, typed)
    if option is None:
        raise Refused(f"there is no choice {typed!r}")
    return option


def _several(element: Mapping[str, Any], typed: str | None) -> list[dict[str, Any]]:
    if typed is None:
        return list(element.get("initial_options", []))
    return [_choose(element, part.strip()) for part in typed.split(",") if part.strip()]


def _check_number(element: Mapping[str, Any], text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Refused(f"{text!r} is not a number") from error
    if not number.is_finite():
        raise Refused(f"{text!r} is not a number")
    if not element["is_decimal_allowed"] and number != number.to_integral_value():
        raise Refused(f"{text!r} is not a whole number")
    for bound, wrong in (("min_value", "less than"), ("max_value", "more than")):
        limit = Decimal(element[bound]) if bound in element else number
        if (number < limit) if bound == "min_value" else (number > limit):
            raise Refused(f"{text} is {wrong} {limit}")


def _check_length(element: Mapping[str, Any], text: str) -> None:
    longest = element.get("max_length", 3000)
    if not element.get("min_length", 0) <= len(text) <= longest:
        raise Refused(f"between {element.get('min_length', 0)} and {longest} characters, please")
