"""What the GPU Operator runs on a node, and what each part may be scheduled on.

Source: NVIDIA/gpu-operator: assets, controllers/state_manager.go, deployments/gpu-operator/values.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.kube.selectors import at
from bot.sandbox.world.metal.gpus import Gpu


@dataclass(frozen=True)
class Operand:
    """One DaemonSet: ``state`` is its name in the ClusterPolicy's message, ``label`` its node label's last part."""

    state: str
    name: str
    container: str
    inits: tuple[str, ...]
    label: str


DRIVER = Operand("state-driver", "nvidia-driver-daemonset", "nvidia-driver-ctr", ("k8s-driver-manager",), "driver")
TOOLKIT = Operand(
    "state-container-toolkit",
    "nvidia-container-toolkit-daemonset",
    "nvidia-container-toolkit-ctr",
    ("driver-validation",),
    "container-toolkit",
)
DEVICE_PLUGIN = Operand(
    "state-device-plugin",
    "nvidia-device-plugin-daemonset",
    "nvidia-device-plugin",
    ("toolkit-validation",),
    "device-plugin",
)
FEATURE_DISCOVERY = Operand(
    "gpu-feature-discovery",
    "gpu-feature-discovery",
    "gpu-feature-discovery",
    ("toolkit-validation",),
    "gpu-feature-discovery",
)
DCGM_EXPORTER = Operand(
    "state-dcgm-exporter",
    "nvidia-dcgm-exporter",
    "nvidia-dcgm-exporter",
    ("toolkit-validation",),
    "dcgm-exporter",
)
VALIDATOR = Operand(
    "state-operator-validation",
    "nvidia-operator-validator",
    "nvidia-operator-validator",
    ("driver-validation", "toolkit-validation", "cuda-validation", "plugin-validation"),
    "operator-validator",
)

#: In the order in which the ClusterPolicy names them.
OPERANDS = (DRIVER, TOOLKIT, VALIDATOR, DEVICE_PLUGIN, DCGM_EXPORTER, FEATURE_DISCOVERY)

SOCKET = "/run/k3s/containerd/containerd.sock"  # of RKE2 and K3s alike

_CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "operator": "Equal", "effect": "NoSchedule"}
_GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

#: The chart's own tolerations: setting one list replaces it and leaves the others.
_DEFAULT_TOLERATIONS: dict[str, list[Obj]] = {
    "operator": [_CONTROL_PLANE],
    "daemonsets": [_GPU],
    "node-feature-discovery.worker": [_CONTROL_PLANE, _GPU],
}


def tolerations(values: Obj, part: str) -> list[Obj]:
    """Tolerations of ``operator``, ``daemonsets`` or ``node-feature-discovery.worker`` under chart values."""
    found = at(values, f"{part}.tolerations")
    return list(_DEFAULT_TOLERATIONS[part] if found is None else found)


def containerd_socket(values: Obj) -> str:
    """The socket that the toolkit dials; the chart's default is not where RKE2 and K3s have theirs."""
    for variable in at(values, "toolkit.env") or []:
        if variable.get("name") == "CONTAINERD_SOCKET":
            return str(variable.get("value"))
    return "/run/containerd/containerd.sock"


def driver_version(values: Obj, default: str) -> str:
    """The driver that will be installed."""
    return str(at(values, "driver.version") or default)


def driver_problem(version: str, gpus: tuple[Gpu, ...]) -> str:
    """What the driver prints when it does not drive these GPUs; empty when it does."""
    if gpus[0].model.family == "volta" and int(version.split(".")[0]) > 580:
        return (
            f"NVRM: The NVIDIA {gpus[0].model.name} GPU installed in this system is supported through the NVIDIA "
            f"580.xx Legacy drivers. Please visit http://www.nvidia.com/object/unix.html for more information. "
            f"The {version} NVIDIA driver will ignore this GPU. Continuing probe...\nNVRM: No NVIDIA GPU found.\n"
        )
    return ""


KERNEL_PROBLEM = (
    "Installing NVIDIA driver version {version}\n"
    "Resolving Linux kernel version...\n"
    "E: Unable to locate package linux-headers-6.8.0-1031-aws\n"
    "Could not resolve Linux kernel version\n"
)


def discovery_labels(gpus: tuple[Gpu, ...], driver: str, instance_type: str) -> dict[str, str]:
    """Labels that GPU Feature Discovery sets (NVIDIA/k8s-device-plugin: docs/gpu-feature-discovery)."""
    model = gpus[0].model
    major, minor, *rest = driver.split(".")
    compute = model.compute_capability.split(".")
    return {
        "nvidia.com/gpu.product": model.name.replace(" ", "-"),
        "nvidia.com/gpu.count": str(len(gpus)),
        "nvidia.com/gpu.memory": str(model.memory_mib),
        "nvidia.com/gpu.family": model.family,
        "nvidia.com/gpu.machine": instance_type,
        "nvidia.com/gpu.compute.major": compute[0],
        "nvidia.com/gpu.compute.minor": compute[1],
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/cuda.driver-version.full": driver,
        "nvidia.com/cuda.driver-version.major": major,
        "nvidia.com/cuda.driver-version.minor": minor,
        "nvidia.com/cuda.driver-version.revision": ".".join(rest),
        "nvidia.com/cuda.runtime-version.full": "13.0",
        "nvidia.com/mig.capable": str(model.mig).lower(),
        "nvidia.com/mig.strategy": "single",
    }


NFD_LABELS = {
    "feature.node.kubernetes.io/kernel-version.full": "6.8.0-1031-aws",
    "feature.node.kubernetes.io/kernel-version.major": "6",
    "feature.node.kubernetes.io/kernel-version.minor": "8",
    "feature.node.kubernetes.io/system-os_release.ID": "ubuntu",
    "feature.node.kubernetes.io/system-os_release.VERSION_ID": "24.04",
    "feature.node.kubernetes.io/cpu-model.vendor_id": "Intel",
}
PCI_LABEL = "feature.node.kubernetes.io/pci-10de.present"
