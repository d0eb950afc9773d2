"""The parts blocks are made of: text objects, options, confirm dialogs, interactive elements, rich text.

Field names follow ``slackapi/python-slack-sdk: slack_sdk/models/blocks`` (block_elements.py, basic_components.py);
sizes follow the same files and Slack's Block Kit reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.sandbox.slack.schema import (
    Check,
    anything,
    array,
    boolean,
    number,
    one_of,
    report,
    shape,
    string,
    tagged,
    typed,
)

ID = string(255)
URL = string(3000, pattern=r"https?://.+")
USER_IDS = array(string(64, pattern=r"[UW][A-Z0-9]+"), 10)


def plain(maximum: int) -> Check:
    """A ``plain_text`` object of at most ``maximum`` characters."""
    return tagged(typed("plain_text", {"text": string(maximum)}, {"emoji": boolean}), "text object")


def text(maximum: int) -> Check:
    """A ``plain_text`` or ``mrkdwn`` object of at most ``maximum`` characters."""
    return tagged(
        typed("plain_text", {"text": string(maximum)}, {"emoji": boolean})
        | typed("mrkdwn", {"text": string(maximum)}, {"verbatim": boolean}),
        "text object",
    )


CONFIRM = shape(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": one_of("primary", "danger")},
)
OPTION = shape({"text": text(75), "value": string(150)}, {"description": text(75), "url": URL})
OPTION_GROUP = shape({"label": plain(75), "options": array(OPTION, 100)})
DISPATCH = shape({"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), 2)})


def _interactive(
    kind: str,
    required: Mapping[str, Check] | None = None,
    optional: Mapping[str, Check] | None = None,
    *,
    any_of: tuple[str, ...] = (),
) -> dict[str, Check]:
    return typed(kind, required, {"action_id": ID, **(optional or {})}, any_of=any_of)


_MENU: dict[str, Check] = {"placeholder": plain(150), "confirm": CONFIRM, "focus_on_load": boolean}
_CHOICES: dict[str, Check] = {"options": array(OPTION, 100), "option_groups": array(OPTION_GROUP, 100)}
_CHOSEN: tuple[str, ...] = ("options", "option_groups")
_TYPED: dict[str, Check] = {
    "placeholder": plain(150),
    "focus_on_load": boolean,
    "dispatch_action_config": DISPATCH,
}

BUTTON = _interactive(
    "button",
    {"text": plain(75)},
    {
        "url": URL,
        "value": string(2000),
        "style": one_of("primary", "danger"),
        "confirm": CONFIRM,
        "accessibility_label": string(75),
        "visible_to_user_ids": USER_IDS,
    },
)
ICON_BUTTON = _interactive(
    "icon_button",
    {"icon": string(50), "text": plain(75)},
    {
        "value": string(2000),
        "confirm": CONFIRM,
        "accessibility_label": string(75),
        "visible_to_user_ids": USER_IDS,
    },
)
_FEEDBACK = shape({"text": plain(75), "value": string(2000)}, {"accessibility_label": string(75)})
FEEDBACK_BUTTONS = _interactive("feedback_buttons", {"positive_button": _FEEDBACK, "negative_button": _FEEDBACK})
OVERFLOW = _interactive("overflow", {"options": array(OPTION, 5)}, {"confirm": CONFIRM})
SELECTS = (
    _interactive("static_select", None, {**_MENU, **_CHOICES, "initial_option": OPTION}, any_of=_CHOSEN)
    | _interactive(
        "multi_static_select",
        None,
        {
            **_MENU,
            **_CHOICES,
            "initial_options": array(OPTION, 100),
            "max_selected_items": number(1, whole=True),
        },
        any_of=_CHOSEN,
    )
    | _interactive("users_select", None, {**_MENU, "initial_user": ID})
    | _interactive("channels_select", None, {**_MENU, "initial_channel": ID, "response_url_enabled": boolean})
    | _interactive(
        "conversations_select",
        None,
        {
            **_MENU,
            "initial_conversation": ID,
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": anything,
        },
    )
)
CHOOSERS = (
    _interactive(
        "checkboxes",
        {"options": array(OPTION, 10)},
        {"initial_options": array(OPTION, 10), "confirm": CONFIRM, "focus_on_load": boolean},
    )
    | _interactive(
        "radio_buttons",
        {"options": array(OPTION, 10)},
        {"initial_option": OPTION, "confirm": CONFIRM, "focus_on_load": boolean},
    )
    | _interactive("datepicker", None, {**_MENU, "initial_date": string(10, 10, pattern=r"\d{4}-\d\d-\d\d")})
    | _interactive(
        "timepicker",
        None,
        {**_MENU, "initial_time": string(5, 5, pattern=r"\d\d:\d\d"), "timezone": string(64)},
    )
    | _interactive(
        "datetimepicker",
        None,
        {"initial_date_time": number(0, whole=True), "confirm": CONFIRM, "focus_on_load": boolean},
    )
)
TYPED_INPUTS = (
    _interactive(
        "plain_text_input",
        None,
        {
            **_TYPED,
            "initial_value": string(3000, 0),
            "multiline": boolean,
            "min_length": number(0, 3000, whole=True),
            "max_length": number(1, 3000, whole=True),
        },
    )
    | _interactive(
        "number_input",
        {"is_decimal_allowed": boolean},
        {**_TYPED, "initial_value": string(100), "min_value": string(100), "max_value": string(100)},
    )
    | _interactive("email_text_input", None, {**_TYPED, "initial_value": string(3000)})
    | _interactive("url_text_input", None, {**_TYPED, "initial_value": string(3000)})
)


def image(required: Mapping[str, Check], optional: Mapping[str, Check]) -> dict[str, Check]:
    """The ``image`` element or block: an ``image_url`` or a ``slack_file``, and always ``alt_text``."""
    source: dict[str, Check] = {"image_url": URL, "slack_file": shape(None, {"id": ID, "url": URL})}
    return typed("image", required, {**source, **optional}, any_of=("image_url", "slack_file"))


IMAGE = image({"alt_text": string(2000)}, {})

ACCESSORIES = tagged(IMAGE | BUTTON | OVERFLOW | SELECTS | CHOOSERS, "element")
ACTION_ELEMENTS = tagged(BUTTON | OVERFLOW | SELECTS | CHOOSERS, "element")
CONTEXT_ELEMENTS = tagged(
    IMAGE
    | typed("plain_text", {"text": string(3000)}, {"emoji": boolean})
    | typed("mrkdwn", {"text": string(3000)}, {"verbatim": boolean}),
    "element",
)
CONTEXT_ACTION_ELEMENTS = tagged(ICON_BUTTON | FEEDBACK_BUTTONS, "element")
INPUT_ELEMENTS = tagged(TYPED_INPUTS | SELECTS | CHOOSERS, "element")

_STYLE = shape(None, dict.fromkeys(("bold", "italic", "strike", "code", "underline"), boolean))
_RICH_INLINE = tagged(
    typed("text", {"text": string(12000)}, {"style": _STYLE})
    | typed("link", {"url": string(3000)}, {"text": string(3000), "unsafe": boolean, "style": _STYLE})
    | typed("emoji", {"name": string(100)}, {"unicode": string(100), "style": _STYLE})
    | typed("user", {"user_id": ID}, {"style": _STYLE})
    | typed("usergroup", {"usergroup_id": ID}, {"style": _STYLE})
    | typed("channel", {"channel_id": ID}, {"style": _STYLE})
    | typed("broadcast", {"range": one_of("here", "channel", "everyone")}, {"style": _STYLE})
    | typed(
        "date",
        {"timestamp": number(0, whole=True), "format": string(200)},
        {"url": string(3000), "fallback": string(200), "style": _STYLE},
    ),
    "rich text element",
)
_RICH_INLINES = array(_RICH_INLINE, 1000, 0)
_SECTION = typed("rich_text_section", {"elements": _RICH_INLINES})
_BORDER: dict[str, Check] = {"border": number(0, 1, whole=True)}
_RICH_ELEMENT = tagged(
    _SECTION
    | typed("rich_text_preformatted", {"elements": _RICH_INLINES}, {**_BORDER, "language": string(50)})
    | typed("rich_text_quote", {"elements": _RICH_INLINES}, _BORDER)
    | typed(
        "rich_text_list",
        {"elements": array(tagged(_SECTION, "rich text element"), 500), "style": one_of("bullet", "ordered")},
        {**_BORDER, "indent": number(0, 8, whole=True), "offset": number(0, whole=True)},
    ),
    "rich text element",
)
RICH_TEXT = typed("rich_text", {"elements": array(_RICH_ELEMENT, 500)}, {"block_id": ID})
RICH_TEXT_OBJECT = tagged(RICH_TEXT, "text object")
URL_SOURCE = tagged(typed("url", {"url": URL, "text": string(255)}), "source")


def _options(element: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All options of an element, also those in groups."""
    groups = [group["options"] for group in element.get("option_groups", [])]
    return [option for group in [element.get("options", []), *groups] for option in group]


def find_option(element: Mapping[str, Any], wanted: str) -> dict[str, Any] | None:
    """The option of a select, radio, checkbox or overflow element whose value, or else label, is ``wanted``."""
    options = _options(element)
    by_label = {option["text"]["text"]: option for option in options}
    return {**by_label, **{option["value"]: option for option in options}}.get(wanted)


def check_initial_option(element: Mapping[str, Any], pointer: str, problems: list[str]) -> None:
    """Slack refuses an initial option that is not, field for field, among the options."""
    chosen = [element["initial_option"]] if "initial_option" in element else element.get("initial_options", [])
    if not all(option in _options(element) for option in chosen):
        report(problems, pointer, "initial option must be one of the options")
