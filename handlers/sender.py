"""One call to Slack for one message, and what its answer means for it: sent, not now, or never."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from bot.core.ports import Clock
from handlers.calls import CALL_ERRORS, Clients, code_of, retry_after
from handlers.pacing import Pace
from handlers.views.files import Attachment
from handlers.views.render import Block, Rendered

log = logging.getLogger(__name__)

NO_ANSWER_S = 2.0
BAD_TOKEN_S = 30.0
CLOSED_CHANNEL_S = 300.0
"""How often a channel that does not take us is tried again: somebody has to let the bot in, or bring it back."""
PLAIN_FOR_S = 3_600.0
"""How long a workspace that refused rich blocks gets plain ones."""

POST, EDIT, OPEN = "chat.postMessage", "chat.update", "conversations.open"
UPLOAD = "files.upload.v2"
"""slack_sdk's name for files.getUploadURLExternal, the bytes to another host, and files.completeUploadExternal."""
NO_UPLOAD_S = 60.0
"""After an upload that got no answer; Slack's host for files may be closed to us where its API is not."""

_TEMPORARY = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
)
_BAD_TOKEN = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "team_access_not_granted"}
)
_CLOSED_CHANNEL = frozenset(
    {
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "org_login_required",
        "restricted_action",
        "restricted_action_read_only_channel",
    }
)


class Held(Exception):
    """Not now: nothing was shown, or nobody knows; the message stays due."""


class Closed(Held):
    """The channel does not take us now (archived, left, locked); nothing was shown."""


class Refused(Exception):
    """Slack will not take this message; `code` is its word for why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class Sender:
    """Posts and edits within the pace. One thread only."""

    def __init__(self, clients: Clients, clock: Clock, pace: Pace) -> None:
        # A post that got no answer may stand, so its client never repeats it; an edit may be repeated freely.
        self._clients: dict[str, WebClient] = {POST: clients.posting, EDIT: clients.asking, OPEN: clients.asking}
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

    def open_direct(self, user: str) -> str:
        """The channel of the direct messages with a user; raises `Held` or `Refused`."""
        return str(self._ask(OPEN, user, {"users": user})["channel"]["id"])

    def upload(self, message_id: str, channel: str, thread_ts: str, files: Sequence[Attachment], comment: str) -> None:
        """Share files as one message, in a thread where `thread_ts` names one; raises `Held` or `Refused`."""
        uploads = [
            {"filename": f.name, "title": f.title, "content": f.content, "alt_txt": f.alt or None} for f in files
        ]
        try:
            self._clients[POST].files_upload_v2(
                file_uploads=uploads, channel=channel, thread_ts=thread_ts or None, initial_comment=comment
            )
        except CALL_ERRORS as error:
            raise self._meaning(error, UPLOAD, message_id, channel) from error

    def _call(self, method: str, message_id: str, arguments: dict[str, Any], blocks: tuple[Block, ...]) -> str:
        if method == EDIT:
            self._pace.edited(message_id, self._clock.real())
        return str(self._ask(method, message_id, {**arguments, "blocks": list(blocks)})["ts"])

    def _ask(self, method: str, about: str, arguments: dict[str, Any]) -> SlackResponse:
        try:
            return self._clients[method].api_call(method, json=arguments)
        except CALL_ERRORS as error:
            raise self._meaning(error, method, about, str(arguments.get("channel", ""))) from error

    def _meaning(self, error: Exception, method: str, message_id: str, channel: str) -> Held | Refused:
        real, code = self._clock.real(), code_of(error)
        if channel and code in _CLOSED_CHANNEL:
            log.error("%s of %s: %s takes no messages of ours now (%s)", method, message_id, channel, code)
            self._pace.hold(channel, CLOSED_CHANNEL_S, real)
            return Closed(code)
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
            self._pace.hold(method, NO_UPLOAD_S if method == UPLOAD else NO_ANSWER_S, real)
            return Held(code)
        return Refused(code, str(error))
