"""The form behind `/gpu-cluster create`: five inputs, prefilled with what was typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.core.preview import Preview
from bot.core.spec import REASON_MAX, Draft, Policy, Preset, Problem
from handlers.views.page import Button, Buttons, Header, Note, Page
from handlers.views.preview import machine_words, parts
from handlers.views.render import in_view, render
from handlers.views.spans import line
from handlers.views.words import clean, clip, count

CALLBACK, PREVIEW = "create_form", "preview"
MOST_PROBLEMS = 8
"""Shown above each field and at the top; with the fields this stays below Slack's 100 blocks in a view
(docs.slack.dev: reference/views/modal-views)."""
FIELDS = ("name", "preset", "gpus", "hours", "reason")
WATCHED = ("name", "preset", "gpus", "hours")
"""Fields whose change is told to us at once, so that what depends on them follows."""
_AS_TYPED = {"trigger_actions_on": ["on_character_entered"]}
_WHEN_DONE = {"trigger_actions_on": ["on_enter_pressed"]}
_FIELD_OF_CHECK = {"GPU count": "gpus"}
"""Checks whose refusal belongs to one field."""

Block = dict[str, Any]


def create_form(
    draft: Draft,
    problems: Iterable[Problem],
    presets: Mapping[str, Preset],
    policy: Policy,
    metadata: str,
    *,
    shown: Preview | None = None,
    note: str = "",
) -> dict[str, Any]:
    """The modal; each problem stands above its field, those of no field at the top, the preview below.

    `metadata` (at most 3,000 characters) comes back with the submission; `note` says why there is no preview.
    """
    found = [*problems, *_of_checks(shown)]
    blocks = _problems([p for p in found if p.field not in FIELDS])
    for block in _inputs(draft, presets, policy, shown):
        blocks += _problems([p for p in found if p.field == block["block_id"]])
        blocks.append(block)
        if block["block_id"] == "preset" and (preset := presets.get(draft.preset)) is not None:
            blocks += render(Page(line(""), (Note(line(machine_words(preset))),))).blocks
    blocks += _before_asking(shown, policy, note)
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


def _before_asking(shown: Preview | None, policy: Policy, note: str) -> list[Block]:
    """Price, budget, quota and who decides; until then the button that works them out."""
    again = Buttons("preview-actions", (Button(PREVIEW, "Price and approvals", "now"),))
    if shown is None:
        return in_view(Page(line(""), (Note(line(note)), again) if note else (again,)))
    return in_view(Page(line(""), (Header("Before you ask"), *parts(shown, policy), again)))


def _of_checks(shown: Preview | None) -> list[Problem]:
    """What AWS and the budget say against single fields."""
    if shown is None:
        return []
    named = [Problem("name", shown.name_in_use)] if shown.name_in_use else []
    refused = [check for check in shown.found.refusals if check.name in _FIELD_OF_CHECK]
    return named + [Problem(_FIELD_OF_CHECK[c.name], f"{c.detail} {c.remedy}".strip()) for c in refused]


def _inputs(draft: Draft, presets: Mapping[str, Preset], policy: Policy, shown: Preview | None) -> list[Block]:
    options = [_option(name, preset) for name, preset in list(presets.items())[:100]]
    chosen = next((o for o in options if o["value"] == draft.preset), None)
    preset: Block = {"type": "static_select", "action_id": "preset", "options": options}
    if chosen is not None:
        preset["initial_option"] = chosen
    # No bounds on the numbers: the client would refuse them without saying why.
    return [
        _input("name", "Name", _typed("name", draft.name, 60), "Small letters, digits, dashes; such as train-a"),
        _input("preset", "Preset", preset, "What kind of machines"),
        _input("gpus", "GPUs in all", _number("gpus", draft.gpus), _gpus_hint(policy, shown)),
        _input("hours", "Hours", _number("hours", draft.hours), _hours_hint(policy, presets.get(draft.preset))),
        _input("reason", "What for", _typed("reason", draft.reason, 3_000), f"At most {REASON_MAX} characters"),
    ]


def _gpus_hint(policy: Policy, shown: Preview | None) -> str:
    most = f"1 to {policy.max_gpus}"
    machine = shown.found.envelope.gpu if shown is not None and shown.found.envelope is not None else None
    if machine is None or machine.count <= 1:
        return most
    some = ", ".join(str(machine.count * n) for n in (1, 2, 3) if machine.count * n <= policy.max_gpus)
    return f"A {machine.instance_type} has {machine.count}: {some}, … up to {policy.max_gpus}"


def _hours_hint(policy: Policy, preset: Preset | None) -> str:
    most = min(policy.max_hours, preset.max_hours) if preset is not None and preset.max_hours else policy.max_hours
    return f"1 to {most}, counted from the moment it is ready"


def _input(key: str, label: str, element: Block, hint: str) -> Block:
    return {
        "type": "input",
        "block_id": key,
        "label": _text(label, 2_000),
        "hint": _text(hint, 2_000),
        "element": element,
        **({"dispatch_action": True} if key in WATCHED else {}),
    }


def _typed(key: str, value: str, limit: int) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": key, "multiline": key == "reason"}
    if shown := clip(clean(value), limit):
        element["initial_value"] = shown
    if key in WATCHED:
        element["dispatch_action_config"] = _WHEN_DONE
    return element


def _number(key: str, value: str) -> Block:
    element: Block = {"type": "number_input", "action_id": key, "is_decimal_allowed": False}
    element["dispatch_action_config"] = _AS_TYPED
    value = value.removesuffix("h")
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
