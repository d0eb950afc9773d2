"""The app manifest asks for what the code uses: no scope, command or event more, and none less."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

import handlers
from handlers.approvals import STATUS_SHORTCUT
from handlers.commands import COMMAND
from handlers.forms import SHORTCUT

FOLDER = Path(handlers.__file__).parent
MANIFEST: dict[str, Any] = yaml.safe_load((FOLDER.parent / "manifests" / "slack-app.yaml").read_text())

# slackapi/java-slack-sdk: metadata/web-api/rate_limit_tiers.json and each method's page.
SCOPES_OF = {
    "auth.test": set(),
    "chat.postMessage": {"chat:write"},
    "chat.postEphemeral": {"chat:write"},
    "chat.update": {"chat:write"},
    "conversations.info": {"channels:read", "groups:read"},
    "conversations.open": {"im:write"},
    "files.completeUploadExternal": {"files:write"},
    "files.delete": {"files:write"},
    "files.getUploadURLExternal": {"files:write"},
    "files.upload.v2": {"files:write"},  # slack_sdk's name for the three steps of an upload
    "usergroups.users.list": {"usergroups:read"},
    "users.info": {"users:read"},
    "views.open": set(),
    "views.publish": set(),
    "views.push": set(),
    "views.update": set(),
}
# docs.slack.dev: reference/events/app_home_opened, app_mention and message.im.
SCOPES_OF_EVENT: dict[str, set[str]] = {
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "message.im": {"im:history"},
}

# The parts of slackapi/manifest-schema: schemas/manifest.schema.2.0.0.json that this manifest uses.
_BOOLEAN = {"type": "boolean"}


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


SCHEMA = _closed(
    ("display_information",),
    _metadata=_closed(major_version={"const": 2}, minor_version={"const": 1}),
    display_information=_closed(
        ("name",),
        name=_text(35),
        description=_text(140),
        background_color={"type": "string", "pattern": "^#[0-9a-fA-F]{3,6}$"},
    ),
    features=_closed(
        app_home=_closed(
            home_tab_enabled=_BOOLEAN, messages_tab_enabled=_BOOLEAN, messages_tab_read_only_enabled=_BOOLEAN
        ),
        bot_user=_closed(("display_name",), display_name=_text(80), always_online=_BOOLEAN),
        shortcuts={
            "type": "array",
            "maxItems": 10,
            "items": _closed(
                ("type", "name", "callback_id", "description"),
                type={"enum": ["message", "global"]},
                name=_text(24),
                callback_id=_text(255),
                description=_text(150),
            ),
        },
        slash_commands={
            "type": "array",
            "maxItems": 50,
            "items": _closed(
                ("command", "description"),
                command={"type": "string", "pattern": "^/", "minLength": 2, "maxLength": 32},
                description=_text(2000),
                usage_hint=_text(1000),
                should_escape=_BOOLEAN,
            ),
        },
    ),
    oauth_config=_closed(scopes=_closed(bot={"type": "array", "uniqueItems": True, "items": _text(255)})),
    settings=_closed(
        event_subscriptions=_closed(bot_events={"type": "array", "maxItems": 100, "uniqueItems": True}),
        interactivity=_closed(("is_enabled",), is_enabled=_BOOLEAN),
        org_deploy_enabled=_BOOLEAN,
        socket_mode_enabled=_BOOLEAN,
        token_rotation_enabled=_BOOLEAN,
    ),
)


def called_methods() -> set[str]:
    """Every Web API method that the handlers name: as a method of a client, or as a string."""
    by_attribute = {name.replace(".", "_").lower(): name for name in SCOPES_OF}
    families = (*(f"{name.partition('.')[0]}_" for name in SCOPES_OF), "files_", "reactions_", "pins_")
    found: set[str] = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(attr=name) if name.startswith(families):
                    found.add(by_attribute[name.lower()])
                case ast.Constant(value=str(name)) if name in SCOPES_OF:
                    found.add(name)
    return found


def test_the_structure_is_slacks() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(MANIFEST, SCHEMA)


def test_the_scopes_are_those_of_the_methods_that_are_called() -> None:
    called = called_methods()
    assert called == set(SCOPES_OF), "the table above names a method that nobody calls"
    events = MANIFEST["settings"]["event_subscriptions"]["bot_events"]
    needed = {"commands"}.union(*(SCOPES_OF[m] for m in called), *(SCOPES_OF_EVENT[e] for e in events))
    assert set(MANIFEST["oauth_config"]["scopes"]["bot"]) == needed


def test_commands_and_events_have_listeners() -> None:
    assert [c["command"] for c in MANIFEST["features"]["slash_commands"]] == [COMMAND]
    listeners = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    registered = set(re.findall(r'app\.event\("(\w+)"\)', listeners))
    subscribed = MANIFEST["settings"]["event_subscriptions"]["bot_events"]
    assert registered == {event.partition(".")[0] for event in subscribed}
    assert ("app.action" in listeners) == MANIFEST["settings"]["interactivity"]["is_enabled"]
    assert not re.search(r"app\.message\(", listeners)


def test_shortcuts_have_listeners() -> None:
    listeners = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    shortcuts = {shortcut["callback_id"]: shortcut["type"] for shortcut in MANIFEST["features"]["shortcuts"]}
    assert shortcuts == {STATUS_SHORTCUT: "message", SHORTCUT: "global"}
    assert len(re.findall(r"app\.shortcut\(", listeners)) == len(shortcuts)


def test_no_history_but_of_what_is_said_to_the_bot_alone() -> None:
    scopes = MANIFEST["oauth_config"]["scopes"]["bot"]
    assert [scope for scope in scopes if scope.endswith(":history")] == ["im:history"]


def test_every_scope_and_event_is_explained() -> None:
    told = (FOLDER.parent / "docs" / "slack.md").read_text()
    scopes, events = MANIFEST["oauth_config"]["scopes"]["bot"], SCOPES_OF_EVENT
    assert [word for word in (*scopes, *events, *SCOPES_OF) if f"`{word}`" not in told] == []
