"""The objects of the GPU Operator: Deployments, DaemonSets, their pods and what the pods print."""

from __future__ import annotations

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.kinds import DAEMON_SET, DEPLOYMENT, NODE, POD, Kind
from bot.sandbox.world.kube.kubelet import container_status
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.nvidia.operands import OPERANDS, Operand

_NFD = "gpu-operator-node-feature-discovery"
_DEPLOYMENTS = ("gpu-operator", f"{_NFD}-master", f"{_NFD}-gc")
_IMAGE = "nvcr.io/nvidia/{}"


class Manifests:
    """What exists in the operator's namespace."""

    def __init__(self, cluster: Downstream) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self.namespace = ""
        self._pods: dict[tuple[str, str], str] = {}
        self._ready: set[tuple[str, str]] = set()

    def install(self, namespace: str) -> None:
        """What Helm itself makes: the Deployments and NFD's DaemonSet. Pods that were there begin again."""
        self.namespace = namespace
        for operand, node in list(self._pods):
            if (operand, node) not in self._ready:
                self._drop_pod(operand, node)
        for name in _DEPLOYMENTS:
            self._ensure(DEPLOYMENT, name, _deployment(name))
        self._ensure(DAEMON_SET, f"{_NFD}-worker", _daemon_set(f"{_NFD}-worker", {}))

    def start_operator(self) -> None:
        """The operator's pods run; it makes the operands' DaemonSets."""
        status = {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1}
        now = timestamp(self._cluster.engine.now)
        available = {"type": "Available", "status": "True", "lastTransitionTime": now, "lastUpdateTime": now}
        full = {**status, "observedGeneration": 1, "conditions": [available]}
        for name in _DEPLOYMENTS:
            self._store.edit(DEPLOYMENT, name, self.namespace, lambda new: new.update(status=full))
        for operand in OPERANDS:
            selector = {f"nvidia.com/gpu.deploy.{operand.label}": "true"}
            self._ensure(DAEMON_SET, operand.name, _daemon_set(operand.name, selector))

    def run_operator(self, node: str) -> None:
        """The operator's own pod runs, and says what it does."""
        if ("gpu-operator", node) in self._pods:
            return
        pod = self._pod(
            f"gpu-operator-{self._store.suffix()}", node, "gpu-operator", (), "gpu-operator", owner="ReplicaSet"
        )
        stored = self._store.create(POD, pod)
        self._pods["gpu-operator", node] = stored["metadata"]["name"]
        self._cluster.kubelet.logs[stored["metadata"]["uid"], "gpu-operator"] = (
            '{"level":"info","logger":"controllers.ClusterPolicy","msg":"Number of nodes with GPU label"}\n'
            '{"level":"info","logger":"controllers.ClusterPolicy","msg":"ClusterPolicy step completed"}\n'
        )
        self._set_running("gpu-operator", node)

    def kill_operator(self, node: str) -> None:
        """The operator's own pod runs out of memory, again and again."""
        pod = self._pod(
            f"gpu-operator-{self._store.suffix()}", node, "gpu-operator", (), "gpu-operator", owner="ReplicaSet"
        )
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
        last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        pod["status"]["phase"] = "Running"
        pod["status"]["containerStatuses"] = [container_status(pod["spec"]["containers"][0], waiting, 7, last)]
        self._store.create(POD, pod)

    def remove(self) -> None:
        """Helm's uninstall."""
        for operand, node in list(self._pods):
            self._drop_pod(operand, node)
        for kind in (DEPLOYMENT, DAEMON_SET):
            for obj in self._store.all(kind, self.namespace):
                self._store.remove(kind, obj["metadata"]["name"], self.namespace)

    def run_nfd(self, node: str) -> None:
        """NFD's worker runs on ``node``."""
        if (f"{_NFD}-worker", node) not in self._pods:
            self._create(f"{_NFD}-worker", node, "worker", (), "node-feature-discovery")
        self._set_running(f"{_NFD}-worker", node)

    def start(self, operand: Operand, node: str) -> None:
        """The operand's pod is on the node, in its first init container."""
        if (operand.name, node) not in self._pods:
            self._create(operand.name, node, operand.container, operand.inits, operand.name)

    def ready(self, operand: Operand, node: str) -> None:
        """The operand's pod is ready."""
        self._set_running(operand.name, node)

    def drop(self, operand: Operand, node: str) -> None:
        """The operand has removed itself from the node."""
        self._drop_pod(operand.name, node)

    def drop_node(self, node: str) -> None:
        """The node is gone, and its pods with it."""
        for name, where in list(self._pods):
            if where == node:
                self._drop_pod(name, where)

    def crash(self, operand: Operand, node: str, restarts: int, output: str) -> None:
        """The operand's container has ended with an error once more."""
        pod = self._find(operand.name, node)
        if pod is None:
            return
        self._cluster.kubelet.logs[pod["metadata"]["uid"], operand.container] = output
        message = f"back-off 5m0s restarting failed container={operand.container} pod={pod['metadata']['name']}"
        now = timestamp(self._cluster.engine.now)
        last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}

        def change(new: Obj) -> None:
            new["status"]["phase"] = "Running"
            new["status"]["initContainerStatuses"] = _inits_done(new, now)
            new["status"]["containerStatuses"] = [
                container_status(new["spec"]["containers"][0], waiting, restarts, last)
            ]

        self._store.edit(POD, pod["metadata"]["name"], self.namespace, change)
        self._cluster.event(pod, "Warning", "BackOff", message)
        self._count(operand.name)

    def stick(self, operand: Operand, node: str, reason: str, message: str) -> None:
        """The operand's container does not start, or its pod has been evicted."""
        pod = self._find(operand.name, node)
        if pod is None:
            return
        now = timestamp(self._cluster.engine.now)
        waiting = {"waiting": {"reason": reason, "message": message}}

        def change(new: Obj) -> None:
            if reason == "Evicted":
                new["status"].update(phase="Failed", reason=reason, message=message)
                return
            new["status"]["initContainerStatuses"] = _inits_done(new, now)
            new["status"]["containerStatuses"] = [container_status(new["spec"]["containers"][0], waiting)]

        self._store.edit(POD, pod["metadata"]["name"], self.namespace, change)
        self._count(operand.name)

    def warn(self, operand: Operand, node: str, reason: str, message: str) -> None:
        """A warning about the operand's pod."""
        pod = self._find(operand.name, node)
        if pod is not None:
            self._cluster.event(pod, "Warning", reason, message)

    def print(self, operand: Operand, node: str, container: str, output: str) -> None:
        """A container of the operand's pod has printed something."""
        pod = self._find(operand.name, node)
        if pod is not None:
            self._cluster.kubelet.logs[pod["metadata"]["uid"], container] = output

    def run_cuda_validator(self, node: str) -> None:
        """The validator's own CUDA pod has run and succeeded."""
        name = f"nvidia-cuda-validator-{self._store.suffix()}"
        pod = self._pod(name, node, "nvidia-cuda-validator", (), "nvidia-cuda-validator", owner="ReplicaSet")
        pod["status"] = {"phase": "Succeeded"}
        stored = self._store.create(POD, pod)
        self._pods["nvidia-cuda-validator", node] = name
        logs = self._cluster.kubelet.logs
        logs[stored["metadata"]["uid"], "nvidia-cuda-validator"] = "cuda workload validation is successful\n"

    def refuse(self, part: str) -> None:
        """Pod Security refuses the pods of a part: its DaemonSets say so in an event."""
        names = [f"{_NFD}-worker"] if part.endswith("worker") else [o.name for o in OPERANDS]
        for name in names:
            found = self._store.find(DAEMON_SET, name, self.namespace)
            if found is not None:
                message = f'Error creating: pods "{name}-" is forbidden: violates PodSecurity "restricted:latest"'
                self._cluster.event(found, "Warning", "FailedCreate", message)

    def desired(self, name: str) -> int:
        """Pods that a DaemonSet should have now."""
        return sum(1 for operand, _ in self._pods if operand == name)

    def count_ready(self, name: str) -> int:
        """Pods of a DaemonSet that are ready."""
        return sum(1 for operand, _ in self._ready if operand == name)

    # Objects

    def _ensure(self, kind: Kind, name: str, obj: Obj) -> None:
        if self._store.find(kind, name, self.namespace) is None:
            obj["metadata"]["namespace"] = self.namespace
            self._store.create(kind, obj)

    def _create(self, name: str, node: str, container: str, inits: tuple[str, ...], app: str) -> None:
        pod_name = f"{name}-{self._store.suffix()}"
        self._store.create(POD, self._pod(pod_name, node, container, inits, app, daemon_set=name))
        self._pods[name, node] = pod_name
        self._count(name)

    def _pod(
        self,
        name: str,
        node: str,
        container: str,
        inits: tuple[str, ...],
        app: str,
        *,
        owner: str = "DaemonSet",
        daemon_set: str = "",
    ) -> Obj:
        labels = {"app": app}
        if app == "node-feature-discovery":
            labels = {"app.kubernetes.io/name": app, "role": "worker"}
        owners = self._store.find(DAEMON_SET, daemon_set, self.namespace)
        reference = {
            "apiVersion": "apps/v1",
            "kind": owner,
            "name": daemon_set or app,
            "uid": owners["metadata"]["uid"] if owners else self._store.uid(),
            "controller": True,
        }
        containers = [{"name": container, "image": _IMAGE.format(container), "resources": {}}]
        spec: Obj = {"nodeName": node, "containers": containers, "restartPolicy": "Always"}
        waiting = {"waiting": {"reason": "PodInitializing"}}
        status: Obj = {
            "phase": "Pending",
            "startTime": timestamp(self._cluster.engine.now),
            "containerStatuses": [container_status(containers[0], waiting)],
        }
        if inits:
            spec["initContainers"] = [{"name": i, "image": _IMAGE.format("gpu-operator")} for i in inits]
            running = {"running": {"startedAt": timestamp(self._cluster.engine.now)}}
            states = [running, *([waiting] * (len(inits) - 1))]
            status["initContainerStatuses"] = [
                container_status(c, state) for c, state in zip(spec["initContainers"], states, strict=True)
            ]
        meta = {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [reference]}
        return {"metadata": meta, "spec": spec, "status": status}

    def _set_running(self, name: str, node: str) -> None:
        pod = self._find(name, node)
        if pod is None:
            return
        now = timestamp(self._cluster.engine.now)

        def change(new: Obj) -> None:
            new["status"]["phase"] = "Running"
            new["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
            new["status"]["initContainerStatuses"] = _inits_done(new, now)
            state = {"running": {"startedAt": now}}
            new["status"]["containerStatuses"] = [container_status(c, state) for c in new["spec"]["containers"]]

        self._store.edit(POD, pod["metadata"]["name"], self.namespace, change)
        self._ready.add((name, node))
        self._count(name)

    def _find(self, name: str, node: str) -> Obj | None:
        pod = self._pods.get((name, node))
        return self._store.find(POD, pod, self.namespace) if pod else None

    def _drop_pod(self, name: str, node: str) -> None:
        pod = self._pods.pop((name, node), None)
        self._ready.discard((name, node))
        if pod:
            self._store.remove(POD, pod, self.namespace)
        self._count(name)

    def _count(self, name: str) -> None:
        """Write the DaemonSet's status."""
        desired, ready = self.desired(name), self.count_ready(name)
        status = {
            "currentNumberScheduled": desired,
            "desiredNumberScheduled": desired,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": desired - ready,
            "updatedNumberScheduled": desired,
            "observedGeneration": 1,
        }
        self._store.edit(DAEMON_SET, name, self.namespace, lambda new: new.update(status=status))


def labelled_nodes(cluster: Downstream, label: str) -> list[str]:
    """Nodes that carry ``label``."""
    return [n["metadata"]["name"] for n in cluster.store.all(NODE) if label in n["metadata"].get("labels", {})]


def _inits_done(pod: Obj, now: str) -> list[Obj]:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    return [container_status(c, ended) for c in pod["spec"].get("initContainers", [])]


def _deployment(name: str) -> Obj:
    app = {"app": name}
    pod = {"containers": [{"name": name, "image": _IMAGE.format(name)}]}
    template = {"metadata": {"labels": app}, "spec": pod}
    return {
        "metadata": {"name": name, "labels": app},
        "spec": {"replicas": 1, "selector": {"matchLabels": app}, "template": template},
        "status": {},
    }


def _daemon_set(name: str, selector: dict[str, str]) -> Obj:
    app = {"app": name}
    pod = {"nodeSelector": selector, "containers": [{"name": name, "image": _IMAGE.format(name)}]}
    counts = dict.fromkeys(("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"), 0)
    return {
        "metadata": {"name": name, "labels": app},
        "spec": {"selector": {"matchLabels": app}, "template": {"metadata": {"labels": app}, "spec": pod}},
        "status": counts,
    }
