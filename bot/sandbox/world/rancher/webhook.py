"""What Rancher's admission webhook and CRDs refuse, complete or prune.

Source: rancher/webhook: pkg/resources/provisioning.cattle.io/v1/cluster/validator.go.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection

from bot.sandbox.world.kube.kinds import CLUSTER_PROXY_CONFIG, MACHINE_CONFIG, PROVISIONING_CLUSTER, Kind
from bot.sandbox.world.kube.objects import ApiError, Obj, invalid
from bot.sandbox.world.rancher import schema

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])$")
_RESERVED = re.compile(r"^(local|c-[a-z0-9]{5})$")
CREATOR = "field.cattle.io/creatorId"


def admit_machine_config(obj: Obj, namespace: str) -> Obj:
    """A machine config as it is stored. Raises ApiError 422."""
    name = (obj.get("metadata") or {}).get("name") or ""
    if "spec" in obj:
        raise invalid(MACHINE_CONFIG, name, "spec", "Forbidden: the fields of a machine config are top-level")
    body = {k: v for k, v in obj.items() if k not in ("metadata", "apiVersion", "kind")}
    fields, problems = schema.conform(schema.MACHINE_CONFIG, body)
    _raise_first(MACHINE_CONFIG, name, problems)
    return {"metadata": _metadata(obj, namespace), **fields}


def admit_proxy_config(obj: Obj, namespace: str, there: Collection[Obj]) -> Obj:
    """JWT Authentication of one cluster; there is at most one a namespace (rancher/webhook:
    pkg/resources/management.cattle.io/v3/clusterproxyconfig/validator.go). Raises ApiError 422 or 403."""
    if not isinstance(obj.get("enabled"), bool):
        name = (obj.get("metadata") or {}).get("name") or ""
        raise invalid(CLUSTER_PROXY_CONFIG, name, "enabled", "Required value: a boolean")
    if there:
        message = 'admission webhook "rancher.cattle.io.clusterproxyconfigs.management.cattle.io" denied the request: '
        raise ApiError(
            403, "Forbidden", message + "there may only be one clusterproxyconfig object defined per cluster"
        )
    return {"metadata": _metadata(obj, namespace), "enabled": obj["enabled"]}


def admit_cluster(obj: Obj, namespace: str, *, credentials: Collection[str], user: str) -> Obj:
    """A provisioning cluster as it is stored. Raises ApiError 422."""
    metadata = _metadata(obj, namespace)
    name = metadata.get("name") or ""
    if not _NAME.match(name) or _RESERVED.match(name):
        problem = f'Invalid value: "{name}": must be 2-63 characters of a-z, 0-9 and -, not local, not c-xxxxx'
        raise invalid(PROVISIONING_CLUSTER, name, "metadata.name", problem)
    creator = metadata.setdefault("annotations", {}).setdefault(CREATOR, user)
    if creator != user:
        problem = f'Invalid value: "{creator}": creatorId annotation does not match user'
        raise invalid(PROVISIONING_CLUSTER, name, f"metadata.annotations[{CREATOR}]", problem)
    return {"metadata": metadata, "spec": admit_spec(name, obj.get("spec") or {}, credentials)}


def admit_update(old: Obj, new: Obj, *, credentials: Collection[str]) -> Obj:
    """A changed provisioning cluster as it is stored. Raises ApiError 422."""
    name = old["metadata"]["name"]
    if ("rkeConfig" in old["spec"]) != bool((new.get("spec") or {}).get("rkeConfig")):
        raise invalid(PROVISIONING_CLUSTER, name, "spec.rkeConfig", "Forbidden: rkeConfig cannot be added or removed")
    result = copy.deepcopy(new)
    # One that stays the same is not looked at again (rancher/webhook: provisioning.cattle.io/v1/cluster/validator.go).
    known = {*credentials, old["spec"].get("cloudCredentialSecretName", "")}
    result["spec"] = admit_spec(name, new["spec"], known)
    return result


def admit_spec(name: str, spec: Obj, credentials: Collection[str]) -> Obj:
    """The spec, pruned and completed. Raises ApiError 422."""
    pruned, problems = schema.conform(schema.CLUSTER_SPEC, spec, "spec")
    _raise_first(PROVISIONING_CLUSTER, name, problems)
    rke = pruned.get("rkeConfig") or {}
    credential = pruned.get("cloudCredentialSecretName")
    if credential is not None and credential not in credentials:
        secret = credential.split(":")[-1]
        problem = f'Invalid value: "{credential}": secrets "{secret}" not found'
        raise invalid(PROVISIONING_CLUSTER, name, "spec.cloudCredentialSecretName", problem)
    strategy = rke.get("upgradeStrategy") or {}
    for options in ("controlPlaneDrainOptions", "workerDrainOptions"):
        missing = schema.DRAIN_FIELDS - strategy[options].keys() if options in strategy else set()
        if missing:
            path = f"spec.rkeConfig.upgradeStrategy.{options}.{min(missing)}"
            raise invalid(PROVISIONING_CLUSTER, name, path, "Required value")
    _check_pools(name, rke.get("machinePools") or [])
    return dict(pruned)


def without_unknown(obj: Obj, fields: frozenset[str]) -> Obj:
    """The object as an older release stores it: without the fields that machine configs and pools did not have yet."""
    rke = (obj.get("spec") or {}).get("rkeConfig") or {}
    for part in (obj, *(rke.get("machinePools") or [])):
        for field in fields & part.keys():
            del part[field]
    return obj


def _check_pools(name: str, pools: list[Obj]) -> None:
    seen: set[str] = set()
    for index, pool in enumerate(pools):
        path = f"spec.rkeConfig.machinePools[{index}]"
        pool_name = pool.get("name", "")
        if not pool_name or len(pool_name) > 63:
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.name", f'Invalid value: "{pool_name}"')
        if pool_name in seen:
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.name", f'Duplicate value: "{pool_name}"')
        seen.add(pool_name)
        if pool.get("quantity", 1) < 0:
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.quantity", "Invalid value: must not be negative")
        if pool.get("machineOS", "linux") not in ("linux", "windows"):
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.machineOS", 'supported values: "linux", "windows"')
        if not 10 <= pool.get("hostnameLengthLimit", 10) <= 63:
            problem = "Invalid value: should be greater than or equal to 10 and at most 63"
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.hostnameLengthLimit", problem)
        if "machineConfigRef" not in pool:
            raise invalid(PROVISIONING_CLUSTER, name, f"{path}.machineConfigRef", "Required value")
        pool.setdefault("dynamicSchemaSpec", _DYNAMIC_SCHEMA)


def _metadata(obj: Obj, namespace: str) -> Obj:
    metadata = copy.deepcopy(obj.get("metadata") or {})
    if not namespace:
        raise ApiError(422, "InvalidBodyContent", "metadata.namespace is required")
    metadata["namespace"] = namespace
    return metadata


def _raise_first(kind: Kind, name: str, problems: list[schema.Problem]) -> None:
    if problems:
        raise invalid(kind, name, problems[0].field, problems[0].message)


#: Rancher freezes the driver's schema into each pool when a cluster is made.
_DYNAMIC_SCHEMA = json.dumps(
    {"resourceFields": {name: {"type": "string"} for name in sorted(schema.MACHINE_CONFIG)}}, separators=(",", ":")
)
