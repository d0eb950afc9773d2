"""World time from a file that somebody else moves."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path

import pytest

from bot.core.clock import FileClock, WallClock


def tell(path: Path, world: float, speed: float, real: float | None = None) -> None:
    """As the sandbox does: written beside, then renamed."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"real": time.time() if real is None else real, "world": world, "speed": speed}))
    beside.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tell(tmp_path / "clock.json", 1000.0, 0.0)
    return tmp_path / "clock.json"


def test_wall_time_is_both() -> None:
    clock = WallClock()
    before = time.time()
    assert before <= clock.now() <= clock.real() <= time.time()
    assert clock.real_seconds(7.0) == 7.0


def test_a_stopped_world_stands_still_and_nothing_is_ever_due(path: Path) -> None:
    clock = FileClock(path)
    assert clock.now() == clock.now() == 1000.0
    assert clock.real_seconds(1.0) == math.inf


def test_the_world_runs_at_its_speed_since_its_origin(path: Path) -> None:
    tell(path, 1000.0, 60.0, real=time.time() - 10)
    clock = FileClock(path)
    assert 1600.0 <= clock.now() < 1600.0 + 60 * 5
    assert clock.real_seconds(60.0) == 1.0
    assert abs(clock.real() - time.time()) < 5


def test_a_change_is_seen_at_the_next_question(path: Path) -> None:
    clock = FileClock(path)
    tell(path, 5000.0, 0.0)
    assert clock.now() == 5000.0
    tell(path, 9000.0, 2.0)
    assert clock.real_seconds(10.0) == 5.0


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"real": 1, "world": 2}', "\x00"])
@pytest.mark.parametrize("later", [False, True])
def test_a_file_that_is_no_clock(path: Path, text: str, later: bool) -> None:
    clock = FileClock(path)
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    if later:
        assert clock.now() == 1000.0, "time goes on as it was last told"
        return
    with pytest.raises(ValueError, match=r"clock\.json"):
        FileClock(path)


@pytest.mark.parametrize("speed", ["-1", "NaN", "Infinity", '"fast"', "null", "[]"])
def test_speeds_that_will_not_do(path: Path, speed: str) -> None:
    path.write_text(f'{{"real": 1, "world": 2, "speed": {speed}}}')
    with pytest.raises(ValueError, match=r"clock\.json"):
        FileClock(path)


def test_no_file_at_the_start_is_an_error_and_later_is_none(path: Path) -> None:
    clock = FileClock(path)
    path.unlink()
    assert clock.now() == 1000.0
    with pytest.raises(FileNotFoundError):
        FileClock(path)
    tell(path, 2000.0, 0.0)
    assert clock.now() == 2000.0


def test_no_thread_sees_half_of_a_change(path: Path) -> None:
    """The two clocks agree on the time at every moment; their parts mixed would be years off."""
    tell(path, 1e9, 0.0, real=0.0)
    clock = FileClock(path)
    told: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            told.append(clock.now())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(100):
        speed = float(turn % 2)
        tell(path, 1e9, speed, real=time.time() if speed else 0.0)
    over.set()
    for thread in threads:
        thread.join()
    assert told
    assert all(1e9 - 1 <= at < 1e9 + 120 for at in told)
