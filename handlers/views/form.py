"""The form behind `/gpu-cluster create`: five inputs, prefilled with what was typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.core.spec import REASON_MAX, Draft, Policy, Preset, Problem
from handlers.views.page import Note, Page
from handlers.views.render import render
from handlers.views.spans import line
from handlers.views.words import clean, clip, count

CALLBACK = "create_form"
MOST_PROBLEMS = 8
"""Shown above each field and at the top; with the fields this stays below Slack's 100 blocks in a view
(docs.slack.dev: reference/views/modal-views)."""
FIELDS = ("name", "preset", "gpus", "hours", "reason")

Block = dict[str, Any]


def create_form(
    draft: Draft, problems: Iterable[Problem], presets: Mapping[str, Preset], policy: Policy, metadata: str
) -> dict[str, Any]:
    """The modal; each problem stands above its field, those of no field at the top.

    `metadata` (at most 3,000 characters) comes back with the submission.
    """
    found = list(problems)
    blocks = _problems([p for p in found if p.field not in FIELDS])
    for block in _inputs(draft, presets, policy):
        blocks += _problems([p for p in found if p.field == block["block_id"]])
        blocks.append(block)
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": metadata,
        "title": _text("Ask for a GPU cluster", 24),
        "submit": _text("Ask", 24),
        "close": _text("Not now", 24),
        "blocks": blocks,
    }


def field_errors(problems: Iterable[Problem]) -> dict[str, str]:
    """What `response_action: errors` wants: a sentence for each field that has a problem."""
    errors: dict[str, str] = {}
    for problem in problems:
        errors.setdefault(problem.field if problem.field in FIELDS else FIELDS[0], clip(clean(problem.message), 2_000))
    return errors


def _inputs(draft: Draft, presets: Mapping[str, Preset], policy: Policy) -> list[Block]:
    options = [_option(name, preset) for name, preset in list(presets.items())[:100]]
    chosen = next((o for o in options if o["value"] == draft.preset), None)
    preset: Block = {"type": "static_select", "action_id": "preset", "options": options}
    if chosen is not None:
        preset["initial_option"] = chosen
    # No bounds on the numbers: the client would refuse them without saying why.
    return [
        _input("name", "Name", _typed("name", draft.name, 60), "Small letters, digits, dashes; such as train-a"),
        _input("preset", "Preset", preset, "What kind of machines"),
        _input("gpus", "GPUs in all", _number("gpus", draft.gpus), f"1 to {policy.max_gpus}"),
        _input("hours", "Hours", _number("hours", draft.hours.removesuffix("h")), _hours_hint(policy)),
        _input("reason", "What for", _typed("reason", draft.reason, 3_000), f"At most {REASON_MAX} characters"),
    ]


def _hours_hint(policy: Policy) -> str:
    return f"1 to {policy.max_hours}, counted from the moment it is ready"


def _input(key: str, label: str, element: Block, hint: str) -> Block:
    return {
        "type": "input",
        "block_id": key,
        "label": _text(label, 2_000),
        "hint": _text(hint, 2_000),
        "element": element,
    }


def _typed(key: str, value: str, limit: int) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": key, "multiline": key == "reason"}
    if shown := clip(clean(value), limit):
        element["initial_value"] = shown
    return element


def _number(key: str, value: str) -> Block:
    element: Block = {"type": "number_input", "action_id": key, "is_decimal_allowed": False}
    if value.isascii() and value.isdigit() and len(value) < 10:
        element["initial_value"] = value
    return element


def _option(name: str, preset: Preset) -> Block:
    option: Block = {"text": _text(name, 75), "value": clip(name, 150)}
    if preset.description:
        option["description"] = _text(preset.description, 75)
    return option


def _problems(problems: list[Problem]) -> list[Block]:
    notes = [Note(line(f"Please mend: {problem.message}")) for problem in problems[:MOST_PROBLEMS]]
    if (rest := len(problems) - MOST_PROBLEMS) > 0:
        notes.append(Note(line(f"and {count(rest, 'more problem')}")))
    return list(render(Page(line(""), tuple(notes))).blocks)


def _text(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": clip(clean(text), limit) or "–", "emoji": False}
