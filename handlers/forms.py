"""The form: opened at once, checked where it stands, written down when it is right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

from bot.core.desk import Ask, Desk
from bot.core.spec import Draft, Invalid, Preset, Problem, Team, check_draft
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.views.form import CALLBACK, FIELDS, create_form, field_errors


@dataclass(frozen=True)
class FormOrigin:
    """Where a form was asked for. `key` is made when it opens: one form is one request, however often it is sent.

    `wait` is what was typed as --wait, for which the form has no field.
    """

    key: str
    channel: str
    wait: str = ""


def open_form(
    client: WebClient,
    desk: Desk,
    origin: FormOrigin,
    user: str,
    trigger_id: str,
    draft: Draft,
    problems: tuple[Problem, ...],
) -> None:
    """Show the form. A trigger lives 3 s, so nothing comes before this. Raises SlackApiError when it was too late."""
    team = desk.team_for(Ask(user, origin.channel, origin.key))
    metadata = json.dumps(dataclasses.asdict(origin))
    view = create_form(draft, problems, presets_for(desk, team), desk.catalogue.policy, metadata)
    client.views_open(trigger_id=trigger_id, view=view)


def presets_for(desk: Desk, team: Team) -> dict[str, Preset]:
    """The presets that a team may use."""
    presets = desk.catalogue.presets
    return {name: preset for name, preset in presets.items() if not team.presets or name in team.presets}


class Forms:
    """The listener of the submitted form."""

    def __init__(self, inbox: Inbox, desk: Desk) -> None:
        self._inbox = inbox
        self._desk = desk

    def register(self, app: App) -> None:
        app.view(CALLBACK)(self.submitted)

    def submitted(self, ack: Ack, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Mark what is wrong, or write the request down and close the form."""
        user = str(body["user"]["id"])
        origin = FormOrigin(**json.loads(view["private_metadata"]))
        draft = dataclasses.replace(_draft(view["state"]["values"]), wait=origin.wait)
        try:
            check_draft(draft, self._desk.team_for(Ask(user, origin.channel, origin.key)), self._desk.catalogue)
        except Invalid as error:
            ack(response_action="errors", errors=field_errors(error.problems))
            return
        self._inbox.put(f"view:{view['id']}:{origin.key}", Inbound(Gesture.CREATE, user, origin.channel, draft=draft))
        ack()


def _draft(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Draft:
    name, preset, gpus, hours, reason = (_value(values.get(key, {}).get(key, {})) for key in FIELDS)
    return Draft(name, preset, gpus, hours, reason)


def _value(state: Mapping[str, Any]) -> str:
    if (option := state.get("selected_option")) is not None:
        return str(option["value"])
    return str(state.get("value") or "").strip()
