"""Answers to one person: through the response_url while it lives, else as an ephemeral message; in threads, in them.
What is for everybody is posted in the channel.

Where there is no channel (the Home tab), and in direct messages, the answer is a direct message.
"""

from __future__ import annotations

import logging

from slack_sdk import WebClient
from slack_sdk.http_retry import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler
from slack_sdk.webhook import WebhookClient

from bot.core.ports import Clock
from handlers.calls import CALL_ERRORS, TIMEOUT_S, code_of
from handlers.inbox import Inbound
from handlers.views.page import Page
from handlers.views.render import Block, Rendered, render

log = logging.getLogger(__name__)

RESPONSE_URL_S = 29 * 60.0
"""A response_url lives 30 minutes (slackapi/java-slack-sdk: interactive-components.md); real seconds."""


class Answerer:
    """Says one thing to one person. It never raises for what Slack does: an answer that cannot be given is logged."""

    def __init__(self, client: WebClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def answer(self, inbound: Inbound, page: Page, *, received_real: float, visible: bool) -> None:
        """Say it: rich blocks first, plain ones where those are refused."""
        rendered = render(page)
        for blocks in (rendered.blocks, rendered.plain_blocks):
            problem = self._say(inbound, rendered, list(blocks), received_real, visible)
            if problem != "invalid_blocks":
                break
        if problem:
            log.warning("no answer to %s for %s in %s: %s", inbound.user, inbound.gesture, inbound.channel, problem)

    def _say(
        self, inbound: Inbound, rendered: Rendered, blocks: list[Block], received_real: float, visible: bool
    ) -> str:
        """'' when it was said, else Slack's word for why not."""
        if not inbound.channel:
            return self._directly(inbound, rendered.text, blocks)
        if visible or (inbound.channel.startswith("D") and not inbound.response_url):
            return self._post(inbound.channel, inbound.thread_ts, rendered.text, blocks)
        young = self._clock.real() - received_real < RESPONSE_URL_S
        if inbound.response_url and young:
            problem = self._by_url(inbound.response_url, rendered.text, blocks)
            if problem in ("", "invalid_blocks"):
                return problem
            log.info("the response_url did not take the answer (%s); sending it as an ephemeral message", problem)
        return self._ephemeral(inbound, rendered.text, blocks)

    def _by_url(self, url: str, text: str, blocks: list[Block]) -> str:
        retries = [ConnectionErrorRetryHandler(), RateLimitErrorRetryHandler(max_retry_count=3)]
        try:
            sent = WebhookClient(url, timeout=TIMEOUT_S, retry_handlers=retries).send(
                text=text, blocks=blocks, response_type="ephemeral", replace_original=False
            )
        except CALL_ERRORS as error:
            return code_of(error)
        if sent.status_code == 200:
            return ""
        return "invalid_blocks" if "invalid_blocks" in sent.body else f"http {sent.status_code}"

    def _directly(self, inbound: Inbound, text: str, blocks: list[Block]) -> str:
        try:
            channel = str(self._client.conversations_open(users=inbound.user)["channel"]["id"])
        except CALL_ERRORS as error:
            return code_of(error)
        return self._post(channel, "", text, blocks)

    def _post(self, channel: str, thread_ts: str, text: str, blocks: list[Block]) -> str:
        try:
            self._client.chat_postMessage(
                channel=channel,
                thread_ts=thread_ts or None,
                text=text,
                blocks=blocks,
                unfurl_links=False,
                unfurl_media=False,
            )
        except CALL_ERRORS as error:
            return code_of(error)
        return ""

    def _ephemeral(self, inbound: Inbound, text: str, blocks: list[Block]) -> str:
        try:
            self._client.chat_postEphemeral(
                channel=inbound.channel,
                user=inbound.user,
                thread_ts=inbound.thread_ts or None,
                text=text,
                blocks=blocks,
            )
        except CALL_ERRORS as error:
            return code_of(error)
        return ""
