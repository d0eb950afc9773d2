"""The bot's Slack side as it runs, against a listening Slack: real Bolt, real store, the desk, nothing patched."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bot.core import lifecycle
from bot.core.costs.ledger import Committed
from bot.core.desk import Ask, Desk
from bot.core.orphans import Thing
from bot.core.ports import WorldError
from bot.core.records import MessageRow, RequestRow, RequestState, StepRow, StepState
from bot.core.spec import (
    Catalogue,
    Check,
    Choices,
    ClusterSpec,
    Draft,
    Envelope,
    GpuExpectation,
    Image,
    Policy,
    Pool,
    PoolSpec,
    Preflight,
    Preset,
    Target,
    Team,
)
from bot.sandbox.slack import Delivery, Event, ThreadedSlack, Workspace
from bot.store import SqliteStore
from handlers.calls import Clients
from handlers.directory import SlackDirectory
from handlers.home import Homes
from handlers.inbox import Inbox
from handlers.intake import Intake
from handlers.publisher import Publisher

CHANNEL, APPROVALS = "C0GPU", "C0APPROVE"
REQUESTER, LEAD, LEAD2, BYSTANDER = "U0REQUESTER", "U0LEAD", "U0LEAD2", "U0BYSTANDER"
LINE = 'create {name} --preset starter --gpus 1 --hours 8 --reason "try it"'

PRESET = Preset(
    "starter",
    "one small GPU machine",
    (
        PoolSpec("control", "m6i.xlarge", 1, control_plane=True),
        PoolSpec("gpu", "g4dn.xlarge", None, worker=True, gpu=True),
    ),
)


class MovableClock:
    """Both times run with the wall clock, shifted as a test likes."""

    def __init__(self) -> None:
        self.world_shift = self.real_shift = 0.0

    def now(self) -> float:
        return time.time() + self.world_shift

    def real(self) -> float:
        return time.time() + self.real_shift

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds


TWO_TYPES = dataclasses.replace(
    PRESET,
    name="two-types",
    pools=(PRESET.pools[0], dataclasses.replace(PRESET.pools[1], alternatives=("g5.xlarge",))),
)


def catalogue(**policy: int) -> Catalogue:
    return Catalogue(
        teams={"default": Team("default", lead_group="S0LEADS")},
        targets={"default": Target("default", "cattle-global-data:cc-1", "eu-west-1")},
        presets={"starter": PRESET},
        policy=Policy(**policy),
        probe_image=Image("python@sha256:0"),
    )


def envelope(name: str, gpus: int = 1, hours: int = 8, price: float | None = 0.75) -> Envelope:
    pools = (
        Pool("control", "m6i.xlarge", 1, True, False, False, 60, "a", "subnet-1", "ami-1"),
        Pool("gpu", "g4dn.xlarge", gpus, False, True, True, 60, "a", "subnet-1", "ami-1"),
    )
    return Envelope(
        name=name,
        team="default",
        target="default",
        preset="starter",
        account="123456789012",
        region="eu-west-1",
        vpc="vpc-1",
        cloud_credential="cattle-global-data:cc-1",
        security_group="sg",
        ssh_user="ubuntu",
        kubernetes="v1.34.2+rke2r1",
        operator="v26.7.0",
        driver="",
        probe_image="python@sha256:0",
        pools=pools,
        gpu=GpuExpectation("g4dn.xlarge", "T4", 1, 16384),
        gpus=gpus,
        hours=hours,
        max_price_per_hour=price,
    )


@dataclass
class Looks:
    """The preflight behind previews, answered by hand: what was asked, and what AWS says."""

    asked: list[ClusterSpec] = field(default_factory=list)
    price: float | None = 0.75
    gpus_each: int = 1
    zones: tuple[str, ...] = ("a", "b")
    wait: threading.Event | None = None

    def look(self, spec: ClusterSpec, committed: Committed | None) -> Preflight:
        self.asked.append(spec)
        if self.wait is not None:
            self.wait.wait(5)
        choices = Choices(self.zones, self.gpus_each)
        if spec.zone and spec.zone not in self.zones:
            said = f"eu-west-1{spec.zone} has no subnet of ours, or not every type."
            return Preflight((Check("zone and subnet", "no", said, "Choose one of: a, b."),), choices=choices)
        if spec.gpus % self.gpus_each:
            said = f"A machine has {self.gpus_each} GPUs: ask for {self.gpus_each}."
            return Preflight((Check("GPU count", "no", said),), choices=choices)
        found = dataclasses.replace(
            envelope(spec.name, spec.gpus, spec.hours, self.price),
            gpu=GpuExpectation("g4dn.12xlarge", "T4", self.gpus_each, 16384),
        )
        return Preflight((Check("quota G and VT", "ok", "4 vCPUs needed, 0 of 64 in use"),), found, choices)


@dataclass
class Sweeps:
    """One region of AWS as far as the sweep sees it, and its prices; ended things are gone from `left`."""

    left: list[Thing] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    refuses: WorldError | None = None
    region: str = "eu-west-1"

    def things(self) -> tuple[Thing, ...]:
        return tuple(self.left)

    def find(self, thing: Thing) -> Thing | None:
        return next((one for one in self.left if one.id == thing.id), None)

    def end(self, thing: Thing) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.left.remove(thing)
        self.ended.append(thing.id)

    def on_demand_price(self, name: str) -> float:
        return 0.5

    def disk_price(self) -> float:
        return 0.073


@dataclass
class Bot:
    """Everything of the bot that speaks to Slack, and the engine's part played by hand."""

    slack: ThreadedSlack
    store: SqliteStore
    clock: MovableClock
    desk: Desk
    inbox: Inbox
    intake: Intake
    publisher: Publisher
    directory: SlackDirectory
    clients: Clients
    path: Path
    homes: Homes
    looks: Looks
    sweeps: Sweeps

    @property
    def workspace(self) -> Workspace:
        return self.slack.workspace

    # --- people -------------------------------------------------------------------------------------------

    def types(self, user: str, text: str, channel: str = CHANNEL, *, duplicate: bool = False) -> Delivery:
        return self.slack.do(self.workspace.slash(user, channel, text, duplicate=duplicate))

    def clicks(self, user: str, action: str, card: Event, *, duplicate: bool = False) -> Delivery:
        assert card.channel and card.ts
        return self.slack.do(self.workspace.click(user, card.channel, card.ts, action, duplicate=duplicate))

    def denies(self, user: str, card: Event, reason: str = "too dear") -> None:
        """Deny opens a window for the reason; submitting it is the decision."""
        since = self.now
        self.clicks(user, "deny", card)
        window = self.sees(lambda e: e.kind == "view" and e.user == user, since)
        assert window.metadata is not None
        self.slack.do(self.workspace.submit_view(user, window.metadata["view_id"], {"reason": reason}))

    # --- what Slack shows ---------------------------------------------------------------------------------

    def sees(self, predicate: Callable[[Event], bool], since: int = 0, timeout: float = 8.0) -> Event:
        try:
            return self.slack.wait_for(predicate, timeout, since)
        except TimeoutError:
            told = "\n".join(
                f"{e.kind} {e.channel} {e.user} →{e.ephemeral_to}: {e.text}" for e in self.workspace.events
            )
            raise AssertionError(f"never seen; there was:\n{told}") from None

    def told(self, user: str, text: str, since: int = 0) -> Event:
        """The ephemeral message to that person that contains the text."""
        return self.sees(lambda e: e.kind == "ephemeral" and e.ephemeral_to == user and text in all_text(e), since)

    def shown(self, text: str, channel: str = CHANNEL, since: int = 0) -> Event:
        """The public message, new or edited, that contains the text."""
        return self.sees(
            lambda e: e.kind in ("message", "edit") and e.channel == channel and text in all_text(e), since
        )

    @property
    def now(self) -> int:
        """The position in the log of events."""
        return len(self.workspace.events)

    # --- the engine's part --------------------------------------------------------------------------------

    def asks(self, name: str = "train-a", *, price: float | None = 0.75) -> RequestRow:
        """A create by the requester, past its preflight; waits for approval."""
        draft = Draft(name, "starter", "1", "8", "try it")
        story = self.desk.ask_create(Ask(REQUESTER, CHANNEL, f"test:{name}:{self.now}"), draft)
        return self.checks(story.request_id, name, price=price)

    def checks(self, request_id: str, name: str = "train-a", *, price: float | None = 0.75) -> RequestRow:
        found = Preflight((Check("AWS identity", "ok", "account 123456789012"),), envelope(name, price=price))
        now = self.clock.now()
        with self.store.transaction() as tx:
            request = tx.request(request_id)
            assert request is not None
            lifecycle.checked(tx, request, found, at=now, lapses_at=now + 24 * 3600)
        self.publisher.wake()
        return self.request(request_id)

    def card(self, name: str = "train-a", channel: str = CHANNEL) -> Event:
        """The message of a request once its buttons are there."""
        return self.sees(
            lambda e: (
                e.channel == channel
                and any(b["type"] == "actions" for b in e.blocks)
                and name in all_text(e)
                and e.kind in ("message", "edit")
            )
        )

    def request(self, request_id: str) -> RequestRow:
        with self.store.reading() as tx:
            found = tx.request(request_id)
        assert found is not None
        return found

    def only_request(self, name: str) -> RequestRow:
        with self.store.reading() as tx:
            cluster = tx.living_cluster(name)
            assert cluster is not None
            (request,) = tx.requests_of(cluster.id)
        return request

    def messages(self, request_id: str) -> list[MessageRow]:
        with self.store.reading() as tx:
            return tx.messages(request_id)

    def runs(self, request_id: str, *states: StepState) -> None:
        """The first steps of a running request take these states."""
        now = self.clock.now()
        with self.store.transaction() as tx:
            request = tx.request(request_id)
            assert request is not None
            if request.state == RequestState.APPROVED:
                lifecycle.start(tx, request, now)
            for row, state in zip(tx.steps(request_id), states, strict=False):
                tx.change(row, state=state, started_at=now, why="machines are starting")
            lifecycle.rerender(tx, request_id, urgent=False)
        self.publisher.wake()

    def fails(self, request_id: str, reason: str, remedy: str = "") -> None:
        with self.store.transaction() as tx:
            request = tx.request(request_id)
            assert request is not None
            args = {"diagnosis": ["machine 1: out of capacity"], "incident": "i-0badcafe"}
            lifecycle.fail(tx, request, reason=reason, remedy=remedy, at=self.clock.now(), **args)  # type: ignore[arg-type]
        self.publisher.wake()

    def steps(self, request_id: str) -> list[StepRow]:
        with self.store.reading() as tx:
            return tx.steps(request_id)


def all_text(event: Event) -> str:
    """Everything an event says: its text and every string of its blocks."""

    def strings(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from strings(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from strings(inner)
        elif isinstance(value, str):
            yield value

    return " ".join([event.text, *strings(event.blocks)])
