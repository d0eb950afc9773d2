"""A table that is too long for one of Slack's goes on on further pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from handlers.views.render import MOST_ROWS
from handlers.views.spans import Line, code, line

T = TypeVar("T")


def paged(rows: Sequence[T], page: int, command: str) -> tuple[Sequence[T], Line]:
    """The rows of that page, the last one where there are fewer, and how to get the next one; nothing on the last."""
    pages = max(-(-len(rows) // MOST_ROWS), 1)
    page = min(max(page, 1), pages)
    shown = rows[(page - 1) * MOST_ROWS : page * MOST_ROWS]
    if page == pages:
        return shown, ()
    return shown, line(f"Page {page} of {pages}; the next: ", code(f"{command} {page + 1}"), ". ")
