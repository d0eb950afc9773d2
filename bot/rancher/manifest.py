"""What the control plane applies by itself: `spec.rkeConfig.additionalManifest`, installed by RKE2's and K3s' own
helm-controller (k3s-io/helm-controller: pkg/apis/helm.cattle.io/v1)."""

from __future__ import annotations

from typing import Any

import yaml

from bot.core.operator_values import CHART, NAMESPACE, RELEASE, operator_values, repo_url
from bot.core.spec import LABEL_MANAGED, LABEL_REQUEST, Envelope
from bot.core.wiring import CA_CONFIG_MAP

_PRIVILEGED = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}


def additional_manifest(envelope: Envelope, request_id: str, base: str = "") -> str:
    """The base's own manifest and ours behind it; '' where neither has anything."""
    ours: list[dict[str, Any]] = []
    by_manifest = envelope.operator_by == "manifest"
    if by_manifest or envelope.network.ca:
        ours.append(operator_namespace(request_id))
    if envelope.network.ca:
        ours.append(_ca(envelope))
    if by_manifest:
        ours.append(helm_chart(envelope))
    texts = [base.strip(), *(yaml.safe_dump(one, sort_keys=False, width=1000).strip() for one in ours)]
    together = "\n---\n".join(text for text in texts if text)
    return f"{together}\n" if together else ""


def helm_chart(envelope: Envelope) -> dict[str, Any]:
    """The GPU Operator as a HelmChart, with the values that the catalog would get."""
    spec: dict[str, Any] = {
        "repo": repo_url(envelope),
        "chart": CHART,
        "version": envelope.operator,
        "targetNamespace": NAMESPACE,
        "createNamespace": True,
        "valuesContent": yaml.safe_dump(operator_values(envelope), sort_keys=False, width=1000),
    }
    if envelope.network.ca:
        spec["repoCA"] = envelope.network.ca
    return {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChart",
        "metadata": {"name": RELEASE, "namespace": "kube-system"},
        "spec": spec,
    }


def operator_namespace(request_id: str) -> dict[str, Any]:
    """The operator's namespace, in which pods may do everything."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {LABEL_MANAGED: "true", LABEL_REQUEST: request_id, **_PRIVILEGED}},
    }


def _ca(envelope: Envelope) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CA_CONFIG_MAP, "namespace": NAMESPACE},
        "data": {"gpu-cluster-ca.crt": envelope.network.ca},
    }
