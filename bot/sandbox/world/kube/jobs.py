"""The Job controller."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Engine
from bot.sandbox.world.kube.admission import Admission
from bot.sandbox.world.kube.kinds import JOB, POD
from bot.sandbox.world.kube.objects import ApiError, Change, Obj, ObjectStore
from bot.sandbox.world.kube.scheduler import Record

_BACK_OFF = 10.0


class Jobs:
    """Makes pods for jobs and writes down how they end.

    ``finished(job, condition)`` is told of each end. A job that runs into its deadline gets ``FailureTarget``
    at once and ``Failed`` when its pods are gone, as in Kubernetes ≥ 1.31.
    """

    def __init__(
        self,
        engine: Engine,
        store: ObjectStore,
        admission: Admission,
        record: Record,
        finished: Callable[[Obj, str], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._admission = admission
        self._record = record
        self._finished = finished
        store.subscribe(self._changed)

    def _changed(self, change: Change) -> None:
        if change.kind is JOB and change.type == "ADDED":
            self._begin(change.obj)
        elif change.kind is POD:
            for owner in change.obj["metadata"].get("ownerReferences") or []:
                if owner["kind"] == "Job":
                    self._later(change.obj["metadata"]["namespace"], owner["name"], 0.0)

    def _begin(self, job: Obj) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        self._later(namespace, name, 0.0)
        if deadline := job["spec"].get("activeDeadlineSeconds"):
            self._later(namespace, name, float(deadline))

    def _later(self, namespace: str, name: str, delay: float) -> None:
        self._engine.call_at(self._engine.now + delay, lambda: self._reconcile(namespace, name))

    def _reconcile(self, namespace: str, name: str) -> None:
        job = self._store.find(JOB, name, namespace)
        if job is None or _has(job, "Complete", "Failed"):
            return
        pods = self._pods(job)
        phases = [pod["status"].get("phase") for pod in pods]
        if not job["status"].get("startTime"):
            self._status(job, startTime=timestamp(self._engine.now), ready=0, terminating=0, uncountedTerminatedPods={})
        failed, succeeded = phases.count("Failed"), phases.count("Succeeded")
        active = [p for p in pods if p["status"].get("phase") in ("Pending", "Running")]
        self._status(job, active=len(active), failed=failed, succeeded=succeeded)
        if _has(job, "FailureTarget"):
            if not active:
                self._end(job, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif self._overdue(job):
            self._condition(job, "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
            for pod in active:
                self._store.delete(POD, pod["metadata"]["name"], namespace)
            self._later(namespace, name, 0.0)
        elif succeeded >= job["spec"]["completions"]:
            self._condition(
                job, "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
            )
            self._status(job, completionTime=timestamp(self._engine.now))
            self._end(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif failed > job["spec"]["backoffLimit"]:
            message = "Job has reached the specified backoff limit"
            self._condition(job, "FailureTarget", "BackoffLimitExceeded", message)
            self._end(job, "Failed", "BackoffLimitExceeded", message)
        elif not active:
            self._another(job, pods, failed)

    def _another(self, job: Obj, pods: list[Obj], failed: int) -> None:
        """Make a pod, the back-off after a failure kept."""
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        if failed:
            ends = [_ended_at(pod) for pod in pods if pod["status"].get("phase") == "Failed"]
            due = max(ends) + _BACK_OFF * 2 ** (failed - 1)
            if due > self._engine.now:
                self._later(namespace, name, due - self._engine.now)
                return
        template = copy.deepcopy(job["spec"]["template"])
        meta = template.setdefault("metadata", {})
        meta["generateName"] = f"{name}-"
        uid = job["metadata"]["uid"]
        labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
        meta["labels"] = {**meta.get("labels", {}), **labels, "controller-uid": uid, "job-name": name}
        meta["ownerReferences"] = [
            {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        ]
        try:
            pod = self._store.create(POD, self._admission.admit(POD, template, namespace))
        except ApiError as refused:
            self._record(job, "Warning", "FailedCreate", f"Error creating: {refused.message}")
            self._later(namespace, name, _BACK_OFF)
        else:
            self._record(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _overdue(self, job: Obj) -> bool:
        deadline = job["spec"].get("activeDeadlineSeconds")
        if not deadline:
            return False
        start = datetime.fromisoformat(job["metadata"]["creationTimestamp"]).timestamp()
        return self._engine.now >= start + float(deadline)

    def _pods(self, job: Obj) -> list[Obj]:
        uid, namespace = job["metadata"]["uid"], job["metadata"]["namespace"]
        return [
            pod
            for pod in self._store.all(POD, namespace)
            if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences") or [])
        ]

    def _end(self, job: Obj, condition: str, reason: str, message: str) -> None:
        self._condition(job, condition, reason, message)
        self._finished(job, condition)
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None:
            self._engine.call_at(self._engine.now + float(ttl), lambda: self._expire(job))

    def _expire(self, job: Obj) -> None:
        for pod in self._pods(job):
            self._store.delete(POD, pod["metadata"]["name"], pod["metadata"]["namespace"])
        self._store.remove(JOB, job["metadata"]["name"], job["metadata"]["namespace"])

    def _condition(self, job: Obj, kind: str, reason: str, message: str) -> None:
        now = timestamp(self._engine.now)
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastProbeTime": now,
            "lastTransitionTime": now,
        }

        def add(new: Obj) -> None:
            old = new["status"].get("conditions", [])
            if not any(c["type"] == kind for c in old):
                new["status"]["conditions"] = [*old, condition]

        self._store.edit(JOB, job["metadata"]["name"], job["metadata"]["namespace"], add)

    def _status(self, job: Obj, **fields: object) -> None:
        self._store.edit(
            JOB, job["metadata"]["name"], job["metadata"]["namespace"], lambda new: new["status"].update(fields)
        )


def _has(job: Obj, *kinds: str) -> bool:
    return any(c["type"] in kinds for c in job["status"].get("conditions", []))


def _ended_at(pod: Obj) -> float:
    """When a failed pod ended; its creation if it never ran."""
    states = [s["state"].get("terminated") for s in pod["status"].get("containerStatuses", [])]
    times = [state["finishedAt"] for state in states if state] or [pod["metadata"]["creationTimestamp"]]
    return max(datetime.fromisoformat(t).timestamp() for t in times)
