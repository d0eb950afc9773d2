"""World time and real time. Outside the sandbox they are the same."""

from __future__ import annotations

import contextlib
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


@dataclass(frozen=True)
class _Told:
    """What the file said, and which file that was."""

    stamp: tuple[int, int]
    real: float
    world: float
    speed: float


class FileClock:
    """World time from a small JSON file: {"real": unix seconds, "world": unix seconds, "speed": factor}.

    Every process re-reads the file when it changes, so that a restart agrees on the time.
    Raises OSError or ValueError when it cannot be read the first time; later, time goes on as it was last told.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # One reference, replaced as a whole: another thread must never see half of a change.
        self._told = _read(path)

    def now(self) -> float:
        told = self._latest()
        return told.world + (time.time() - told.real) * told.speed

    def real(self) -> float:
        return time.time()

    def real_seconds(self, world_seconds: float) -> float:
        speed = self._latest().speed
        return world_seconds / speed if speed else math.inf

    def _latest(self) -> _Told:
        with contextlib.suppress(OSError, ValueError):
            if _stamp(self._path) != self._told.stamp:
                self._told = _read(self._path)
        return self._told


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino


def _read(path: Path) -> _Told:
    stamp = _stamp(path)
    try:
        raw = json.loads(path.read_text())
        told = _Told(stamp, float(raw["real"]), float(raw["world"]), float(raw["speed"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: this is no clock: {error!r}") from error
    if not (told.speed >= 0 and all(map(math.isfinite, (told.real, told.world, told.speed)))):
        raise ValueError(f"{path}: real, world and speed must be finite, and speed not negative")
    return told
