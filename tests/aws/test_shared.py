"""Many who ask AWS the same at once ask it once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.aws.shared import FRESH_S, SharedCloud
from bot.core.cloud import Cloud, Quota
from bot.core.ports import Temporary
from tests.core.fakes import FakeCloud


class Slow(FakeCloud):
    """Counts, and answers when it is told to."""

    region = "us-east-1"

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go, self.broken = 0, threading.Event(), False

    def quota(self, code: str) -> Quota:
        self.asked += 1
        assert self.go.wait(5)
        if self.broken:
            raise Temporary("RequestLimitExceeded")
        return super().quota(code)


def test_many_at_once_ask_once_and_later_ones_anew() -> None:
    now, slow = [0.0], Slow()
    shared: Cloud = SharedCloud(slow, lambda: now[0])
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(shared.quota, "L-DB2E81BA") for _ in range(20)]
        slow.go.set()
        assert len({answer.result(5) for answer in answers}) == 1
    assert slow.asked == 1
    now[0] += FRESH_S - 0.1
    shared.quota("L-DB2E81BA")
    assert slow.asked == 1
    now[0] += 0.1
    shared.quota("L-DB2E81BA")
    assert slow.asked == 2


def test_an_error_is_not_kept() -> None:
    slow = Slow()
    slow.go.set()
    slow.broken = True
    shared = SharedCloud(slow, lambda: 0.0)
    with pytest.raises(Temporary):
        shared.quota("L-DB2E81BA")
    slow.broken = False
    assert shared.quota("L-DB2E81BA").limit > 0


def test_what_a_removal_believes_is_asked_every_time() -> None:
    fake = Slow()
    shared = SharedCloud(fake, lambda: 0.0)
    assert shared.instances("gpu-cluster/cluster", "train-a") == fake.instances("gpu-cluster/cluster", "train-a")
    assert shared.region == fake.region


def test_what_aws_announces_is_asked_every_time() -> None:
    fake = Slow()
    shared = SharedCloud(fake, lambda: 0.0)
    shared.announcements()
    shared.announcements()
    assert fake.asked_announced == 2, "a spot machine has two minutes; the watch has a pace of its own"
