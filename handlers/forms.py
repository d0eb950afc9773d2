"""The form: opened at once, worked out as it is filled in, checked where it stands, written down when it is right."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

from bot.core.checks.preview import Preview
from bot.core.desk import Ask, Conflict, Desk
from bot.core.policy import Denied, Verb
from bot.core.ports import WorldError
from bot.core.spec import Choices, Draft, Invalid, Preset, Problem, Team, check_draft
from handlers.calls import CALL_ERRORS, code_of
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.views.form import ANY, CALLBACK, FIELDS, PREVIEW, WATCHED, create_form, field_errors
from handlers.windows import Windows

log = logging.getLogger(__name__)

SHORTCUT = "gpu_cluster_create"
_WORKING = "Working out the price, the quota and who decides …"
_LETTER = re.compile(r"(?:.*[0-9])?([a-z])")
_FOR_A_PRICE = frozenset({"gpus", "hours"})
"""Without these no price is shown; AWS is asked for one GPU and hour all the same, for the zones and counts."""


@dataclass(frozen=True)
class FormOrigin:
    """Where a form was asked for. `key` is made when it opens: one form is one request, however often it is sent.

    `wait` is what was typed as --wait, for which the form has no field. `zones`, `gpus_each` and `gpus_fixed` are the
    choices (`bot.core.spec.Choices`) of the preset and type named by `known`.
    """

    key: str
    channel: str
    wait: str = ""
    known: str = ""
    zones: tuple[str, ...] = ()
    gpus_each: int = 0
    gpus_fixed: int = 0

    @classmethod
    def of(cls, metadata: str) -> FormOrigin:
        """As a form carries it."""
        raw = json.loads(metadata)
        return cls(**{**raw, "zones": tuple(raw.get("zones", ()))})

    @property
    def metadata(self) -> str:
        """For the form to carry."""
        return json.dumps(dataclasses.asdict(self))

    def choices_of(self, draft: Draft) -> Choices:
        """What is known of the preset and type that are chosen now."""
        if self.known != _known(draft):
            return Choices()
        return Choices(self.zones, self.gpus_each, self.gpus_fixed)

    def learning(self, draft: Draft, choices: Choices) -> FormOrigin:
        """The same, with the choices of that preset and type."""
        return dataclasses.replace(self, known=_known(draft), **dataclasses.asdict(choices))


def _known(draft: Draft) -> str:
    return f"{draft.preset}/{draft.instance_type}"


def open_form(
    client: WebClient,
    desk: Desk,
    origin: FormOrigin,
    user: str,
    trigger_id: str,
    draft: Draft,
    problems: tuple[Problem, ...],
) -> Inbound | None:
    """Show the form, filled in from what was typed, then from what the person asked for last.

    A trigger lives 3 s, so nothing that waits comes before this. Raises one of `CALL_ERRORS` when it was too late.
    Returns the wish for a price, where enough is filled in already.
    """
    team = desk.team_for(Ask(user, origin.channel, origin.key))
    presets = presets_for(desk, team)
    shown = filled(draft, desk.recent(user), presets)
    origin = origin.learning(shown, Choices())
    view = create_form(shown, problems, presets, desk.catalogue.policy, origin.metadata)
    opened = client.views_open(trigger_id=trigger_id, view=view)["view"]
    if problems or not (shown.preset and shown.gpus and shown.hours):
        return None
    return _preview(user, origin, dataclasses.replace(shown, problems=()), opened, "0")


def _preview(user: str, origin: FormOrigin, draft: Draft, view: Mapping[str, Any], order: str) -> Inbound:
    return Inbound(
        Gesture.PREVIEW,
        user,
        origin.channel,
        draft=draft,
        view=str(view["id"]),
        hash=str(view["hash"]),
        order=order,
        key=origin.key,
        form=origin.metadata,
    )


def filled(draft: Draft, recent: Draft, presets: Mapping[str, Preset]) -> Draft:
    """What was typed, completed from the last request; its preset only where it may still be used."""
    last = recent if recent.preset in presets else Draft(reason=recent.reason)
    only = next(iter(presets)) if len(presets) == 1 else ""
    preset = draft.preset or last.preset or only
    like = last if preset == last.preset else Draft()
    return fitting(
        Draft(
            draft.name,
            preset,
            draft.gpus or last.gpus,
            draft.hours or last.hours,
            draft.reason or last.reason,
            wait=draft.wait,
            instance_type=draft.instance_type or like.instance_type,
            zone=draft.zone or ("" if draft.instance_type else like.zone),
        ),
        presets,
    )


def fitting(draft: Draft, presets: Mapping[str, Preset]) -> Draft:
    """Without a type that the preset is not made of; the zone by its letter."""
    preset = presets.get(draft.preset)
    kind = draft.instance_type if preset is not None and draft.instance_type in preset.types else ""
    zone = _LETTER.fullmatch(draft.zone.lower())
    return dataclasses.replace(draft, instance_type=kind, zone=zone[1] if zone else "")


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
        user, origin = str(body["user"]["id"]), FormOrigin(uuid.uuid4().hex, self._place)
        try:
            wish = open_form(client, self._desk, origin, user, body["trigger_id"], Draft(), ())
        except CALL_ERRORS as error:
            log.warning("the form was not opened: %s", code_of(error))
            self._inbox.put(f"late:{origin.key}", Inbound(Gesture.LATE, user, "", draft=Draft()))
            return
        if wish is not None:
            self._inbox.put(f"preview:{wish.view}:opened", wish)

    def changed(self, ack: Ack, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Something was chosen, typed or pressed in the form: what follows from it is worked out elsewhere."""
        view, order = body["view"], str(action["action_ts"])
        origin = FormOrigin.of(view["private_metadata"])
        draft = dataclasses.replace(_draft(view["state"]["values"]), wait=origin.wait)
        inbound = _preview(str(body["user"]["id"]), origin, draft, view, order)
        self._windows.saw(inbound.view, inbound.hash, order)
        self._inbox.put(f"preview:{view['id']}:{order}", inbound)
        ack()

    def submitted(self, ack: Ack, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Mark what is wrong, or write the request down and close the form."""
        user = str(body["user"]["id"])
        origin = FormOrigin.of(view["private_metadata"])
        draft = dataclasses.replace(_draft(view["state"]["values"]), wait=origin.wait)
        try:
            check_draft(draft, self._desk.team_for(Ask(user, origin.channel, origin.key)), self._desk.catalogue)
        except Invalid as error:
            ack(response_action="errors", errors=field_errors(error.problems, _places(view["state"]["values"])))
            return
        self._inbox.put(f"view:{view['id']}:{origin.key}", Inbound(Verb.CREATE, user, origin.channel, draft=draft))
        ack()


class FormFiller:
    """Works out what a form shows while it is filled in; called off the listeners, for seconds at a time."""

    def __init__(self, desk: Desk, windows: Windows) -> None:
        self._desk = desk
        self._windows = windows

    def fill(self, inbound: Inbound) -> None:
        """Show what follows from the choice at once, then zones, counts and price when AWS has told them."""
        ask = Ask(inbound.user, inbound.channel, inbound.key)
        presets = presets_for(self._desk, self._desk.team_for(ask))
        origin = FormOrigin.of(inbound.form) if inbound.form else FormOrigin(inbound.key, inbound.channel)
        draft = fitting(inbound.draft or Draft(), presets)
        if origin.known != _known(draft):
            draft = dataclasses.replace(draft, zone="")  # it was chosen among others'
        form = _Form(inbound, origin, draft, *self._problems(ask, draft))
        if form.bad or (form.missing & _FOR_A_PRICE and origin.choices_of(draft).zones):
            self._show(form)
            return
        if not self._show(form, note=_WORKING):
            return
        asked = _with_stand_ins(draft)
        try:
            found = self._desk.preview(ask, asked)
        except (Denied, Conflict) as refused:
            self._show(form, note=refused.why)
        except WorldError as error:
            self._show(form, note=f"{error.reason} {error.remedy}".strip())
        else:
            form = dataclasses.replace(form, origin=origin.learning(draft, found.found.choices))
            self._show(form, shown=None if form.missing & _FOR_A_PRICE else found)

    def _problems(self, ask: Ask, draft: Draft) -> tuple[tuple[Problem, ...], frozenset[str]]:
        """What is wrong with the fields that are filled in, and which are not yet."""
        try:
            check_draft(draft, self._desk.team_for(ask), self._desk.catalogue)
        except Invalid as error:
            said = tuple(p for p in error.problems if was_said(draft, p.field))
            missing = frozenset(p.field for p in error.problems) - {p.field for p in said}
            return said, missing
        return (), frozenset()

    def _show(self, form: _Form, *, shown: Preview | None = None, note: str = "") -> bool:
        inbound, draft = form.inbound, form.draft
        team = self._desk.team_for(Ask(inbound.user, inbound.channel, inbound.key))
        body = create_form(
            draft,
            form.problems,
            presets_for(self._desk, team),
            self._desk.catalogue.policy,
            form.origin.metadata,
            shown=shown,
            note=note,
            choices=form.origin.choices_of(draft),
        )
        return self._windows.show(inbound.view, inbound.hash, inbound.order, body)


@dataclass(frozen=True)
class _Form:
    """A form that is being filled in: what is wrong with what was said, and which fields say nothing yet."""

    inbound: Inbound
    origin: FormOrigin
    draft: Draft
    problems: tuple[Problem, ...]
    missing: frozenset[str]

    @property
    def bad(self) -> bool:
        """Whether AWS need not be asked: it cannot be, or there is no preset yet."""
        return bool(self.problems) or "preset" in self.missing


def was_said(draft: Draft, key: str) -> bool:
    """Whether a field was typed at all; what is merely missing is no mistake yet."""
    said = {"name": draft.name, "preset": draft.preset, "gpus": draft.gpus, "hours": draft.hours}
    said |= {"wait": draft.wait, "type": draft.instance_type, "zone": draft.zone}
    return bool(said.get(key, draft.reason))


def _with_stand_ins(draft: Draft) -> Draft:
    """What is asked of AWS in place of what is not filled in yet, so that zones and counts can be chosen."""
    return dataclasses.replace(
        draft,
        name=draft.name or "preview",
        reason=draft.reason or "preview",
        gpus=draft.gpus or "1",
        hours=draft.hours or "1",
    )


def _draft(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Draft:
    said = {field: _value(state) for inputs in values.values() for field, state in inputs.items()}
    name, preset, kind, zone, gpus, hours, reason = (said.get(field, "") for field in FIELDS)
    kind, zone = ("" if chosen == ANY else chosen for chosen in (kind, zone))
    return Draft(name, preset, gpus, hours, reason, instance_type=kind, zone=zone)


def _places(values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The block of each field."""
    return {field: block for block, inputs in values.items() for field in inputs}


def _value(state: Mapping[str, Any]) -> str:
    if (option := state.get("selected_option")) is not None:
        return str(option["value"])
    return str(state.get("value") or "").strip()
