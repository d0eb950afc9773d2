"""How often Slack lets us edit and post: budgets in real time, and who goes first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
EDITS = 45
"""Edits in any minute; chat.update is Tier 3, at least 50 a minute for all messages of a workspace together
(slackapi/java-slack-sdk: metadata/web-api/rate_limit_tiers.json)."""
KEPT_FOR_STATES = 10
"""Of those, kept for changes of state, so that mere progress never delays them."""
PROGRESS_EVERY_S = 3.0
"""A message's mere progress is shown no more often than this."""


@dataclass
class Pace:
    """What was sent when, and what Slack asked to wait for. One thread only; times are real Unix seconds."""

    edits: deque[float] = field(default_factory=deque)
    edited_at: dict[str, float] = field(default_factory=dict)
    held_until: dict[str, float] = field(default_factory=dict)

    def edit_in(self, message_id: str, *, urgent: bool, real: float) -> float:
        """Seconds until this message may be edited; 0 when now."""
        while self.edits and self.edits[0] <= real - WINDOW_S:
            self.edits.popleft()
        most = EDITS if urgent else EDITS - KEPT_FOR_STATES
        budget = self.edits[len(self.edits) - most] + WINDOW_S - real if len(self.edits) >= most else 0.0
        spacing = 0.0 if urgent else self.edited_at.get(message_id, 0.0) + PROGRESS_EVERY_S - real
        return max(0.0, budget, spacing, self.call_in("chat.update", real))

    def call_in(self, what: str, real: float) -> float:
        """Seconds until this method, or anything in this channel, may be tried again; 0 when now."""
        return max(0.0, self.held_until.get(what, 0.0) - real)

    def edited(self, message_id: str, real: float) -> None:
        """An edit was sent (whatever came of it: Slack counts it)."""
        self.edits.append(real)
        self.edited_at[message_id] = real

    def hold(self, what: str, seconds: float, real: float) -> None:
        """Slack said 429, there was no answer, or the channel is closed to us: no such call until then."""
        self.held_until[what] = max(self.held_until.get(what, 0.0), real + seconds)

    def forget(self, message_id: str) -> None:
        """The message will not be edited again."""
        self.edited_at.pop(message_id, None)
