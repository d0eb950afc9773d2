"""The Home tab: published when it is opened, and again when something has changed for those who opened it lately."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import deque
from typing import Any

from slack_bolt import App
from slack_sdk import WebClient

from bot.core.desk import Desk
from bot.core.policy import Denied, Directory
from bot.core.ports import Clock, Store, WorldError
from handlers.calls import CALL_ERRORS, code_of, retry_after
from handlers.inbox import Gesture, Inbound, Inbox
from handlers.rounds import Rounds
from handlers.views import answers
from handlers.views.home import home, refused

log = logging.getLogger(__name__)

LEASE, LEASE_S = "homes", 30.0
LOOK_EVERY_S = 2.0
RECENT_S = 3600.0
"""Real seconds after opening it for which a Home tab follows what happens."""
A_MINUTE = 60
"""Publishings in any minute; `views.publish` is a Tier 4 method, at least 100 a minute
(slackapi/java-slack-sdk: metadata/web-api/rate_limit_tiers.json). Half of it is left for those who open it."""
GROUPS_EVERY_S = 600.0
"""Real seconds between looks at the leads' groups, so that a change of them is noticed though nobody asks."""


class HomeListener:
    """Writes down that somebody opened it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def register(self, app: App) -> None:
        app.event("app_home_opened")(self.opened)

    def opened(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        """The tab was opened; the messages tab beside it is none of ours."""
        if event.get("tab") == "home":
            self._inbox.put(f"event:{body['event_id']}", Inbound(Gesture.HOME, str(event["user"]), ""))


class Homes:
    """Publishes Home tabs. One process at a time follows changes, by lease; whoever was asked answers an opening."""

    def __init__(self, *, store: Store, desk: Desk, directory: Directory, clock: Clock, client: WebClient) -> None:
        self._store, self._desk, self._directory = store, desk, directory
        self._clock, self._client = clock, client
        self._owner = f"homes-{uuid.uuid4().hex[:8]}"
        self._seen = -1
        self._sent: deque[float] = deque()
        self._held_until = self._groups_at = 0.0
        self._rounds = Rounds("homes", self.look, trouble_s=LOOK_EVERY_S)

    def start(self) -> None:
        self._rounds.start()

    def stop(self) -> None:
        """Finish what is being published, and end."""
        self._rounds.stop()

    def opened(self, user: str) -> None:
        """Publish what that person is to see. Never raises for what Slack does."""
        with self._store.transaction() as tx:
            tx.open_home(user, real=self._clock.real())
        self._publish(user, "")

    def look(self) -> float:
        """Publish anew what has changed; when nothing happened since the last look, nobody is asked anything."""
        real = self._clock.real()
        with self._store.transaction() as tx:
            if not tx.take_lease(LEASE, self._owner, real=real, seconds=LEASE_S):
                return LOOK_EVERY_S
            newest, homes = tx.last_audit(), tx.homes(since_real=real - RECENT_S)
        self._look_at_groups(real)
        if newest != self._seen and all(self._publish(row.user, row.shown) for row in homes):
            self._seen = newest
        return LOOK_EVERY_S

    def _look_at_groups(self, real: float) -> None:
        if real - self._groups_at < GROUPS_EVERY_S:
            return
        self._groups_at = real
        for group in {team.lead_group for team in self._desk.catalogue.teams.values() if team.lead_group}:
            try:
                self._directory.group(group)
            except WorldError as error:
                log.info("the group %s was not looked at: %s", group, error.reason)

    def _publish(self, user: str, shown: str) -> bool:
        """Publish it unless it looks the same; False when that has to wait."""
        view = self._view(user)
        digest = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
        if digest == shown:
            return True
        if shown and not self._may_send():
            return False
        try:
            self._client.views_publish(user_id=user, view=view)
        except CALL_ERRORS as error:
            if (wait := retry_after(error)) is not None:
                self._held_until = self._clock.real() + wait
                return False
            log.warning("the Home tab of %s was not published: %s", user, code_of(error))
            return True
        with self._store.transaction() as tx:
            tx.show_home(user, digest)
        return True

    def _view(self, user: str) -> dict[str, Any]:
        try:
            return home(self._desk.own(user))
        except Denied as error:
            return refused(answers.denied(error))
        except WorldError as error:
            return refused(answers.unavailable(error))

    def _may_send(self) -> bool:
        real = self._clock.real()
        while self._sent and self._sent[0] <= real - 60.0:
            self._sent.popleft()
        if real < self._held_until or len(self._sent) >= A_MINUTE:
            return False
        self._sent.append(real)
        return True
