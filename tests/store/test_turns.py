"""Who writes next."""

from __future__ import annotations

import threading
import time

from bot.store.turns import Turns


def test_whoever_a_person_waits_for_goes_before_those_that_waited_longer() -> None:
    turns, order = Turns(), []
    began = threading.Semaphore(0)

    def write(name: str, *, first: bool) -> None:
        began.release()
        with turns.mine(first=first):
            order.append(name)

    writers = [threading.Thread(target=write, args=(f"look-{n}",), kwargs={"first": False}) for n in range(5)]
    writers.append(threading.Thread(target=write, args=("listener",), kwargs={"first": True}))
    with turns.mine(first=False):
        for writer in writers:
            writer.start()
            began.acquire()
        while turns._hurried == 0:
            time.sleep(0.001)
    for writer in writers:
        writer.join()
    assert order[0] == "listener"
    assert sorted(order[1:]) == [f"look-{n}" for n in range(5)]


def test_one_at_a_time_and_nobody_is_forgotten() -> None:
    turns, inside, most, done = Turns(), 0, 0, 0

    def write(number: int) -> None:
        nonlocal inside, most, done
        for turn in range(200):
            with turns.mine(first=(number + turn) % 3 == 0):
                inside += 1
                most = max(most, inside)
                done += 1
                inside -= 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (most, done) == (1, 1600)
