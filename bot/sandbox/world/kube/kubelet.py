"""The kubelets of a cluster: they run the pods that are bound to their nodes."""

from __future__ import annotations

from collections.abc import Callable

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Engine, Process, Task
from bot.sandbox.world.kube.admission import GPU, requested_gpus
from bot.sandbox.world.kube.containers import Place, Run, run_container
from bot.sandbox.world.kube.kinds import CONFIG_MAP, NODE, POD, SECRET
from bot.sandbox.world.kube.objects import ApiError, Change, Obj, ObjectStore
from bot.sandbox.world.kube.scheduler import Record
from bot.sandbox.world.metal.gpus import Gpu
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.timings import Timings

Key = tuple[str, str]

#: Pods of these owners are played by whoever plays the owner.
_PLAYED_ELSEWHERE = {"DaemonSet", "ReplicaSet", "Operation"}
_MAX_BACK_OFF = 300.0


class Kubelet:
    """Runs pods; ``hardware`` and ``drivers`` (version by node) say what a node has."""

    def __init__(
        self,
        engine: Engine,
        store: ObjectStore,
        timings: Timings,
        record: Record,
        hardware: dict[str, Hardware],
        drivers: dict[str, str],
    ) -> None:
        self._engine = engine
        self._store = store
        self._timings = timings
        self._record = record
        self._hardware = hardware
        self._drivers = drivers
        self._lives: dict[str, Task] = {}
        self._ending: set[str] = set()
        self._images: set[tuple[str, str]] = set()
        self._devices: dict[str, tuple[str, tuple[Gpu, ...]]] = {}
        self.logs: dict[tuple[str, str], str] = {}
        store.subscribe(self._changed)

    def log(self, pod: Obj, container: str) -> str:
        """What the container has printed so far.

        Raises:
            ApiError: 400 while it is waiting to start or when there is no such container.
        """
        name = pod["metadata"]["name"]
        names = [c["name"] for c in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]]
        container = container or pod["spec"]["containers"][0]["name"]
        if container not in names:
            raise ApiError(400, "BadRequest", f"container {container} is not valid for pod {name}")
        text = self.logs.get((pod["metadata"]["uid"], container))
        if text is None and pod["spec"].get("nodeName") and pod["status"].get("phase") == "Pending":
            reason = "ContainerCreating"
            message = f'container "{container}" in pod "{name}" is waiting to start: {reason}'
            raise ApiError(400, "BadRequest", message)
        return text or ""

    def _changed(self, change: Change) -> None:
        if change.kind is NODE and change.type == "DELETED":
            self._lose_node(change.obj["metadata"]["name"])
        if change.kind is not POD:
            return
        pod, uid = change.obj, change.obj["metadata"]["uid"]
        if change.type == "DELETED":
            self._forget(uid)
        elif "deletionTimestamp" in pod["metadata"]:
            self._end(pod)
        elif pod["spec"].get("nodeName") and uid not in self._lives and not _played_elsewhere(pod):
            self._lives[uid] = self._engine.spawn(self._life(_key(pod), uid))

    def _lose_node(self, node: str) -> None:
        for pod in self._store.all(POD):
            if pod["spec"].get("nodeName") == node:
                self._store.remove(POD, pod["metadata"]["name"], pod["metadata"]["namespace"])

    def _forget(self, uid: str) -> None:
        self._devices.pop(uid, None)
        self._ending.discard(uid)
        if task := self._lives.pop(uid, None):
            task.cancel()

    def _end(self, pod: Obj) -> None:
        """A pod is to go: a running one after a moment, any other at once."""
        uid = pod["metadata"]["uid"]
        if uid in self._ending:
            return
        self._ending.add(uid)
        if task := self._lives.get(uid):
            task.cancel()
        running = pod["status"].get("phase") == "Running"
        delay = self._timings.pod_removal if running else 0.0
        namespace, name = _key(pod)
        self._engine.call_at(self._engine.now + delay, lambda: self._remove(namespace, name, uid))

    def _remove(self, namespace: str, name: str, uid: str) -> None:
        found = self._store.find(POD, name, namespace)
        if found and found["metadata"]["uid"] == uid:
            self._store.remove(POD, name, namespace)

    def _life(self, key: Key, uid: str) -> Process:
        pod = self._store.get(POD, key[1], key[0])
        node = pod["spec"]["nodeName"]
        if not self._allot(pod, node, uid):
            return
        self._edit(key, _creating)
        while missing := self._missing(pod):
            self._record(pod, "Warning", "FailedMount", f"MountVolume.SetUp failed for volume: {missing} not found")
            yield self._timings.mount_retry
        for image in {c["image"] for c in pod["spec"]["containers"]}:
            if (node, image) not in self._images:
                yield self._timings.image_pull
                self._images.add((node, image))
        restarts = 0
        while True:
            yield self._timings.container_start
            runs = self._start(key, uid, node, restarts)
            longest = max(run.seconds for run in runs)
            yield longest
            self._print(pod, uid, runs)
            failed = any(run.exit_code for run in runs)
            policy = pod["spec"]["restartPolicy"]
            if policy == "Never" or (policy == "OnFailure" and not failed):
                self._finish(key, runs, restarts, longest)
                return
            self._edit(key, _backing_off(runs, restarts, self._engine.now - longest, self._engine.now))
            yield min(10.0 * 2**restarts, _MAX_BACK_OFF)
            restarts += 1

    def _allot(self, pod: Obj, node: str, uid: str) -> bool:
        """Give the pod its GPUs; False (and the pod failed) if a pod with a fixed node asks for too many."""
        wanted = requested_gpus(pod["spec"])
        taken = {gpu.uuid for where, gpus in self._devices.values() if where == node for gpu in gpus}
        hardware = self._hardware.get(node)
        free = [gpu for gpu in (hardware.gpus if hardware else ()) if gpu.uuid not in taken]
        found = self._store.find(NODE, node)
        advertised = int(found["status"]["allocatable"].get(GPU, 0)) if found else 0
        if wanted > min(advertised, len(free)):
            message = f"Pod was rejected: Allocate failed due to requested number of devices unavailable for {wanted}"
            failed = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
            self._edit(_key(pod), lambda new: new["status"].update(failed))
            return False
        self._devices[uid] = (node, tuple(free[:wanted]))
        return True

    def _missing(self, pod: Obj) -> str | None:
        """The ConfigMap or Secret that a volume needs and that is not there."""
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or []:
            config, secret = volume.get("configMap") or {}, volume.get("secret") or {}
            name = config.get("name")
            if name and not config.get("optional") and not self._store.find(CONFIG_MAP, name, namespace):
                return f'configmap "{name}"'
            name = secret.get("secretName")
            if name and not secret.get("optional") and not self._store.find(SECRET, name, namespace):
                return f'secret "{name}"'
        return None

    def _start(self, key: Key, uid: str, node: str, restarts: int) -> list[Run]:
        pod = self._store.get(POD, key[1], key[0])
        place = Place(node, self._drivers.get(node, ""), self._devices[uid][1], self._engine.now)
        times = self._timings
        runs = [
            run_container(self._store, pod, c, place, times.probe, times.container_default)
            for c in pod["spec"]["containers"]
        ]
        for container in pod["spec"]["containers"]:
            self.logs[uid, container["name"]] = ""
        hardware = self._hardware.get(node)
        self._edit(key, _running(hardware.private_ip if hardware else "", restarts, self._engine.now))
        return runs

    def _print(self, pod: Obj, uid: str, runs: list[Run]) -> None:
        for container, run in zip(pod["spec"]["containers"], runs, strict=True):
            self.logs[uid, container["name"]] = run.output

    def _finish(self, key: Key, runs: list[Run], restarts: int, seconds: float) -> None:
        now = self._engine.now
        failed = any(run.exit_code for run in runs)
        self._devices.pop(self._store.get(POD, key[1], key[0])["metadata"]["uid"], None)
        self._edit(key, _ended(runs, restarts, now - seconds, now, "Failed" if failed else "Succeeded"))

    def _edit(self, key: Key, change: Callable[[Obj], object]) -> None:
        self._store.edit(POD, key[1], key[0], change)


def _key(pod: Obj) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _played_elsewhere(pod: Obj) -> bool:
    return any(o["kind"] in _PLAYED_ELSEWHERE for o in pod["metadata"].get("ownerReferences") or [])


def container_status(container: Obj, state: Obj, restarts: int = 0, last: Obj | None = None) -> Obj:
    """One entry of ``status.containerStatuses``; ``state`` as in the Kubernetes API."""
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"] if "@" in container["image"] else "",
        "ready": "running" in state,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def _creating(pod: Obj) -> None:
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    pod["status"]["containerStatuses"] = [container_status(c, waiting) for c in pod["spec"]["containers"]]


def _set_ready(status: Obj, ready: str, **why: str) -> None:
    others = [c for c in status.get("conditions", []) if c["type"] != "Ready"]
    status["conditions"] = [*others, {"type": "Ready", "status": ready, **why}]


def _running(ip: str, restarts: int, now: float) -> Callable[[Obj], None]:
    def change(pod: Obj) -> None:
        status, state = pod["status"], {"running": {"startedAt": timestamp(now)}}
        status["phase"] = "Running"
        status.setdefault("startTime", timestamp(now))
        status["hostIP"] = ip
        status["containerStatuses"] = [container_status(c, state, restarts) for c in pod["spec"]["containers"]]
        _set_ready(status, "True")

    return change


def _terminated(run: Run, start: float, end: float) -> Obj:
    return {
        "terminated": {
            "exitCode": run.exit_code,
            "reason": "Error" if run.exit_code else "Completed",
            "startedAt": timestamp(start),
            "finishedAt": timestamp(end),
        }
    }


def _ended(runs: list[Run], restarts: int, start: float, end: float, phase: str) -> Callable[[Obj], None]:
    def change(pod: Obj) -> None:
        status = pod["status"]
        status["phase"] = phase
        status["containerStatuses"] = [
            container_status(c, _terminated(run, start, end), restarts)
            for c, run in zip(pod["spec"]["containers"], runs, strict=True)
        ]
        _set_ready(status, "False", reason="PodCompleted" if phase == "Succeeded" else "PodFailed")

    return change


def _backing_off(runs: list[Run], restarts: int, start: float, end: float) -> Callable[[Obj], None]:
    def change(pod: Obj) -> None:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        pod["status"]["containerStatuses"] = [
            container_status(c, state, restarts, _terminated(run, start, end))
            for c, run in zip(pod["spec"]["containers"], runs, strict=True)
        ]
        _set_ready(pod["status"], "False", reason="ContainersNotReady")

    return change
