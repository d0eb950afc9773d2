"""Budgets: how many approvals an order needs, and whether the team can pay for it. Asked within a transaction, so
that two approvals racing for one budget are decided one after the other."""

from __future__ import annotations

from bot.core.costs import ledger
from bot.core.costs.ledger import Committed
from bot.core.costs.money import dollars
from bot.core.ports import Tx
from bot.core.records import Kind, RequestRow, RequestState
from bot.core.spec import Catalogue, Envelope, Policy, envelope_from_json


class OverBudget(Exception):
    """The team cannot pay for it this month; `remedy` says what would help."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


def approvals_needed(tx: Tx, request: RequestRow, catalogue: Catalogue, now: float) -> int:
    """0, 1 or 2: by what the team has committed this month with this request.

    What buys nothing needs the usual number.
    """
    policy = catalogue.policy
    if request.kind == Kind.ENABLE:  # it costs nothing here, and changes what others own
        return policy.approvals
    if not request.envelope or request.state != RequestState.AWAITING_APPROVAL or not policy.by_cost:
        return policy.approvals
    return approvals_for(policy, committed(tx, request, catalogue, now), cost(tx, request, now))


def cost(tx: Tx, request: RequestRow, now: float) -> float | None:
    """US dollars that the request adds to what is promised already; None where no price is known."""
    if not request.envelope:
        return 0.0
    after = envelope_from_json(request.envelope)
    if request.kind == Kind.CREATE:
        return after.max_cost
    cluster = tx.cluster(request.cluster_id)
    before = ledger.current_envelope(tx, cluster)
    if before is None:
        return after.max_cost
    return added_cost(before, after, cluster.ready_at, now)


def added_cost(before: Envelope, after: Envelope, ready_at: float | None, now: float) -> float | None:
    """What another envelope costs beyond this one, from now to the end of each; never below nothing."""
    costs = []
    for envelope in (before, after):
        if envelope.max_price_per_hour is None:
            return None
        hours = envelope.hours if ready_at is None else max(ready_at + envelope.hours * 3600 - now, 0.0) / 3600
        costs.append(envelope.max_price_per_hour * hours)
    return max(costs[1] - costs[0], 0.0)


def approvals_for(policy: Policy, held: Committed | None, cost: float | None) -> int:
    """By the committed sum in dollars; an unknown price gets the larger number."""
    if cost is None or held is None or held.unknown:
        return policy.approvals if policy.two_approvals_above is None else 2
    total = held.total + cost
    if policy.two_approvals_above is not None and total > policy.two_approvals_above:
        return 2
    return 0 if total < policy.no_approval_below else policy.approvals


def committed(tx: Tx, request: RequestRow, catalogue: Catalogue, now: float) -> Committed | None:
    """What the request's team has spent and promised without it; None for a team that is not configured any more."""
    team = catalogue.teams.get(request.team)
    return None if team is None else ledger.committed(tx, team, now, without=request.id)


def against_budget(tx: Tx, request: RequestRow, catalogue: Catalogue, now: float) -> Committed | None:
    """`committed`, and None without adding anything up for a team that has no budget."""
    team = catalogue.teams.get(request.team)
    return None if team is None or team.budget_per_month is None else committed(tx, request, catalogue, now)


def must_fit(tx: Tx, request: RequestRow, catalogue: Catalogue, now: float) -> None:
    """Raises `OverBudget` when the order costs more than the team has left this month.

    The approval that follows in the same transaction is the reservation: from then on `committed` counts it. A price
    that is not known cannot be counted; such an order gets the larger number of approvals instead.
    """
    held = against_budget(tx, request, catalogue, now)
    must_afford(held, cost(tx, request, now), request.team)


def must_afford(held: Committed | None, added: float | None, team: str) -> None:
    """Raises `OverBudget` when a team that holds so much cannot pay for so many dollars more."""
    if held is None or held.budget is None or added is None or added <= held.left:
        return
    raise OverBudget(
        f"It costs up to {dollars(added)}, and team {team} has {dollars(held.left)} of "
        f"{dollars(held.budget)} left this month.",
        f"Delete what is not used, ask for fewer hours, or raise budget_per_month of team {team}.",
    )
