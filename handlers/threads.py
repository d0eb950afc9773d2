"""`@gpu-cluster …` and direct messages: slash commands do not exist in threads, so the same words work there."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt import App

from handlers.grammar import ABOUT_ONE, CHANGES, SWITCH, Words, draft_of, dry_run_of, split
from handlers.inbox import Gesture, Inbound, Inbox

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
        words = split(_LEADING_MENTION.sub("", str(event.get("text", ""))))
        self._inbox.put(f"event:{body['event_id']}", _inbound(words, event))

    def written(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        """Something said to the bot alone. Edits, deletions and what bots say are not commands."""
        if event.get("channel_type") != "im" or event.get("subtype") or event.get("bot_id") or "user" not in event:
            return
        words = split(_LEADING_MENTION.sub("", str(event.get("text", ""))))
        self._inbox.put(f"event:{body['event_id']}", _inbound(words, event))


def _inbound(words: Words, event: dict[str, Any]) -> Inbound:
    user, channel = str(event["user"]), str(event["channel"])
    # Said outside of any thread, the answer begins one below what was said; between two, it simply follows.
    alone = "" if event.get("channel_type") == "im" else event["ts"]
    thread = str(event.get("thread_ts") or alone)
    verb, rest = words.verb or "help", words.rest
    if words.trouble:
        return Inbound(Gesture.GARBLED, user, channel, name=words.trouble, thread_ts=thread)
    if verb == "create":
        dry, rest = dry_run_of(rest)
        gesture = Gesture.DRY_RUN if dry else Gesture.CREATE
        return Inbound(gesture, user, channel, draft=draft_of(rest), thread_ts=thread)
    if verb == "history" and len(rest) == 1 and rest[0].isdigit():
        return Inbound(Gesture.HISTORY, user, channel, words=rest, thread_ts=thread)
    if verb in SWITCH:
        return Inbound(Gesture(verb), user, channel, name=" ".join(rest), thread_ts=thread)
    if verb in ABOUT_ONE:
        name = rest[0] if rest else ""
        return Inbound(Gesture(verb), user, channel, name=name, words=rest[1:], thread_ts=thread)
    if verb in ("help", "list", "cost", "orphans"):
        return Inbound(Gesture(verb), user, channel, name=rest[0] if rest else "", thread_ts=thread)
    if verb in CHANGES:
        return Inbound(Gesture(verb), user, channel, words=rest, thread_ts=thread)
    return Inbound(Gesture.UNKNOWN, user, channel, name=verb, thread_ts=thread)
