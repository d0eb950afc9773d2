"""A small checker for JSON shapes: closed objects, sizes, and problems that name the place and the rule.

Problems read as Slack's own do, ``[ERROR] must be no more than 150 characters [json-pointer:/blocks/0/text/text]``,
so that a test or a person can act on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str, list[str]], None]
"""``check(value, pointer, problems)`` appends what is wrong at ``pointer``; it never raises."""


def report(problems: list[str], pointer: str, rule: str) -> None:
    """Append one problem in Slack's wording."""
    problems.append(f"[ERROR] {rule} [json-pointer:{pointer}]")


def anything(value: Any, pointer: str, problems: list[str]) -> None:
    """Accept every value."""


def boolean(value: Any, pointer: str, problems: list[str]) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        report(problems, pointer, "must be a boolean")


def string(maximum: int, minimum: int = 1, pattern: str | None = None) -> Check:
    """Accept a string of ``minimum`` to ``maximum`` characters that matches ``pattern`` as a whole."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, str):
            report(problems, pointer, "must be a string")
        elif len(value) > maximum:
            report(problems, pointer, f"must be no more than {maximum} characters")
        elif len(value) < minimum:
            report(problems, pointer, f"must be at least {minimum} characters")
        elif pattern is not None and not re.fullmatch(pattern, value):
            report(problems, pointer, f"must match {pattern}")

    return check


def number(minimum: float | None = None, maximum: float | None = None, *, whole: bool = False) -> Check:
    """Accept a number (an integer when ``whole``) within the bounds."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            report(problems, pointer, f"must be {'an integer' if whole else 'a number'}")
        elif minimum is not None and value < minimum:
            report(problems, pointer, f"must be at least {minimum}")
        elif maximum is not None and value > maximum:
            report(problems, pointer, f"must be no more than {maximum}")

    return check


def one_of(*allowed: str) -> Check:
    """Accept one of the named strings."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if value not in allowed:
            report(problems, pointer, f"must be one of {', '.join(allowed)}")

    return check


def array(item: Check, maximum: int, minimum: int = 1) -> Check:
    """Accept a list of ``minimum`` to ``maximum`` items that each pass ``item``."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, list):
            report(problems, pointer, "must be an array")
            return
        if len(value) > maximum:
            report(problems, pointer, f"no more than {maximum} items allowed")
        if len(value) < minimum:
            report(problems, pointer, f"at least {minimum} items required")
        for index, entry in enumerate(value):
            item(entry, f"{pointer}/{index}", problems)

    return check


def shape(
    required: Mapping[str, Check] | None = None,
    optional: Mapping[str, Check] | None = None,
    *,
    any_of: tuple[str, ...] = (),
) -> Check:
    """Accept a closed object: all ``required`` fields, nothing beyond ``optional``, one of ``any_of`` present."""
    needed = dict(required or {})
    known = {**needed, **(optional or {})}

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, dict):
            report(problems, pointer, "must be an object")
            return
        for name in needed.keys() - value.keys():
            report(problems, pointer, f"missing required field: {name}")
        if any_of and not value.keys() & set(any_of):
            report(problems, pointer, f"missing required field: {' or '.join(any_of)}")
        for name, entry in value.items():
            if name in known:
                known[name](entry, f"{pointer}/{name}", problems)
            else:
                report(problems, f"{pointer}/{name}", f"unknown field: {name}")

    return check


def tagged(shapes: Mapping[str, Check], what: str) -> Check:
    """Accept an object whose ``type`` picks one of ``shapes``; ``what`` names the kind of thing in problems."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, dict):
            report(problems, pointer, "must be an object")
            return
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in shapes:
            report(problems, f"{pointer}/type", f"unsupported {what} type: {kind}")
            return
        shapes[kind](value, pointer, problems)

    return check


def typed(
    kind: str,
    required: Mapping[str, Check] | None = None,
    optional: Mapping[str, Check] | None = None,
    *,
    any_of: tuple[str, ...] = (),
) -> dict[str, Check]:
    """One entry for :func:`tagged`: a closed object whose ``type`` is ``kind``."""
    return {kind: shape({"type": one_of(kind), **(required or {})}, optional, any_of=any_of)}
