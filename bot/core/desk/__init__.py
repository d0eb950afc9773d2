"""The front desk of the core: what people ask, checked, and written down before anything is done about it.

One window a file: asking, deciding, moving, telling.
"""

from __future__ import annotations

from functools import cached_property

from bot.core.asking import Ask
from bot.core.care import Care
from bot.core.conflict import Conflict
from bot.core.desk.asking import Asking
from bot.core.desk.deciding import Decided, Deciding
from bot.core.desk.moving import Cancelled, Kept, Moving
from bot.core.desk.telling import Costs, History, Own, Telling

__all__ = ["Ask", "Cancelled", "Conflict", "Costs", "Decided", "Desk", "History", "Kept", "Own"]


class Desk(Asking, Deciding, Moving, Telling):
    """What handlers (and the command line) call. All methods are quick: they read and write the store only,
    and ask Slack who somebody is."""

    @cached_property
    def care(self) -> Care:
        """What is decided about a cluster in use that has something wrong with it."""
        return Care(self._store, self._clock, self._directory, self)
