"""What a lead decides about a request, and who may."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.core import lifecycle, switches
from bot.core.conflict import Conflict
from bot.core.costs import spending
from bot.core.costs.spending import OverBudget
from bot.core.desk.base import Base
from bot.core.policy import Denied, Verb, lead_of, require, who_can
from bot.core.ports import Taken, Tx
from bot.core.records import (
    Kind,
    RequestRow,
    RequestState,
)
from bot.core.story import Story


@dataclass(frozen=True)
class Decided:
    """What a click on Approve or Deny came to: `approvals` of `needed` so far; `final` when that decided it."""

    story: Story
    approvals: int
    needed: int
    final: bool


class Deciding(Base):
    """Approve and deny."""

    def decide(self, user: str, request_id: str, *, approve: bool, reason: str = "", seen: str = "") -> Decided:
        """One person's decision. Raises `Denied` (rights, own request) or `Conflict` (decided, lapsed, changed).

        Rights are looked up now, whatever the card showed; one winner by compare-and-set. `seen` is the beginning
        of the envelope's hash on the card that was clicked: a decision is about what the person saw.
        """
        verb = Verb.APPROVE if approve else Verb.DENY
        with self._store.reading() as tx:
            request = tx.request(request_id)
        if request is None:
            raise Conflict("This request is not known here any more.", "/gpu-cluster list")
        team = self.team(request.team)
        person = self._directory.person(user)
        require(verb, person, team, None, self._directory)
        if approve and user == request.requester:
            raise Denied(verb, "You asked for this yourself; another lead has to approve it.", who_can(team))
        because = lead_of(user, team, self._directory, fresh=approve).because
        if approve:
            self._must_have_been_lead(user, request_id)
        now = self._clock.now()
        with self._store.transaction() as tx:
            request = tx.request(request_id)
            if request is None:
                raise Conflict("This request is not known here any more.", "/gpu-cluster list")
            _must_be_open(request, now)
            if not request.envelope_hash.startswith(seen):
                raise Conflict("The request has changed since this card was drawn.", "Look at it again, then decide.")
            needed = self._needed(tx, request)
            if approve:
                approvals = self._approve(tx, request, user, because, needed=needed, now=now)
            else:
                _deny(tx, request, user, because, reason, now)
                approvals = 0
            told = self._tell(tx, request_id)
        self._wake()
        return Decided(told, approvals, needed, not approve or approvals >= needed)

    def _approve(self, tx: Tx, request: RequestRow, user: str, because: str, *, needed: int, now: float) -> int:
        """How many have approved it now. Raises `Conflict`: creates are stopped, the budget is used up, or twice."""
        if request.kind == Kind.CREATE:
            switches.must_be_allowed(tx)
        try:
            spending.must_fit(tx, request, self._catalogue, now)
            return lifecycle.approve(tx, request, user, because, now, needed=needed)
        except Taken as taken:
            raise Conflict("You have approved this already; it waits for another lead.") from taken
        except OverBudget as over:
            raise Conflict(over.why, over.remedy) from over

    def _must_have_been_lead(self, user: str, request_id: str) -> None:
        """Whoever joins the leads after a request was posted does not approve that one: nobody adds a friend for it."""
        with self._store.reading() as tx:
            posted = tx.posted_leads(request_id)
        if posted is not None and user not in (were := tuple(json.loads(posted.leads))):
            why = "You became a lead after this was asked; one who was a lead then has to approve it."
            raise Denied(Verb.APPROVE, why, were)


def _deny(tx: Tx, request: RequestRow, user: str, because: str, reason: str, now: float) -> None:
    try:
        lifecycle.deny(tx, request, user, because, reason, now)
    except Taken as taken:
        why = "You have approved this already, and an approval stands."
        raise Conflict(why, "Another lead can still deny it.") from taken


def _must_be_open(request: RequestRow, now: float) -> None:
    if request.state == RequestState.AWAITING_APPROVAL:
        if request.lapses_at is not None and now >= request.lapses_at:
            raise Conflict("Too late: this request has lapsed.", "The requester can ask again.")
        return
    if request.state == RequestState.CHECKING:
        raise Conflict("The checks are not finished; the buttons work as soon as they are.")
    if request.state == RequestState.LAPSED:
        raise Conflict("Too late: this request has lapsed.", "The requester can ask again.")
    if request.state == RequestState.CANCELLED:
        raise Conflict("This request was cancelled.")
    if not request.decided_by:
        raise Conflict("This request has failed its checks.", "The requester can ask again.")
    word = "denied" if request.state == RequestState.DENIED else "approved"
    by = "the policy" if request.decided_by == lifecycle.BY_POLICY else f"<@{request.decided_by}>"
    raise Conflict(f"This was already {word} by {by}.")
