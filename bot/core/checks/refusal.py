"""Why preflight ended a request, in one line, and the one thing to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bot.core.spec import Check, Preflight

_ANSWER = re.compile(r"AWS answered (?P<action>[\w:-]+) with (?P<code>[\w.]+)")
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")

_NEEDED = ("AWS account", "region", "Kubernetes version", "instance type", "GPU", "machine image", "zone and subnet")
"""Checks without whose answers nothing can be resolved, by the beginning of their names."""


def may_pass(found: Preflight) -> bool:
    """Whether nothing but answers that did not come stands in the way."""
    blocking = _blocking(found)
    return found.envelope is None and bool(blocking) and all(check.passing for check in blocking)


def in_one_line(found: Preflight) -> tuple[str, str]:
    """Reason and remedy. What AWS says to many questions in the same way is said once, with the calls it concerns."""
    blocking = _blocking(found)
    reason = "; ".join(_merged([check.detail for check in blocking])) or "The checks gave no answer."
    return reason, _remedy(blocking) or "Ask again in a few minutes."


def _blocking(found: Preflight) -> tuple[Check, ...]:
    """What says no; else what could not be checked and is needed, or whatever could not."""
    unknown = tuple(check for check in found.checks if check.state == "unknown")
    return found.refusals or tuple(check for check in unknown if check.name.startswith(_NEEDED)) or unknown


def _merged(details: Sequence[str]) -> Iterable[str]:
    """Each detail once; AWS's answers by their code."""
    calls: dict[str, dict[str, None]] = {}
    for detail in details:
        if (answer := _ANSWER.search(detail)) is not None:
            calls.setdefault(answer["code"], {})[answer["action"]] = None
    said: dict[str, None] = {}
    for detail in details:
        answer = _ANSWER.search(detail)
        if answer is None or len(calls[answer["code"]]) == 1:
            said[detail] = None
        else:
            said[f"could not check: AWS answered {', '.join(calls[answer['code']])} with {answer['code']}"] = None
    return said


def _remedy(blocking: Sequence[Check]) -> str:
    denied = [check for check in blocking if any(code in check.detail for code in _DENIED)]
    if len({check.remedy for check in denied}) > 1:
        return "An administrator of the AWS account must give the bot's identity the policy manifests/iam/bot.json."
    return next((check.remedy for check in blocking if check.remedy), "")
