"""``metadata.state``: the one-word summary that Steve computes from an object's conditions."""

from __future__ import annotations

from bot.sandbox.world.kube.kinds import (
    APP,
    CLUSTER_REPO,
    INFRA_MACHINE,
    MACHINE,
    MANAGEMENT_CLUSTER,
    NAMESPACE,
    OPERATION,
    POD,
    PROVISIONING_CLUSTER,
    Kind,
)
from bot.sandbox.world.kube.objects import Obj


def conditions(obj: Obj) -> dict[str, Obj]:
    """Conditions by type."""
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or []}


def state(kind: Kind, obj: Obj) -> Obj:
    """``{"name", "error", "transitioning", "message"}``."""
    if "deletionTimestamp" in obj["metadata"]:
        message = conditions(obj).get("Removed", {}).get("message", "")
        return _state("removing", transitioning=True, message=message)
    if kind is PROVISIONING_CLUSTER:
        return _provisioning(obj)
    if kind is MANAGEMENT_CLUSTER:
        ready = conditions(obj).get("Ready", {}).get("status") == "True"
        return _state("active") if ready else _state("provisioning", transitioning=True)
    if kind is MACHINE:
        return _machine(obj)
    if kind is INFRA_MACHINE:
        return _infra(obj)
    if kind is CLUSTER_REPO:
        return _repo(obj)
    if kind is OPERATION:
        return _operation(obj)
    if kind is APP:
        return _app(obj)
    if kind in (POD, NAMESPACE):
        phase = str(obj["status"].get("phase", "")).lower()
        return _state(phase, transitioning=phase == "pending", error=phase == "failed")
    return _state("active")


def _state(name: str, *, transitioning: bool = False, error: bool = False, message: str = "") -> Obj:
    return {"name": name, "error": error, "transitioning": transitioning, "message": message}


def _provisioning(obj: Obj) -> Obj:
    found = conditions(obj)
    if found.get("Stalled", {}).get("status") == "True":
        return _state("error", error=True, message=found["Stalled"]["message"])
    updated = found.get("Updated")
    if updated is None:
        return _state("reconciling", transitioning=True)
    if updated["status"] == "True":
        return _state("active")
    failed = updated["status"] == "False"
    return _state("updating", transitioning=not failed, error=failed, message=updated.get("message", ""))


def _machine(obj: Obj) -> Obj:
    phase = obj["status"].get("phase", "Pending")
    ready = conditions(obj).get("Ready", {})
    message = ready.get("message", "") if ready.get("status") != "True" else ""
    return _state(
        phase.lower(), transitioning=phase not in ("Running", "Failed"), error=phase == "Failed", message=message
    )


def _infra(obj: Obj) -> Obj:
    ready = conditions(obj).get("Ready")
    if ready and ready["status"] == "True":
        return _state("active")
    message = ready.get("message", "") if ready else ""
    failed = bool((obj.get("status") or {}).get("failureReason"))
    return _state("error" if failed else "creating", transitioning=not failed, error=failed, message=message)


def _repo(obj: Obj) -> Obj:
    downloaded = conditions(obj).get("Downloaded")
    if downloaded is None:
        return _state("in-progress", transitioning=True)
    if downloaded["status"] == "True":
        return _state("active")
    return _state("error", error=True, message=downloaded.get("message", ""))


def _operation(obj: Obj) -> Obj:
    found = conditions(obj)
    if found.get("Stalled", {}).get("status") == "True":
        return _state("failed", error=True, message=found["Stalled"]["message"])
    running = found.get("Reconciling", {}).get("status") == "True"
    return _state("in-progress" if running else "active", transitioning=running)


def _app(obj: Obj) -> Obj:
    status = obj["spec"]["info"]["status"]
    return _state(
        status, transitioning=status.startswith("pending") or status == "uninstalling", error=status == "failed"
    )
