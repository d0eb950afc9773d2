"""From Rancher's JSON to the core's views. Anything may be missing: conditions come late.

CAPI objects have two shapes: v1beta1 (Rancher ≤ 2.13) and v1beta2 (2.14+), where old conditions and failure texts
moved under `status.deprecated.v1beta1` and the booleans under `status.initialization`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bot.core.ports import AppView, ClusterView, MachineView, Release, RepoView
from bot.core.spec import LABEL_REQUEST

Json = dict[str, Any]

POOL_LABEL = "rke.cattle.io/rke-machine-pool-name"
CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"


def name_of(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def label(obj: Json, key: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(key, ""))


def deleting(obj: Json) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def condition(obj: Json, kind: str) -> Json | None:
    """The condition of that type; None when there is none (yet)."""
    found = (c for c in _status(obj).get("conditions") or [] if c.get("type") == kind)
    return next(found, None)


def holds(obj: Json, kind: str) -> bool | None:
    """Whether the condition is True; None when it is absent."""
    found = condition(obj, kind)
    return None if found is None else found.get("status") == "True"


def up_to_date(obj: Json) -> bool:
    """Whether the status speaks of the present spec."""
    generation = obj["metadata"].get("generation") or 0
    return int(_status(obj).get("observedGeneration") or 0) >= int(generation)


def cluster_view(cluster: Json, connected: bool | None, machines: tuple[MachineView, ...]) -> ClusterView:
    """`connected` is what the management cluster says, which alone carries it since Rancher 2.15."""
    status = _status(cluster)
    state = cluster["metadata"].get("state") or {}
    return ClusterView(
        name=name_of(cluster),
        request_label=label(cluster, LABEL_REQUEST),
        management_id=management_id(cluster),
        deleting=deleting(cluster),
        ready=bool(status.get("ready")),
        updated=holds(cluster, "Updated"),
        observed=up_to_date(cluster),
        connected=holds(cluster, "Connected") if connected is None else connected,
        state=str(state.get("name") or ""),
        transitioning=bool(state.get("transitioning")),
        error=bool(state.get("error")),
        message=_cluster_message(cluster, state),
        machines=machines,
        stalled=_stalled(cluster),
    )


def management_id(cluster: Json) -> str:
    """Rancher's own id (c-m-…), '' while there is none."""
    return str(_status(cluster).get("clusterName") or "")


def infrastructure_name(machine: Json) -> str:
    """Name of the amazonec2machine that belongs to a CAPI machine."""
    return str((machine.get("spec", {}).get("infrastructureRef") or {}).get("name") or name_of(machine))


def machine_view(machine: Json, infrastructure: Json | None) -> MachineView:
    """A CAPI machine with its amazonec2machine, which has AWS's own words when EC2 refused."""
    status = _status(machine)
    return MachineView(
        name=name_of(machine),
        uid=str(machine["metadata"].get("uid") or ""),
        pool=label(machine, POOL_LABEL),
        phase=str(status.get("phase") or ""),
        created=_created(status),
        node=str((status.get("nodeRef") or {}).get("name") or ""),
        failure=_failure(machine, infrastructure, "CreateError"),
        message=_machine_message(machine),
        undeleted=_failure(machine, infrastructure, "DeleteError"),
    )


def repo_view(repo: Json) -> RepoView:
    status = _status(repo)
    downloaded = condition(repo, "Downloaded") or condition(repo, "OCIDownloaded") or {}
    ready = downloaded.get("status") == "True" and up_to_date(repo) and bool(status.get("indexConfigMapName"))
    message = "" if ready else str(downloaded.get("message") or "")
    return RepoView(ready, message, label(repo, LABEL_REQUEST))


def repo_failed(repo: Json) -> bool:
    """Whether the last download has failed, so that a new one must be asked for."""
    return up_to_date(repo) and any(holds(repo, kind) is False for kind in ("Downloaded", "OCIDownloaded"))


def app_view(app: Json) -> AppView:
    spec = app.get("spec") or {}
    summary = _status(app).get("summary") or {}
    return AppView(
        status=str((spec.get("info") or {}).get("status") or summary.get("state") or ""),
        version=str(((spec.get("chart") or {}).get("metadata") or {}).get("version") or ""),
        revision=int(spec.get("version") or 0),
    )


def release_of(app: Json) -> Release:
    view, spec = app_view(app), app.get("spec") or {}
    chart = str(((spec.get("chart") or {}).get("metadata") or {}).get("name") or "")
    name = str(spec.get("name") or name_of(app))
    return Release(name, str(app["metadata"].get("namespace") or ""), chart, view.version, view.status)


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _old(status: Json) -> Json:
    """The v1beta1 part of a v1beta2 status."""
    return (status.get("deprecated") or {}).get("v1beta1") or {}


def _stalled(cluster: Json) -> str:
    found = condition(cluster, "Stalled") or {}
    return str(found.get("message") or found.get("reason") or "stalled") if found.get("status") == "True" else ""


def _cluster_message(cluster: Json, state: Json) -> str:
    said = [state.get("message"), *((condition(cluster, kind) or {}).get("message") for kind in ("Updated", "Ready"))]
    return next((str(text) for text in said if text), "")


def _created(status: Json) -> bool:
    provisioned = (status.get("initialization") or {}).get("infrastructureProvisioned")
    return bool(status.get("infrastructureReady") if provisioned is None else provisioned)


def _failure(machine: Json, infrastructure: Json | None, reason: str) -> str:
    """The driver's whole text: from the failure message, else from a condition that gives the reason. A message without
    a reason is of a creation (rancher/rancher: pkg/controllers/capr/machineprovision/controller.go)."""
    for obj in (infrastructure, machine):
        if obj is None:
            continue
        for part in (_status(obj), _old(_status(obj))):
            if part.get("failureMessage") and (part.get("failureReason") or "CreateError") == reason:
                return str(part["failureMessage"])
            if text := _said(part.get("conditions") or [], reason):
                return text
    return ""


def _said(conditions: Iterable[Json], reason: str) -> str:
    for found in conditions:
        if found.get("status") == "False" and reason in f"{found.get('reason')} {found.get('message')}":
            return str(found.get("message") or found.get("reason"))
    return ""


def _machine_message(machine: Json) -> str:
    state = machine["metadata"].get("state") or {}
    if state.get("message"):
        return str(state["message"])
    conditions = _status(machine).get("conditions") or []
    said = (c["message"] for c in conditions if c.get("status") != "True" and c.get("message"))
    return str(next(said, ""))
