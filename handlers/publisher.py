"""The only place that posts or edits progress: renders from the store at the moment of sending, within Slack's limits.

One publisher works at a time, by lease. What the store wants shown (`wanted_rev`) is compared with what Slack has
(`sent_rev`); nothing is queued in memory, so after a crash the next publisher goes on where this one stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from bot.core import lifecycle
from bot.core.desk import Desk
from bot.core.in_use.troubles import notice_from_body
from bot.core.policy import who_can
from bot.core.ports import Clock, Store, WorldError
from bot.core.records import OPEN_STATES, MessageKind, MessageRow, RequestState
from bot.core.story import Story
from handlers.calls import Clients
from handlers.direct import Direct
from handlers.pacing import Pace
from handlers.rounds import Rounds
from handlers.sender import EDIT, POST, UPLOAD, Closed, Held, Refused, Sender
from handlers.views.files import COMMENT, attachments
from handlers.views.line import from_body, story_line
from handlers.views.notices import notice
from handlers.views.operators import operators
from handlers.views.outcome import metadata, outcome
from handlers.views.page import Page
from handlers.views.reminder import reminder
from handlers.views.render import Rendered, render
from handlers.views.request import request
from handlers.views.results import results
from handlers.views.trouble import trouble

log = logging.getLogger(__name__)

LEASE = "publisher"
LEASE_S = 30.0
"""Real seconds; longer than any one call may take (`calls.TIMEOUT_S`), so that two never edit one message."""
UPLOAD_LEASE_S = 90.0
"""An upload is up to seven calls."""
UPLOAD_TRIES = 5
LOOK_EVERY_S = 0.5
STANDBY_S = 5.0
TROUBLE_S = 2.0
MOST_DUE = 500

_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_EDITED = (MessageKind.PARENT, MessageKind.CARD)
_PEOPLE = ("U", "W")
"""How ids of people begin, to whom a message goes directly."""
_HINTS = {"missing_scope": "; give the app the scope files:write (manifests/slack-app.yaml) and install it again"}
SILENT_S, SILENT_REAL_S = 120.0, 30.0
"""A look that is overdue for so long (world and real seconds) is no news, and the message says so."""
SWEEP_EVERY_S = 5.0


@dataclass(frozen=True)
class _Due:
    """A message to send, with the others of its request and the story it tells, if it is about a request."""

    row: MessageRow
    siblings: tuple[MessageRow, ...]
    told: Story | None

    @property
    def story(self) -> Story:
        if self.told is None:
            raise ValueError(f"{self.row.id} is about no request")
        return self.told

    @property
    def parent(self) -> MessageRow | None:
        home = self.row.thread or self.row.request_id
        return next((m for m in self.siblings if m.kind == MessageKind.PARENT and m.request_id == home), None)

    @property
    def has_card(self) -> bool:
        return any(m.kind == MessageKind.CARD for m in self.siblings)

    @property
    def thread_ts(self) -> str:
        """The thread it belongs into; '' for what stands in the channel itself."""
        above = self.above
        return above.ts if above is not None else ""

    @property
    def above(self) -> MessageRow | None:
        """The message in whose thread it belongs: a reminder below the buttons, the story below the parent."""
        if self.row.kind in _EDITED:
            return None
        card = next((m for m in self.siblings if m.kind == MessageKind.CARD), None)
        return card if self.row.kind == MessageKind.REMINDER and card is not None else self.parent


@dataclass(frozen=True)
class _Posted:
    """A post that Slack took, until the store has it: where it stands, which revision, and how it looks."""

    ts: str
    rev: int
    looks: str


class Publisher:
    """One thread that keeps Slack showing what the store says. `start` returns at once."""

    def __init__(self, *, store: Store, desk: Desk, clock: Clock, clients: Clients) -> None:
        self._store, self._desk, self._clock = store, desk, clock
        self._owner = f"publisher-{uuid.uuid4().hex[:8]}"
        self._pace = Pace()
        self._sender = Sender(clients, clock, self._pace)
        self._direct = Direct(store=store, desk=desk, clock=clock, sender=self._sender, pace=self._pace)
        self._shown: dict[str, str] = {}
        self._posted: dict[str, _Posted] = {}
        self._upload_tries: Counter[str] = Counter()
        self._shut_out = 0
        self._silent: frozenset[str] = frozenset()
        self._swept_real = 0.0
        self._rendered_open = False
        self._leased_until = 0.0
        self._rounds = Rounds("publisher", self.look, trouble_s=TROUBLE_S, last=lambda: self._take_lease(0.0))

    def start(self) -> None:
        self._rounds.start()

    def wake(self) -> None:
        """Something may be due."""
        self._rounds.wake()

    def stop(self) -> None:
        """Finish the message that is being sent, give the lease back, and end."""
        self._rounds.stop()

    # --- one look -----------------------------------------------------------------------------------------

    def look(self) -> float:
        """Send what is due and allowed; returns the real seconds to wait before the next look."""
        if not self._leads():
            return STANDBY_S
        self._sweep()
        with self._store.reading() as tx:
            # What a closed channel keeps back must not fill the page, or the others would never be seen.
            rows = tx.due_messages(MOST_DUE + self._shut_out)
        # A request's thread is told in order: behind a line that has to wait, the later ones wait, too. Files are an
        # extra: nothing waits for them.
        waiting: set[str] = set()
        for row in sorted(rows, key=self._turn):
            if self._rounds.stopping or not self._leads():
                break
            threaded = row.kind not in _EDITED
            in_order = threaded and row.kind != MessageKind.FILES
            home = row.thread or row.request_id
            if threaded and home in waiting:
                continue
            if (self._must_wait(row) or not self._publish(row)) and in_order:
                waiting.add(home)
        shut_out = [row for row in rows if self._is_shut_out(row)]
        for row in shut_out:
            if row.kind == MessageKind.OUTCOME and not self._rounds.stopping and self._leads():
                self._direct.tell(row)
        self._shut_out = len(shut_out)
        return LOOK_EVERY_S

    def _sweep(self) -> None:
        """After a start every open message is rendered anew, which repairs what was lost; and silence is noticed."""
        real = self._clock.real()
        if real - self._swept_real < SWEEP_EVERY_S:
            return
        self._swept_real = real
        overdue = max(SILENT_S, SILENT_S * SILENT_REAL_S / max(self._clock.real_seconds(SILENT_S), 1e-6))
        with self._store.reading() as tx:
            silent = frozenset(r.id for r in tx.silent_requests(before=self._clock.now() - overdue))
            again = set(silent ^ self._silent)
            if not self._rendered_open:
                again |= {
                    r.id for c in tx.clusters(living=True) for r in tx.requests_of(c.id) if r.state in OPEN_STATES
                }
        self._silent = silent
        for request_id in again:
            # One by one: listeners that write a row down must not wait for a thousand of these.
            with self._store.transaction() as tx:
                lifecycle.rerender(tx, request_id, urgent=False)
        self._rendered_open = True

    def _leads(self) -> bool:
        """Whether this process publishes now; its lease is renewed in good time."""
        return self._leased_until - self._clock.real() > LEASE_S * 2 / 3 or self._take_lease(LEASE_S)

    def _take_lease(self, seconds: float) -> bool:
        real = self._clock.real()
        with self._store.transaction() as tx:
            held = tx.take_lease(LEASE, self._owner, real=real, seconds=seconds)
        self._leased_until = real + seconds if held else 0.0
        return held

    def _turn(self, row: MessageRow) -> tuple[bool, float, float, str]:
        """Changes of state first, as they were written; then progress, longest unshown first."""
        shown_at = 0.0 if row.urgent else self._pace.edited_at.get(row.id, 0.0)
        return (not row.urgent, shown_at, row.created_at, row.id)

    def _is_shut_out(self, row: MessageRow) -> bool:
        return self._pace.call_in(row.channel, self._clock.real()) > 0

    def _must_wait(self, row: MessageRow) -> bool:
        real = self._clock.real()
        if self._is_shut_out(row):
            return True
        if row.kind in _EDITED and row.ts:
            return self._pace.edit_in(row.id, urgent=row.urgent, real=real) > 0
        return self._pace.call_in(UPLOAD if row.kind == MessageKind.FILES else POST, real) > 0

    # --- one message --------------------------------------------------------------------------------------

    def _publish(self, row: MessageRow) -> bool:
        """Send one message; False when it stays due. A message that cannot be shown never stops the others."""
        try:
            due = self._read(row)
            if due is not None and due.row.kind == MessageKind.FILES:
                self._upload(due)
            elif due is not None:
                rendered = render(self._page(due))
                if due.row.kind in _EDITED and due.row.ts:
                    self._edit(due, rendered)
                else:
                    self._post(due, rendered)
        except Held:
            return False
        except WorldError as trouble:
            log.warning("message %s has to wait for the store: %s", row.id, trouble.reason)
            return False
        except Refused as refused:
            return self._give_up(row, refused.code)
        except Exception:
            # A fault of our own in one message: it is given up, the work goes on.
            log.exception("message %s cannot be shown", row.id)
            return self._give_up(row, "fault")
        return True

    def _read(self, row: MessageRow) -> _Due | None:
        """The message as it is wanted now. The row is read before the story: the story is never the older one."""
        with self._store.reading() as tx:
            siblings = (*tx.messages(row.request_id), *(tx.messages(row.thread) if row.thread else ()))
        story = self._desk.story_by_id(row.request_id)
        current = next((m for m in siblings if m.id == row.id), None)
        if current is not None and current.kind == MessageKind.OPERATORS:
            return _Due(current, siblings, None)
        if current is None or story is None:
            return None
        due = _Due(current, siblings, story)
        if current.kind == MessageKind.CARD and not current.ts and story.state == RequestState.CHECKING:
            # The first post is what notifies the leads: not before there is something to decide.
            raise Held
        if due.above is not None and not due.above.ts and not due.above.failed:
            raise Held
        if current.kind == MessageKind.REMINDER and story.state != RequestState.AWAITING_APPROVAL:
            # Decided meanwhile: nobody is to be reminded of it.
            self._write(current, sent_rev=current.wanted_rev)
            return None
        return due

    def _page(self, due: _Due) -> Page:
        match due.row.kind:
            case MessageKind.PARENT | MessageKind.CARD:
                team = self._desk.catalogue.teams.get(due.story.team)
                buttons = due.row.kind == MessageKind.CARD or not due.has_card
                return request(
                    due.story,
                    buttons=buttons,
                    moves=due.row.kind == MessageKind.PARENT,
                    approvers=who_can(team) if team and buttons else (),
                    silent=due.row.request_id in self._silent,
                )
            case MessageKind.REMINDER:
                team = self._desk.catalogue.teams.get(due.story.team)
                return reminder(due.story, due.row.body, who_can(team) if team else ())
            case MessageKind.LINE:
                return story_line(from_body(due.row.body))
            case MessageKind.RESULTS:
                return results(due.story)
            case MessageKind.TROUBLE:
                return trouble(notice_from_body(due.row.body))
            case MessageKind.OUTCOME:
                return outcome(due.story, self._leads_of(due.story))
            case MessageKind.NOTICE:
                return notice(due.row.body, due.story)
            case MessageKind.OPERATORS:
                return operators(due.row.body)
            case _:
                raise ValueError(f"nobody publishes a {due.row.kind}")

    def _leads_of(self, story: Story) -> tuple[str, ...]:
        team = self._desk.catalogue.teams.get(story.team)
        return who_can(team) if team else ()

    def _edit(self, due: _Due, rendered: Rendered) -> None:
        row, looks = due.row, _digest(rendered)
        # One that waits for a lead is asked for only when somebody misses it: Slack's answer says if it is gone.
        if self._shown.get(row.id) != looks or due.story.state == RequestState.AWAITING_APPROVAL:
            try:
                self._sender.send(EDIT, row.id, {"channel": row.channel, "ts": row.ts}, rendered)
            except Refused as refused:
                if refused.code not in _LOST:
                    raise
                log.info("message %s is gone from Slack (%s); posting it anew", row.id, refused.code)
                self._forget(row)
                self._write(row, ts="")
                raise Held from refused
        self._settle(due, looks, sent_rev=row.wanted_rev)

    def _post(self, due: _Due, rendered: Rendered) -> None:
        if (posted := self._posted.get(due.row.sending)) is not None:
            self._settle_post(due, posted)
            return
        if due.row.sending:
            # Whether that attempt reached Slack is not known, and Slack has no key to ask by. Twice is better than
            # not at all: a line lost is a hole in the story, a card lost is a request that nobody can approve, and
            # a card too many decides nothing twice, because the store decides.
            log.warning("message %s was being sent and got no answer; it may appear twice", due.row.id)
        sending = f"{self._owner}:{uuid.uuid4().hex[:8]}"
        if not self._write(due.row, sending=sending):
            raise Held
        due = replace(due, row=replace(due.row, sending=sending))
        try:
            arguments = _post_arguments(due)
            if due.row.channel.startswith(_PEOPLE):
                arguments["channel"] = self._sender.open_direct(due.row.channel)
            ts = self._sender.send(POST, due.row.id, arguments, rendered)
        except Closed:
            self._write(due.row, sending="")
            raise
        except Refused as refused:
            if refused.code != "thread_not_found" or not due.thread_ts:
                raise
            self._write(due.row, sending="")
            self._post_parent_anew(due)
            raise Held from refused
        self._pace.edited_at[due.row.id] = self._clock.real()
        self._posted[sending] = _Posted(ts, due.row.wanted_rev, _digest(rendered))
        self._settle_post(due, self._posted[sending])

    def _upload(self, due: _Due) -> None:
        """Share the files once. Who may not, or cannot after some tries, has the table all the same."""
        row = due.row
        files = attachments(due.story, self._desk.documents(row.request_id))
        if row.sending:
            log.warning("the files of %s were being sent and got no answer; they may appear twice", row.id)
        sending = f"{self._owner}:{uuid.uuid4().hex[:8]}"
        if not self._write(row, sending=sending) or not self._take_lease(UPLOAD_LEASE_S):
            raise Held
        row = replace(row, sending=sending)
        self._upload_tries[row.id] += 1
        try:
            if files:
                self._sender.upload(row.id, row.channel, due.thread_ts, files, COMMENT)
        except Closed:
            self._write(row, sending="")
            raise
        except Held as held:
            if self._upload_tries[row.id] >= UPLOAD_TRIES:
                raise Refused(f"no upload in {UPLOAD_TRIES} tries", str(held)) from held
            raise
        finally:
            self._take_lease(LEASE_S)  # else whoever comes after a crash waits for the long one
        self._upload_tries.pop(row.id, None)
        self._write(row, sent_rev=row.wanted_rev, sending="")

    def _post_parent_anew(self, due: _Due) -> None:
        """The thread is gone from Slack with its first message; the story goes on below a new one."""
        log.info("the thread of request %s is gone from Slack; beginning a new one", due.row.request_id)
        with self._store.transaction() as tx:
            for parent in tx.messages(due.row.thread or due.row.request_id):
                if parent.kind in _EDITED and parent.ts == due.thread_ts:
                    self._forget(parent)
                    tx.change(parent, ts="", wanted_rev=parent.wanted_rev + 1, urgent=True)

    # --- what is remembered -------------------------------------------------------------------------------

    def _settle_post(self, due: _Due, posted: _Posted) -> None:
        """Until the store has taken it, the post is remembered here: a store in trouble does not make it two."""
        self._settle(due, posted.looks, ts=posted.ts, sent_rev=posted.rev, sending="")
        self._posted.pop(due.row.sending, None)

    def _settle(self, due: _Due, looks: str, **changes: Any) -> None:
        """It is shown. Remember how it looks while it may change; the store keeps what Slack has."""
        self._shown[due.row.id] = looks
        if due.row.kind not in _EDITED or due.story.state not in OPEN_STATES:
            self._forget(due.row)
        self._write(due.row, **changes)

    def _write(self, row: MessageRow, **changes: Any) -> bool:
        """Compare and set: False when another publisher has touched the message meanwhile.

        What was urgent has been said with it, unless something newer is wanted by now.
        """
        with self._store.transaction() as tx:
            current = next((m for m in tx.messages(row.request_id) if m.id == row.id), None)
            if current is None or (current.ts, current.sending, current.sent_rev) != (
                row.ts,
                row.sending,
                row.sent_rev,
            ):
                log.warning("message %s is in another publisher's hands", row.id)
                return False
            if changes.get("sent_rev") == current.wanted_rev and row.kind in _EDITED:
                changes["urgent"] = False
            tx.change(current, **changes)
            return True

    def _give_up(self, row: MessageRow, code: str) -> bool:
        """Never to be shown. False when the store could not take that, so that the message stays due."""
        hint = _HINTS.get(code, "") if row.kind == MessageKind.FILES else ""
        log.error("message %s (%s) cannot be shown in %s: %s%s", row.id, row.kind, row.channel, code, hint)
        self._forget(row)
        try:
            with self._store.transaction() as tx:
                for current in tx.messages(row.request_id):
                    if current.id == row.id:
                        tx.change(current, failed=code, sending="")
        except WorldError as trouble:
            log.warning("message %s has to wait for the store: %s", row.id, trouble.reason)
            return False
        return True

    def _forget(self, row: MessageRow) -> None:
        self._shown.pop(row.id, None)
        self._pace.forget(row.id)


def _post_arguments(due: _Due) -> dict[str, Any]:
    row = due.row
    arguments: dict[str, Any] = {
        "channel": row.channel,
        "metadata": _metadata(due),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if due.thread_ts:
        arguments["thread_ts"] = due.thread_ts
        arguments["reply_broadcast"] = row.kind == MessageKind.OUTCOME and not row.thread
    return arguments


def _metadata(due: _Due) -> dict[str, Any]:
    if due.row.kind == MessageKind.OUTCOME:
        return {"event_type": "gpu_cluster_outcome", "event_payload": metadata(due.story)}
    payload = {"request": due.row.request_id, "message": due.row.id, "kind": str(due.row.kind)}
    return {"event_type": "gpu_cluster_request", "event_payload": payload}


def _digest(rendered: Rendered) -> str:
    return hashlib.sha256(json.dumps([rendered.text, rendered.blocks], sort_keys=True).encode()).hexdigest()
