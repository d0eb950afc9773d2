"""The shared reader: one snapshot of the management API feeds the looks of all requests.

A snapshot carries when its requests started, so that a look can refuse one that is older than its own last write.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from bot.core.ports import Clock, ClusterView, WorldError
from bot.rancher.bodies import NAMESPACE
from bot.rancher.client import RancherClient
from bot.rancher.views import (
    CLUSTER_LABEL,
    Json,
    cluster_view,
    infrastructure_name,
    label,
    machine_view,
    management_id,
    name_of,
)

CLUSTERS = "/v1/provisioning.cattle.io.clusters"
MANAGEMENT = "/v1/management.cattle.io.clusters"
MACHINES = "/v1/cluster.x-k8s.io.machines"
EC2_MACHINES = "/v1/rke-machine.cattle.io.amazonec2machines"


@dataclass(frozen=True)
class Snapshot:
    """`started_real` wall time and `started_world` world time, Unix seconds, both before the first request."""

    started_real: float
    started_world: float
    clusters: Mapping[str, Json]
    management: Mapping[str, Json]
    machines: Mapping[str, tuple[Json, ...]]
    ec2_machines: Mapping[str, Json]

    def view(self, name: str) -> ClusterView | None:
        """The cluster as the snapshot has it; None proves nothing, for a list may lag behind its objects."""
        cluster = self.clusters.get(name)
        return None if cluster is None else self.view_of(cluster)

    def view_of(self, cluster: Json) -> ClusterView:
        """A cluster read by itself, with its machines from the snapshot."""
        machines = tuple(
            machine_view(machine, self.ec2_machines.get(infrastructure_name(machine)))
            for machine in self.machines.get(name_of(cluster), ())
        )
        return cluster_view(cluster, self.management.get(management_id(cluster)), machines)


@dataclass(frozen=True)
class _Flight:
    """A refresh under way; whoever may use its result waits for it."""

    started_real: float
    started_world: float
    result: Future[Snapshot]


class SnapshotReader:
    """Gives snapshots not older than `max_age_s` world seconds, with at most one refresh at a time.

    Safe to share between threads. A failed refresh fails all who waited for it, and the next asks anew.
    """

    def __init__(self, client: RancherClient, clock: Clock, max_age_s: float) -> None:
        self._client = client
        self._clock = clock
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._flight: _Flight | None = None

    def get(self, newer_than: float) -> Snapshot:
        """A snapshot whose requests started after `newer_than` (wall time); raises `WorldError`s."""
        while True:
            with self._lock:
                if self._last is not None and self._usable(self._last, newer_than):
                    return self._last
                flight, mine = self._flight, self._flight is None
                if flight is None:
                    flight = self._flight = _Flight(self._clock.real(), self._clock.now(), Future())
            if mine:
                self._fly(flight)
                return flight.result.result()
            if flight.started_real > newer_than:
                return flight.result.result()
            # It began too early for us: let it end, whatever comes of it, then look again.
            with suppress(WorldError):
                flight.result.result()

    def _usable(self, snapshot: Snapshot, newer_than: float) -> bool:
        age = self._clock.now() - snapshot.started_world
        return snapshot.started_real > newer_than and 0 <= age <= self._max_age_s

    def _fly(self, flight: _Flight) -> None:
        try:
            snapshot = self._read(flight.started_real, flight.started_world)
        except BaseException as error:
            self._land(None)
            flight.result.set_exception(error)
        else:
            self._land(snapshot)
            flight.result.set_result(snapshot)

    def _land(self, snapshot: Snapshot | None) -> None:
        with self._lock:
            self._flight = None
            self._last = snapshot or self._last

    def _read(self, started_real: float, started_world: float) -> Snapshot:
        read = self._client.list
        machines: dict[str, list[Json]] = {}
        # The pools hold the node driver's whole schema, tens of KB each, and no view needs them.
        clusters = {name_of(obj): obj for obj in read(f"{CLUSTERS}/{NAMESPACE}", "spec.rkeConfig")}
        for machine in read(f"{MACHINES}/{NAMESPACE}"):
            machines.setdefault(label(machine, CLUSTER_LABEL), []).append(machine)
        return Snapshot(
            started_real,
            started_world,
            clusters,
            {name_of(obj): obj for obj in read(MANAGEMENT)},
            {cluster: tuple(sorted(of_it, key=name_of)) for cluster, of_it in machines.items()},
            {name_of(obj): obj for obj in read(f"{EC2_MACHINES}/{NAMESPACE}")},
        )
