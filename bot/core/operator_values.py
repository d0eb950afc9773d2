"""Values of the GPU Operator's chart: no more than this distribution and these GPUs need.

Source: NVIDIA/gpu-operator deployments/gpu-operator/values.yaml; rancher/rke2-docs docs/add-ons/gpu_operators.md.
"""

from __future__ import annotations

from typing import Any

from bot.core.spec import GPU_TAINT, UNVERIFIED_TAINT, Envelope, Taint

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


def _toleration(taint: Taint) -> dict[str, str]:
    value = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
    return {"key": taint.key, **value, "effect": taint.effect}


def operator_values(envelope: Envelope) -> dict[str, Any]:
    """The chart's values. The three toleration lists are separate in the chart: each needs both taints.

    Automatic driver upgrades are off: one would evict people's GPU pods.
    """
    driver: dict[str, Any] = {"upgradePolicy": {"autoUpgrade": False}}
    existing = envelope.existing
    taints = [*_OUR_TAINTS, *map(_toleration, existing.taints if existing else ())]
    if existing and existing.host_driver:
        driver["enabled"] = False
    if envelope.driver:
        driver["version"] = envelope.driver
    return {
        "operator": {"tolerations": [*_CONTROL_PLANE, *taints]},
        "daemonsets": {"tolerations": taints},
        "node-feature-discovery": {"worker": {"tolerations": [*_CONTROL_PLANE, *taints]}},
        "toolkit": {"env": [{"name": "CONTAINERD_SOCKET", "value": _CONTAINERD_SOCKET}]},
        "driver": driver,
    }
