"""One downstream cluster: its API server's store and the controllers behind it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Engine
from bot.sandbox.world.kube.admission import Admission
from bot.sandbox.world.kube.jobs import Jobs
from bot.sandbox.world.kube.kinds import DOWNSTREAM, EVENT, JOB, NAMESPACE, NODE, POD, SERVICE_ACCOUNT, Kind
from bot.sandbox.world.kube.kubelet import Kubelet
from bot.sandbox.world.kube.namespaces import Namespaces
from bot.sandbox.world.kube.nodes import make_node, set_ready
from bot.sandbox.world.kube.objects import Change, Obj, ObjectStore
from bot.sandbox.world.kube.scheduler import Scheduler
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.metal.smi import query_gpus
from bot.sandbox.world.timings import Timings

_KERNEL = "[    0.000000] Linux version 6.8.0-1031-aws\n[   12.3] nvidia: loading out-of-tree module taints kernel.\n"

Record = Callable[[str, str], None]


class Downstream:
    """A cluster that Rancher has made. ``record(kind, detail)`` writes to the world's journal."""

    def __init__(
        self,
        engine: Engine,
        timings: Timings,
        record: Record,
        *,
        seed: int,
        version: str,
        extended_tolerations: bool,
        restricted: bool,
    ) -> None:
        self.engine = engine
        self.timings = timings
        self.record = record
        self.git_version = version
        self.hardware: dict[str, Hardware] = {}
        self.drivers: dict[str, str] = {}
        self.kernel: dict[str, str] = {}
        self._issued: dict[str, tuple[str, str, str, int]] = {}
        self.store = ObjectStore(lambda: engine.now, random.Random(seed), DOWNSTREAM)
        self.admission = Admission(self.store, extended_tolerations=extended_tolerations, restricted=restricted)
        self.kubelet = Kubelet(engine, self.store, timings, self.event, self.hardware, self.drivers)
        Scheduler(engine, self.store, timings.schedule, self.event)
        Jobs(engine, self.store, self.admission, self.event, self._job_finished)
        Namespaces(engine, self.store, timings.namespace_gone)
        self.store.subscribe(self._journal)
        for name in ("default", "kube-system", "kube-public", "kube-node-lease", "cattle-system"):
            self.ensure_namespace(name)

    @property
    def distribution(self) -> str:
        """``rke2`` or ``k3s``."""
        return "k3s" if "k3s" in self.git_version else "rke2"

    def ensure_namespace(self, name: str, project: str = "") -> None:
        """Make a namespace if there is none of that name; ``project`` as ``MID:p-xxxxx``."""
        if self.store.find(NAMESPACE, name) is None:
            annotations = {"annotations": {"field.cattle.io/projectId": project}} if project else {}
            self.store.create(NAMESPACE, self.admit(NAMESPACE, {"metadata": {"name": name, **annotations}}, ""))

    def admit(self, kind: Kind, obj: Obj, namespace: str) -> Obj:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`."""
        return self.admission.admit(kind, obj, namespace)

    def update(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`."""
        return self.admission.update(kind, old, new)

    def pod_log(self, pod: Obj, container: str) -> str:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`."""
        return self.kubelet.log(pod, container)

    def execute(self, pod: Obj, container: str, command: tuple[str, ...]) -> tuple[str, int]:
        """See :class:`~bot.sandbox.world.kube.host.ApiHost`. Played: dmesg and nvidia-smi, in the driver's pods."""
        node, driver = pod["spec"]["nodeName"], pod["metadata"]["labels"].get("app") == "nvidia-driver-daemonset"
        if command == ("dmesg",):
            if not driver:
                return "dmesg: read kernel buffer failed: Operation not permitted\n", 1
            return _KERNEL + self.kernel.get(node, ""), 0
        if command[0] == "nvidia-smi" and driver:
            return query_gpus(command[1:], self.hardware[node].gpus)
        return f'exec: "{command[0]}": executable file not found in $PATH', 127

    def token(self, service_account: Obj, seconds: int) -> str:
        """A token shaped like a JWT; what was issued is remembered, in place of a signature."""
        meta = service_account["metadata"]
        expires = int(self.engine.now) + seconds
        claims = {"sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}", "exp": expires}
        parts = [{"alg": "none"}, claims, {"sandbox": self.store.suffix(12)}]
        token = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        self._issued[token] = (meta["namespace"], meta["name"], meta["uid"], expires)
        return token

    def review(self, token: str) -> tuple[str, str] | None:
        """Namespace and name of the account whose valid token this is: it ends with its time, or its account."""
        namespace, name, uid, expires = self._issued.get(token, ("", "", "", 0))
        account = self.store.find(SERVICE_ACCOUNT, name, namespace) if name else None
        if account is None or account["metadata"]["uid"] != uid or self.engine.now >= expires:
            return None
        return namespace, name

    def join(self, name: str, hardware: Hardware, labels: dict[str, str], taints: list[Obj], roles: list[str]) -> None:
        """A machine becomes a Ready node, born with its labels and taints."""
        self.hardware[name] = hardware
        node = make_node(
            name,
            hardware,
            version=self.git_version,
            labels=labels,
            taints=taints,
            roles=roles,
            at=self.engine.now,
        )
        self.store.create(NODE, node)
        if hardware.gpus and not set(roles) & {"control-plane", "etcd"}:
            self.record("gpu-node", name)
        if "worker" in roles:
            self.record("node-ready", name)

    def leave(self, name: str) -> None:
        """A machine is gone, its node with it."""
        self.store.remove(NODE, name)
        self.hardware.pop(name, None)
        self.drivers.pop(name, None)

    def set_node_ready(self, name: str, *, ready: bool) -> None:
        """The kubelet of a node stops, or starts again, posting its status."""
        self.store.edit(NODE, name, "", lambda node: set_ready(node, ready=ready, at=self.engine.now))

    def event(self, obj: Obj, kind: str, reason: str, message: str) -> None:
        """Write an Event about ``obj``; the same one again only counts up."""
        meta = obj["metadata"]
        namespace = meta.get("namespace", "default")
        name = f"{meta['name']}.{_digest(meta['uid'], reason, message)}"
        now = timestamp(self.engine.now)

        def again(event: Obj) -> None:
            event["count"] += 1
            event["lastTimestamp"] = now

        if self.store.find(NAMESPACE, namespace) is None or self.store.edit(EVENT, name, namespace, again):
            return
        involved = {
            "kind": obj["kind"],
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta["uid"],
        }
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {**involved, "apiVersion": obj["apiVersion"]},
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "kubelet"},
            "reportingComponent": "kubelet",
            "reportingInstance": "",
        }
        self.store.create(EVENT, body)

    def _job_finished(self, job: Obj, condition: str) -> None:
        self.record("job-finished", f"{_path(job)} {condition}")

    def _journal(self, change: Change) -> None:
        if change.kind is JOB and change.type == "ADDED":
            self.record("job-created", _path(change.obj))
        if change.kind is POD and change.type == "MODIFIED":
            self._journal_binding(change.obj)

    def _journal_binding(self, pod: Obj) -> None:
        owners = [o["name"] for o in pod["metadata"].get("ownerReferences") or [] if o["kind"] == "Job"]
        if owners and pod["spec"].get("nodeName") and pod["status"]["phase"] == "Running":
            self.record("job-pod-bound", f"{pod['metadata']['namespace']}/{owners[0]} {pod['spec']['nodeName']}")


def _path(obj: Obj) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
