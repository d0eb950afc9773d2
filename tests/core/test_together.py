"""Many who ask at once share an answer that is not older than their question."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.core.together import Together


def test_those_who_come_meanwhile_share_the_next_answer() -> None:
    one, go, count = Together[int](), threading.Event(), [0]

    def work() -> int:
        count[0] += 1
        now = count[0]
        assert go.wait(5)
        return now

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(one.of, work)
        while not count[0]:
            time.sleep(0.001)
        others = [pool.submit(one.of, work) for _ in range(19)]
        time.sleep(0.05)
        go.set()
        assert first.result(5) == 1
        assert {other.result(5) for other in others} == {2}, "begun after they asked, and once for all"


def test_an_error_is_told_to_whom_it_befell() -> None:
    one = Together[int]()
    with pytest.raises(ZeroDivisionError):
        one.of(lambda: 1 // 0)
    assert one.of(lambda: 7) == 7
