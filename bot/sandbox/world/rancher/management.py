"""The management cluster: Rancher's own objects, and what follows when they change."""

from __future__ import annotations

import random
from collections.abc import Collection

from bot.sandbox.world.engine import Engine
from bot.sandbox.world.journal import Journal
from bot.sandbox.world.kube.kinds import (
    CLUSTER_PROXY_CONFIG,
    MACHINE,
    MACHINE_CONFIG,
    MANAGEMENT,
    NAMESPACE,
    PROVISIONING_CLUSTER,
    Kind,
)
from bot.sandbox.world.kube.objects import ApiError, Change, Obj, ObjectStore
from bot.sandbox.world.rancher import webhook
from bot.sandbox.world.rancher.ec2 import Ec2
from bot.sandbox.world.rancher.imported import ImportedCluster
from bot.sandbox.world.rancher.provisioning import ProvisionedCluster
from bot.sandbox.world.rancher.release import Release
from bot.sandbox.world.timings import Timings

USER = "u-bot01"

#: Cloud credentials that there are at first, by id, with their default region.
CREDENTIALS = {"cattle-global-data:cc-sandbox": "us-east-1", "cattle-global-data:cc-other": "eu-west-1"}


class Management:
    """Rancher's own API server, and the clusters by management id."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ec2: Ec2,
        *,
        release: Release,
        faults: Collection[str],
        timings: Timings,
        seed: int,
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.ec2 = ec2
        self.release = release
        self.faults = faults
        self.timings = timings
        self.git_version = f"v{release.default_rke2}"
        self.clusters: dict[str, ProvisionedCluster] = {}
        self.credentials = dict(CREDENTIALS)
        self._seed = seed
        self._made = 0
        self._by_name: dict[str, ProvisionedCluster] = {}
        self.store = ObjectStore(lambda: engine.now, random.Random(seed), MANAGEMENT)
        for name in ("default", "kube-system", "cattle-system", "cattle-global-data", "fleet-default"):
            self.store.create(NAMESPACE, {"metadata": {"name": name}, "status": {"phase": "Active"}})
        self.store.subscribe(self._changed)

    def admit(self, kind: Kind, obj: Obj, namespace: str) -> Obj:
        """What Rancher's webhook and CRDs make of a new object. Raises ApiError."""
        if kind.namespaced:
            self.store.get(NAMESPACE, namespace)
        if kind is PROVISIONING_CLUSTER:
            cluster = webhook.admit_cluster(obj, namespace, credentials=self.credentials, user=USER)
            return webhook.without_unknown(cluster, self.release.unknown_fields)
        if kind is MACHINE_CONFIG:
            config = webhook.admit_machine_config(obj, namespace)
            return webhook.without_unknown(config, self.release.unknown_fields)
        if kind is CLUSTER_PROXY_CONFIG:
            return webhook.admit_proxy_config(obj, namespace, self.store.all(kind, namespace))
        raise ApiError(405, "MethodNotAllowed", f"{kind.resource} are made by Rancher itself")

    def update(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """The same for a changed object."""
        if kind is PROVISIONING_CLUSTER:
            return webhook.admit_update(old, new, credentials=self.credentials)
        if kind is MACHINE_CONFIG:
            checked = webhook.admit_machine_config(new, new["metadata"].get("namespace", ""))
            return {**checked, "apiVersion": old["apiVersion"], "kind": old["kind"]}
        return new

    def pod_log(self, pod: Obj, container: str) -> str:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`; a bot has no right to read these."""
        raise ApiError(403, "Forbidden", f"{container} of {pod['metadata']['name']} is not yours to read")

    def execute(self, pod: Obj, container: str, command: tuple[str, ...]) -> tuple[str, int]:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`; a bot has no right to run anything there."""
        raise ApiError(403, "Forbidden", "pods/exec is forbidden")

    def token(self, service_account: Obj, seconds: int) -> str:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`; a bot has no right to make these."""
        raise ApiError(403, "Forbidden", f"{service_account['metadata']['name']}: no token for {seconds} s")

    def import_cluster(self, name: str) -> None:
        """A cluster is there that nobody made through Rancher's pools."""
        self.store.create(PROVISIONING_CLUSTER, {"metadata": {"name": name, "namespace": "fleet-default"}, "spec": {}})

    def forget(self, cluster: ProvisionedCluster) -> None:
        """The cluster is gone."""
        self.clusters.pop(cluster.mid, None)
        for config in self.store.all(CLUSTER_PROXY_CONFIG, cluster.mid):
            self.store.remove(CLUSTER_PROXY_CONFIG, config["metadata"]["name"], cluster.mid)
        self.store.remove(NAMESPACE, cluster.mid)
        self._by_name.pop(cluster.name, None)

    def _changed(self, change: Change) -> None:
        meta = change.obj["metadata"]
        if change.kind is PROVISIONING_CLUSTER:
            self._cluster_changed(change)
        elif change.kind is MACHINE and change.type == "MODIFIED" and "deletionTimestamp" in meta:
            for cluster in self.clusters.values():
                for machine in cluster.machines:
                    if machine.name == meta["name"]:
                        self.engine.call_soon(machine.remove)
                        self.engine.call_soon(cluster.pools_changed)

    def _cluster_changed(self, change: Change) -> None:
        meta = change.obj["metadata"]
        name = meta["name"]
        if change.type == "ADDED":
            self._made += 1
            seed = self._seed * 1000 + self._made
            made = ProvisionedCluster if "rkeConfig" in change.obj["spec"] else ImportedCluster
            cluster = made(self, change.obj, self.timings.jittered(seed), seed)
            self._by_name[name] = cluster
            self.clusters[cluster.mid] = cluster
            self.store.create(NAMESPACE, {"metadata": {"name": cluster.mid}, "status": {"phase": "Active"}})
            return
        found = self._by_name.get(name)
        if found is None or change.type != "MODIFIED":
            return
        if "deletionTimestamp" in meta:
            self.engine.call_soon(found.remove)
        elif (change.obj.get("status") or {}).get("observedGeneration") not in (None, meta["generation"]):
            self.engine.call_soon(found.spec_changed)
