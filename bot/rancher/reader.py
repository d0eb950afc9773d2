"""The shared reader: one snapshot of the management API feeds the looks of all requests, and tells what has changed.

A snapshot carries when its requests started, so that a look can refuse one that is older than its own last write. Four
lists make one, side by side and whatever the number of clusters; it is made anew at most every `every_s`, whoever asks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from bot.core.ports import Clock, ClusterView, MachineView, News, Unread
from bot.rancher.bodies import NAMESPACE
from bot.rancher.client import RancherClient
from bot.rancher.views import (
    CLUSTER_LABEL,
    Json,
    cluster_view,
    holds,
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

PAGE = 10_000
"""Objects a list may bring at once. Steve's own limit is 100,000 (rancher/steve: listprocessor/processor.go); what is
left of a machine is about 3 kB."""

_DERIVED = ("metadata.managedFields", "metadata.annotations", "metadata.relationships")
"""No view needs them: who wrote what, what Rancher applied, what else belongs to it. Fields go before the answer is
written, those that Steve computes too (rancher/steve: pkg/resources/common/formatter.go)."""
_NOT_NEEDED: Mapping[str, tuple[str, ...]] = {
    # The pools hold the node driver's whole schema, tens of kB each.
    CLUSTERS: ("spec",),
    # Two copies of the spec, and what Rancher keeps to reach the cluster.
    MANAGEMENT: ("spec", "status.appliedSpec", "status.caCert", "status.capabilities", "status.agentFeatures"),
    MACHINES: ("status.addresses", "status.nodeInfo"),
    # The machine config once more, its cloud-init with it.
    EC2_MACHINES: ("spec",),
}


@dataclass(frozen=True)
class Snapshot:
    """`started_real` wall time and `started_world` world time, Unix seconds, both before the first request.

    `connected` by the management cluster's id.
    """

    started_real: float
    started_world: float
    views: Mapping[str, ClusterView]
    connected: Mapping[str, bool | None]
    machines: Mapping[str, tuple[MachineView, ...]]

    def view_of(self, cluster: Json) -> ClusterView:
        """A cluster read by itself, with its machines from the snapshot."""
        machines = self.machines.get(name_of(cluster), ())
        return cluster_view(cluster, self.connected.get(management_id(cluster)), machines)

    def unlike(self, other: Snapshot | None) -> frozenset[str]:
        """Names of the clusters that came, went or look otherwise than in `other`."""
        before = {} if other is None else other.views
        return frozenset(name for name in {*self.views, *before} if self.views.get(name) != before.get(name))


@dataclass(frozen=True)
class _Flight:
    """A refresh under way; whoever may use its result waits for it."""

    started_real: float
    started_world: float
    result: Future[Snapshot]


class SnapshotReader:
    """Gives snapshots not older than `every_s` world seconds, with at most one refresh at a time.

    Safe to share between threads. A failed refresh fails all who ask until the next may begin.
    """

    def __init__(self, client: RancherClient, clock: Clock, every_s: float) -> None:
        self._client = client
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._flight: _Flight | None = None
        self._failed: _Flight | None = None
        self._changed: frozenset[str] = frozenset()

    def changed(self) -> News:
        """The clusters that look otherwise than when this was asked last; raises `WorldError`s.

        Waits for the refresh that is under way, or due.
        """
        with self._lock:
            flight = self._flight
        last = self.get(0.0) if flight is None else flight.result.result()
        with self._lock:
            names, self._changed = self._changed, frozenset()
        return News(names, self._left(last, self._every_s))

    def get(self, newer_than: float) -> Snapshot:
        """A snapshot whose requests started after `newer_than` (wall time).

        Raises `Unread` where the next one may not be begun yet, so that writes of many clusters do not make it read
        all the time; and `WorldError`s, the same one until it is time to try again.
        """
        with self._lock:
            last, flight = self._last, self._flight
            # While the next one is under way nobody waits for it who can do with this one.
            if last is not None and self._left(last, self._every_s if flight is None else 2 * self._every_s) > 0:
                if last.started_real > newer_than:
                    return last
                if flight is None:
                    raise Unread(self._left(last, self._every_s))
            if flight is None and self._failed is not None and self._left(self._failed, self._every_s) > 0:
                flight = self._failed
            mine = flight is None
            if flight is None:
                flight = self._flight = _Flight(self._clock.real(), self._clock.now(), Future())
        if mine:
            self._fly(flight)
        elif flight.started_real <= newer_than:
            # It began too early for us.
            raise Unread(max(self._left(flight, self._every_s), 0.0))
        return flight.result.result()

    def _left(self, begun: Snapshot | _Flight, most: float) -> float:
        """World seconds until it is `most` old; one from the future, the clock having been set back, is too old."""
        age = self._clock.now() - begun.started_world
        return most - age if age >= 0 else 0.0

    def _fly(self, flight: _Flight) -> None:
        try:
            snapshot = self._read(flight.started_real, flight.started_world)
        except BaseException as error:
            self._land(None, flight)
            flight.result.set_exception(error)
        else:
            self._land(snapshot, None)
            flight.result.set_result(snapshot)

    def _land(self, snapshot: Snapshot | None, failed: _Flight | None) -> None:
        with self._lock:
            self._flight, self._failed = None, failed
            if snapshot is not None:
                self._changed |= snapshot.unlike(self._last)
                self._last = snapshot

    def _read(self, started_real: float, started_world: float) -> Snapshot:
        kinds = (CLUSTERS, MACHINES, MANAGEMENT, EC2_MACHINES)
        with ThreadPoolExecutor(len(kinds), thread_name_prefix="list") as lists:
            clusters, of_all, managed, of_ec2 = lists.map(self._list, kinds)
        of_cluster: dict[str, list[Json]] = {}
        for machine in of_all:
            of_cluster.setdefault(label(machine, CLUSTER_LABEL), []).append(machine)
        connected = {name_of(obj): holds(obj, "Connected") for obj in managed}
        in_ec2 = {name_of(obj): obj for obj in of_ec2}
        machines = {
            cluster: tuple(machine_view(m, in_ec2.get(infrastructure_name(m))) for m in sorted(of_it, key=name_of))
            for cluster, of_it in of_cluster.items()
        }
        bare = Snapshot(started_real, started_world, {}, connected, machines)
        return replace(bare, views={name_of(cluster): bare.view_of(cluster) for cluster in clusters})

    def _list(self, kind: str) -> list[Json]:
        path = kind if kind == MANAGEMENT else f"{kind}/{NAMESPACE}"
        return list(self._client.list(path, *_DERIVED, *_NOT_NEEDED[kind], page=PAGE))
