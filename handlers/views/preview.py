"""What a create would cost and need, before anybody is asked."""

from __future__ import annotations

from bot.core.checks.preview import Preview
from bot.core.costs.ledger import Committed
from bot.core.costs.money import dollars
from bot.core.spec import Check, Policy, Preset
from handlers.views.page import Bullets, Fields, Header, Note, Page, Para, Part
from handlers.views.request import check_line, machines_of, price_of, where_of
from handlers.views.retype import create_line
from handlers.views.spans import Line, bold, code, joined, line, who
from handlers.views.words import count

_QUIET = frozenset({"price", "budget"})
"""Checks that the fields above say already, while they are well."""


def preview(shown: Preview, policy: Policy) -> Page:
    """The whole answer to a dry run."""
    again = line("Nobody was asked and nothing was made. To ask: ", code(create_line(shown.spec)))
    title = Header(f"{shown.spec.name}: what it would be")
    return Page(sentence(shown), (title, *parts(shown, policy), Note(again)))


def sentence(shown: Preview) -> Line:
    """The preview in one sentence."""
    spec = shown.spec
    what = f"{count(spec.gpus, 'GPU')} for {count(spec.hours, 'hour')} (preset {spec.preset})"
    if shown.name_in_use:
        return line(f"{what}: {shown.name_in_use}")
    if shown.found.refusals:
        return line(f"{what} cannot be had now: {shown.found.refusals[0].detail}")
    return line(f"{what}: {price_of(shown.found.envelope)}; {_number(shown.approvals)}.")


def parts(shown: Preview, policy: Policy) -> tuple[Part, ...]:
    """Price, budget, quota, approvals, and what speaks against it."""
    envelope, found = shown.found.envelope, shown.found
    pairs: list[tuple[str, Line]] = [("Price", line(price_of(envelope)))]
    if envelope is not None:
        pairs += [("Machines", line(machines_of(envelope))), ("Where", line(where_of(envelope)))]
    if (budget := budget_line(shown.committed, envelope.max_cost if envelope else None)) is not None:
        pairs.append(("Budget", budget))
    pairs += [
        (f"Quota {check.name.removeprefix('quota ')}", line(check.detail)) for check in found.checks if _is_quota(check)
    ][:3]
    pairs.append(("Who decides", approvals(shown, policy)))
    against = [check for check in found.checks if check.state == "no"]
    unsure = [check for check in found.checks if check.state == "unknown" and check.name not in _QUIET]
    but = [check for check in found.checks if check.warns]
    lines = [check_line(check) for check in (*against, *but, *unsure)]
    if shown.name_in_use:
        lines.insert(0, line(bold("no"), f" · name: {shown.name_in_use}"))
    return (Fields(tuple(pairs)), Bullets(tuple(lines)) if lines else Para((line("Every check is passed."),)))


def budget_line(held: Committed | None, cost: float | None) -> Line | None:
    """The team's month before and after this order; None without a budget."""
    if held is None or held.budget is None:
        return None
    before = f"{dollars(held.left)} of {dollars(held.budget)} left this month"
    if cost is None:
        return line(f"{before}; the price is unknown")
    after = held.left - cost
    short = f"{dollars(-after)} short" if after < 0 else f"{dollars(after)} left"
    return line(f"{before}; with this {short}")


def approvals(shown: Preview, policy: Policy) -> Line:
    """How many have to agree, why so many, and who can."""
    if shown.approvals == 0:
        return line(f"nobody: the team stays below {dollars(policy.no_approval_below)} this month")
    people = joined([line(who(one)) for one in shown.who_can[:10]], ", ") or line("nobody is a lead yet")
    return line(f"{_number(shown.approvals)}, {_why(shown, policy)}: ", *people)


def machine_words(preset: Preset) -> str:
    """What a preset is made of, known without asking AWS."""
    pool = next((pool for pool in preset.pools if pool.gpu), None)
    if pool is None:
        return "no GPU machines: this preset is incomplete"
    others = ", ".join(f"{p.count or 1} × {p.instance_type}" for p in preset.pools if not p.gpu)
    instead = f" (or {', '.join(pool.alternatives)})" if pool.alternatives else ""
    return f"GPU machines: {pool.instance_type}{instead}" + (f"; beside them {others}" if others else "")


def _number(approvals: int) -> str:
    return "no approval needed" if approvals == 0 else f"{count(approvals, 'approval')} needed"


def _why(shown: Preview, policy: Policy) -> str:
    if not shown.by_cost:
        return "as the policy asks for every request"
    cost = shown.found.envelope.max_cost if shown.found.envelope else None
    if cost is None or shown.committed is None or shown.committed.unknown:
        return "because a price is unknown"
    total = dollars(shown.committed.total + cost)
    above = policy.two_approvals_above
    if above is not None and shown.approvals == 2:
        return f"because the team would have committed {total} this month, above {dollars(above)}"
    return f"because the team would have committed {total} this month"


def _is_quota(check: Check) -> bool:
    return check.name.startswith("quota ") and check.state == "ok"
