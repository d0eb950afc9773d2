"""`@gpu-cluster …` and direct messages: slash commands do not exist in threads, so the same words work there."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt import App

from handlers.inbox import Inbound, Inbox
from handlers.meaning import heard

_LEADING_MENTION = re.compile(r"\A\s*(<@[UW][A-Z0-9]+(\|[^>]*)?>\s*)+")


class Threads:
    """The listener of mentions."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def register(self, app: App) -> None:
        app.event("app_mention")(self.mentioned)
        app.event("message")(self.written)

    def mentioned(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        """One mention. Edits of it and what bots say are not commands."""
        if event.get("subtype") or event.get("bot_id") or "user" not in event or "edited" in event:
            return
        self._inbox.put(f"event:{body['event_id']}", _inbound(event))

    def written(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        """Something said to the bot alone. Edits, deletions and what bots say are not commands."""
        if event.get("channel_type") != "im" or event.get("subtype") or event.get("bot_id") or "user" not in event:
            return
        self._inbox.put(f"event:{body['event_id']}", _inbound(event))


def _inbound(event: dict[str, Any]) -> Inbound:
    # Said outside of any thread, the answer begins one below what was said; between two, it simply follows.
    alone = "" if event.get("channel_type") == "im" else event["ts"]
    thread = str(event.get("thread_ts") or alone)
    text = _LEADING_MENTION.sub("", str(event.get("text", "")))
    return heard(text, str(event["user"]), str(event["channel"]), thread_ts=thread)
