"""The two ways this workspace says no."""

from __future__ import annotations


class SlackError(Exception):
    """The Web API refuses a call: ``code`` is Slack's error code, ``messages`` its ``response_metadata.messages``."""

    def __init__(self, code: str, messages: list[str] | None = None) -> None:
        super().__init__(": ".join([code, *(messages or [])]))
        self.code = code
        self.messages = messages or []


class Refused(Exception):
    """A real Slack client would not let this person do that; the text is what they would be told."""
