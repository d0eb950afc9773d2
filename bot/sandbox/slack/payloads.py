"""The payloads Slack sends an app, field for field.

Shapes: Slack's reference for slash commands, ``block_actions``, ``view_submission``, shortcuts and the Events API, as
recorded in ``slackapi/bolt-python: tests/scenario_tests``.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.directory import Channel, User
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.views import View

VERIFICATION_TOKEN = "sandbox"
Payload = dict[str, Any]


def _common(user: User) -> Payload:
    """What every interactive payload carries. ``team`` is the app's; a foreign user's own is in ``user.team_id``."""
    return {
        "team": {"id": directory.TEAM, "domain": directory.TEAM_DOMAIN},
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team},
        "api_app_id": directory.APP,
        "token": VERIFICATION_TOKEN,
        "enterprise": None,
        "is_enterprise_install": False,
    }


def slash_command(user: User, channel: Channel, text: str, trigger: str, url: str) -> Payload:
    """A slash command. There is no ``thread_ts``: commands do not exist in threads."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": user.team,
        "team_domain": directory.TEAM_DOMAIN,
        "channel_id": channel.id,
        "channel_name": channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": directory.COMMAND,
        "text": text,
        "api_app_id": directory.APP,
        "is_enterprise_install": "false",
        "response_url": url,
        "trigger_id": trigger,
    }


def message_action(user: User, channel: Channel, message: Message, action: Payload, trigger: str, url: str) -> Payload:
    """``block_actions`` for an element in a message; an ephemeral message itself is not included."""
    ephemeral = message.ephemeral_to is not None
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    return {
        "type": "block_actions",
        **_common(user),
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": ephemeral,
            **thread,
        },
        "trigger_id": trigger,
        "channel": {"id": channel.id, "name": channel.name},
        **({} if ephemeral else {"message": message.payload()}),
        "state": {"values": {}},
        "response_url": url,
        "actions": [action],
    }


def view_action(user: User, view: View, action: Payload, values: Payload, trigger: str) -> Payload:
    """``block_actions`` for an element in a modal or Home tab."""
    return {
        "type": "block_actions",
        **_common(user),
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": trigger,
        "view": view.payload(values),
        "actions": [action],
    }


def view_submission(user: User, view: View, values: Payload, trigger: str) -> Payload:
    """A submitted modal."""
    return {
        "type": "view_submission",
        **_common(user),
        "trigger_id": trigger,
        "view": view.payload(values),
        "response_urls": [],
    }


def view_closed(user: User, view: View, *, everything: bool) -> Payload:
    """A modal closed by its user; sent only for views with ``notify_on_close``."""
    return {"type": "view_closed", **_common(user), "view": view.payload(), "is_cleared": everything}


def shortcut(user: User, callback_id: str, trigger: str) -> Payload:
    """A global shortcut."""
    return {
        "type": "shortcut",
        **_common(user),
        "action_ts": f"{time.time():.6f}",
        "callback_id": callback_id,
        "trigger_id": trigger,
    }


def message_shortcut(base: Payload, channel: Channel, message: Message, url: str) -> Payload:
    """A message shortcut: a global one (``base``) plus the message it was used on."""
    return {
        **base,
        "type": "message_action",
        "channel": {"id": channel.id, "name": channel.name},
        "message_ts": message.ts,
        "message": message.payload(),
        "response_url": url,
    }


def event(inner: Payload) -> Payload:
    """The Events API's outer object around ``inner``, with a fresh ``event_id``."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": directory.TEAM,
        "api_app_id": directory.APP,
        "event": inner,
        "type": "event_callback",
        "event_id": f"Ev0{secrets.token_hex(5).upper()}",
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": directory.TEAM,
                "user_id": directory.BOT_USER,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": f"4-{secrets.token_hex(16)}",
    }


def message_event(user: User, message: Message, kind: str, **more: str) -> Payload:
    """An ``app_mention`` or ``message`` event for something a person wrote."""
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    return event(
        {
            "type": kind,
            "user": user.id,
            "ts": message.ts,
            "client_msg_id": secrets.token_hex(16),
            "text": message.text,
            "team": user.team,
            "blocks": [
                {
                    "type": "rich_text",
                    "block_id": secrets.token_urlsafe(4),
                    "elements": [
                        {
                            "type": "rich_text_section",
                            "elements": [{"type": "text", "text": message.text}],
                        }
                    ],
                }
            ],
            "channel": message.channel,
            "event_ts": message.ts,
            **thread,
            **more,
        }
    )
