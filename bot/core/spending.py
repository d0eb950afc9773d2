"""Budgets: how many approvals an order needs, and whether the team can pay for it. Asked within a transaction, so
that two approvals racing for one budget are decided one after the other."""

from __future__ import annotations

from bot.core import ledger
from bot.core.ledger import Committed
from bot.core.money import dollars
from bot.core.ports import Tx
from bot.core.records import Kind, RequestRow, RequestState
from bot.core.spec import Catalogue, Policy, envelope_from_json

BY_POLICY = "policy"
"""Stands as the approver where the policy asks for nobody's approval."""


class OverBudget(Exception):
    """The team cannot pay for it this month; `remedy` says what would help."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


def approvals_needed(tx: Tx, request: RequestRow, catalogue: Catalogue, now: float) -> int:
    """0, 1 or 2: by what the team has committed this month with this request. Deletes need the usual number."""
    policy = catalogue.policy
    if request.kind != Kind.CREATE or request.state != RequestState.AWAITING_APPROVAL or not depends_on_cost(policy):
        return policy.approvals
    held = committed(tx, request, catalogue, now)
    return approvals_for(policy, held, envelope_from_json(request.envelope).max_cost)


def approvals_for(policy: Policy, held: Committed | None, cost: float | None) -> int:
    """By the committed sum in dollars; an unknown price gets the larger number."""
    if cost is None or held is None or held.unknown:
        return policy.approvals if policy.two_approvals_above is None else 2
    total = held.total + cost
    if policy.two_approvals_above is not None and total > policy.two_approvals_above:
        return 2
    return 0 if total < policy.no_approval_below else policy.approvals


def depends_on_cost(policy: Policy) -> bool:
    """Whether the number of approvals follows from what a team has committed."""
    return policy.no_approval_below > 0 or policy.two_approvals_above is not None


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
    cost = envelope_from_json(request.envelope).max_cost if request.envelope else None
    if held is None or held.budget is None or cost is None or cost <= held.left:
        return
    raise OverBudget(
        f"It costs up to {dollars(cost)}, and team {request.team} has {dollars(held.left)} of "
        f"{dollars(held.budget)} left this month.",
        f"Delete what is not used, ask for fewer hours, or raise budget_per_month of team {request.team}.",
    )
