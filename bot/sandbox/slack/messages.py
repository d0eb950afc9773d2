"""Messages and files as the workspace keeps them, and as Slack describes them to an app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.slack import directory


@dataclass
class Message:
    """One message. ``ephemeral_to`` is the only user who sees it, if set; ``rev`` counts what was changed."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str | None = None
    broadcast: bool = False
    ephemeral_to: str | None = None
    metadata: dict[str, Any] | None = None
    file_ids: tuple[str, ...] = ()
    edited_ts: str | None = None
    command: bool = False
    rev: int = 0

    def payload(self) -> dict[str, Any]:
        """The message object of Slack's API."""
        bot = {"bot_id": directory.BOT_ID, "app_id": directory.APP} if self.user == directory.BOT_USER else {}
        edited = {"user": self.user, "ts": self.edited_ts} if self.edited_ts else None
        return {
            "type": "message",
            "user": self.user,
            "ts": self.ts,
            "team": directory.TEAM,
            "text": self.text,
            **bot,
            **({"blocks": self.blocks} if self.blocks else {}),
            **({"thread_ts": self.thread_ts} if self.thread_ts else {}),
            **({"edited": edited} if edited else {}),
            **({"metadata": self.metadata} if self.metadata else {}),
        }


@dataclass
class File:
    """An uploaded file; ``shared`` once the upload was completed."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    alt: str = ""
    channel: str | None = None
    shared: bool = False

    def payload(self) -> dict[str, Any]:
        """The file object of Slack's API."""
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "size": self.length,
            **({"alt_txt": self.alt} if self.alt else {}),
            "user": directory.BOT_USER,
            "channels": [self.channel] if self.channel else [],
        }
