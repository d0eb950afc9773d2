"""Values of the GPU Operator's chart: no more than this distribution and these GPUs need.

Source: NVIDIA/gpu-operator deployments/gpu-operator/values.yaml; rancher/rke2-docs docs/add-ons/gpu_operators.md.
"""

from __future__ import annotations

from typing import Any

from bot.core.spec import GPU_TAINT, UNVERIFIED_TAINT, Envelope

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


def operator_values(envelope: Envelope) -> dict[str, Any]:
    """The chart's values. The three toleration lists are separate in the chart: each needs both taints.

    Automatic driver upgrades are off: one would evict people's GPU pods.
    """
    driver: dict[str, Any] = {"upgradePolicy": {"autoUpgrade": False}}
    if envelope.driver:
        driver["version"] = envelope.driver
    return {
        "operator": {"tolerations": [*_CONTROL_PLANE, *_OUR_TAINTS]},
        "daemonsets": {"tolerations": _OUR_TAINTS},
        "node-feature-discovery": {"worker": {"tolerations": [*_CONTROL_PLANE, *_OUR_TAINTS]}},
        "toolkit": {"env": [{"name": "CONTAINERD_SOCKET", "value": _CONTAINERD_SOCKET}]},
        "driver": driver,
    }
