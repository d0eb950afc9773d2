"""What an API server does to new objects: defaults, validation, the admission plugins that matter here."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from bot.sandbox.world.kube.kinds import EVENT, JOB, NAMESPACE, POD, Kind
from bot.sandbox.world.kube.objects import ApiError, Obj, ObjectStore, invalid

GPU = "nvidia.com/gpu"
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_PSA = "pod-security.kubernetes.io/enforce"

#: Namespaces that Rancher's restricted template exempts (rancher/rancher: podadmissionconfigurationtemplate_data.go).
_EXEMPT = {"kube-system", "cattle-system", "cattle-impersonation-system", "cattle-fleet-system", "tigera-operator"}


class Admission:
    """Admission of one cluster.

    ``extended_tolerations``: the ExtendedResourceToleration plugin is on. ``restricted``: pods must meet the
    restricted Pod Security Standard where their namespace does not say otherwise.
    """

    def __init__(self, store: ObjectStore, *, extended_tolerations: bool, restricted: bool) -> None:
        self._store = store
        self._extended_tolerations = extended_tolerations
        self._restricted = restricted

    def admit(self, kind: Kind, obj: Obj, namespace: str) -> Obj:
        """The object to store. Raises ApiError: 404, 403 or 422."""
        new = copy.deepcopy(obj)
        meta = new.setdefault("metadata", {})
        name = meta.get("name") or ""
        if name and not _NAME.match(name) and not kind.group.startswith("rbac."):
            raise invalid(kind, name, "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain')
        if kind.namespaced:
            self._check_namespace(kind, name, namespace)
            meta["namespace"] = namespace
        if kind is POD:
            self._pod(new, namespace)
        elif kind is JOB:
            _job(new)
        elif kind is NAMESPACE:
            new["spec"] = {"finalizers": ["kubernetes"]}
            new["status"] = {"phase": "Active"}
            meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = name
        elif kind is EVENT:
            _event(new, namespace)
        return new

    def update(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """The changed object to store. Raises ApiError 422 for a change that is not allowed."""
        if kind is POD and _fixed(old) != _fixed(new):
            problem = "Forbidden: pod updates may not change fields other than image and tolerations"
            raise invalid(kind, old["metadata"]["name"], "spec", problem)
        if kind is JOB and old["spec"].get("template") != (new.get("spec") or {}).get("template"):
            raise invalid(kind, old["metadata"]["name"], "spec.template", "Invalid value: field is immutable")
        return new

    def violates(self, namespace: str) -> bool:
        """Whether a privileged pod is refused in ``namespace``."""
        return self._level(namespace) != "privileged"

    def _level(self, namespace: str) -> str:
        found = self._store.find(NAMESPACE, namespace)
        labels = found["metadata"].get("labels", {}) if found else {}
        default = "restricted" if self._restricted and namespace not in _EXEMPT else "privileged"
        return str(labels.get(_PSA, default))

    def _check_namespace(self, kind: Kind, name: str, namespace: str) -> None:
        found = self._store.get(NAMESPACE, namespace)
        if "deletionTimestamp" in found["metadata"]:
            message = (
                f'{kind.resource} "{name}" is forbidden: unable to create new content in namespace {namespace} '
                "because it is being terminated"
            )
            raise ApiError(403, "Forbidden", message)

    def _pod(self, pod: Obj, namespace: str) -> None:
        spec = pod.get("spec") or {}
        name = pod["metadata"].get("name", "")
        check_containers(POD, name, spec, "spec")
        problems = _restricted_problems(spec) if self._level(namespace) == "restricted" else []
        if problems:
            message = f'pods "{name}" is forbidden: violates PodSecurity "restricted:latest": {", ".join(problems)}'
            raise ApiError(403, "Forbidden", message)
        default_pod_spec(spec)
        tolerations = spec.setdefault("tolerations", [])
        if self._extended_tolerations and requested_gpus(spec):
            extra = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
            if extra not in tolerations:
                tolerations.append(extra)
        for condition in ("not-ready", "unreachable"):
            tolerations.append(
                {
                    "key": f"node.kubernetes.io/{condition}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
        pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def default_pod_spec(spec: Obj) -> None:
    """Fill in what the API server fills in."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container.setdefault("imagePullPolicy", "IfNotPresent")
        resources = container.setdefault("resources", {})
        if GPU in resources.get("limits", {}):
            resources.setdefault("requests", {}).setdefault(GPU, resources["limits"][GPU])


def check_containers(kind: Kind, name: str, spec: Obj, path: str) -> None:
    """Raise ApiError 422 unless there are containers, each with name and image and whole GPUs."""
    if not spec.get("containers"):
        raise invalid(kind, name, f"{path}.containers", "Required value")
    for index, container in enumerate(spec["containers"]):
        where = f"{path}.containers[{index}]"
        for field in ("name", "image"):
            if not container.get(field):
                raise invalid(kind, name, f"{where}.{field}", "Required value")
        resources = container.get("resources") or {}
        limit = (resources.get("limits") or {}).get(GPU)
        request = (resources.get("requests") or {}).get(GPU)
        if request is not None and str(request) != str(limit):
            problem = f'Invalid value: "{request}": must be equal to {GPU} limit of {limit}'
            raise invalid(kind, name, f"{where}.resources.requests", problem)
        if limit is not None and not str(limit).isdigit():
            problem = f'Invalid value: "{limit}": must be an integer'
            raise invalid(kind, name, f"{where}.resources.limits[{GPU}]", problem)


def requested_gpus(spec: Obj) -> int:
    """GPUs that a pod asks for."""
    return sum(
        int((container.get("resources") or {}).get("limits", {}).get(GPU, 0)) for container in spec["containers"]
    )


def _fixed(pod: Obj) -> Obj:
    """What nobody may change in a pod's spec."""
    spec = pod.get("spec") or {}
    containers = [{k: v for k, v in c.items() if k != "image"} for c in spec.get("containers") or []]
    return {**{k: v for k, v in spec.items() if k != "tolerations"}, "containers": containers}


def _job(job: Obj) -> None:
    spec = job.setdefault("spec", {})
    name = job["metadata"].get("name", "")
    template = spec.get("template")
    if not template:
        raise invalid(JOB, name, "spec.template", "Required value")
    pod_spec = template.get("spec") or {}
    check_containers(JOB, name, pod_spec, "spec.template.spec")
    if pod_spec.get("restartPolicy") not in ("Never", "OnFailure"):
        value = pod_spec.get("restartPolicy", "Always")
        problem = f'Unsupported value: "{value}": supported values: "OnFailure", "Never"'
        raise invalid(JOB, name, "spec.template.spec.restartPolicy", problem)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completions", 1)
    spec.setdefault("parallelism", 1)
    job["status"] = {}


def _event(event: Obj, namespace: str) -> None:
    involved = (event.get("involvedObject") or {}).get("namespace", "")
    if involved != namespace and not (involved == "" and namespace == "default"):
        problem = f'Invalid value: "{involved}": does not match event.namespace'
        raise invalid(EVENT, event["metadata"].get("name", ""), "involvedObject.namespace", problem)


def _restricted_problems(spec: Obj) -> list[str]:
    """Why a pod does not meet the restricted Pod Security Standard, in the API server's words."""
    pod: dict[str, Any] = spec.get("securityContext") or {}
    own = [(c["name"], c.get("securityContext") or {}) for c in spec["containers"]]
    checks: dict[str, Callable[[Obj], bool]] = {
        "allowPrivilegeEscalation != false": lambda c: c.get("allowPrivilegeEscalation") is False,
        "unrestricted capabilities": lambda c: "ALL" in (c.get("capabilities") or {}).get("drop", []),
        "runAsNonRoot != true": lambda c: c.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
        "seccompProfile": lambda c: (
            (c.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost")
        ),
    }
    return [
        f'{problem} (container "{name}")'
        for problem, good in checks.items()
        for name, context in own
        if not good(context)
    ]
