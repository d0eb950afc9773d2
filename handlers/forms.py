"""The form: opened at once, worked out as it is filled in, checked where it stands, written down when it is right."""

from __future__ import annotations

import dataclasses
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

from bot.core.desk import Ask, Conflict, Desk
from bot.core.policy import Denied
from bot.core.ports import WorldError
from bot.core.preview import Preview
from bot.core.spec import Draft, Invalid, Preset, Problem, Team, check_draft
from handlers.calls import CALL_ERRORS, code_of
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.views.form import CALLBACK, FIELDS, PREVIEW, WATCHED, create_form, field_errors
from handlers.windows import Windows

log = logging.getLogger(__name__)

SHORTCUT = "gpu_cluster_create"
_WORKING = "Working out the price, the quota and who decides …"


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
    """Show the form, filled in from what was typed, then from what the person asked for last.

    A trigger lives 3 s, so nothing that waits comes before this. Raises SlackApiError when it was too late.
    """
    team = desk.team_for(Ask(user, origin.channel, origin.key))
    metadata = json.dumps(dataclasses.asdict(origin))
    presets = presets_for(desk, team)
    view = create_form(filled(draft, desk.recent(user), presets), problems, presets, desk.catalogue.policy, metadata)
    client.views_open(trigger_id=trigger_id, view=view)


def filled(draft: Draft, recent: Draft, presets: Mapping[str, Preset]) -> Draft:
    """What was typed, completed from the last request; its preset only where it may still be used."""
    last = recent if recent.preset in presets else Draft(reason=recent.reason)
    only = next(iter(presets)) if len(presets) == 1 else ""
    return Draft(
        draft.name,
        draft.preset or last.preset or only,
        draft.gpus or last.gpus,
        draft.hours or last.hours,
        draft.reason or last.reason,
    )


def presets_for(desk: Desk, team: Team) -> dict[str, Preset]:
    """The presets that a team may use."""
    presets = desk.catalogue.presets
    return {name: preset for name, preset in presets.items() if not team.presets or name in team.presets}


class Forms:
    """The listeners of the form: its fields, its button, its submission, and the global shortcut that opens it.

    `place` is the channel of those that are opened where there is none.
    """

    def __init__(self, inbox: Inbox, desk: Desk, windows: Windows, place: str = "") -> None:
        self._inbox = inbox
        self._desk = desk
        self._windows = windows
        self._place = place

    def register(self, app: App) -> None:
        app.view(CALLBACK)(self.submitted)
        for name in (*WATCHED, PREVIEW):
            app.action(name)(self.changed)
        app.action("create")(self.wanted)
        app.shortcut(SHORTCUT)(self.wanted)

    def wanted(self, ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        """A form outside of any channel: from the Home tab or the global shortcut."""
        ack()
        origin = FormOrigin(uuid.uuid4().hex, self._place)
        try:
            open_form(client, self._desk, origin, str(body["user"]["id"]), body["trigger_id"], Draft(), ())
        except CALL_ERRORS as error:
            log.warning("the form was not opened: %s", code_of(error))

    def changed(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Something was chosen, typed or pressed in the form: what follows from it is worked out elsewhere."""
        view, order = body["view"], str(action["action_ts"])
        origin = FormOrigin(**json.loads(view["private_metadata"]))
        inbound = Inbound(
            Gesture.PREVIEW,
            str(body["user"]["id"]),
            origin.channel,
            draft=dataclasses.replace(_draft(view["state"]["values"]), wait=origin.wait),
            view=str(view["id"]),
            hash=str(view["hash"]),
            order=order,
            key=origin.key,
        )
        self._windows.saw(inbound.view, inbound.hash, order)
        self._inbox.put(f"preview:{view['id']}:{order}", inbound)
        ack()

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


class FormFiller:
    """Works out what a form shows while it is filled in; called off the listeners, for seconds at a time."""

    def __init__(self, desk: Desk, windows: Windows) -> None:
        self._desk = desk
        self._windows = windows

    def fill(self, inbound: Inbound) -> None:
        """Show what follows from the choice at once, then the price when AWS has told it."""
        draft = inbound.draft or Draft()
        problems, complete = self._problems(inbound, draft)
        if not complete:
            self._show(inbound, draft, problems)
            return
        if not self._show(inbound, draft, problems, note=_WORKING):
            return
        ask = Ask(inbound.user, inbound.channel, inbound.key)
        stand_in = dataclasses.replace(draft, name=draft.name or "preview", reason=draft.reason or "preview")
        try:
            self._show(inbound, draft, problems, shown=self._desk.preview(ask, stand_in))
        except (Denied, Conflict) as refused:
            self._show(inbound, draft, problems, note=refused.why)
        except WorldError as error:
            self._show(inbound, draft, problems, note=f"{error.reason} {error.remedy}".strip())

    def _problems(self, inbound: Inbound, draft: Draft) -> tuple[tuple[Problem, ...], bool]:
        """What is wrong with the fields that are filled in, and whether enough is right for a price."""
        team = self._desk.team_for(Ask(inbound.user, inbound.channel, inbound.key))
        try:
            check_draft(draft, team, self._desk.catalogue)
        except Invalid as error:
            said = tuple(p for p in error.problems if was_said(draft, p.field))
            missing = {p.field for p in error.problems} - {p.field for p in said}
            return said, not said and missing <= {"name", "reason"}
        return (), True

    def _show(
        self,
        inbound: Inbound,
        draft: Draft,
        problems: tuple[Problem, ...],
        *,
        shown: Preview | None = None,
        note: str = "",
    ) -> bool:
        origin = FormOrigin(inbound.key, inbound.channel)
        team = self._desk.team_for(Ask(inbound.user, inbound.channel, inbound.key))
        body = create_form(
            draft,
            problems,
            presets_for(self._desk, team),
            self._desk.catalogue.policy,
            json.dumps(dataclasses.asdict(origin)),
            shown=shown,
            note=note,
        )
        return self._windows.show(inbound.view, inbound.hash, inbound.order, body)


def was_said(draft: Draft, key: str) -> bool:
    """Whether a field was typed at all; what is merely missing is no mistake yet."""
    said = {"name": draft.name, "preset": draft.preset, "gpus": draft.gpus, "hours": draft.hours}
    said["wait"] = draft.wait
    return bool(said.get(key, draft.reason))


def _draft(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Draft:
    name, preset, gpus, hours, reason = (_value(values.get(key, {}).get(key, {})) for key in FIELDS)
    return Draft(name, preset, gpus, hours, reason)


def _value(state: Mapping[str, Any]) -> str:
    if (option := state.get("selected_option")) is not None:
        return str(option["value"])
    return str(state.get("value") or "").strip()
