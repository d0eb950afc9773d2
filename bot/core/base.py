"""A cluster exported from Rancher as YAML, from which a preset's clusters take all that the bot does not decide.

The bot decides name, credential, machine pools, tags and its own labels; the rest passes through as it stands. What
Rancher writes into an object itself (status, owner, one-off operations) is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bot.core.secrets import secrets_in

MAX_BYTES = 64 * 1024
"""Of a base file: it goes into the envelope, and with it into Rancher's object (at most 1 MiB)."""

# One-off operations and links to objects of that one cluster (rancher/rancher: pkg/apis/rke.cattle.io/v1).
_NOT_OURS = (
    "machinePools",
    "infrastructureRef",
    "etcdSnapshotCreate",
    "etcdSnapshotRestore",
    "rotateCertificates",
    "rotateEncryptionKeys",
    "provisionGeneration",
)
# Set by Rancher, Fleet and kubectl; copied, they would tie the new cluster to the old one.
_FOREIGN = re.compile(
    r"(gpu-cluster/|cattle\.io/|.*\.cattle\.io/(?!.*description)|kubectl\.kubernetes\.io/|objectset\.|.*\bx-k8s\.io/)"
)


class BadBase(Exception):
    """A base file that will not do. `line` from 1, 0 where the whole file is meant."""

    def __init__(self, line: int, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.line = line
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class _Document:
    """The parsed text, and where its keys stand."""

    body: dict[str, Any]
    node: yaml.nodes.Node

    def line(self, path: str) -> int:
        """The line of the deepest part of that path that is there."""
        node, line = self.node, self.node.start_mark.line + 1
        for part in re.findall(r"[^.\[\]]+", path):
            found = _child(node, part)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def read_base(text: str) -> str:
    """The file as canonical JSON {"labels", "annotations", "spec"}; raises `BadBase` with line, reason and remedy."""
    if len(text.encode()) > MAX_BYTES:
        raise BadBase(0, f"it is larger than {MAX_BYTES // 1024} KiB.", "A provisioning cluster is a few kilobytes.")
    document = _parse(text)
    _check_kind(document)
    spec = document.body.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("rkeConfig"), dict):
        raise BadBase(
            document.line("spec"),
            "it has no spec.rkeConfig: an imported or hosted cluster, which Rancher cannot make machines for.",
            "Export a cluster that Rancher has made with RKE2 or K3s.",
        )
    if (secret := next(secrets_in(document.body), None)) is not None:
        raise BadBase(
            document.line(secret),
            f"{secret} looks like a secret, and what is in a base file is shown on cards and exported.",
            "Take it out; name a Secret of Rancher's instead.",
        )
    _check_fields(document, spec)
    return json.dumps(_kept(document.body, spec), sort_keys=True, separators=(",", ":"))


def kubernetes_of(base: str) -> str:
    """The base's Kubernetes version, '' when it has none."""
    return str(json.loads(base or "{}").get("spec", {}).get("kubernetesVersion") or "")


def _parse(text: str) -> _Document:
    try:
        bodies = [body for body in yaml.safe_load_all(text) if body is not None]
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        raise BadBase(mark.line + 1 if mark else 0, f"it is not valid YAML: {said}.", "Export it again.") from None
    if len(bodies) != 1:
        line = nodes[1].start_mark.line + 1 if len(nodes) > 1 else 0
        raise BadBase(line, f"it holds {len(bodies)} documents.", "Leave the provisioning cluster alone in it.")
    if not isinstance(bodies[0], dict):
        raise BadBase(1, "it is no Kubernetes object.", "Export the cluster in Rancher: ⋮, Download YAML.")
    return _Document(bodies[0], nodes[0])


def _check_kind(document: _Document) -> None:
    body = document.body
    kind, version = str(body.get("kind") or ""), str(body.get("apiVersion") or "")
    spec = body.get("spec") if isinstance(body.get("spec"), dict) else {}
    rke1 = "rancherKubernetesEngineConfig"
    if rke1 in body or rke1 in (spec or {}):
        raise BadBase(
            document.line(rke1 if rke1 in body else f"spec.{rke1}"),
            "it is an RKE1 cluster, which Rancher no longer makes.",
            "Export a cluster of RKE2 or K3s.",
        )
    if kind != "Cluster":
        raise BadBase(
            document.line("kind"), f"its kind is {kind or 'missing'}, not Cluster.", "Export the cluster itself."
        )
    if not version.startswith("provisioning.cattle.io/"):
        raise BadBase(
            document.line("apiVersion"),
            f"its apiVersion is {version or 'missing'}, not provisioning.cattle.io/v1.",
            "Export it from Cluster Management, or with kubectl get clusters.provisioning.cattle.io -n fleet-default.",
        )


_SHAPES: Mapping[str, type] = {
    "metadata": dict,
    "metadata.labels": dict,
    "metadata.annotations": dict,
    "spec.kubernetesVersion": str,
    "spec.agentEnvVars": list,
    "spec.rkeConfig.machineGlobalConfig": dict,
    "spec.rkeConfig.additionalManifest": str,
    "spec.rkeConfig.registries": dict,
    "spec.rkeConfig.registries.mirrors": dict,
    "spec.rkeConfig.registries.configs": dict,
    "spec.rkeConfig.upgradeStrategy": dict,
    "spec.rkeConfig.etcd": dict,
}
"""What the bot adds to, or reads, must have the shape it has in Rancher."""


def _check_fields(document: _Document, spec: dict[str, Any]) -> None:
    for path, shape in _SHAPES.items():
        value: Any = document.body
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and not isinstance(value, shape):
            name = "a mapping" if shape is dict else "a list" if shape is list else "text"
            raise BadBase(document.line(path), f"{path} must be {name}.", "Export it again.")
    version = spec.get("kubernetesVersion")
    if version is not None and not re.fullmatch(r"v?\d+\.\d+\.\d+\S*\+(rke2r|k3s)\d+", version):
        raise BadBase(
            document.line("spec.kubernetesVersion"),
            f"{version} is no version of RKE2 or K3s.",
            "It looks like v1.34.6+rke2r1 or v1.34.6+k3s1.",
        )
    for pool in spec["rkeConfig"].get("machinePools") or []:
        if isinstance(pool, dict) and pool.get("machineOS") == "windows":
            raise BadBase(
                document.line("spec.rkeConfig.machinePools"),
                f"pool {pool.get('name')} is for Windows, where the GPU Operator does not run.",
                "Export a cluster of Linux machines.",
            )


def _kept(body: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    metadata = body.get("metadata") or {}
    kept = {key: value for key, value in spec.items() if key != "cloudCredentialSecretName"}
    kept["rkeConfig"] = {key: value for key, value in spec["rkeConfig"].items() if key not in _NOT_OURS}
    return {
        "labels": _ours_to_keep(metadata.get("labels") or {}),
        "annotations": _ours_to_keep(metadata.get("annotations") or {}),
        "spec": kept,
    }


def _ours_to_keep(pairs: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in pairs.items() if not _FOREIGN.match(str(key))}


def _child(node: yaml.nodes.Node, part: str) -> tuple[yaml.nodes.Node, yaml.nodes.Node] | None:
    """(where it begins, the value) of a key or an index below a node."""
    if isinstance(node, yaml.nodes.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.nodes.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        return node.value[int(part)], node.value[int(part)]
    return None
