"""A press ends exactly the list that was shown, looks each thing up once more, and is in the audit before it acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.core.desk import Ask, Desk
from bot.core.orphans import Thing
from bot.core.policy import Denied
from bot.core.ports import Permanent, Refused, Temporary, WorldError
from bot.core.records import AuditRow, ClusterRow, ClusterState
from bot.core.sweeping import (
    ALREADY,
    ENDED,
    FAILED,
    KEPT,
    MOST,
    REFUSED,
    Listing,
    Sweeping,
    Swept,
)
from bot.store import SqliteStore
from tests.core.fakes import FakeDirectory
from tests.core.stage import CATALOGUE, Stage

NOW = 1_795_000_000.0
MACHINE = Thing("machine", "i-1", cluster="old", ours=True, type="g4dn.xlarge", since=NOW - 7200)
DISK = Thing("volume", "vol-1", cluster="old", ours=True, gib=730)
CLAIM = Thing("volume", "vol-2", owner="c-m-old", gib=8)
LIVING = Thing("machine", "i-9", cluster="live", ours=True, type="g4dn.xlarge")


@dataclass
class Region:
    """AWS of one region, by hand: `seen` is what a look by id shows instead, `ends` what ending raises."""

    things_: list[Thing] = field(default_factory=list)
    seen: dict[str, Thing | None] = field(default_factory=dict)
    ends: dict[str, WorldError] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    trouble: WorldError | None = None
    on_end: Callable[[], None] = lambda: None
    region: str = "us-east-1"

    def things(self) -> tuple[Thing, ...]:
        if self.trouble is not None:
            raise self.trouble
        return tuple(self.things_)

    def find(self, thing: Thing) -> Thing | None:
        return self.seen.get(thing.id, thing if thing in self.things_ else None)

    def end(self, thing: Thing) -> None:
        self.on_end()
        if thing.id in self.ends:
            raise self.ends[thing.id]
        self.things_ = [one for one in self.things_ if one.id != thing.id]
        self.ended.append(thing.id)

    def on_demand_price(self, name: str) -> float:
        if name == "zz.9":
            raise Permanent("no price")
        return 0.526

    def disk_price(self) -> float:
        return 0.1


@dataclass
class Rig:
    stage: Stage
    region: Region
    sweeping: Sweeping

    def listing(self) -> Listing:
        return self.sweeping.listing(Ask("U0LEAD", "C1", "list"))

    def press(self, digest: str = "", key: str = "press-1", user: str = "U0LEAD") -> Any:
        return self.sweeping.press(Ask(user, "C1", key), digest or self.listing().digest)

    def audit(self) -> list[AuditRow]:
        with self.stage.store.reading() as tx:
            return [row for row in tx.audit_of("") if row.request_id.startswith("o-")]


@pytest.fixture
def rig(tmp_path) -> Rig:
    stage = Stage(SqliteStore(tmp_path / "store.db"))
    now = stage.clock.now()
    with stage.store.transaction() as tx:
        for name, state, gone in (("old", ClusterState.GONE, now - 9000), ("live", ClusterState.READY, None)):
            tx.add(ClusterRow(f"k-{name}", name, "default", "default", "U1", "C1", state, now - 9e4,
                              gone_at=gone, management_id=f"c-m-{name}"))  # fmt: skip
    region = Region([MACHINE, DISK, CLAIM, LIVING])
    directory = FakeDirectory({"S0LEADS": frozenset({"U0LEAD"})})
    team = dataclasses.replace(CATALOGUE.teams["default"], leads=(), lead_group="S0LEADS", members=())
    catalogue = dataclasses.replace(CATALOGUE, teams={"default": team})
    desk = Desk(store=stage.store, clock=stage.clock, catalogue=catalogue, directory=directory)
    sweeping = Sweeping(
        desk=desk, store=stage.store, clock=stage.clock, directory=directory, regions=("us-east-1",),
        sweeper=lambda _: region, cloud=lambda _: region,
    )  # fmt: skip
    return Rig(stage, region, sweeping)


def words(swept: Listing | Swept) -> dict[str, str]:
    assert isinstance(swept, Swept)
    return {result.key.rpartition("/")[2]: result.word for result in swept.results}


def test_the_list_has_prices_and_what_the_button_leaves(rig: Rig) -> None:
    told = rig.listing()
    assert [(one.orphan.thing.id, one.hourly) for one in told.left] == [
        ("i-1", 0.526), ("vol-1", pytest.approx(0.1)), ("vol-2", pytest.approx(8 * 0.1 / 730)),
    ]  # fmt: skip
    assert [one.orphan.thing.id for one in told.endable] == ["i-1", "vol-1"]
    assert rig.region.ended == []
    assert rig.audit() == []


def test_what_has_no_price_is_unknown(rig: Rig) -> None:
    rig.region.things_ = [dataclasses.replace(MACHINE, type="zz.9")]
    assert [one.hourly for one in rig.listing().left] == [None]


def test_a_press_ends_the_list_and_leaves_its_lines(rig: Rig) -> None:
    assert words(rig.press()) == {"i-1": ENDED, "vol-1": ENDED}
    assert rig.region.ended == ["i-1", "vol-1"]
    first, *rest = rig.audit()
    assert (first.actor, first.action) == ("U0LEAD", "asked to end 2 orphans")
    assert [row.action for row in rest] == ["orphan: ended"] * 2
    assert "us-east-1/machine/i-1" in first.detail


def test_the_press_is_written_down_before_anything_is_ended(rig: Rig) -> None:
    written: list[int] = []
    rig.region.on_end = lambda: written.append(len(rig.audit()))
    rig.press()
    assert written == [1, 2]


def test_a_list_that_has_changed_is_shown_anew_and_nothing_is_ended(rig: Rig) -> None:
    digest = rig.listing().digest
    rig.region.things_.append(dataclasses.replace(MACHINE, id="i-2"))
    told = rig.press(digest)
    assert isinstance(told, Listing)
    assert told.changed
    assert told.digest != digest
    assert rig.region.ended == []
    assert rig.audit() == []
    assert words(rig.press(told.digest, key="press-2")) == {"i-1": ENDED, "i-2": ENDED, "vol-1": ENDED}


def test_a_change_that_the_button_does_not_touch_is_none(rig: Rig) -> None:
    digest = rig.listing().digest
    rig.region.things_.remove(CLAIM)
    assert words(rig.press(digest)) == {"i-1": ENDED, "vol-1": ENDED}


def test_nothing_left_ends_nothing(rig: Rig) -> None:
    rig.region.things_ = [CLAIM]
    told = rig.press()
    assert isinstance(told, Listing)
    assert told.changed


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (None, ALREADY),
        (dataclasses.replace(MACHINE, ours=False), KEPT),
        (dataclasses.replace(MACHINE, cluster="live"), KEPT),
        (dataclasses.replace(MACHINE, cluster="never"), KEPT),
    ],
)
def test_each_is_looked_up_once_more_right_before(rig: Rig, seen: Thing | None, word: str) -> None:
    rig.region.seen["i-1"] = seen
    assert words(rig.press()) == {"i-1": word, "vol-1": ENDED}
    assert rig.region.ended == ["vol-1"]


def test_a_refusal_is_asked_once_a_kind(rig: Rig) -> None:
    other = dataclasses.replace(MACHINE, id="i-2")
    rig.region.things_.append(other)
    denied = Refused("UnauthorizedOperation: You are not authorized", "Allow it.")
    tries: list[int] = []
    rig.region.ends = {"i-1": denied, "i-2": denied}
    rig.region.on_end = lambda: tries.append(1)
    told = rig.press()
    assert words(told) == {"i-1": REFUSED, "i-2": REFUSED, "vol-1": ENDED}
    assert told.denied
    assert len(tries) == 2, "one machine and the volume"


def test_one_that_cannot_be_ended_does_not_stop_the_others(rig: Rig) -> None:
    rig.region.ends = {"i-1": Permanent("OperationNotPermitted: protected"), "vol-1": Temporary("503")}
    told = rig.press()
    assert words(told) == {"i-1": FAILED, "vol-1": FAILED}
    assert "protected" in told.results[0].detail


def test_the_same_press_after_a_crash_goes_on_where_it_was(rig: Rig) -> None:
    class Killed(Exception):
        pass

    def die() -> None:
        if rig.region.ended:
            raise Killed

    digest = rig.listing().digest
    rig.region.on_end = die
    with pytest.raises(Killed):
        rig.press(digest)
    assert rig.region.ended == ["i-1"]
    rig.region.on_end = lambda: None
    assert words(rig.press(digest)) == {"i-1": ENDED, "vol-1": ENDED}
    assert rig.region.ended == ["i-1", "vol-1"], "nothing twice"
    assert len(rig.audit()) == 3


def test_at_most_so_many_at_once_the_dearest_first(rig: Rig) -> None:
    disks = [dataclasses.replace(DISK, id=f"vol-{n:03}", gib=1) for n in range(MOST + 5)]
    rig.region.things_ = [*disks, MACHINE]
    told = rig.listing()
    assert len(told.endable) == MOST
    assert told.endable[0].orphan.thing == MACHINE


def test_a_region_that_does_not_answer_is_named(rig: Rig) -> None:
    rig.region.trouble = Temporary("AWS: 503")
    told = rig.listing()
    assert (told.left, told.silent) == ((), (("us-east-1", "AWS: 503"),))


def test_only_leads_may_look_and_press(rig: Rig) -> None:
    with pytest.raises(Denied):
        rig.sweeping.listing(Ask("U0OTHER", "C1", "x"))
    digest = rig.listing().digest
    with pytest.raises(Denied):
        rig.press(digest, user="U0OTHER")
    assert rig.region.ended == []
