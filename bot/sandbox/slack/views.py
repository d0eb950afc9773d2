"""Modals and Home tabs: who has which open, and what Slack knows about them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.blocks import check_view, with_ids
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.forms import kept

STACK = 3
"""Most modals on top of each other."""


@dataclass
class View:
    """One modal or Home tab of one user. ``errors`` are those shown at its inputs, ``typed`` what stands in them, both
    by block id."""

    id: str
    user: str
    body: dict[str, Any]
    hash: str
    root_id: str
    previous_id: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    channel: str | None = None
    typed: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the title bar says."""
        return str(self.body["title"]["text"]) if self.body["type"] == "modal" else "Home"

    def payload(self, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """The view as Slack sends it to the app, with ``values`` as the state of its inputs."""
        modal = {"clear_on_close": False, "notify_on_close": False, "close": None, "submit": None}
        return {
            "id": self.id,
            "team_id": directory.TEAM,
            "private_metadata": "",
            "callback_id": "",
            "external_id": "",
            "state": {"values": values or {}},
            "hash": self.hash,
            "previous_view_id": self.previous_id,
            "root_view_id": self.root_id,
            "app_id": directory.APP,
            "app_installed_team_id": directory.TEAM,
            "bot_id": directory.BOT_ID,
            **(modal if self.body["type"] == "modal" else {}),
            **self.body,
        }


def _hash() -> str:
    return f"{secrets.randbelow(10**10)}.{secrets.token_hex(4)}"


class Views:
    """All open views. A user's modals form a stack; the last one is on top."""

    def __init__(self) -> None:
        self.stacks: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}

    def open(self, user: str, body: dict[str, Any], channel: str | None = None) -> View:
        """Show a modal to ``user`` in place of any other."""
        view = self._make(user, body, "modal", channel)
        self.stacks[user] = [view]
        return view

    def push(self, user: str, body: dict[str, Any]) -> View:
        """Show a modal on top of the user's present one."""
        stack = self.stacks.get(user, [])
        if not stack:
            raise SlackError("not_found")
        if len(stack) >= STACK:
            raise SlackError("push_limit_reached")
        view = self._make(user, body, "modal", stack[-1].channel)
        view.root_id, view.previous_id = stack[0].id, stack[-1].id
        stack.append(view)
        return view

    def publish(self, user: str, body: dict[str, Any]) -> View:
        """Set the Home tab of ``user``."""
        view = self._make(user, body, "home", None)
        if user in self.homes:
            view.id = view.root_id = self.homes[user].id
        self.homes[user] = view
        return view

    def update(self, view: View, body: dict[str, Any], expected_hash: str | None = None) -> None:
        """Swap what ``view`` shows; ``expected_hash`` refuses a racing edit (``hash_conflict``)."""
        if expected_hash is not None and expected_hash != view.hash:
            raise SlackError("hash_conflict")
        accepted = _accept(body, view.body["type"])
        view.typed = kept(view.typed, view.body["blocks"], accepted["blocks"])
        view.body, view.hash, view.errors = accepted, _hash(), {}

    def find(self, view_id: str | None = None, external_id: str | None = None) -> View:
        """An open view by either id; ``not_found`` when it is closed or never was."""
        for view in [*self.homes.values(), *(view for stack in self.stacks.values() for view in stack)]:
            if view.id == view_id or (external_id and view.body.get("external_id") == external_id):
                return view
        raise SlackError("not_found")

    def close(self, view: View, *, everything: bool = False) -> None:
        """Close one modal, or the whole stack it belongs to."""
        stack = self.stacks.get(view.user, [])
        self.stacks[view.user] = [] if everything else [other for other in stack if other is not view]

    def _make(self, user: str, body: dict[str, Any], kind: str, channel: str | None) -> View:
        accepted = _accept(body, kind)
        identity = f"V0{secrets.token_hex(5).upper()}"
        return View(identity, user, accepted, _hash(), root_id=identity, channel=channel)


def _accept(body: dict[str, Any], kind: str) -> dict[str, Any]:
    problems = check_view(body)
    if not problems and body["type"] != kind:
        problems = [f"[ERROR] must be one of {kind} [json-pointer:/view/type]"]
    if problems:
        raise SlackError("invalid_arguments", problems)
    return {**body, "blocks": with_ids(body["blocks"])}
