"""One call to Slack for one message, and what its answer means for it: sent, not now, or never."""

from __future__ import annotations

import logging
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.core.ports import Clock
from handlers.calls import CALL_ERRORS, Clients, code_of, retry_after
from handlers.pacing import Pace
from handlers.views.render import Block, Rendered

log = logging.getLogger(__name__)

NO_ANSWER_S = 2.0
BAD_TOKEN_S = 30.0
PLAIN_FOR_S = 3_600.0
"""How long a workspace that refused rich blocks gets plain ones."""

POST, EDIT = "chat.postMessage", "chat.update"

_TEMPORARY = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
)
_BAD_TOKEN = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "team_access_not_granted"}
)


class Held(Exception):
    """Not now: nothing was shown, or nobody knows; the message stays due."""


class Refused(Exception):
    """Slack will not take this message; `code` is its word for why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class Sender:
    """Posts and edits within the pace. One thread only."""

    def __init__(self, clients: Clients, clock: Clock, pace: Pace) -> None:
        # A post that got no answer may stand, so its client never repeats it; an edit may be repeated freely.
        self._clients: dict[str, WebClient] = {POST: clients.posting, EDIT: clients.asking}
        self._clock = clock
        self._pace = pace
        self._plain_until = 0.0

    def send(self, method: str, message_id: str, arguments: dict[str, Any], rendered: Rendered) -> str:
        """Send rich blocks, or plain ones where those are refused. Returns the ts; raises `Held` or `Refused`."""
        if self._clock.real() >= self._plain_until:
            try:
                return self._call(method, message_id, {**arguments, "text": rendered.text}, rendered.blocks)
            except Refused as refused:
                if refused.code != "invalid_blocks":
                    raise
                log.warning("rich blocks were refused for %s; plain ones for an hour: %s", message_id, refused.detail)
                self._plain_until = self._clock.real() + PLAIN_FOR_S
        return self._call(method, message_id, {**arguments, "text": rendered.text}, rendered.plain_blocks)

    def _call(self, method: str, message_id: str, arguments: dict[str, Any], blocks: tuple[Block, ...]) -> str:
        real = self._clock.real()
        if method == EDIT:
            self._pace.edited(message_id, real)
        try:
            sent = self._clients[method].api_call(method, json={**arguments, "blocks": list(blocks)})
        except CALL_ERRORS as error:
            raise self._meaning(error, method, message_id) from error
        return str(sent["ts"])

    def _meaning(self, error: Exception, method: str, message_id: str) -> Held | Refused:
        real, code = self._clock.real(), code_of(error)
        if (wait := retry_after(error)) is not None:
            log.info("Slack asks to wait %.0f s before the next %s", wait, method)
            self._pace.hold(method, wait, real)
            return Held(code)
        if code in _BAD_TOKEN:
            # Not the message's fault: it stays due until whoever runs the bot has mended the token.
            log.error("%s of %s: the bot token was refused (%s)", method, message_id, code)
            self._pace.hold(method, BAD_TOKEN_S, real)
            return Held(code)
        if code in _TEMPORARY or not isinstance(error, SlackApiError) or code.startswith("http "):
            log.warning("%s of %s: %s; trying again", method, message_id, code)
            self._pace.hold(method, NO_ANSWER_S, real)
            return Held(code)
        return Refused(code, str(error))
