"""The life of one machine: EC2 instance, infrastructure machine, CAPI machine, node.

Shapes are those of Cluster API v1beta2, as Rancher 2.14 and later serve them.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.sandbox.world.engine import Process, Signal
from bot.sandbox.world.kube.kinds import INFRA_MACHINE, MACHINE, MACHINE_CONFIG, NODE
from bot.sandbox.world.kube.nodes import set_ready
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.rancher.ec2 import LaunchError

if TYPE_CHECKING:
    from bot.sandbox.world.rancher.provisioning import ProvisionedCluster

_IN_DRIVER = "Error creating machine: Error in driver during machine creation: "


#: What EC2 announces, in its own words (AWS: Spot Instance request status; scheduled events).
_ANNOUNCED = {"spot-notice": "marked-for-termination", "retirement": "instance-retirement"}
_LATER = frozenset({"node-dies-later", "gpu-fails-later", "spot-taint", *_ANNOUNCED})
_IN_USE_S = 120.0
_REQUEUED_S = 10.0
_FORCE = "provisioning.cattle.io/force-machine-remove"
_NO_KEYS = (
    "AuthFailure: AWS was not able to validate the provided access credentials\n\tstatus code: 401, request id: sandbox"
)
#: What AWS's node termination handler puts on a node (aws/aws-node-termination-handler: pkg/node/node.go).
_SPOT_TAINT = {"key": "aws-node-termination-handler/spot-itn", "value": "", "effect": "NoSchedule"}


class Machine:
    """One machine of one pool. ``last``: of those that its pool began with, the last one."""

    def __init__(self, cluster: ProvisionedCluster, pool: Obj, name: str, *, last: bool) -> None:
        self.cluster = cluster
        self.pool = pool
        self.name = name
        self.last = last
        self.hardware: Hardware | None = None
        self.registered = False
        self.joined = False
        self.removing = False
        self.gone = Signal()
        self._launch: Future[Hardware] | None = None
        self._times = cluster.timings
        self._create_objects()
        self._life = cluster.engine.spawn(self._live())

    @property
    def roles(self) -> list[str]:
        """``control-plane``, ``etcd``, ``worker``: those that the pool has."""
        named = {"control-plane": "controlPlaneRole", "etcd": "etcdRole", "worker": "workerRole"}
        return [role for role, field in named.items() if self.pool.get(field)]

    @property
    def is_server(self) -> bool:
        """Whether it runs the control plane or etcd."""
        return bool({"control-plane", "etcd"} & set(self.roles))

    def remove(self) -> None:
        """Begin to remove it: node, instance, objects."""
        if not self.removing:
            self.removing = True
            self._life.cancel()
            self.cluster.engine.spawn(self._leave())

    def _live(self) -> Process:
        cluster = self.cluster
        while not cluster.has_credential():
            yield _REQUEUED_S
        self._condition("creating")
        config = cluster.local.get(MACHINE_CONFIG, self.pool["machineConfigRef"]["name"], cluster.namespace)
        self._launch = cluster.ec2.launch(config, self.name, f"kubernetes.io/cluster/{cluster.mid}")
        yield self._times.ec2_launch
        try:
            self.hardware = yield self._launch
        except LaunchError as problem:
            yield from self._fail(str(problem))
            return
        cluster.record("instance-running", f"{self.name} {self._known().instance_id}")
        yield self._times.ec2_ready
        self._infra_ready()
        if self._known().gpus and "never-joins" in cluster.faults:
            return
        self._afflict()
        yield self._times.agent_check_in
        self.registered = True
        cluster.record("registered", self.name)
        cluster.check_quorum()
        yield cluster.control_plane_up
        if cluster.init_machine is not self:
            yield self._times.join
        self._join()

    def _known(self) -> Hardware:
        if self.hardware is None:
            raise RuntimeError(f"{self.name} has no instance")
        return self.hardware

    def _join(self) -> None:
        cluster = self.cluster
        cluster.join(self)
        self.joined = True

        def running(machine: Obj) -> None:
            machine["status"]["nodeRef"] = {"name": self.name}
            machine["status"]["nodeInfo"] = cluster.node_info(self.name)

        cluster.local.edit(MACHINE, self.name, cluster.namespace, running)
        self._phase("Running", ready=True, message="")
        cluster.pools_changed()
        if self._known().gpus and self.last and _LATER & set(cluster.faults):
            cluster.engine.spawn(self._age())

    def _age(self) -> Process:
        """Faults of a node that has been in use: they begin some time after one of its taints came off."""
        cluster, store = self.cluster, self.cluster.downstream.store
        registered = len(self.pool.get("taints") or [])
        while (node := store.find(NODE, self.name)) is not None:
            if len(node["spec"].get("taints") or []) < registered:
                break
            yield 10.0
        yield _IN_USE_S
        if node is None or self.removing:
            return
        if "node-dies-later" in cluster.faults:
            store.edit(NODE, self.name, "", lambda found: set_ready(found, ready=False, at=cluster.engine.now))
        for fault, code in _ANNOUNCED.items():
            if fault in cluster.faults:
                cluster.ec2.announce(self._known().instance_id, code, self._known().region)
        if "spot-taint" in cluster.faults:
            store.edit(NODE, self.name, "", lambda n: n["spec"].setdefault("taints", []).append(dict(_SPOT_TAINT)))
        if "gpu-fails-later" in cluster.faults:
            *good, bad = self._known().gpus
            self.hardware = replace(self._known(), gpus=(*good, replace(bad, faulty=True)))
            cluster.downstream.hardware[self.name] = self.hardware
        cluster.record("node-aged", self.name)

    def _fail(self, output: str) -> Process:
        """The create job failed: the reason is visible for a moment, then Rancher wipes the machine."""
        cluster = self.cluster
        where = f"server [{cluster.namespace}/{self.name}] of kind (Amazonec2Machine)"
        text = f"CreateError: {_IN_DRIVER}{output}"
        message = f"failed creating {where} for machine {self.name} in infrastructure provider: {text}"
        cluster.record("machine-failed", f"{self.name} {output}")

        def failed(infra: Obj) -> None:
            infra["status"] |= {
                "failureReason": "CreateError",
                "failureMessage": _IN_DRIVER + output,
                "jobComplete": True,
            }
            conditions = [
                _v1(kind, "False", cluster.stamp(), "CreateError", message) for kind in ("CreateJob", "Ready")
            ]
            infra["status"]["conditions"] = conditions

        cluster.local.edit(INFRA_MACHINE, self.name, cluster.namespace, failed)

        def mirrored(machine: Obj) -> None:
            old = machine["status"]["deprecated"]["v1beta1"]
            old |= {"failureReason": "CreateError", "failureMessage": message}

        cluster.local.edit(MACHINE, self.name, cluster.namespace, mirrored)
        self._phase("Failed", ready=False, message=message)
        yield self._times.failed_machine
        cluster.engine.call_soon(self.remove)

    def _leave(self) -> Process:
        cluster = self.cluster
        for kind in (MACHINE, INFRA_MACHINE):
            if cluster.local.find(kind, self.name, cluster.namespace):
                cluster.local.delete(kind, self.name, cluster.namespace)
        self._phase("Deleting", ready=False, message="")
        if self.joined:
            yield self._times.drain
            cluster.leave(self)
        if self._launch is not None:
            try:
                self.hardware = yield self._launch
            except LaunchError:
                self.hardware = None
        if self.hardware is not None:
            yield from self._delete_job(self.hardware)
        for kind in (MACHINE, INFRA_MACHINE):
            cluster.local.remove(kind, self.name, cluster.namespace)
        self.gone.fire()
        cluster.machine_gone(self)

    def _delete_job(self, hardware: Hardware) -> Process:
        """rancher-machine's rm. Without the Secret Rancher cannot start it, and says so in its own log only; one that
        has failed is not run again, and the machine's objects stay unless somebody forces them out, which leaves the
        instance behind (rancher/rancher: pkg/controllers/capr/machineprovision/controller.go)."""
        cluster = self.cluster
        while not cluster.has_credential():
            yield _REQUEUED_S
        yield self._times.terminate
        if "credential-refused" in cluster.faults:
            self._undeletable()
            while not self._forced():
                yield _REQUEUED_S
            return
        yield cluster.ec2.terminate(hardware.region, hardware.instance_id)
        cluster.record("instance-terminated", f"{self.name} {hardware.instance_id}")
        yield self._times.machine_gone

    def _undeletable(self) -> None:
        cluster = self.cluster
        output = f'Error removing host "{self.name}": unable to terminate instance: {_NO_KEYS}'
        where = f"server [{cluster.namespace}/{self.name}] of kind (Amazonec2Machine)"
        message = f"failed deleting {where} for machine {self.name} in infrastructure provider: DeleteError: {output}"
        told = {"failureReason": "DeleteError", "failureMessage": output}

        def failed(infra: Obj) -> None:
            made = [c for c in infra["status"]["conditions"] if c["type"] == "CreateJob"]
            now = [_v1(kind, "False", cluster.stamp(), "DeleteError", message) for kind in ("DeleteJob", "Ready")]
            infra["status"] |= {**told, "conditions": [*made, *now]}

        cluster.local.edit(INFRA_MACHINE, self.name, cluster.namespace, failed)
        cluster.local.edit(
            MACHINE, self.name, cluster.namespace, lambda m: m["status"]["deprecated"]["v1beta1"].update(told)
        )
        cluster.record("machine-stays", self.name)
        cluster.machine_stays(self)

    def _forced(self) -> bool:
        infra = self.cluster.local.get(INFRA_MACHINE, self.name, self.cluster.namespace)
        return str((infra["metadata"].get("annotations") or {}).get(_FORCE)).lower() == "true"

    def _afflict(self) -> None:
        """Faults in the hardware of the last GPU machine: no GPU on its bus, or one that computes wrongly."""
        hardware = self._known()
        if not hardware.gpus or not self.last:
            return
        *good, bad = hardware.gpus
        if "gpu-missing" in self.cluster.faults:
            self.hardware = replace(hardware, gpus=())
        elif "gpu-bad" in self.cluster.faults:
            self.hardware = replace(hardware, gpus=(*good, replace(bad, faulty=True)))

    def _create_objects(self) -> None:
        cluster, pool = self.cluster, self.pool
        deployment = f"{cluster.name}-{pool['name']}"
        labels = {
            "cluster.x-k8s.io/cluster-name": cluster.name,
            "cluster.x-k8s.io/deployment-name": deployment,
            "cluster.x-k8s.io/set-name": self.name.rsplit("-", 1)[0],
            "rke.cattle.io/cluster-name": cluster.name,
            "rke.cattle.io/rke-machine-pool-name": pool["name"],
            **{f"rke.cattle.io/{role}-role": "true" for role in self.roles},
        }
        config = cluster.local.find(MACHINE_CONFIG, pool["machineConfigRef"]["name"], cluster.namespace) or {}
        fields = {k: v for k, v in config.items() if k not in ("metadata", "apiVersion", "kind")}
        common = {"cloudCredentialSecretName": cluster.credential, "labels": pool.get("labels") or {}}
        meta = {"name": self.name, "namespace": cluster.namespace, "labels": labels}
        infra = {
            "metadata": meta,
            "spec": {**fields, "common": {**common, "taints": pool.get("taints") or []}},
            "status": {},
        }
        cluster.local.create(INFRA_MACHINE, infra)
        spec = {
            "clusterName": cluster.name,
            "bootstrap": {"configRef": {"apiGroup": "rke.cattle.io", "kind": "RKEBootstrap", "name": self.name}},
            "infrastructureRef": {
                "apiGroup": "rke-machine.cattle.io",
                "kind": "Amazonec2Machine",
                "name": self.name,
            },
        }
        status = {"conditions": [], "deprecated": {"v1beta1": {"conditions": []}}, "initialization": {}}
        cluster.local.create(MACHINE, {"metadata": meta, "spec": spec, "status": {"phase": "Pending", **status}})
        cluster.record("machine-created", self.name)

    def _condition(self, reason: str) -> None:
        cluster = self.cluster
        where = f"server [{cluster.namespace}/{self.name}] of kind (Amazonec2Machine)"
        message = f"{reason} {where} for machine {self.name} in infrastructure provider"

        def creating(infra: Obj) -> None:
            infra["status"] |= {"jobName": f"{self.name}-machine-provision"}
            infra["status"]["conditions"] = [
                _v1("CreateJob", "Unknown", cluster.stamp(), "", message),
                _v1("Ready", "False", cluster.stamp(), "", message),
            ]

        cluster.local.edit(INFRA_MACHINE, self.name, cluster.namespace, creating)
        self._phase("Provisioning", ready=False, message=message)

    def _infra_ready(self) -> None:
        cluster, hardware = self.cluster, self._known()
        provider = f"aws:///{hardware.zone}/{hardware.instance_id}"
        addresses = [{"type": "InternalIP", "address": hardware.private_ip}]

        def ready(infra: Obj) -> None:
            infra["spec"]["providerID"] = provider
            infra["status"] |= {
                "ready": True,
                "jobComplete": True,
                "addresses": addresses,
                "initialization": {"provisioned": True},
                "conditions": [_v1(kind, "True", cluster.stamp(), "", "") for kind in ("CreateJob", "Ready")],
            }

        cluster.local.edit(INFRA_MACHINE, self.name, cluster.namespace, ready)

        def provisioned(machine: Obj) -> None:
            machine["spec"]["providerID"] = provider
            machine["status"]["addresses"] = addresses
            machine["status"]["initialization"] = {
                "infrastructureProvisioned": True,
                "bootstrapDataSecretCreated": True,
            }

        cluster.local.edit(MACHINE, self.name, cluster.namespace, provisioned)
        self._phase("Provisioned", ready=False, message="waiting for agent to check in and apply initial plan")

    def _phase(self, phase: str, *, ready: bool, message: str) -> None:
        """Phase and conditions of the CAPI machine, both generations of them."""
        cluster = self.cluster
        now = cluster.stamp()
        infra = phase in ("Provisioned", "Running")

        def change(machine: Obj) -> None:
            status = machine["status"]
            status["phase"] = phase
            status["lastUpdated"] = now
            status["conditions"] = [
                _v2("InfrastructureReady", infra, now, message if not infra else ""),
                _v2("NodeReady", ready, now, message),
                _v2("Ready", ready, now, message),
                _v2("Available", ready, now, message),
            ]
            status["deprecated"]["v1beta1"]["conditions"] = [
                _v1("InfrastructureReady", str(infra), now, "", "" if infra else message),
                _v1("Ready", str(ready), now, "", message),
            ]

        cluster.local.edit(MACHINE, self.name, cluster.namespace, change)


def _v1(kind: str, status: str, now: str, reason: str, message: str) -> Obj:
    condition = {"type": kind, "status": status, "lastTransitionTime": now, "lastUpdateTime": now}
    return {**condition, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}


def _v2(kind: str, good: bool, now: str, message: str) -> Obj:
    reason = kind if good else f"Not{kind}"
    return {
        "type": kind,
        "status": "True" if good else "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
    }
