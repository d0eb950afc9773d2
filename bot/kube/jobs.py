"""The verification Job: what is sent for it, and what its and its pod's statuses say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.core.ports import JobOrder, JobView
from bot.core.spec import GPU_RESOURCE
from bot.kube.client import Json
from bot.kube.pods import waiting_word

SCRIPT = "probe.py"
_FOLDER = "/probe"
_USER = 65532
"""The user id that distroless images call nonroot."""

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


def config_map(order: JobOrder) -> Json:
    """The probe's script, under the name of its Job."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": order.name, "namespace": order.namespace, "labels": dict(order.labels)},
        "data": {SCRIPT: order.script},
    }


def job(order: JobOrder) -> Json:
    """One pod on one node, holding GPUs, allowed nothing else (it meets the restricted Pod Security Standard)."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": order.name, "namespace": order.namespace, "labels": dict(order.labels)},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": order.deadline_s,
            "template": {"metadata": {"labels": dict(order.labels)}, "spec": _pod(order)},
        },
    }


def _pod(order: JobOrder) -> Json:
    return {
        "restartPolicy": "Never",
        "nodeSelector": {"kubernetes.io/hostname": order.node},
        "tolerations": [_toleration(*toleration) for toleration in order.tolerations],
        **({"runtimeClassName": order.runtime_class} if order.runtime_class else {}),
        **({"imagePullSecrets": [{"name": name} for name in order.pull_secrets]} if order.pull_secrets else {}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(order)],
        "volumes": [
            *([] if order.command else [_script(order)]),
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }


def _script(order: JobOrder) -> Json:
    return {"name": "probe", "configMap": {"name": order.name, "items": [{"key": SCRIPT, "path": SCRIPT}]}}


def _toleration(key: str, value: str, effect: str) -> Json:
    if not value:
        return {"key": key, "operator": "Exists", "effect": effect}
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _container(order: JobOrder) -> Json:
    """Each GPU is measured by a process of its own, whose CUDA context takes some hundred MiB of host memory."""
    return {
        "name": "probe",
        "image": order.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(order.command) or ["python3", "-I", f"{_FOLDER}/{SCRIPT}", *order.arguments],
        "env": [{"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {
                "cpu": str(1 + order.gpus),
                "memory": f"{(4 if order.command else 1) + order.gpus}Gi",
                GPU_RESOURCE: str(order.gpus),
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # DCGM writes its log and its statistics beside itself.
            "readOnlyRootFilesystem": not order.command,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *([] if order.command else [{"name": "probe", "mountPath": _FOLDER, "readOnly": True}]),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }


def finished(found: Json) -> tuple[str, str, str]:
    """('' | succeeded | failed, reason, message) from the Job's conditions.

    FailureTarget counts as the end: Failed never follows where the node's kubelet is gone, for the pod cannot finish.
    """
    true = {c["type"]: c for c in _status(found).get("conditions") or [] if c.get("status") == "True"}
    for kind, word in (("Complete", "succeeded"), ("Failed", "failed"), ("FailureTarget", "failed")):
        if kind in true:
            return word, str(true[kind].get("reason") or ""), str(true[kind].get("message") or "")
    return "", "", ""


def job_view(found: Json, pods: Sequence[Json], log: str, event: tuple[str, str]) -> JobView:
    """The Job with its pods, newest last. `event` is the Job's latest warning, ('', '') where nobody asked for it."""
    word, reason, message = finished(found)
    pod = pods[-1] if pods else None
    if word == "succeeded":
        return JobView(word, reason, message, log)
    if word == "failed":
        own = _pods_end(pod) if pod else event
        return JobView(word, own[0] or reason, "; ".join(filter(None, (message, own[1]))), log)
    return JobView("", *(waiting_word(pod) if pod else event), log)


def _pods_end(pod: Json) -> tuple[str, str]:
    """The pod's own word for its end (Evicted, OOMKilled, UnexpectedAdmissionError), where it says more than Error."""
    status = _status(pod)
    if status.get("reason"):
        return str(status["reason"]), str(status.get("message") or "")
    for container in status.get("containerStatuses") or []:
        ended: dict[str, Any] = (container.get("state") or {}).get("terminated") or {}
        if ended:
            reason = str(ended.get("reason") or "")
            code = f"the probe ended with exit code {ended.get('exitCode')}"
            return "" if reason == "Error" else reason, str(ended.get("message") or code)
    if pod["metadata"].get("deletionTimestamp"):
        return "", "the pod does not finish terminating: its node may be dead"
    return waiting_word(pod)


def _status(obj: Json) -> Json:
    return obj.get("status") or {}
