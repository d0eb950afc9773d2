"""What people do is written down once, quickly also in a rush, and told to nobody as safe before it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.core.policy import Verb
from bot.core.ports import Tx
from bot.store import SqliteStore
from bot.store.errors import StoreError
from handlers.courtesy import MOST_S, QUIET_S, Courtesy
from handlers.inbox import Inbound, Inbox
from tests.handlers.harness import CHANNEL, REQUESTER, MovableClock

LIST = Inbound(Verb.LIST, REQUESTER, CHANNEL)


class Gate(SqliteStore):
    """Counts transactions; each waits until the gate is open, and fails where it is broken."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count, self.open, self.broken = 0, threading.Event(), False
        self.open.set()

    @contextmanager
    def transaction(self, *, first: bool = False) -> Iterator[Tx]:
        self.count += 1
        assert self.open.wait(5)
        if self.broken:
            raise StoreError("the disk is full", "Make room.")
        with super().transaction() as tx:
            yield tx


@pytest.fixture
def store(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "inbox.db")


def test_what_comes_in_while_one_is_written_is_written_together(store: Gate) -> None:
    inbox = Inbox(store, MovableClock())
    woken: list[int] = []
    inbox.on_put(lambda: woken.append(1))
    store.open.clear()
    with ThreadPoolExecutor(40) as pool:
        puts = [pool.submit(inbox.put, f"key-{number % 30}", LIST) for number in range(40)]
        while len(inbox._coming) < 39:
            time.sleep(0.01)
        store.open.set()
        told = [put.result(5) for put in puts]
    assert store.count == 2, "the first, and all the others"
    assert told.count(True) == 30 == len(woken), "of those with one key exactly one was new"
    with store.reading() as tx:
        assert len(tx._read("SELECT key FROM seen")) == 30  # type: ignore[attr-defined]


def test_what_could_not_be_written_is_nobodys_yes(store: Gate) -> None:
    inbox = Inbox(store, MovableClock())
    store.open.clear()
    store.broken = True
    with ThreadPoolExecutor(5) as pool:
        puts = [pool.submit(inbox.put, f"key-{number}", LIST) for number in range(5)]
        store.open.set()
        for put in puts:
            with pytest.raises(StoreError):
                put.result(5)
    store.broken = False
    assert inbox.put("key-1", LIST), "and the next one finds everything as it should be"


def test_who_waits_for_acks_waits_once_a_burst(store: Gate) -> None:
    clock, stopping = MovableClock(), threading.Event()
    inbox = Inbox(store, clock)
    courtesy = Courtesy(inbox, clock)
    courtesy.wait(stopping)
    inbox.put_at_real = clock.real()
    began = time.monotonic()
    courtesy.wait(stopping)
    assert QUIET_S / 2 < time.monotonic() - began < MOST_S
    inbox.put_at_real = clock.real() + 3600  # a burst that does not end
    stopping.set()
    courtesy.wait(stopping)
    stopping.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(courtesy.wait, stopping)
        time.sleep(QUIET_S)
        assert not waiting.done()
        clock.real_shift += MOST_S + 1
        waiting.result(5)
    began = time.monotonic()
    courtesy.wait(stopping)
    assert time.monotonic() - began < QUIET_S, "the same burst holds nobody up twice"
