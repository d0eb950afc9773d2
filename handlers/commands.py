"""`/gpu-cluster …`: ack, check the shape, write a row."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from typing import Any

from slack_bolt import Ack, App, BoltResponse
from slack_sdk import WebClient

from bot.core.desk import Ask, Desk
from bot.core.policy import Verb
from bot.core.spec import Draft, Invalid, Problem, check_draft
from handlers.calls import CALL_ERRORS, code_of
from handlers.forms import FormOrigin, open_form, was_said
from handlers.grammar import ABOUT_ONE
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.meaning import heard
from handlers.views import answers
from handlers.views.page import Page
from handlers.views.render import render

log = logging.getLogger(__name__)

COMMAND = "/gpu-cluster"


@dataclass(frozen=True)
class Typed:
    """A slash command, reduced to what is needed."""

    user: str
    channel: str
    text: str
    trigger_id: str
    response_url: str


class Commands:
    """The listener of the slash command."""

    def __init__(self, inbox: Inbox, desk: Desk) -> None:
        self._inbox = inbox
        self._desk = desk

    def register(self, app: App) -> None:
        app.command(COMMAND)(self.typed)

    def typed(self, ack: Ack, command: dict[str, Any], client: WebClient) -> None:
        """One line that somebody typed."""
        typed = Typed(
            user=command["user_id"],
            channel=command["channel_id"],
            text=command.get("text", ""),
            trigger_id=command["trigger_id"],
            response_url=command["response_url"],
        )
        inbound = heard(typed.text, typed.user, typed.channel, response_url=typed.response_url)
        match inbound.gesture:
            case Gesture.GARBLED:
                say(ack, answers.bad_line(inbound.name))
            case Gesture.UNKNOWN:
                say(ack, answers.unknown(inbound.name))
            case Verb.CREATE:
                self._create(ack, client, typed, inbound)
            case verb if verb in ABOUT_ONE and not inbound.name:
                say(ack, answers.no_name(verb))
            case _:
                self._take(ack, typed, inbound)

    def _create(self, ack: Ack, client: WebClient, typed: Typed, inbound: Inbound) -> None:
        """A complete line asks at once; any other opens the form with what was typed."""
        draft = inbound.draft or Draft()
        team = self._desk.team_for(Ask(typed.user, typed.channel, ""))
        problems: tuple[Problem, ...] = ()
        try:
            check_draft(draft, team, self._desk.catalogue)
        except Invalid as error:
            problems = error.problems
        if not problems:
            self._take(ack, typed, replace(inbound, told=True), answers.got_it(draft.name))
            return
        ack()
        said = tuple(p for p in problems if p in draft.problems or was_said(draft, p.field))
        bad_wait = any(problem.field == "wait" for problem in said)
        origin = FormOrigin(uuid.uuid4().hex, typed.channel, "" if bad_wait else draft.wait)
        try:
            wish = open_form(client, self._desk, origin, typed.user, typed.trigger_id, draft, said)
        except CALL_ERRORS as error:
            log.warning("the form was not opened: %s", code_of(error))
            self._inbox.put(f"command:{typed.trigger_id}", replace(inbound, gesture=Gesture.LATE))
            return
        if wish is not None:
            self._inbox.put(f"preview:{wish.view}:opened", wish)

    def _take(self, ack: Ack, typed: Typed, inbound: Inbound, told: Page | None = None) -> None:
        """Written down first, so that what was acknowledged is never lost."""
        self._inbox.put(f"command:{typed.trigger_id}", inbound)
        if told is None:
            ack()
        else:
            say(ack, told)


def say(ack: Ack, page: Page) -> BoltResponse:
    """Acknowledge with an answer that only the person sees."""
    rendered = render(page)
    return ack(text=rendered.text, blocks=list(rendered.blocks), response_type="ephemeral")
