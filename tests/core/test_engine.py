"""The engine as it runs: no more looks than threads, one look at a request at a time, bad moments of the store."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.core.engine import Engine
from bot.core.looking import Surroundings
from bot.core.ports import News, Store, Tx
from bot.core.records import ClusterState, RequestState
from bot.core.steps.base import Outside
from bot.store import StoreBusy
from tests.core.stage import DRAFT, Stage

PATIENCE_S = 30.0
"""Longest real time a test waits for a thread before it fails."""


@contextmanager
def running(engine: Engine) -> Iterator[None]:
    """The engine in a thread of its own, stopped and joined at the end."""
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        yield
    finally:
        engine.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "stop() must end run()"


class Doorman:
    """Counts who is inside at once, and holds everybody there until told otherwise."""

    def __init__(self, stage: Stage, *, expect: int) -> None:
        self._stage, self._expect = stage, expect
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self.full, self.open = threading.Event(), threading.Event()

    def outside(self, target: str) -> Outside:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside == self._expect:
                self.full.set()
        assert self.open.wait(PATIENCE_S)
        with self._lock:
            self._inside -= 1
        return self._stage.outside(target)

    def engine(self, threads: int) -> Engine:
        stage = self._stage
        around = Surroundings(self.outside, stage.catalogue, stage.principals, "# the probe")
        return Engine(store=stage.store, clock=stage.clock, around=around, threads=threads)


def test_it_runs_a_request_to_its_end_and_says_after_each_look_that_something_was_written(stage: Stage) -> None:
    request_id = stage.running()
    over = threading.Event()

    def written() -> None:
        stage.clock.forward(5.0)
        if stage.request(request_id).finished_at is not None:
            over.set()

    stage.engine.on_written(written)
    with running(stage.engine):
        assert over.wait(PATIENCE_S)
    assert stage.story(request_id).cluster_state == ClusterState.READY


def test_no_more_is_claimed_than_there_are_threads(stage: Stage) -> None:
    for number in range(5):
        stage.create(dataclasses.replace(DRAFT, name=f"train-{number}"))
    doorman = Doorman(stage, expect=2)
    over = threading.Event()
    engine = doorman.engine(threads=2)

    def written() -> None:
        if all(story.state == RequestState.AWAITING_APPROVAL for story in stage.desk.stories(stage.ask())):
            over.set()

    engine.on_written(written)
    with running(engine):
        assert doorman.full.wait(PATIENCE_S)
        with stage.store.reading() as tx:
            held = [r for c in tx.clusters() for r in tx.requests_of(c.id) if r.lease_owner]
        assert len(held) == 2, "the others are left to other processes"
        doorman.open.set()
        assert over.wait(PATIENCE_S)
    assert doorman.most == 2


def test_two_processes_never_look_at_one_request_together(stage: Stage) -> None:
    ids = [stage.create(dataclasses.replace(DRAFT, name=f"train-{n}")).request_id for n in range(8)]
    doorman = Doorman(stage, expect=8)
    doorman.open.set()
    looked: Counter[int] = Counter()

    def work(place: int, engine: Engine) -> None:
        while seen := engine.look_once():
            looked[place] += seen

    threads = [threading.Thread(target=work, args=(n, doorman.engine(threads=3))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sum(looked.values()) == len(ids)
    for request_id in ids:
        assert [row.action for row in stage.audit(request_id)] == [
            "asked to create",
            "checking → awaiting_approval",
        ]


def test_waking_it_is_enough_for_what_was_just_written(stage: Stage) -> None:
    heard = threading.Event()
    stage.engine.on_written(heard.set)
    with running(stage.engine):
        asked = stage.create()
        stage.engine.wake()
        assert heard.wait(PATIENCE_S)
    assert stage.story(asked.request_id).state == RequestState.AWAITING_APPROVAL


class MoodyStore:
    """The store, busy once: after so many good transactions."""

    def __init__(self, store: Store, good: int) -> None:
        self._store, self._good = store, good
        self.was_bad = False

    @contextmanager
    def transaction(self, *, first: bool = False) -> Iterator[Tx]:
        self._good -= 1
        if self._good == -1:
            self.was_bad = True
            raise StoreBusy("another process has the store", "Wait.")
        with self._store.transaction() as tx:
            yield tx

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        with self._store.reading() as tx:
            yield tx

    def describe(self) -> str:
        return self._store.describe()


@pytest.mark.parametrize("good", range(4))
def test_a_store_that_is_busy_for_a_moment_stops_nothing(stage: Stage, good: int) -> None:
    """Whether it is the claim, the start, the writing down or the giving back that fails."""
    request_id = stage.running()
    store = MoodyStore(stage.store, good)
    around = Surroundings(stage.outside, stage.catalogue, stage.principals, "# the probe")
    engine = Engine(store=store, clock=stage.clock, around=around)
    over = threading.Event()

    def tell() -> None:
        stage.clock.forward(60.0)
        if stage.request(request_id).finished_at is not None:
            over.set()

    engine.on_written(tell)
    with running(engine):
        assert over.wait(PATIENCE_S)
    assert store.was_bad
    assert stage.story(request_id).cluster_state == ClusterState.READY
    assert stage.rancher.made["cluster train-a"] == 1


@pytest.mark.parametrize("busy", ["claims", "reading"])
def test_while_people_are_answered_nothing_is_claimed_and_nothing_read(stage: Stage, busy: str) -> None:
    request_id = stage.running()
    asked, done = threading.Event(), threading.Event()
    waits = {"claims": threading.Event(), "reading": threading.Event()}

    def hold(stopping: threading.Event) -> None:
        waits[busy].set()
        assert done.wait(PATIENCE_S)

    def pass_by(stopping: threading.Event) -> None: ...

    def changed() -> News:
        asked.set()
        return News(look_in=1.0)

    around = Surroundings(stage.outside, stage.catalogue, principals={}, probe_script="")
    engine = Engine(store=stage.store, clock=stage.clock, around=around, threads=2, changed=changed)
    engine.give_way(**{"claims": pass_by, "reading": pass_by, busy: hold})
    looked_before = stage.request(request_id).next_look_at
    with running(engine):
        assert waits[busy].wait(PATIENCE_S)
        if busy == "reading":
            assert not asked.is_set()
        else:
            assert stage.request(request_id).next_look_at == looked_before, "nothing was claimed"
        done.set()
        assert asked.wait(PATIENCE_S)
