"""The end of a request, told to its requester alone while the channel it belongs to does not take us."""

from __future__ import annotations

import json
import logging

from bot.core.desk import Desk
from bot.core.ports import Clock, Store, WorldError
from bot.core.records import MessageRow
from handlers.pacing import Pace
from handlers.sender import OPEN, POST, Held, Sender
from handlers.views.outcome import metadata, outcome
from handlers.views.page import Note, Page
from handlers.views.render import render
from handlers.views.spans import channel, line

log = logging.getLogger(__name__)


class Direct:
    """Sends outcomes by direct message, each once: the row's body keeps that it was said. One thread only."""

    def __init__(self, *, store: Store, desk: Desk, clock: Clock, sender: Sender, pace: Pace) -> None:
        self._store, self._desk, self._clock = store, desk, clock
        self._sender, self._pace = sender, pace
        self._tried: set[str] = set()

    def tell(self, row: MessageRow) -> None:
        """Say this outcome once; what Slack cannot take now is tried again at the next call."""
        real = self._clock.real()
        if row.body or row.id in self._tried or self._pace.call_in(POST, real) or self._pace.call_in(OPEN, real):
            return
        try:
            self._send(row)
        except (Held, WorldError) as error:
            log.warning("the outcome %s was not told directly yet: %s", row.id, error)
        except Exception:
            self._tried.add(row.id)
            log.exception("the outcome %s cannot be told directly", row.id)

    def _send(self, row: MessageRow) -> None:
        story = self._desk.story_by_id(row.request_id)
        if story is None:
            return
        to = self._sender.open_direct(story.requester)
        if self._pace.call_in(to, self._clock.real()):
            return
        said = outcome(story)
        where = Note(line("I cannot post in ", channel(row.channel), " now; it will be said there, too, once I can."))
        arguments = {
            "channel": to,
            "metadata": {"event_type": "gpu_cluster_outcome", "event_payload": metadata(story)},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        ts = self._sender.send(POST, row.id, arguments, render(Page(said.text, (*said.parts, where))))
        # A store in trouble must not make this a message every half second.
        self._tried.add(row.id)
        with self._store.transaction() as tx:
            for current in tx.messages(row.request_id):
                if current.id == row.id:
                    tx.change(current, body=json.dumps({"told_directly": {"channel": to, "ts": ts}}))
