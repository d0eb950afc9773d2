"""Fields and types of the objects that Rancher validates, and how it treats the rest.

A schema is ``str``, ``bool``, ``int``, :data:`ANY`, ``[schema]`` (array), :class:`Map` (object with free keys)
or a dictionary (object with these fields; others are pruned without a word, as CRDs do).
Sources: rancher/machine: drivers/amazonec2/amazonec2.go; rancher/rancher: pkg/apis/provisioning.cattle.io/v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ANY = object()


@dataclass(frozen=True)
class Map:
    """An object with free keys, all of one type."""

    values: Any


_STRINGS = (
    "region zone ami sshUser instanceType vpcId subnetId rootSize volumeType deviceName kmsKey iamInstanceProfile "
    "spotPrice blockDurationMinutes httpEndpoint httpTokens userdata sshKeyContents sshKeypath keypairName tags "
    "retries endpoint httpProtocolIpv6 ipv6AddressCount accessKey secretKey sessionToken"
)
_BOOLEANS = (
    "securityGroupReadonly encryptEbsVolume requestSpotInstance privateAddressOnly usePrivateAddress monitoring "
    "useEbsOptimizedInstance insecureTransport ipv6AddressOnly enablePrimaryIpv6"
)

#: Amazonec2Config: generated from the driver's flags, so every number is a string.
MACHINE_CONFIG = {
    **dict.fromkeys(_STRINGS.split(), str),
    **dict.fromkeys(_BOOLEANS.split(), bool),
    "securityGroup": [str],
    "openPort": [str],
    "common": ANY,
}

_DRAIN = {
    "enabled": bool,
    "force": bool,
    "ignoreDaemonSets": bool,
    "deleteEmptyDirData": bool,
    "disableEviction": bool,
    "gracePeriod": int,
    "timeout": int,
    "skipWaitForDeleteTimeoutSeconds": int,
}

_POOL = {
    "name": str,
    "displayName": str,
    "quantity": int,
    "etcdRole": bool,
    "controlPlaneRole": bool,
    "workerRole": bool,
    "paused": bool,
    "drainBeforeDelete": bool,
    "drainBeforeDeleteTimeout": str,
    "unhealthyNodeTimeout": str,
    "nodeStartupTimeout": str,
    "maxUnhealthy": str,
    "unhealthyRange": str,
    "machineOS": str,
    "hostnameLengthLimit": int,
    "cloudCredentialSecretName": str,
    "dynamicSchemaSpec": str,
    "autoscalingMinSize": int,
    "autoscalingMaxSize": int,
    "labels": Map(str),
    "machineDeploymentLabels": Map(str),
    "machineDeploymentAnnotations": Map(str),
    "taints": [{"key": str, "value": str, "effect": str, "timeAdded": str}],
    "rollingUpdate": {"maxUnavailable": ANY, "maxSurge": ANY},
    "machineConfigRef": {"kind": str, "name": str, "apiVersion": str, "namespace": str, "uid": str},
}

CLUSTER_SPEC = {
    "cloudCredentialSecretName": str,
    "kubernetesVersion": str,
    "localClusterAuthEndpoint": {"enabled": bool, "fqdn": str, "caCerts": str},
    "defaultPodSecurityAdmissionConfigurationTemplateName": str,
    "defaultClusterRoleForProjectMembers": str,
    "enableNetworkPolicy": bool,
    "agentEnvVars": [{"name": str, "value": str, "valueFrom": ANY}],
    "clusterAgentDeploymentCustomization": ANY,
    "fleetAgentDeploymentCustomization": ANY,
    "rkeConfig": {
        "machineGlobalConfig": Map(ANY),
        "machineSelectorConfig": [{"machineLabelSelector": ANY, "config": Map(ANY)}],
        "machineSelectorFiles": ANY,
        "chartValues": Map(ANY),
        "additionalManifest": str,
        "registries": {"configs": Map(ANY), "mirrors": Map(ANY)},
        "networking": {"stackPreference": str},
        "etcd": {
            "disableSnapshots": bool,
            "snapshotScheduleCron": str,
            "snapshotRetention": int,
            "s3": ANY,
        },
        "etcdSnapshotCreate": ANY,
        "etcdSnapshotRestore": ANY,
        "rotateCertificates": ANY,
        "rotateEncryptionKeys": ANY,
        "dataDirectories": ANY,
        "provisionGeneration": int,
        "infrastructureRef": ANY,
        "machinePoolDefaults": {"hostnameLengthLimit": int},
        "upgradeStrategy": {
            "controlPlaneConcurrency": str,
            "workerConcurrency": str,
            "controlPlaneDrainOptions": _DRAIN,
            "workerDrainOptions": _DRAIN,
        },
        "machinePools": [_POOL],
    },
}

#: Drain options are only accepted whole.
DRAIN_FIELDS = frozenset(_DRAIN)


@dataclass(frozen=True)
class Problem:
    """A field that is wrong, and how."""

    field: str
    message: str


def conform(schema: Any, value: Any, path: str = "") -> tuple[Any, list[Problem]]:
    """``value`` without the fields that ``schema`` does not know, and what has the wrong type."""
    if schema is ANY:
        return value, []
    expected = _type_name(schema)
    if _type_name_of(value) != expected:
        found = _type_name_of(value)
        message = f'Invalid value: "{found}": {path} in body must be of type {expected}: "{found}"'
        return value, [Problem(path, message)]
    if isinstance(schema, list):
        return _each(schema[0], dict(enumerate(value)), path, "{}[{}]", list)
    if isinstance(schema, Map):
        return _each(schema.values, value, path, "{}.{}", dict)
    if isinstance(schema, dict):
        return _fields(schema, value, path)
    return value, []


def _fields(schema: dict[str, Any], value: dict[str, Any], path: str) -> tuple[Any, list[Problem]]:
    result, problems = {}, []
    for name, inner in schema.items():
        if value.get(name) is None:
            continue  # a null is dropped, as the API server does with fields that are not nullable
        result[name], found = conform(inner, value[name], f"{path}.{name}" if path else name)
        problems += found
    return result, problems


def _each(inner: Any, items: dict[Any, Any], path: str, name: str, shape: type) -> tuple[Any, list[Problem]]:
    result, problems = {}, []
    for key, item in items.items():
        result[key], found = conform(inner, item, name.format(path, key))
        problems += found
    return (list(result.values()) if shape is list else result), problems


def _type_name(schema: Any) -> str:
    if isinstance(schema, list):
        return "array"
    if isinstance(schema, (dict, Map)):
        return "object"
    return {str: "string", bool: "boolean", int: "integer"}[schema]


def _type_name_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
