"""World time and real time. Outside the sandbox they are the same."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WallClock:
    """World time is wall time."""

    def now(self) -> float:
        return time.time()

    def real(self) -> float:
        return time.time()

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds


class FileClock:
    """World time from a small JSON file: {"real": unix seconds, "world": unix seconds, "speed": factor}.

    Every process re-reads the file when it changes, so that a restart agrees on the time.
    Raises OSError or ValueError when it cannot be read the first time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._real = self._world = 0.0
        self._speed = 1.0
        self._read()

    def now(self) -> float:
        self._read()
        return self._world + (time.time() - self._real) * self._speed

    def real(self) -> float:
        return time.time()

    def real_seconds(self, world_seconds: float) -> float:
        self._read()
        return world_seconds / self._speed if self._speed else math.inf

    def _read(self) -> None:
        stat = self._path.stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._stamp:
            return
        raw = json.loads(self._path.read_text())
        real, world, speed = float(raw["real"]), float(raw["world"]), float(raw["speed"])
        if speed < 0:
            raise ValueError(f"{self._path}: speed must not be negative, and it is {speed}")
        self._real, self._world, self._speed, self._stamp = real, world, speed, stamp
