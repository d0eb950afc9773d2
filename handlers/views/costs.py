"""What `cost` answers: spend by cluster, by person and by team."""

from __future__ import annotations

from collections.abc import Iterable

from bot.core.costs.ledger import Account, Committed
from bot.core.costs.money import dollars
from bot.core.desk import Costs
from handlers.views.page import Bullets, Header, Note, Page, Para, Part, Table
from handlers.views.paging import paged
from handlers.views.spans import Line, bold, line, who
from handlers.views.words import count

COLUMNS = ("Cluster", "State", "Hours", "So far", "On GPUs nobody could use", "Still promised")
_UNKNOWN = "unknown"
_BASIS = (
    "From our own clock and the price that was approved: every machine and disk of the order, waiting, failed and "
    "parked time included; without traffic, public addresses and taxes."
)


def costs(told: Costs, page: int = 1) -> Page:
    """A table of clusters, the newest first and as many a page as a table of Slack's holds, then the sums of all."""
    if not told.accounts:
        nothing = line("Nothing has been spent this month.")
        return Page(nothing, (Para((nothing,)),))
    said = line(f"{count(len(told.accounts), 'cluster')}: {_sum(a.spent for a in told.accounts)} so far.")
    shown, following = paged(told.accounts[::-1], page, "/gpu-cluster cost")
    rows = tuple(map(_row, shown))
    parts: list[Part] = [Header("What clusters cost"), Table(COLUMNS, rows), Bullets(tuple(_people(told.accounts)))]
    if told.teams:
        parts.append(Bullets(tuple(_team(name, held) for name, held in told.teams)))
    return Page(said, (*parts, Note(line(*following, _BASIS))))


def amount(known: float | None) -> str:
    """In dollars, or that it is not known."""
    return _UNKNOWN if known is None else dollars(known)


def _row(account: Account) -> tuple[str, ...]:
    sums = (account.spent, account.unusable, account.promised)
    return (account.cluster, str(account.state), f"{account.hours:.1f}", *map(amount, sums))


def _people(accounts: tuple[Account, ...]) -> Iterable[Line]:
    """Each requester's sum."""
    for person in dict.fromkeys(account.requester for account in accounts):
        theirs = [account for account in accounts if account.requester == person]
        spent, wasted = _sum(a.spent for a in theirs), _sum(a.unusable for a in theirs)
        yield line(who(person), f": {spent}, of it {wasted} for GPUs nobody could use")


def _team(name: str, held: Committed) -> Line:
    """What the team has committed this month, and what is left."""
    at_least = "at least " if held.unknown else ""
    sums = f": {at_least}{dollars(held.spent)} spent this month, {dollars(held.promised)} promised"
    if held.budget is None:
        return line(bold(f"Team {name}"), sums, "; no budget is set.")
    return line(bold(f"Team {name}"), sums, f"; {dollars(held.left)} of {dollars(held.budget)} left.")


def _sum(parts: Iterable[float | None]) -> str:
    """The known ones together; that some are not known."""
    listed = list(parts)
    known = [part for part in listed if part is not None]
    if not known:
        return _UNKNOWN
    return dollars(sum(known)) + (" and something unknown" if len(known) < len(listed) else "")
