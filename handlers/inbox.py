"""What people did in Slack, written down once before anything is done about it."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bot.core.policy import Verb
from bot.core.ports import Clock, Store, Taken, Tx
from bot.core.records import InboundRow
from bot.core.spec import Draft, Problem

log = logging.getLogger(__name__)


class Gesture(StrEnum):
    """What somebody wants of the bot beside the verbs that one has a right to, each of which is a gesture, too."""

    END_ORPHANS = "end-orphans"
    """The button below that list; `name` is the list's digest."""
    UNKNOWN = "unknown"
    """A word nobody has; `name` is the word."""
    GARBLED = "garbled"
    """A line that could not be read; `name` says why."""
    ELSEWHERE = "elsewhere"
    """Something said in a channel where this bot does not listen."""
    DRY_RUN = "dry_run"
    """What a create would cost and need; nobody is asked."""
    PREVIEW = "preview"
    """The same within the form that is being filled in; `key` is what the form carries."""
    AGAIN = "again"
    """A request that has lapsed, `name`, once more."""
    DETAILS = "details"
    """Everything about the request `name`, or the one whose thread this is, in a window that is open already."""
    LATE = "late"
    """A window that Slack did not open; `draft` is what the form would have come with."""
    HOME = "home"
    """The Home tab was opened."""


Wanted = Verb | Gesture
_BY_WORD: dict[str, Wanted] = {one.value: one for one in (*Verb, *Gesture)}


@dataclass(frozen=True)
class Inbound:
    """One gesture, reduced to what its answer needs; nothing of Slack's payload beyond that is kept.

    `name` is the cluster, or for a click the button's value. `thread_ts` is set where the answer belongs into a
    thread. `words` are what was typed after a change's verb, `text` what was given as a reason. `told` when the person
    has been told already that it was taken in. `view` is the window to answer in, `hash` what it showed then, `order`
    when it happened: later ones count.
    `meant` is a request of the cluster that a pressed button is about, `form` what a form carries.
    Of a verb about one cluster `name` is empty where the thread says which.
    """

    gesture: Wanted
    user: str
    channel: str
    name: str = ""
    draft: Draft | None = None
    response_url: str = ""
    thread_ts: str = ""
    told: bool = False
    text: str = ""
    view: str = ""
    hash: str = ""
    order: str = ""
    key: str = ""
    words: tuple[str, ...] = ()
    meant: str = ""
    form: str = ""


class Inbox:
    """Where listeners put gestures and the intake finds them.

    A commit waits for the disk, some milliseconds; in a rush each listener would wait for all before it. So what comes
    in while one is under way is written together in the next, and each is told when it is safe.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None
        self._turn = threading.Condition()
        self._coming: list[_Put] = []
        self._writing = False
        self.put_at_real = 0.0
        """When something was last put (Unix seconds): while a burst comes in, answers wait for the acks."""

    def on_put(self, wake: Callable[[], None]) -> None:
        """Who is to be told that something came in."""
        self._wake = wake

    def put(self, key: str, inbound: Inbound) -> bool:
        """Write it down under the key of the gesture; False when it is there already (Slack delivers twice)."""
        payload = json.dumps(dataclasses.asdict(inbound), ensure_ascii=False)
        self.put_at_real = self._clock.real()
        row = InboundRow(key, inbound.gesture, payload, received_real=self.put_at_real)
        put = _Put(row)
        with self._turn:
            self._coming.append(put)
            while self._writing and not put.settled:
                self._turn.wait()
            if not put.settled:
                self._writing, coming, self._coming = True, self._coming, []
        if not put.settled:
            self._write(coming)
        if put.error is not None:
            raise put.error
        if not put.new:
            log.info("delivered twice: %s", key)
            return False
        self._wake()
        return True

    def _write(self, coming: list[_Put]) -> None:
        """All of them in one transaction; an error is everybody's whose row was in it."""
        error: Exception | None = None
        try:
            with self._store.transaction(first=True) as tx:  # somebody's three seconds run
                for put in coming:
                    put.new = _is_new(tx, put.row)
        except Exception as trouble:
            error = trouble
        with self._turn:
            self._writing = False
            for put in coming:
                put.settled, put.error = True, error
            self._turn.notify_all()


@dataclass
class _Put:
    """A row on its way: `new` unless its key was there already."""

    row: InboundRow
    new: bool = True
    settled: bool = False
    error: Exception | None = None


def _is_new(tx: Tx, row: InboundRow) -> bool:
    try:
        tx.add(row)
    except Taken:
        return False
    return True


class NotOfThisRelease(Exception):
    """A row that this release cannot read; `whose` says no more than whom to tell."""

    def __init__(self, why: str, whose: Inbound) -> None:
        super().__init__(why)
        self.whose = whose


def inbound_from_json(text: str) -> Inbound:
    """The gesture as it was written down. Raises `NotOfThisRelease` for a kind or a field that is not known here."""
    raw = json.loads(text)
    try:
        draft = raw["draft"]
        if draft is not None:
            draft = Draft(**{**draft, "problems": tuple(Problem(**problem) for problem in draft["problems"])})
        return Inbound(**{**raw, "gesture": _BY_WORD[raw["gesture"]], "draft": draft, "words": tuple(raw["words"])})
    except (KeyError, TypeError, ValueError) as error:
        said = {key: str(raw.get(key, "")) for key in ("user", "channel", "response_url", "thread_ts")}
        whose = Inbound(
            Gesture.UNKNOWN,
            said["user"],
            said["channel"],
            response_url=said["response_url"],
            thread_ts=said["thread_ts"],
        )
        raise NotOfThisRelease(str(error), whose) from error
