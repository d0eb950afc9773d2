"""A cluster as YAML, in pieces that Slack takes."""

from __future__ import annotations

from handlers.views.page import Code, Page, Para
from handlers.views.spans import code, line

_PIECE = 2800
"""Characters in one block: Slack takes 3,000."""

_MOST = 12
"""Pieces: an answer of more is cut, and the whole is had on the command line."""


def export_page(name: str, text: str) -> Page:
    """The YAML, cut between lines."""
    pieces = _pieces(text)
    said = line(f"{name} as YAML, without secrets. For Terraform, or as a file: ", code(f"gpu-cluster export {name}"))
    cut = (Para((line("This is not all of it: ", code(f"gpu-cluster export {name}"), " has the rest."),)),)
    return Page(said, (Para((said,)), *map(Code, pieces[:_MOST]), *(cut if len(pieces) > _MOST else ())))


def _pieces(text: str) -> list[str]:
    pieces = [""]
    for one in text.splitlines():
        for start in range(0, max(len(one), 1), _PIECE):
            part = one[start : start + _PIECE]
            if len(pieces[-1]) + len(part) + 1 > _PIECE:
                pieces.append("")
            pieces[-1] += f"{part}\n"
    return [piece for piece in pieces if piece.strip()]
