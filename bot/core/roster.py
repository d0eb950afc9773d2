"""What is remembered of the Slack user groups that lead teams, so that a card can say how they changed of late."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from bot.core.ports import Clock, Store, Taken, Tx, WorldError
from bot.core.records import RosterRow

log = logging.getLogger(__name__)

RECENT_S = 24 * 3600.0
"""World seconds for which a change of a group is shown on the cards of those it leads."""


@dataclass(frozen=True)
class LeadChange:
    """Somebody joined or left a group, noticed at `at` (world): groups are looked at, nobody tells us."""

    user: str
    joined: bool
    at: float


class Rosters:
    """Writes a group down when it is another one than it was; called with every answer of Slack about a group."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._known: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def noticed(self, group: str, members: frozenset[str]) -> None:
        """A store in trouble loses nothing: the next answer about the group is written down instead."""
        with self._lock:
            if self._known.get(group) == members:
                return
            try:
                with self._store.transaction() as tx:
                    note(tx, group, members, self._clock.now())
            except (WorldError, Taken) as error:
                log.warning("the members of %s could not be written down: %s", group, error)
            else:
                self._known[group] = members


def note(tx: Tx, group: str, members: frozenset[str], at: float) -> None:
    """Write the members down unless they are those that are known."""
    known = tx.rosters(group, since=at)
    if not known or frozenset(json.loads(known[-1].members)) != members:
        tx.add(RosterRow(group, at, json.dumps(sorted(members))))


def changes(tx: Tx, group: str, now: float) -> tuple[LeadChange, ...]:
    """Who joined and left within `RECENT_S`, oldest first. What a group was before it was first seen is not known."""
    return tuple(_changes(tx.rosters(group, since=now - RECENT_S))) if group else ()


def _changes(rows: list[RosterRow]) -> Iterator[LeadChange]:
    for before, after in pairwise(rows):
        was, now_is = set(json.loads(before.members)), set(json.loads(after.members))
        yield from (LeadChange(user, True, after.seen_at) for user in sorted(now_is - was))
        yield from (LeadChange(user, False, after.seen_at) for user in sorted(was - now_is))
