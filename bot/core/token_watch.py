"""Tells those who run the bot, in good time, that Rancher is about to refuse its token, or does already."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from bot.core.bot_token import BotToken
from bot.core.ports import Clock, Rancher, Store, TokenRefused, Tx, WorldError
from bot.core.records import MessageKind, MessageRow
from bot.core.spec import Catalogue

log = logging.getLogger(__name__)

AHEAD_S = 7 * 86400.0
"""World seconds before its end from which on the token is told of, once a day."""
GLITCH_S = 60.0
"""World seconds for which Rancher must have refused it: one that restarts may do so for a moment."""
ASK_EVERY_S = 3600.0
"""World seconds between questions to Rancher; `REREAD_S` (real) between readings of the token's source."""
REREAD_S = 30.0

EXPIRING, REFUSED, MENDED = "token-expiring", "token-refused", "token-mended"


def operators(catalogue: Catalogue, approvals_channel: str) -> tuple[str, ...]:
    """Where those are told who can mend the bot: the leads' channel, else each lead that the configuration names."""
    if approvals_channel:
        return (approvals_channel,)
    return tuple(sorted({lead for team in catalogue.teams.values() for lead in team.leads}))


class TokenWatch:
    """One thread. `look` once does what is due; it raises nothing that Rancher or the store may say."""

    def __init__(self, *, store: Store, clock: Clock, rancher: Rancher, token: BotToken, to: Sequence[str]) -> None:
        self._store, self._clock, self._rancher, self._token, self._to = store, clock, rancher, token, tuple(to)
        self._asked_at: float | None = None
        self._ends: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="token", daemon=True)

    def start(self) -> None:
        """Return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the look that is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(min(REREAD_S, max(self._clock.real_seconds(ASK_EVERY_S), 1.0))):
            try:
                self.look()
            except Exception:
                log.exception("the bot's token could not be looked at; trying again")

    def look(self) -> None:
        """Read the token again, ask Rancher about it where that is due, and write down what people must know."""
        changed = self._token.refresh()
        now = self._clock.now()
        due = self._asked_at is None or now - self._asked_at >= ASK_EVERY_S
        if changed or due or self._token.refused_since is not None:
            try:
                self._ends = self._rancher.about().token_expires_at
                self._asked_at = now
            except TokenRefused:
                self._asked_at = now
            except WorldError as error:
                log.info("Rancher says nothing about the bot's token: %s", error.reason)
        if self._asked_at is None:
            return
        with self._store.transaction() as tx:
            for where in self._to:
                self._tell(tx, where, now)

    def _tell(self, tx: Tx, where: str, now: float) -> None:
        since, ends = self._token.refused_since, self._ends
        told = tx.messages(f"operators-{where}")
        if since is not None:
            if now - since >= GLITCH_S:
                self._write(tx, where, REFUSED, told, now, since=since)
        elif ends is not None and ends - AHEAD_S <= now:
            self._write(tx, where, EXPIRING, told, now, ends=ends)
        elif told and json.loads(told[-1].body)["what"] in (EXPIRING, REFUSED):
            self._write(tx, where, MENDED, told, now, ends=ends)

    def _write(self, tx: Tx, where: str, what: str, told: list[MessageRow], now: float, **facts: float | None) -> None:
        """At most one of a kind a day (UTC) until it is mended, whichever process writes it."""
        mended = sum(json.loads(row.body)["what"] == MENDED for row in told)
        row = MessageRow(
            f"{what}-{where}-{datetime.fromtimestamp(now, UTC):%Y-%m-%d}-{mended}",
            f"operators-{where}",
            MessageKind.OPERATORS,
            where,
            now,
            json.dumps({"what": what, "mend": self._token.mend, **facts}, ensure_ascii=False),
        )
        if all(row.id != before.id for before in told):
            tx.add(row)
