"""Values of the GPU Operator's chart: no more than this distribution and these GPUs need.

Source: NVIDIA/gpu-operator deployments/gpu-operator/values.yaml; rancher/rke2-docs docs/add-ons/gpu_operators.md.
"""

from __future__ import annotations

from typing import Any

from bot.core.spec import GPU_TAINT, UNVERIFIED_TAINT, Envelope
from bot.core.wiring import CA_CONFIG_MAP

REPO_NAME = "nvidia"
REPO_URL = "https://helm.ngc.nvidia.com/nvidia"
CHART = RELEASE = NAMESPACE = "gpu-operator"

# One path on RKE2 and K3s. CONTAINERD_CONFIG must stay unset: the template the toolkit would write breaks the node
# at its next reboot (gpu-operator#992).
_CONTAINERD_SOCKET = "/run/k3s/containerd/containerd.sock"

_OUR_TAINTS = [
    {"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"},
    {"key": UNVERIFIED_TAINT, "operator": "Exists", "effect": "NoSchedule"},
]
# The chart's own defaults, repeated because setting a list replaces it.
_CONTROL_PLANE = [
    {"key": "node-role.kubernetes.io/master", "operator": "Equal", "value": "", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/control-plane", "operator": "Equal", "value": "", "effect": "NoSchedule"},
]


# Each has its own imagePullSecrets in the chart: names, but objects for the subchart.
_PULLING = ("validator", "operator", "driver", "toolkit", "devicePlugin", "dcgmExporter", "gfd", "migManager")
_SUBCHART = "node-feature-discovery"


def repo_url(envelope: Envelope) -> str:
    """Where the chart comes from: NVIDIA, or the network's mirror of it."""
    return envelope.network.chart_mirror or REPO_URL


def operator_values(envelope: Envelope) -> dict[str, Any]:
    """The chart's values. The three toleration lists are separate in the chart: each needs all taints of GPU nodes.

    Automatic driver upgrades are off: one would evict people's GPU pods. The driver container builds against headers
    that it fetches, so it needs the network's proxy and CA for itself.
    """
    network, driver = envelope.network, _driver(envelope)
    taints = [*_OUR_TAINTS, *_own_taints(envelope)]
    values: dict[str, Any] = {
        "operator": {"tolerations": [*_CONTROL_PLANE, *taints]},
        "daemonsets": {"tolerations": taints},
        _SUBCHART: {"worker": {"tolerations": [*_CONTROL_PLANE, *taints]}},
        "toolkit": {"env": [{"name": "CONTAINERD_SOCKET", "value": _CONTAINERD_SOCKET}]},
        "driver": driver,
    }
    if network.pull_secrets:
        for part in _PULLING:
            values[part] = {**values.get(part, {}), "imagePullSecrets": list(network.pull_secrets)}
        values[_SUBCHART]["imagePullSecrets"] = [{"name": name} for name in network.pull_secrets]
    return values


def _driver(envelope: Envelope) -> dict[str, Any]:
    driver: dict[str, Any] = {"upgradePolicy": {"autoUpgrade": False}}
    if envelope.driver:
        driver["version"] = envelope.driver
    if environment := envelope.network.environment(envelope.cidrs):
        driver["env"] = [{"name": name, "value": value} for name, value in environment]
    if envelope.network.ca:
        driver["certConfig"] = {"name": CA_CONFIG_MAP}
    return driver


def _own_taints(envelope: Envelope) -> list[dict[str, str]]:
    """Those that a preset gives its GPU pools beside ours."""
    ours = {GPU_TAINT, UNVERIFIED_TAINT}
    pairs = dict.fromkeys((t.key, t.effect) for pool in envelope.gpu_pools for t in pool.taints if t.key not in ours)
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in pairs]
