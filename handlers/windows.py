"""Windows that are open already: filled in off the listeners, and never with something older than they show."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from slack_sdk import WebClient

from handlers.calls import CALL_ERRORS, code_of

log = logging.getLogger(__name__)

_MOST = 1_000
_GONE = frozenset({"not_found", "view_not_found"})


@dataclass
class _Window:
    """`order` of the newest gesture in it, `hash` as Slack gave it last, `lock` for one update at a time."""

    hash: str
    order: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Windows:
    """Updates modals by id. Safe from many threads; remembers the last thousand windows of this process."""

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._guard = threading.Lock()
        self._open: OrderedDict[str, _Window] = OrderedDict()

    def saw(self, view: str, hash_: str, order: str) -> None:
        """Somebody did something in it: what was begun for an earlier gesture is not shown any more."""
        with self._guard:
            window = self._open.setdefault(view, _Window(hash_))
            window.order = max(window.order, _number(order))
            self._open.move_to_end(view)
            while len(self._open) > _MOST:
                self._open.popitem(last=False)

    def show(self, view: str, hash_: str, order: str, body: dict[str, Any]) -> bool:
        """Show this instead; False when it was closed, or somebody has done something newer in it meanwhile."""
        self.saw(view, hash_, order)
        with self._guard:
            window = self._open[view]
        with window.lock:
            if window.order > _number(order):
                log.info("what was worked out for the window %s is too old to be shown", view)
                return False
            return self._update(view, window, body)

    def _update(self, view: str, window: _Window, body: dict[str, Any]) -> bool:
        guard = {"hash": window.hash} if window.hash else {}
        try:
            answer = self._client.views_update(view_id=view, view=body, **guard)
        except CALL_ERRORS as error:
            code = code_of(error)
            level = logging.INFO if code in _GONE or code == "hash_conflict" else logging.WARNING
            log.log(level, "the window %s was not updated: %s", view, code)
            return False
        window.hash = str(answer["view"]["hash"])
        return True


def _number(order: str) -> float:
    """Slack's `action_ts` as a number; 0 for anything else."""
    try:
        return float(order)
    except ValueError:
        return 0.0
