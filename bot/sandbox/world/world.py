"""The world: clock, engine, Rancher and everything behind it, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict

from bot.sandbox.world.clock import WorldClock
from bot.sandbox.world.engine import Engine
from bot.sandbox.world.faults import checked
from bot.sandbox.world.journal import Journal, LogEntry, critical_path
from bot.sandbox.world.kube.api import Call, Exec, Reply, Watch
from bot.sandbox.world.kube.kinds import PROVISIONING_CLUSTER
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.rancher.ec2 import Ec2
from bot.sandbox.world.rancher.gateway import Gateway
from bot.sandbox.world.rancher.management import Management
from bot.sandbox.world.rancher.release import release
from bot.sandbox.world.rancher.scarcity import Scarcity
from bot.sandbox.world.rancher.state import state
from bot.sandbox.world.timings import Timings

log = logging.getLogger(__name__)

_TICK = 0.01  # real seconds
_OUTAGE = (60.0, 90.0)  # world seconds after the first cluster was asked for


class World:
    """A simulated Rancher and its clusters.

    ``ec2_endpoint`` is the URL of an EC2 stand-in in which instances really start and end; ``announce`` makes it say
    something of one (instance, EC2's code, region). ``faults`` are names of
    :data:`~bot.sandbox.world.faults.FAULTS`;
    ``existing`` are clusters that are there from the start. With a manual clock nothing happens but in :meth:`advance`,
    which then also waits for EC2.

    Raises:
        ValueError: for an unknown fault or version.
    """

    def __init__(
        self,
        clock: WorldClock,
        *,
        ec2_endpoint: str,
        announce: Callable[[str, str, str], None] = lambda *_: None,
        faults: Iterable[str] = (),
        version: str = "2.15",
        seed: int = 0,
        token: str = "token-bot:sandbox",  # noqa: S107 - opens nothing but a stand-in
        timings: Timings | None = None,
        existing: Iterable[str] = (),
    ) -> None:
        self.clock = clock
        self.faults = checked(faults)
        self.token = token
        self.journal = Journal()
        self.engine = Engine(clock.now(), blocking=clock.manual)
        self.calls: Counter[tuple[bool, str]] = Counter()
        scarcity = Scarcity(self.faults, seed, lambda: self.engine.now)
        self._ec2 = Ec2(ec2_endpoint, scarcity=scarcity, announce=announce)
        self.reads: Counter[str] = Counter()  # of each cluster behind the proxy, by Rancher's id
        self.management = Management(
            self.engine,
            self.journal,
            self._ec2,
            release=release(version),
            faults=self.faults,
            timings=timings or Timings(),
            seed=seed,
        )
        for name in existing:
            self.management.import_cluster(name)
        self.gateway = Gateway(self.management, token)
        self._ticker: asyncio.Task[None] | None = None

    @property
    def events(self) -> list[LogEntry]:
        """Everything that has become true, oldest first."""
        return self.journal.entries

    def critical_path(self, cluster: str) -> float:
        """World seconds that the world itself needed for ``cluster``: see :func:`journal.critical_path`."""
        return critical_path(self.journal.of(cluster))

    def start(self) -> None:
        """Let time pass; called within a running event loop. Starting twice is once."""
        if self._ticker is None and not self.clock.manual:
            self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def stop(self) -> None:
        """Stop time and close connections."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        await asyncio.to_thread(self._ec2.close)

    def advance(self) -> None:
        """Run everything that is due by the clock."""
        self.engine.advance(self.clock.now())

    def handle(self, call: Call, authorization: str) -> Reply | Watch | Exec:
        """Answer one call to Rancher; time has been brought up to date first."""
        self.advance()
        downstream, template = self.gateway.template(call.path)
        self.calls[downstream, f"{call.method} {template}"] += 1
        if downstream and call.method == "GET":
            self.reads[call.path.split("/")[3]] += 1
        if self._out_of_order():
            return Reply(503, "no available server\n", "text/plain")
        return self.gateway.handle(call, authorization)

    def call_counts(self) -> Obj:
        """Calls by method and path template: Rancher's own API and its clusters' apart, and the total."""
        management = {call: n for (downstream, call), n in sorted(self.calls.items()) if not downstream}
        downstream = {call: n for (downstream, call), n in sorted(self.calls.items()) if downstream}
        return {
            "management": management,
            "downstream": downstream,
            "management_total": sum(management.values()),
            "downstream_total": sum(downstream.values()),
            "total": self.calls.total(),
        }

    def describe(self) -> Obj:
        """State and log, for people and benches."""
        clusters = {}
        for mid, cluster in self.management.clusters.items():
            obj = self.management.store.find(PROVISIONING_CLUSTER, cluster.name, cluster.namespace)
            clusters[cluster.name] = {
                "id": mid,
                "state": state(PROVISIONING_CLUSTER, obj)["name"] if obj else "gone",
                "machines": {m.name: "joined" if m.joined else "coming" for m in cluster.machines},
            }
        return {
            "now": self.engine.now,
            "speed": self.clock.speed,
            "faults": sorted(self.faults),
            "clusters": clusters,
            "critical_path": {name: self._path_or_none(name) for name in self._names()},
            "log": [asdict(entry) for entry in self.events],
        }

    def _names(self) -> list[str]:
        return list(dict.fromkeys(entry.cluster for entry in self.events))

    def _path_or_none(self, cluster: str) -> float | None:
        try:
            return self.critical_path(cluster)
        except ValueError:
            return None  # it has not come that far

    def _out_of_order(self) -> bool:
        if "rancher-503" not in self.faults or not self.events:
            return False
        since = self.engine.now - self.events[0].at_world
        return _OUTAGE[0] <= since < _OUTAGE[1]

    async def _tick(self) -> None:
        while True:
            self.advance()
            await asyncio.sleep(_TICK)
