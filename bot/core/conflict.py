"""What cannot be done now, because of what is."""

from __future__ import annotations


class Conflict(Exception):
    """It cannot be done now because of what is; `why` says it, `next_step` what to type or click."""

    def __init__(self, why: str, next_step: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.next_step = next_step
