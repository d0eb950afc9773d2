"""What Rancher says about a cluster: the conditions of its three objects.

In 2.15 the provisioning cluster copies the control plane's Ready to three conditions and nothing from the
management cluster. Up to 2.14 it copies the management cluster's conditions as well, its Ready follows the control
plane only until that is stable, and `status.ready` waits for the management cluster's Ready instead of its Connected
(rancher/rancher: pkg/controllers/provisioningv2/{provisioningcluster,cluster}/controller.go).
"""

from __future__ import annotations

from collections.abc import Callable

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.kinds import CONTROL_PLANE, MANAGEMENT_CLUSTER, PROVISIONING_CLUSTER
from bot.sandbox.world.kube.objects import Obj, ObjectStore

_COPIED = ("Updated", "Provisioned", "Ready")


class Report:
    """Writes conditions; ``name`` and ``mid`` are those of the cluster, ``mirrors`` as in the release."""

    def __init__(
        self, store: ObjectStore, now: Callable[[], float], *, name: str, namespace: str, mid: str, mirrors: bool
    ) -> None:
        self._mirrors = mirrors
        self._stable = False
        self._store = store
        self._now = now
        self._name = name
        self._namespace = namespace
        self._mid = mid
        self._up = False
        self._connected = False

    def begin(self, distribution: str) -> None:
        """Rancher has made the management cluster and the control plane object."""
        obj = self._store.get(PROVISIONING_CLUSTER, self._name, self._namespace)
        # The counts are new in 2.15.
        info = {} if self._mirrors else {"info": {"machineProvider": "amazonec2", "nodeCount": 0}}
        status = {"conditions": [], **info, "provider": distribution}
        meta = {"name": self._mid, "labels": dict(obj["metadata"].get("labels") or {})}
        spec: Obj = {"displayName": self._name, "fleetWorkspaceName": self._namespace}
        self._store.create(MANAGEMENT_CLUSTER, {"metadata": meta, "spec": spec, "status": status})
        self._management_condition("Connected", "False")
        meta = {"name": self._name, "namespace": self._namespace}
        spec = {"clusterName": self._name, "kubernetesVersion": obj["spec"].get("kubernetesVersion")}
        self._store.create(CONTROL_PLANE, {"metadata": meta, "spec": spec, "status": {}})
        self._edit(lambda cluster: cluster["status"].update(clusterName=self._mid))
        for kind, value in (("Created", "True"), ("Reconciling", "False"), ("Stalled", "False")):
            self._condition(kind, value)

    def end(self) -> None:
        """All three objects are gone."""
        self._store.remove(CONTROL_PLANE, self._name, self._namespace)
        self._store.remove(MANAGEMENT_CLUSTER, self._mid)
        self._store.remove(PROVISIONING_CLUSTER, self._name, self._namespace)

    def waiting(self, message: str) -> None:
        """The planner waits for something."""
        self._plan("Unknown", "Waiting", message)

    def done(self) -> None:
        """The planner has nothing to do; the first time makes the control plane stable."""
        self._plan("True", "", "")
        self._stable = True

    def stalled(self, problem: str) -> None:
        """The spec cannot be carried out."""
        self._condition("Stalled", "True", "Error", problem)
        for kind in _COPIED:
            self._condition(kind, "False", "Error", problem)

    def removing(self, message: str) -> None:
        """What its removal waits for."""
        self._condition("Removed", "Unknown", "Waiting", message)

    def not_removed(self, problem: str) -> None:
        """What its removal cannot get over (rancher/rancher: pkg/capr/common.go)."""
        self._condition("Removed", "False", "Error", problem)

    def control_plane_up(self) -> None:
        """From now on the control plane counts as initialized."""
        self._up = True

    def connected(self) -> None:
        """The cluster agent has connected; from 2.15 on ``status.ready`` turns true with it, and never false again."""
        self._connected = True
        for kind in ("Connected", "Provisioned", "Updated", "AgentDeployed"):
            self._management_condition(kind, "True")
        self._edit(lambda cluster: cluster["status"].update(agentDeployed=True))
        if self._mirrors:
            self._management_condition("Ready", "False", "Disconnected", "Cluster health check failed")
        else:
            self.healthy()

    def healthy(self) -> None:
        """The management cluster's Ready: Rancher has reached the cluster's own API."""
        self._management_condition("Ready", "True")
        self._edit(lambda cluster: cluster["status"].update(ready=True))

    def nodes(self, count: int, version: str) -> None:
        """The number of nodes, and their Kubernetes version."""
        if self._mirrors:
            return
        info = {"nodeCount": count, "kubernetesVersion": version if count else ""}
        self._store.edit(MANAGEMENT_CLUSTER, self._mid, "", lambda c: c["status"]["info"].update(info))

    def observed(self) -> None:
        """The present generation of the spec has been seen."""
        self._edit(lambda _: None)

    def _plan(self, status: str, reason: str, message: str) -> None:
        """The control plane's Ready, and its copies."""

        def tell(plane: Obj) -> None:
            conditions = {"Ready": status, "Reconciled": status, "Bootstrapped": str(self._up), "Stable": status}
            plane["status"] |= {
                "agentConnected": self._connected,
                "initialized": self._up,
                "initialization": {"controlPlaneInitialized": self._up},
            }
            for kind, value in conditions.items():
                _put(plane, self._made(kind, value, reason, message))

        self._store.edit(CONTROL_PLANE, self._name, self._namespace, tell)
        for kind in _COPIED:
            if kind == "Ready" and self._mirrors and self._stable:
                continue  # it is the management cluster's by now
            self._condition(kind, status, reason, message)

    def _management_condition(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        condition = self._made(kind, status, reason, message)
        self._store.edit(MANAGEMENT_CLUSTER, self._mid, "", lambda cluster: _put(cluster, condition))
        own = kind in ("Updated", "Provisioned") or (kind == "Ready" and not self._stable)
        if self._mirrors and not own:
            self._condition(kind, status, reason, message)

    def _condition(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        condition = self._made(kind, status, reason, message)
        self._edit(lambda cluster: _put(cluster, condition))

    def _edit(self, change: Callable[[Obj], object]) -> None:
        def observe(cluster: Obj) -> None:
            cluster.setdefault("status", {}).setdefault("ready", False)
            change(cluster)
            cluster["status"]["observedGeneration"] = cluster["metadata"]["generation"]

        self._store.edit(PROVISIONING_CLUSTER, self._name, self._namespace, observe)

    def _made(self, kind: str, status: str, reason: str = "", message: str = "") -> Obj:
        condition = {"type": kind, "status": status, "lastUpdateTime": timestamp(self._now())}
        return {**condition, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}


def _put(obj: Obj, condition: Obj) -> None:
    """Set a condition; its time moves only when it changes."""
    conditions = obj["status"].setdefault("conditions", [])
    for index, old in enumerate(conditions):
        if old["type"] == condition["type"]:
            same = {**condition, "lastUpdateTime": old["lastUpdateTime"]} == old
            conditions[index] = old if same else condition
            return
    conditions.append(condition)
