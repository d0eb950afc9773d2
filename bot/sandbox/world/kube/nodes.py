"""Node objects, complete enough for a client that validates what it reads."""

from __future__ import annotations

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.metal.hardware import Hardware

_RESERVED_MIB = 300
_KUBELET_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def make_node(
    name: str,
    hardware: Hardware,
    *,
    version: str,
    labels: dict[str, str],
    taints: list[Obj],
    roles: list[str],
    at: float,
) -> Obj:
    """A Ready node called ``name``; ``version`` is the kubelet's, ``roles`` e.g. ``control-plane``."""
    capacity = {
        "cpu": str(hardware.vcpus),
        "memory": f"{hardware.memory_mib * 1024}Ki",
        "ephemeral-storage": "101430960Ki",
        "pods": "110",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }
    allocatable = {**capacity, "memory": f"{(hardware.memory_mib - _RESERVED_MIB) * 1024}Ki"}
    return {
        "metadata": {
            "name": name,
            "labels": {**_labels(name, hardware, roles), **labels},
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {
            "podCIDR": "10.42.0.0/24",
            "podCIDRs": ["10.42.0.0/24"],
            "providerID": f"aws:///{hardware.zone}/{hardware.instance_id}",
            **({"taints": taints} if taints else {}),
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": hardware.private_ip},
                {"type": "Hostname", "address": name},
            ],
            "capacity": capacity,
            "allocatable": allocatable,
            "conditions": [_condition(*row, at) for row in _KUBELET_CONDITIONS],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": [],
            "nodeInfo": {
                "machineID": hardware.instance_id.removeprefix("i-"),
                "systemUUID": hardware.instance_id,
                "bootID": hardware.instance_id,
                "kernelVersion": "6.8.0-1031-aws",
                "osImage": "Ubuntu 24.04.3 LTS",
                "containerRuntimeVersion": "containerd://2.1.5-k3s1",
                "kubeletVersion": version,
                "kubeProxyVersion": version,
                "operatingSystem": "linux",
                "architecture": hardware.architecture,
            },
        },
    }


def set_ready(node: Obj, *, ready: bool, at: float) -> None:
    """Change the Ready condition in place."""
    row = _KUBELET_CONDITIONS[-1]
    if not ready:
        row = ("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    others = [c for c in node["status"]["conditions"] if c["type"] != "Ready"]
    node["status"]["conditions"] = [*others, _condition(*row, at)]


def _condition(kind: str, status: str, reason: str, message: str, at: float) -> Obj:
    now = timestamp(at)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def _labels(name: str, hardware: Hardware, roles: list[str]) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": hardware.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": hardware.architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": hardware.instance_type,
        "topology.kubernetes.io/region": hardware.region,
        "topology.kubernetes.io/zone": hardware.zone,
        **{f"node-role.kubernetes.io/{role}": "true" for role in roles},
    }
