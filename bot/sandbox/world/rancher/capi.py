"""Cluster API's machines as the older of its two versions shows them.

The world keeps them as v1beta2 (Rancher 2.14 and later). Up to 2.13 Steve serves v1beta1: conditions with severities in
``status.conditions``, booleans beside them, failure texts at the top (cluster-api: api/core/v1beta1/machine_types.go).
"""

from __future__ import annotations

from bot.sandbox.world.kube.kinds import INFRA_MACHINE, MACHINE, MACHINE_DEPLOYMENT, Kind
from bot.sandbox.world.kube.objects import Obj


def as_v1beta1(kind: Kind, obj: Obj) -> Obj:
    """The object as an API server of that time answers; other kinds are as they are."""
    if kind is MACHINE:
        return _machine(obj)
    if kind is MACHINE_DEPLOYMENT:
        return {**obj, "apiVersion": "cluster.x-k8s.io/v1beta1"}
    if kind is INFRA_MACHINE:
        status = {k: v for k, v in (obj.get("status") or {}).items() if k != "initialization"}
        return {**obj, "status": status}
    return obj


def _machine(obj: Obj) -> Obj:
    status = {k: v for k, v in obj["status"].items() if k not in ("conditions", "deprecated", "initialization")}
    old = (obj["status"].get("deprecated") or {}).get("v1beta1") or {}
    started = obj["status"].get("initialization") or {}
    status |= {
        **old,
        "conditions": [_severe(condition) for condition in old.get("conditions") or []],
        "infrastructureReady": bool(started.get("infrastructureProvisioned")),
        "bootstrapReady": bool(started.get("bootstrapDataSecretCreated")),
    }
    spec = {
        **obj["spec"],
        "infrastructureRef": _reference(obj["spec"]["infrastructureRef"], "rke-machine.cattle.io/v1"),
    }
    return {**obj, "apiVersion": "cluster.x-k8s.io/v1beta1", "spec": spec, "status": status}


def _reference(reference: Obj, api_version: str) -> Obj:
    """A whole object reference: the group alone came with v1beta2."""
    named = {k: v for k, v in reference.items() if k != "apiGroup"}
    return {"apiVersion": api_version, "namespace": "fleet-default", **named}


def _severe(condition: Obj) -> Obj:
    """In v1beta1 a condition that is False says how bad that is."""
    return {**condition, "severity": "Info"} if condition["status"] == "False" else condition
