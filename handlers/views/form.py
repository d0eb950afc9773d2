"""The form behind `/gpu-cluster create`, prefilled; what a choice allows follows from the one above it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.core.checks.preview import Preview
from bot.core.spec import REASON_MAX, Choices, Draft, Policy, Preset, Problem
from handlers.views.page import Button, Buttons, Header, Note, Page
from handlers.views.preview import machine_words, parts
from handlers.views.render import in_view, render
from handlers.views.spans import line
from handlers.views.words import clean, clip, count

CALLBACK, PREVIEW = "create_form", "preview"
MOST_PROBLEMS = 8
"""Shown above each field and at the top; with the fields this stays below Slack's 100 blocks in a view
(docs.slack.dev: reference/views/modal-views)."""
FIELDS = ("name", "preset", "type", "zone", "gpus", "hours", "reason")
"""`action_id` of each input, in their order. So is its `block_id`, but for `type` and `zone`: a client keeps what was
chosen in a block of the same id, so theirs holds what their options depend on."""
WATCHED = ("name", "preset", "type", "zone", "gpus", "hours")
"""Fields whose change is told to us at once, so that what depends on them follows."""
_AS_TYPED = {"trigger_actions_on": ["on_character_entered"]}
_WHEN_DONE = {"trigger_actions_on": ["on_enter_pressed"]}
ANY = "any"
"""Value of the option that leaves type or zone open."""
_FIELD_OF_CHECK = {"GPU count": "gpus", "zone and subnet": "zone", "instance type": "type"}
"""Checks, by how their name begins, whose refusal belongs to one field."""
_NOTHING = Choices()

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
    choices: Choices = _NOTHING,
) -> dict[str, Any]:
    """The modal; each problem stands above its field, those of no field at the top, the preview below.

    `metadata` (at most 3,000 characters) comes back with the submission; `note` says why there is no preview;
    `choices` are those of the preset and type that are chosen.
    """
    inputs = _inputs(draft, presets, policy, choices)
    found = [*problems, *_of_checks(shown)]
    blocks = _problems([p for p in found if p.field not in inputs])
    for field, block in inputs.items():
        blocks += _problems([p for p in found if p.field == field])
        blocks.append(block)
        if field == "preset" and (preset := presets.get(draft.preset)) is not None:
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


def field_errors(problems: Iterable[Problem], blocks: Mapping[str, str]) -> dict[str, str]:
    """What `response_action: errors` wants: a sentence for each field that has a problem.

    `blocks`: the `block_id` of each field that is shown; what belongs to none stands at the name.
    """
    errors: dict[str, str] = {}
    for problem in problems:
        place = blocks.get(problem.field, FIELDS[0])
        errors.setdefault(place, clip(clean(problem.message), 2_000))
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
    for check in shown.found.refusals:
        field = next((field for name, field in _FIELD_OF_CHECK.items() if check.name.startswith(name)), "")
        named += [Problem(field, f"{check.detail} {check.remedy}".strip())] if field else []
    return named


def _inputs(draft: Draft, presets: Mapping[str, Preset], policy: Policy, choices: Choices) -> dict[str, Block]:
    """The inputs by field: type and zone only where there is something to choose."""
    options = [_option(name, preset) for name, preset in list(presets.items())[:100]]
    preset = presets.get(draft.preset)
    types = preset.types if preset is not None else ()
    inputs = {
        # No bounds on the numbers: the client would refuse them without saying why.
        "name": _input(
            "name", "Name", _typed("name", draft.name, 60), "Small letters, digits, dashes; such as train-a"
        ),
        "preset": _input("preset", "Preset", _select("preset", options, draft.preset), "What kind of machines"),
    }
    if len(types) > 1:
        offered = [_choice(ANY, f"Any of these, {types[0]} first"), *(_choice(name, name) for name in types[:99])]
        select = _select("type", offered, draft.instance_type or ANY)
        inputs["type"] = _input("type", "GPU machines", select, "One type only, or the next where AWS has none")
        inputs["type"]["block_id"] = clip(f"type-{draft.preset}", 255)
    if zones := choices.zones or ((draft.zone,) if len(draft.zone) == 1 else ()):
        offered = [_choice(ANY, "Any zone, the best first"), *(_choice(zone, f"Zone {zone}") for zone in zones[:99])]
        select = _select("zone", offered, draft.zone or ANY)
        inputs["zone"] = _input("zone", "Zone", select, "One zone only, or the next where AWS has none")
        inputs["zone"]["block_id"] = clip(f"zone-{draft.preset}-{draft.instance_type}", 255)
    machine = draft.instance_type or (types[0] if types else "")
    return inputs | {
        "gpus": _input("gpus", "GPUs in all", _number("gpus", draft.gpus), _gpus_hint(policy, machine, choices)),
        "hours": _input("hours", "Hours", _number("hours", draft.hours), _hours_hint(policy, preset)),
        "reason": _input(
            "reason", "What for", _typed("reason", draft.reason, 3_000), f"At most {REASON_MAX} characters"
        ),
    }


def _gpus_hint(policy: Policy, machine: str, choices: Choices) -> str:
    each, fixed = choices.gpus_each, choices.gpus_fixed
    if each <= 1 and not fixed:
        return f"1 to {policy.max_gpus}"
    counts = [count for n in (1, 2, 3) if (count := max(each, 1) * n + fixed) <= policy.max_gpus]
    some = ", ".join(map(str, counts))
    besides = f" besides the preset's own {fixed}" if fixed else ""
    return clip(f"A {machine} has {each}{besides}: {some}, … up to {policy.max_gpus}", 2_000)


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


def _select(key: str, options: list[Block], chosen: str) -> Block:
    element: Block = {"type": "static_select", "action_id": key, "options": options}
    first = next((option for option in options if option["value"] == chosen), None)
    return element if first is None else {**element, "initial_option": first}


def _choice(value: str, words: str) -> Block:
    return {"text": _text(words, 75), "value": clip(value, 150)}


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
