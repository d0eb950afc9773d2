"""What a check can say: ok, no with a remedy, or that it could not be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bot.core.checks.facts import Facts
from bot.core.ports import Refused, Temporary, WorldError
from bot.core.spec import Check, Preflight

OK, NO, UNKNOWN = "ok", "no", "unknown"


class Finding(NamedTuple):
    """A `Check` that has no name yet."""

    state: str
    detail: str
    remedy: str
    passing: bool = False


Judge = Callable[[Facts], Finding | None]
"""Returns None where another check has said, or will say, what there is to say."""


def judged(name: str, facts: Facts, judge: Judge) -> Check | None:
    """The judge's own word; where an answer is missing, "no" if the thing is not there, else "could not check"."""
    try:
        finding = judge(facts)
    except (Temporary, Refused) as error:
        finding = unknown(error.reason, error.remedy)._replace(passing=isinstance(error, Temporary))
    except WorldError as error:
        finding = no(error.reason, error.remedy)
    return None if finding is None else Check(name, *finding)


def unanswered(name: str, error: Temporary) -> Preflight:
    """Nothing can be said without that answer, which may come yet."""
    return Preflight((Check(name, *unknown(error.reason, error.remedy)._replace(passing=True)),))


def ok(detail: str, remedy: str = "") -> Finding:
    return Finding(OK, detail, remedy)


def no(detail: str, remedy: str) -> Finding:
    return Finding(NO, detail, remedy)


def unknown(why: str, remedy: str = "") -> Finding:
    return Finding(UNKNOWN, f"could not check: {why}", remedy)
