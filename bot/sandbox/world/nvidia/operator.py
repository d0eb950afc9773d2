"""The GPU Operator: the chain from a new node to GPUs that can be asked for.

It reads its chart's values as the real one does: what the tolerations do not admit does not run, and the
chain stops there.
"""

from __future__ import annotations

from collections.abc import Collection

from bot.sandbox.world.engine import Process, Signal, Task
from bot.sandbox.world.kube.admission import GPU
from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.kinds import NAMESPACE, NODE, RUNTIME_CLASS
from bot.sandbox.world.kube.objects import Change, Obj
from bot.sandbox.world.kube.scheduler import untolerated
from bot.sandbox.world.nvidia import operands as parts
from bot.sandbox.world.nvidia.charts import Chart
from bot.sandbox.world.nvidia.failing import KERNEL, MIXED_MIG_DRIVER, Crash, Stuck, Unmade, failing, unhealthy
from bot.sandbox.world.nvidia.manifests import Manifests
from bot.sandbox.world.nvidia.policy import Policy

_NFD = "node-feature-discovery.worker"


class GpuOperator:
    """The operator of one cluster; it does nothing before :meth:`apply`."""

    def __init__(self, cluster: Downstream, faults: Collection[str]) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self._times = cluster.timings
        self._faults = faults
        self._manifests = Manifests(cluster)
        self._policy = Policy(cluster, self._manifests, ignored="diag-26" in faults)
        self._values: Obj = {}
        self._chart: Chart | None = None
        self._running = False
        self._start: Task | None = None
        self._chains: dict[str, Task] = {}
        self._finished: set[str] = set()
        self._news = Signal()
        self._store.subscribe(self._changed)

    def apply(self, namespace: str, chart: Chart, values: Obj) -> None:
        """Helm has applied the chart's manifests. Nodes that are not finished begin again."""
        self._values, self._chart = values, chart
        self._stop()
        self._manifests.install(namespace)
        self._policy.install()
        self._start = self._cluster.engine.spawn(self._begin())

    def remove(self) -> None:
        """Helm has removed the release: pods and policy go, the CRD stays."""
        self._stop()
        self._chart = None
        self._finished.clear()
        for name in self._cluster.hardware:
            self._set_gpus(name, 0)
        self._policy.remove()
        self._manifests.remove()

    def _stop(self) -> None:
        self._running = False
        for task in [*self._chains.values(), *([self._start] if self._start else [])]:
            task.cancel()
        self._chains.clear()

    def _begin(self) -> Process:
        while not any(untolerated(self._tolerations("operator"), node) is None for node in self._store.all(NODE)):
            yield self._news
        yield self._times.operator_start
        if "diag-21" in self._faults:
            self._manifests.kill_operator(self._store.all(NODE)[0]["metadata"]["name"])
            yield Signal()
        self._running = True
        self._manifests.start_operator()
        tolerated = self._tolerations("operator")
        fit = [node for node in self._store.all(NODE) if untolerated(tolerated, node) is None]
        self._manifests.run_operator(fit[-1]["metadata"]["name"])
        if self._store.find(RUNTIME_CLASS, "nvidia") is None:
            self._store.create(RUNTIME_CLASS, {"metadata": {"name": "nvidia"}, "handler": "nvidia"})
        for node in self._store.all(NODE):
            self._follow(node["metadata"]["name"])
        self._policy.review()

    def _changed(self, change: Change) -> None:
        if change.kind not in (NODE, NAMESPACE):
            return
        self._cluster.engine.call_soon(self._tell)
        if change.kind is NODE:
            self._node_changed(change)

    def _node_changed(self, change: Change) -> None:
        name = change.obj["metadata"]["name"]
        if change.type == "DELETED":
            self._finished.discard(name)
            self._manifests.drop_node(name)
            if task := self._chains.pop(name, None):
                task.cancel()
            self._policy.review()
        elif change.type == "ADDED" and self._running:
            self._follow(name)

    def _tell(self) -> None:
        """Wake the chains that wait for a taint to go, a node to come or a namespace to be relabelled."""
        news, self._news = self._news, Signal()
        news.fire()

    def _follow(self, node: str) -> None:
        if node not in self._finished and node not in self._chains:
            self._chains[node] = self._cluster.engine.spawn(self._chain(node))

    # The chain of one node

    def _chain(self, node: str) -> Process:
        yield from self._admitted(_NFD, node)
        self._manifests.run_nfd(node)
        self._cluster.record("operand-start", node)
        yield self._times.nfd_label
        gpus = self._cluster.hardware[node].gpus
        self._label(node, {**parts.NFD_LABELS, **({parts.PCI_LABEL: "true"} if gpus else {})})
        self._policy.review()
        if not gpus:
            self._finished.add(node)
            return
        yield self._times.operator_label
        deploy = {f"nvidia.com/gpu.deploy.{operand.label}": "true" for operand in parts.OPERANDS}
        self._label(node, {"nvidia.com/gpu.present": "true", **deploy})
        self._policy.review()
        if "diag-09" in self._faults:
            self._label(node, {"nvidia.com/gpu.deploy.operands": "false"})
            self._policy.review()
            return
        yield from self._admitted("daemonsets", node)
        for operand in parts.OPERANDS:
            self._manifests.start(operand, node)
        self._policy.review()
        yield from self._driver(node)
        yield from self._toolkit(node)
        yield self._times.device_plugin
        yield from self._fault(parts.DEVICE_PLUGIN, node)
        self._advertise(node)
        yield self._times.validator
        yield from self._fault(parts.VALIDATOR, node)
        self._manifests.ready(parts.VALIDATOR, node)
        self._manifests.run_cuda_validator(node)
        self._finished.add(node)
        self._policy.review()

    def _admitted(self, part: str, node: str) -> Process:
        """Wait until a pod of ``part`` may run on ``node``: taints and Pod Security."""
        while True:
            found = self._store.get(NODE, node)
            restricted = self._cluster.admission.violates(self._manifests.namespace)
            if restricted or ("diag-24" in self._faults and part == "daemonsets"):
                self._manifests.refuse(part)
            elif untolerated(self._tolerations(part), found) is None:
                return
            yield self._news

    def _driver(self, node: str) -> Process:
        default = self._chart.driver if self._chart else ""
        version = parts.driver_version(self._values, default)
        if (self._values.get("driver") or {}).get("enabled") is False:
            self._manifests.drop(parts.DRIVER, node)
            yield from self._hang(parts.TOOLKIT, node, "waiting for the driver to be installed on the host\n")
        problem = parts.driver_problem(version, self._cluster.hardware[node].gpus)
        if "policy-not-ready" in self._faults:
            problem = parts.KERNEL_PROBLEM.format(version=version)
        if problem:
            yield from self._crash(parts.DRIVER, node, problem)
        yield from self._fault(parts.DRIVER, node)
        if "diag-22" in self._faults:
            self._label(node, {"nvidia.com/gpu-driver-upgrade-state": "upgrade-failed"})
            yield from self._hang(parts.DRIVER, node, "waiting for the driver upgrade\n")
        yield self._times.driver
        self._cluster.drivers[node] = version
        self._cluster.kernel[node] = "".join(KERNEL[fault] for fault in sorted(self._faults) if fault in KERNEL)
        self._manifests.ready(parts.DRIVER, node)
        self._policy.review()

    def _toolkit(self, node: str) -> Process:
        socket = parts.containerd_socket(self._values)
        if socket != parts.SOCKET:
            text = f"unable to dial: dial unix {socket}: connect: no such file or directory\nMax retries reached 6/6\n"
            yield from self._crash(parts.TOOLKIT, node, text)
        yield from self._fault(parts.TOOLKIT, node)
        yield self._times.toolkit - self._times.toolkit_restart
        self._cluster.set_node_ready(node, ready=False)
        yield self._times.toolkit_restart
        self._cluster.set_node_ready(node, ready=True)
        self._manifests.ready(parts.TOOLKIT, node)
        self._policy.review()

    def _advertise(self, node: str) -> None:
        """Device plugin and feature discovery are up: the node has GPUs to give."""
        hardware = self._cluster.hardware[node]
        for operand in (parts.DEVICE_PLUGIN, parts.FEATURE_DISCOVERY, parts.DCGM_EXPORTER):
            self._manifests.ready(operand, node)
        driver = self._cluster.drivers[node]
        self._label(node, parts.discovery_labels(hardware.gpus, driver, hardware.instance_type))
        self._set_gpus(node, len(hardware.gpus))
        if "diag-19" in self._faults and self._is_last(node):
            uuid = hardware.gpus[-1].uuid
            self._manifests.print(parts.DEVICE_PLUGIN, node, parts.DEVICE_PLUGIN.container, unhealthy(uuid))
            self._set_allocatable(node, len(hardware.gpus) - 1)
        if "diag-28" in self._faults:
            mixed = {"nvidia.com/mig.strategy": "mixed", "nvidia.com/cuda.driver-version.full": MIXED_MIG_DRIVER}
            self._label(node, mixed)
            self._set_gpus(node, 0)
        self._cluster.record("allocatable", node)
        self._policy.review()

    def _crash(self, operand: parts.Operand, node: str, output: str) -> Process:
        """The operand fails, restarts and fails, for ever."""
        restarts = 0
        while True:
            yield self._times.driver_failure
            restarts += 1
            self._manifests.crash(operand, node, restarts, output)
            self._policy.review()

    def _fault(self, operand: parts.Operand, node: str) -> Process:
        """The operand fails for ever, where a fault says so."""
        match failing(operand, self._faults):
            case Crash(log=log):
                yield from self._crash(operand, node, log)
            case Stuck(reason=reason, message=message):
                self._manifests.stick(operand, node, reason, message)
                self._policy.review()
                yield Signal()
            case Unmade(reason=reason, message=message):
                while True:
                    self._manifests.warn(operand, node, reason, message)
                    yield self._times.sandbox_retry

    def _hang(self, operand: parts.Operand, node: str, output: str) -> Process:
        """The operand waits in its first init container, for ever."""
        self._manifests.print(operand, node, operand.inits[0], output)
        self._policy.review()
        yield Signal()

    def _tolerations(self, part: str) -> list[Obj]:
        return parts.tolerations(self._values, part)

    def _label(self, node: str, labels: dict[str, str]) -> None:
        self._store.edit(NODE, node, "", lambda new: new["metadata"]["labels"].update(labels))
        for key, value in labels.items():
            self._cluster.record("label", f"{node} {key}={value}")

    def _is_last(self, node: str) -> bool:
        """Whether no GPU node has a later name."""
        return node == max(name for name, machine in self._cluster.hardware.items() if machine.gpus)

    def _set_allocatable(self, node: str, count: int) -> None:
        self._store.edit(NODE, node, "", lambda new: new["status"]["allocatable"].update({GPU: str(count)}))

    def _set_gpus(self, node: str, count: int) -> None:
        def change(new: Obj) -> None:
            for field in ("capacity", "allocatable"):
                if count or GPU in new["status"][field]:
                    new["status"][field][GPU] = str(count)

        self._store.edit(NODE, node, "", change)
