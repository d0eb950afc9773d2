"""The world's clock: a small file that the sandbox writes and every bot process re-reads.

The file holds ``{"real": <unix s>, "world": <unix s>, "speed": <float>}``; the world's time now is
``world + (time.time() - real) * speed``. It is replaced by rename, so a reader never sees half of it.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path


class WorldClock:
    """World time, in unix seconds.

    ``manual`` freezes it (speed 0): only :meth:`set` and :meth:`forward` move it, which is what tests use.
    """

    def __init__(self, path: Path, *, world: float | None = None, speed: float = 60.0, manual: bool = False) -> None:
        self.path = path
        self.manual = manual
        self._real = time.time()
        self._world = self._real if world is None else world
        self._speed = 0.0 if manual else speed
        self._write()

    @property
    def speed(self) -> float:
        """World seconds per real second."""
        return self._speed

    def now(self) -> float:
        """World time in unix seconds."""
        return self._world + (time.time() - self._real) * self._speed

    def set_speed(self, speed: float) -> None:
        """From now on ``speed`` world seconds pass in a real one; the time itself does not jump."""
        if self.manual:
            raise ValueError("a manual clock has no speed: move it with set() or forward()")
        if speed < 0:
            raise ValueError(f"speed must not be negative: {speed}")
        self._rebase(self.now(), speed)

    def set(self, world: float) -> None:
        """Move the clock to ``world`` (unix seconds); it never goes back."""
        if world < self.now() - 1e-6:
            raise ValueError("the world's clock does not go back")
        self._rebase(world, self._speed)

    def forward(self, seconds: float) -> None:
        """Move the clock on by ``seconds`` of world time."""
        self.set(self.now() + seconds)

    def _rebase(self, world: float, speed: float) -> None:
        self._real, self._world, self._speed = time.time(), world, speed
        self._write()

    def _write(self) -> None:
        document = json.dumps({"real": self._real, "world": self._world, "speed": self._speed})
        scratch = self.path.with_name(self.path.name + ".new")
        scratch.write_text(document, encoding="utf-8")
        scratch.replace(self.path)


def timestamp(at: float) -> str:
    """Unix seconds as Kubernetes writes them, e.g. ``2026-11-25T02:04:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
