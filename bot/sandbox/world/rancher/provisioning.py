"""The life of a provisioned cluster, from its POST to its 404.

Messages are the planner's (rancher/rancher: pkg/capr/planner/{planner,messages}.go).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Process, Signal
from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.helmcharts import HelmController
from bot.sandbox.world.kube.kinds import (
    MACHINE,
    MACHINE_CONFIG,
    MACHINE_DEPLOYMENT,
    MANAGEMENT_CLUSTER,
    NODE,
    PROVISIONING_CLUSTER,
)
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.nvidia.operator import GpuOperator
from bot.sandbox.world.rancher.catalog import Catalog
from bot.sandbox.world.rancher.machines import Machine
from bot.sandbox.world.rancher.report import Report
from bot.sandbox.world.timings import Timings

if TYPE_CHECKING:
    from bot.sandbox.world.rancher.management import Management

_UNREGISTERED = "waiting for at least one control plane, etcd, and worker node to be registered"
_MAX_NAMES = 3


class ProvisionedCluster:
    """One cluster that Rancher makes, keeps and removes."""

    def __init__(self, management: Management, obj: Obj, timings: Timings, seed: int) -> None:
        self.management = management
        self.engine = management.engine
        self.ec2 = management.ec2
        self.faults = management.faults
        self.local = management.store
        self.timings = timings
        self.name: str = obj["metadata"]["name"]
        self.namespace: str = obj["metadata"]["namespace"]
        self.credential: str = obj["spec"].get("cloudCredentialSecretName", "")
        self.mid = f"c-m-{self.local.suffix(8)}"
        self.project = f"{self.mid}:p-{self.local.suffix()}"
        self.report = Report(
            self.local,
            lambda: self.engine.now,
            name=self.name,
            namespace=self.namespace,
            mid=self.mid,
            mirrors=management.release.mirrors,
        )
        self.downstream = _downstream(self, obj["spec"], seed)
        self.catalog = Catalog(self.downstream, GpuOperator(self.downstream, self.faults), helm=management.release.helm)
        self.helm = HelmController(self.downstream, self.catalog.deploy)
        self.machines: list[Machine] = []
        self.init_machine: Machine | None = None
        self.quorum = Signal()
        self.control_plane_up = Signal()
        self.connected = False
        self.reachable = False
        self.has_project = False
        self.removing = False
        self._sets: dict[str, str] = {}
        self._life = self.engine.spawn(self._live())
        self.record("cluster-created", self.name)

    def record(self, kind: str, detail: str = "") -> None:
        """Write to the world's journal."""
        self.management.journal.record(self.engine.now, self.name, kind, detail)

    def stamp(self) -> str:
        """The present world time as Kubernetes writes it."""
        return timestamp(self.engine.now)

    # What happens, in order

    def _live(self) -> Process:
        self.report.waiting("CAPI cluster does not exist")
        yield self.timings.management_cluster
        self.report.begin(self.downstream.distribution)
        self.record("management-cluster", self.mid)
        yield self.timings.machine_objects
        if problem := self._spec_problem():
            self.report.stalled(problem)
            return
        self._sync_pools(first=True)
        self.report.waiting("waiting for infrastructure ready")
        yield 1.0
        self.report.waiting(_UNREGISTERED)
        yield self.quorum
        yield from self._bootstrap()
        yield from self._first_join()

    def _bootstrap(self) -> Process:
        machine = next(m for m in self.machines if m.registered and "control-plane" in m.roles)
        self.init_machine = machine
        self.report.waiting("waiting for viable init node")
        yield 2.0
        prefix = f"configuring bootstrap node(s) {machine.name}: "
        part = self.timings.bootstrap / 4
        self.report.waiting(prefix + "waiting for agent to check in and apply initial plan")
        yield part
        self.report.waiting(prefix + "waiting for plan to be applied")
        yield part
        network = "calico, " if self.downstream.distribution == "rke2" else ""  # K3s' flannel has no probe
        probes = f"{network}etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet"
        self.report.waiting(prefix + f"waiting for probes: {probes}")
        yield part
        self.report.waiting(
            prefix + f"waiting for probes: {network}kubelet and join url to be available on bootstrap node"
        )
        yield part
        self.record("control-plane-up", self.name)
        self.control_plane_up.fire()
        self.helm.deploy((self._spec().get("rkeConfig") or {}).get("additionalManifest") or "")
        self.report.control_plane_up()
        self.report.waiting(f"configuring control plane node(s) {machine.name}: waiting for cluster agent to connect")
        yield self.timings.agent_connected
        self._connect()

    def _connect(self) -> None:
        self.connected = True
        self.record("agent-connected", self.name)
        self.report.connected()
        self.engine.spawn(self._become_reachable())
        self.engine.spawn(self._get_project())

    def _become_reachable(self) -> Process:
        """Just after the agent has connected the proxy cannot impersonate anybody yet."""
        yield self.timings.impersonation
        self.reachable = True
        if not self.removing:
            self.report.healthy()
        self.record("api-ready", self.name)

    def _get_project(self) -> Process:
        yield self.timings.system_project
        self.has_project = True
        self.record("system-project", self.project)

    def _first_join(self) -> Process:
        self.report.waiting("waiting for control plane to be available")
        yield 3.0
        self.report.waiting("marking control plane as initialized")
        yield 2.0
        joining = [m for m in self.machines if m.registered and not m.joined]
        if joining:
            self.report.waiting(f"configuring worker node(s) {_listed(joining)}")
            yield from self._until(lambda: all(m.joined or m.removing for m in joining))
        self.report.done()
        yield 2.0
        self.report.waiting("configuring worker node(s): waiting for kubelet to update")
        yield self.timings.reconcile_again
        self.report.done()

    def _until(self, holds: Callable[[], bool]) -> Process:
        while not holds():
            yield 1.0

    # Pools and machines

    def pools_changed(self) -> None:
        """Bring machines and what is told of them in line with the pools of the spec, whose configs become its own."""
        if not self.removing and self._sets:
            if problem := self._spec_problem():
                self.report.stalled(problem)
                return
            self._sync_pools()

    def _sync_pools(self, *, first: bool = False) -> None:
        for pool in self._pools():
            self._sync_pool(pool, first=first)
        wanted = {pool["name"] for pool in self._pools()}
        for machine in [m for m in self.machines if m.pool["name"] not in wanted]:
            machine.remove()
        for name in self._sets.keys() - wanted:
            del self._sets[name]
            self.local.remove(MACHINE_DEPLOYMENT, f"{self.name}-{name}", self.namespace)
        self.report.nodes(sum(m.joined for m in self.machines), self.downstream.git_version)

    def _sync_pool(self, pool: Obj, *, first: bool) -> None:
        own = [m for m in self.machines if m.pool["name"] == pool["name"] and not m.removing]
        quantity = pool.get("quantity", 1)
        # ``paused`` holds back changes of the template only: the machine set goes on replacing what fails
        # (kubernetes-sigs/cluster-api: internal/controllers/machinedeployment/machinedeployment_controller.go).
        suffix = self._sets.setdefault(pool["name"], self.local.suffix())
        base = f"{self.name}-{pool['name']}-{suffix}"
        for index in range(len(own), quantity):
            last = first and index == quantity - 1
            machine = Machine(self, pool, f"{base}-{self.local.suffix()}", last=last)
            self.machines.append(machine)
            own.append(machine)
        for machine in self._surplus(own, len(own) - quantity):
            machine.remove()
        self._describe_pool(pool, own, quantity)

    def _surplus(self, own: list[Machine], count: int) -> list[Machine]:
        """Those to go when a pool shrinks: the marked ones first, then those that have not joined, then the oldest
        (kubernetes-sigs/cluster-api: internal/controllers/machineset/machineset_delete_policy.go)."""
        if count <= 0:
            return []

        def marked(machine: Machine) -> bool:
            found = self.local.find(MACHINE, machine.name, self.namespace) or {"metadata": {}}
            return "cluster.x-k8s.io/delete-machine" in (found["metadata"].get("annotations") or {})

        return sorted(own, key=lambda m: (not marked(m), m.joined))[:count]

    def _describe_pool(self, pool: Obj, own: list[Machine], quantity: int) -> None:
        name = f"{self.name}-{pool['name']}"
        ready = sum(m.joined for m in own)
        labels = {
            "cluster.x-k8s.io/cluster-name": self.name,
            "rke.cattle.io/cluster-name": self.name,
            "rke.cattle.io/rke-machine-pool-name": pool["name"],
        }
        meta = {"name": name, "namespace": self.namespace, "labels": labels}
        if self.local.find(MACHINE_DEPLOYMENT, name, self.namespace) is None:
            self.local.create(MACHINE_DEPLOYMENT, {"metadata": meta, "spec": {}, "status": {}})

        def describe(deployment: Obj) -> None:
            deployment["spec"] = {"clusterName": self.name, "replicas": quantity, "paused": bool(pool.get("paused"))}
            deployment["status"] = {
                "replicas": len(own),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "upToDateReplicas": len(own),
                "phase": "Running" if ready == quantity else "ScalingUp",
            }

        self.local.edit(MACHINE_DEPLOYMENT, name, self.namespace, describe)

    def check_quorum(self) -> None:
        """A machine has registered: is there one of each role?"""
        roles = {role for machine in self.machines if machine.registered for role in machine.roles}
        if roles >= {"control-plane", "etcd", "worker"}:
            self.quorum.fire()

    def join(self, machine: Machine) -> None:
        """The machine becomes a node."""
        if machine.hardware is None:
            raise RuntimeError(f"{machine.name} has no instance")
        labels, taints = dict(machine.pool.get("labels") or {}), list(machine.pool.get("taints") or [])
        if machine.is_server and "worker" not in machine.roles:
            taints += [
                {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                {"key": "node-role.kubernetes.io/etcd", "effect": "NoExecute"},
            ]
        self.downstream.join(machine.name, machine.hardware, labels, taints, machine.roles)

    def leave(self, machine: Machine) -> None:
        """The machine's node goes."""
        self.downstream.leave(machine.name)

    def node_info(self, name: str) -> Obj:
        """``status.nodeInfo`` of a node."""
        return dict(self.downstream.store.get(NODE, name)["status"]["nodeInfo"])

    def has_credential(self) -> bool:
        """Whether the Secret with the keys is there."""
        return self.credential in self.management.credentials

    def machine_stays(self, machine: Machine) -> None:
        """The machine's delete job has failed for good."""
        if self.removing:
            self.report.not_removed(f"error deleting machine [{machine.name}], machine must be deleted manually")

    def machine_gone(self, machine: Machine) -> None:
        """The machine's objects are gone; its pool may want another."""
        self.machines.remove(machine)
        self.pools_changed()

    # The end

    def remove(self) -> None:
        """Begin to remove everything."""
        if not self.removing:
            self.removing = True
            self._life.cancel()
            if "credential-deleted" in self.faults:
                self.management.credentials.pop(self.credential, None)
            self.record("cluster-deleted", self.name)
            self.engine.spawn(self._end())

    def _end(self) -> Process:
        if self.local.find(MANAGEMENT_CLUSTER, self.mid):
            self.local.delete(MANAGEMENT_CLUSTER, self.mid)
        for machine in self.machines:
            machine.remove()
        while self.machines:
            self.report.removing(f"waiting for machine [{self.machines[0].name}] to delete")
            yield self.machines[0].gone
        self.connected = self.reachable = False
        self.report.removing(f"waiting for cluster-api cluster [{self.name}] to delete")
        yield self.timings.cluster_gone
        for pool in self._pools():
            self.local.remove(MACHINE_DEPLOYMENT, f"{self.name}-{pool['name']}", self.namespace)
        for config in self.local.all(MACHINE_CONFIG, self.namespace):
            if self._owner() in (config["metadata"].get("ownerReferences") or []):
                self.local.remove(MACHINE_CONFIG, config["metadata"]["name"], self.namespace)
        self.report.end()
        self.record("cluster-gone", self.name)
        self.management.forget(self)

    # The spec

    def _spec(self) -> Obj:
        return dict(self.local.get(PROVISIONING_CLUSTER, self.name, self.namespace)["spec"])

    def _pools(self) -> list[Obj]:
        return list((self._spec().get("rkeConfig") or {}).get("machinePools") or [])

    def _spec_problem(self) -> str:
        """What only comes to light after the object was accepted (rancher/rancher: provisioningcluster/template.go)."""
        pools = self._pools()
        for pool in pools:
            name = pool["machineConfigRef"].get("name", "")
            config = self.local.find(MACHINE_CONFIG, name, self.namespace)
            if config is None:
                return f"invalid machinePool [{pool['name']}] missing name or valid config"
            owners = config["metadata"].get("ownerReferences") or []
            if any(o["name"] != self.name for o in owners):
                return f"can not use {name} [{config['kind']}] already owned by cluster {owners[0]['name']}"
            self._own(name)
        for field in ("controlPlaneRole", "etcdRole", "workerRole"):
            if not any(pool.get(field) for pool in pools):
                return f"at least one role of {field} is required in machinePools"
        obj = self.local.get(PROVISIONING_CLUSTER, self.name, self.namespace)
        version = obj["spec"].get("kubernetesVersion", "")
        if version not in self.management.release.kubernetes:
            return f"KDM release data is empty for {version}"
        if "k3s" in version and "cni" in ((obj["spec"].get("rkeConfig") or {}).get("machineGlobalConfig") or {}):
            return "k3s server: flag provided but not defined: -cni"  # the service ends at once, for ever
        return ""

    def _own(self, config: str) -> None:
        """Rancher makes the cluster the owner of each of its machine configs, which thus end with it."""
        owner = self._owner()
        self.local.edit(MACHINE_CONFIG, config, self.namespace, lambda c: c["metadata"].update(ownerReferences=[owner]))

    def _owner(self) -> Obj:
        me = self.local.get(PROVISIONING_CLUSTER, self.name, self.namespace)
        return {
            "apiVersion": me["apiVersion"],
            "kind": me["kind"],
            "name": self.name,
            "uid": me["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def spec_changed(self) -> None:
        """The spec has a new generation."""
        self.report.observed()
        self.pools_changed()


def _listed(machines: list[Machine]) -> str:
    names = sorted(m.name for m in machines)
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ",".join(names[:_MAX_NAMES]) + more


def _downstream(cluster: ProvisionedCluster, spec: Obj, seed: int) -> Downstream:
    rke = copy.deepcopy(spec.get("rkeConfig") or {})
    config = rke.get("machineGlobalConfig") or {}
    args = config.get("kube-apiserver-arg") or []
    args = [args] if isinstance(args, str) else args
    template = spec.get("defaultPodSecurityAdmissionConfigurationTemplateName")
    return Downstream(
        cluster.engine,
        cluster.timings,
        cluster.record,
        seed=seed,
        version=spec.get("kubernetesVersion") or cluster.management.git_version,
        extended_tolerations=any("ExtendedResourceToleration" in str(arg) for arg in args),
        restricted=template == "rancher-restricted" or config.get("profile") == "cis",
    )
