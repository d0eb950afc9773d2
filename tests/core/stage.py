"""The core put together as `bot/app.py` does it, on a real store and a scripted world, moved by hand."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

from bot.core.desk import Ask, Decided, Desk
from bot.core.engine import Engine
from bot.core.looking import Surroundings
from bot.core.ports import Store, WorldError
from bot.core.records import AuditRow, ClusterRow, RequestRow, StepRow
from bot.core.spec import Catalogue, Draft, Image, Policy, PoolSpec, Preset, Target, Team
from bot.core.steps.base import Outside
from bot.core.story import Story
from tests.core.fakes import CREDENTIAL, MID, PROBE_SCRIPT, FakeCloud, FakeDirectory, FakeKube, FakeRancher, HandClock

REQUESTER, LEAD, SECOND_LEAD, BYSTANDER, GUEST = "UREQUESTER", "ULEAD", "USECONDLEAD", "UBYSTANDER", "UGUEST"
CHANNEL = "CROOM"
DRAFT = Draft("train-a", "starter", "1", "8", "a trial")

CATALOGUE = Catalogue(
    teams={"default": Team("default", leads=(LEAD, SECOND_LEAD, REQUESTER), members=(REQUESTER,))},
    targets={"default": Target("default", CREDENTIAL, "us-east-1", security_group="nodes", ami="ami-1")},
    presets={
        "starter": Preset(
            "starter",
            "one T4 a machine",
            (
                PoolSpec("cp", "t3.large", 1, control_plane=True),
                PoolSpec("wk", "t3.large", 1, worker=True),
                PoolSpec("gpu", "g4dn.xlarge", None, worker=True, gpu=True, root_gib=100),
            ),
        )
    },
    policy=Policy(),
    probe_image=Image("docker.io/library/python@sha256:" + "a" * 64),
)


@dataclass
class Stage:
    """Everything a test of the core moves or looks at."""

    store: Store
    clock: HandClock = field(default_factory=HandClock)
    directory: FakeDirectory = field(default_factory=lambda: FakeDirectory(guests=frozenset({GUEST})))
    catalogue: Catalogue = CATALOGUE
    principals: dict[str, str] = field(default_factory=lambda: {REQUESTER: "local://u-abcde"})

    def __post_init__(self) -> None:
        self.cloud = FakeCloud()
        self.rancher = FakeRancher(self.cloud, self.clock)
        self.kube = FakeKube(self.rancher)
        self.keys = itertools.count()
        self.desk = self.new_desk()
        self.engine = self.new_engine()

    def new_desk(self, **policy: int) -> Desk:
        rules = dataclasses.replace(self.catalogue.policy, **policy)
        catalogue = dataclasses.replace(self.catalogue, policy=rules)
        return Desk(store=self.store, clock=self.clock, catalogue=catalogue, directory=self.directory)

    def new_engine(self) -> Engine:
        """As a process that has just started."""
        around = Surroundings(self.outside, self.catalogue, self.principals, PROBE_SCRIPT)
        return Engine(store=self.store, clock=self.clock, around=around, threads=4, changed=self.rancher.changed)

    def outside(self, target: str) -> Outside:
        assert target == "default"
        return Outside(self.rancher, self.cloud, self._kube, "https://rancher.test")

    def _kube(self, management_id: str) -> FakeKube:
        assert management_id == MID
        return self.kube

    # --- people -----------------------------------------------------------------------------------------------

    def ask(self, user: str = REQUESTER, key: str = "") -> Ask:
        return Ask(user, CHANNEL, key or f"gesture-{next(self.keys)}")

    def create(self, draft: Draft = DRAFT, user: str = REQUESTER) -> Story:
        return self.desk.ask_create(self.ask(user), draft)

    def awaiting(self, draft: Draft = DRAFT) -> Story:
        """A create that has passed its preflight."""
        asked = self.create(draft)
        self.engine.look_once()
        return self.story(asked.request_id)

    def approve(self, request_id: str, user: str = LEAD) -> Decided:
        return self.desk.decide(user, request_id, approve=True)

    def running(self, draft: Draft = DRAFT) -> str:
        """A create that was approved; its request's id."""
        asked = self.awaiting(draft)
        self.approve(asked.request_id)
        return asked.request_id

    def delete(self, name: str = "train-a") -> str:
        """A delete that was approved; its request's id."""
        asked = self.desk.ask_delete(self.ask(), name)
        self.approve(asked.request_id)
        return asked.request_id

    # --- time -------------------------------------------------------------------------------------------------

    def look(self, times: int = 1, every: float = 5.0) -> None:
        """Let the engine look so often, so many world seconds apart."""
        for _ in range(times):
            self.engine.look_once()
            self.clock.forward(every)

    def finish(self, request_id: str, *, within_s: float = 7200.0, every: float = 5.0) -> Story:
        """Look until the request has ended; fails the test when it has not in that much world time."""
        until = self.clock.now() + within_s
        while self.request(request_id).finished_at is None:
            assert self.clock.now() < until, f"still {self.request(request_id).state}: {self.whys(request_id)}"
            self.look(every=every)
        return self.story(request_id)

    # --- what is so -------------------------------------------------------------------------------------------

    def story(self, request_id: str) -> Story:
        story = self.desk.story_by_id(request_id)
        assert story is not None
        return story

    def request(self, request_id: str) -> RequestRow:
        with self.store.reading() as tx:
            row = tx.request(request_id)
        assert row is not None
        return row

    def cluster(self, request_id: str) -> ClusterRow:
        with self.store.reading() as tx:
            return tx.cluster(f"k-{request_id[2:]}")

    def step(self, request_id: str, name: str) -> StepRow:
        with self.store.reading() as tx:
            return next(row for row in tx.steps(request_id) if row.kind.startswith(f"{name}@"))

    def whys(self, request_id: str) -> dict[str, str]:
        with self.store.reading() as tx:
            return {row.kind: row.why for row in tx.steps(request_id) if row.state == "running"}

    def audit(self, request_id: str) -> list[AuditRow]:
        with self.store.reading() as tx:
            return tx.audit_trail(request_id)

    def outage(self, error: WorldError | None) -> None:
        """Nothing outside answers, or everything does again."""
        self.rancher.trouble = self.cloud.trouble = self.kube.trouble = error
