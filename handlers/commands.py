"""`/gpu-cluster …`: ack, check the shape, write a row."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from typing import Any

from slack_bolt import Ack, App, BoltResponse, Respond
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.core.desk import Ask, Desk
from bot.core.spec import Draft, Invalid, Problem, check_draft
from handlers.forms import FormOrigin, open_form, was_said
from handlers.grammar import ABOUT_ONE, CHANGES, SWITCH, draft_of, dry_run_of, split
from handlers.inbox import Gesture, Inbound, Inbox
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

    def typed(self, ack: Ack, command: dict[str, Any], client: WebClient, respond: Respond) -> None:
        """One line that somebody typed."""
        typed = Typed(
            user=command["user_id"],
            channel=command["channel_id"],
            text=command.get("text", ""),
            trigger_id=command["trigger_id"],
            response_url=command["response_url"],
        )
        words = split(typed.text)
        if words.trouble:
            say(ack, answers.bad_line(words.trouble))
        elif words.verb == "create":
            dry, rest = dry_run_of(words.rest)
            if dry:
                self._take(ack, typed, Inbound(Gesture.DRY_RUN, typed.user, typed.channel, draft=draft_of(rest)))
            else:
                self._create(ack, client, respond, typed, draft_of(rest))
        elif words.verb in ("", "help", "list", "orphans"):
            self._take(ack, typed, Inbound(Gesture(words.verb or "help"), typed.user, typed.channel))
        elif words.verb == "cost":
            name = words.rest[0] if words.rest else ""
            self._take(ack, typed, Inbound(Gesture.COST, typed.user, typed.channel, name=name))
        elif words.verb in ABOUT_ONE:
            self._about_one(ack, typed, Gesture(words.verb), words.rest)
        elif words.verb in CHANGES:
            self._take(ack, typed, Inbound(Gesture(words.verb), typed.user, typed.channel, words=words.rest))
        elif words.verb in SWITCH:
            reason = " ".join(words.rest)
            self._take(ack, typed, Inbound(Gesture(words.verb), typed.user, typed.channel, name=reason))
        else:
            say(ack, answers.unknown(words.verb))

    def _about_one(self, ack: Ack, typed: Typed, gesture: Gesture, rest: tuple[str, ...]) -> None:
        if not rest:
            say(ack, answers.no_name(gesture))
            return
        self._take(ack, typed, Inbound(gesture, typed.user, typed.channel, name=rest[0], words=rest[1:]))

    def _create(self, ack: Ack, client: WebClient, respond: Respond, typed: Typed, draft: Draft) -> None:
        """A complete line asks at once; any other opens the form with what was typed."""
        team = self._desk.team_for(Ask(typed.user, typed.channel, ""))
        problems: tuple[Problem, ...] = ()
        try:
            check_draft(draft, team, self._desk.catalogue)
        except Invalid as error:
            problems = error.problems
        if not problems:
            inbound = Inbound(Gesture.CREATE, typed.user, typed.channel, draft=draft, told=True)
            self._take(ack, typed, inbound, answers.got_it(draft.name))
            return
        ack()
        said = tuple(p for p in problems if p in draft.problems or was_said(draft, p.field))
        bad_wait = any(problem.field == "wait" for problem in said)
        origin = FormOrigin(uuid.uuid4().hex, typed.channel, "" if bad_wait else draft.wait)
        try:
            wish = open_form(client, self._desk, origin, typed.user, typed.trigger_id, draft, said)
            if wish is not None:
                self._inbox.put(f"preview:{wish.view}:opened", wish)
        except SlackApiError as error:
            log.warning("the form was not opened: %s", error.response["error"])
            late = render(answers.form_late(draft))
            respond(text=late.text, blocks=list(late.blocks), response_type="ephemeral")

    def _take(self, ack: Ack, typed: Typed, inbound: Inbound, told: Page | None = None) -> None:
        """Written down first, so that what was acknowledged is never lost."""
        self._inbox.put(f"command:{typed.trigger_id}", replace(inbound, response_url=typed.response_url))
        if told is None:
            ack()
        else:
            say(ack, told)


def say(ack: Ack, page: Page) -> BoltResponse:
    """Acknowledge with an answer that only the person sees."""
    rendered = render(page)
    return ack(text=rendered.text, blocks=list(rendered.blocks), response_type="ephemeral")
