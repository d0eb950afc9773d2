"""The GPU Operator's ways to fail, as faults: which operand, and what Kubernetes and the logs say then.

Words from NVIDIA's troubleshooting guide and from the issues that report them (numbers as in the catalogue of
failures: gpu-operator troubleshooting.rst; NVIDIA/gpu-operator, nvidia-container-toolkit, k8s-device-plugin issues).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bot.sandbox.world.nvidia.operands import DEVICE_PLUGIN, DRIVER, KERNEL_PROBLEM, TOOLKIT, VALIDATOR, Operand


@dataclass(frozen=True)
class Crash:
    """The operand's container prints ``log`` and ends, for ever."""

    operand: Operand
    log: str


@dataclass(frozen=True)
class Stuck:
    """The operand's container never starts; its pod's status says why (``Evicted``: of the whole pod)."""

    operand: Operand
    reason: str
    message: str


@dataclass(frozen=True)
class Unmade:
    """The operand's pod is never made; only a warning says why, again and again."""

    operand: Operand
    reason: str
    message: str


Trouble = Crash | Stuck | Unmade


_PULL = (
    'Back-off pulling image "{image}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image '
    '"{image}": failed to resolve reference: {image}: not found'
)
_OCI = "failed to create containerd task: failed to create shim task: OCI runtime create failed: "

FAILING: dict[str, tuple[str, Trouble]] = {
    "diag-01": (
        "the NVIDIA runtime is never registered",
        Unmade(
            VALIDATOR,
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: "
            'no runtime for "nvidia" is configured',
        ),
    ),
    "diag-02": (
        "the container toolkit dials a containerd socket that is not there",
        Crash(
            TOOLKIT,
            "unable to dial: dial unix /run/containerd/containerd.sock: connect: no such file or directory\n"
            "Max retries reached 6/6, aborting\n",
        ),
    ),
    "diag-03": (
        "the container toolkit has written a containerd template",
        Crash(TOOLKIT, "error: /runtime/config-dir/config.toml.tmpl: containerd did not come back after restart\n"),
    ),
    "diag-04": ("there are no headers for the kernel", Crash(DRIVER, KERNEL_PROBLEM.format(version="595.91.07"))),
    "diag-05": (
        "there is no driver image for the operating system",
        Stuck(DRIVER, "ImagePullBackOff", _PULL.format(image="nvcr.io/nvidia/driver:595.91.07-ubuntu20.04")),
    ),
    "diag-06": (
        "there is no precompiled driver image for the kernel",
        Stuck(DRIVER, "ImagePullBackOff", _PULL.format(image="nvcr.io/nvidia/driver:580-6.8.0-1031-aws-ubuntu24.04")),
    ),
    "diag-07": (
        "the driver no longer drives the GPU",
        Crash(
            DRIVER,
            "NVRM: The NVIDIA GPU installed in this system is supported through the NVIDIA 580.xx Legacy drivers.\n"
            "NVRM: The NVIDIA driver will ignore this GPU.\nNVRM: No NVIDIA GPU found.\n",
        ),
    ),
    "diag-08": (
        "nouveau holds the GPU",
        Crash(DRIVER, "Unloading nouveau driver...\nrmmod: ERROR: Module nouveau is in use\n"),
    ),
    "diag-11": (
        "the NVSwitch fabric is not up",
        Crash(VALIDATOR, "Failed to allocate device vector A (error code system not yet initialized)!\n"),
    ),
    "diag-12": (
        "the validator's CUDA is newer than the driver",
        Crash(VALIDATOR, "error code CUDA driver version is insufficient for CUDA runtime version\n"),
    ),
    "diag-13": (
        "CUDA does not initialise",
        Crash(VALIDATOR, "Failed to allocate device vector A (error code initialization error)!\n"),
    ),
    "diag-14": (
        "the CDI description is stale",
        Stuck(
            VALIDATOR,
            "CreateContainerError",
            "failed to inject CDI devices: unresolvable CDI devices management.nvidia.com/gpu=all",
        ),
    ),
    "diag-15": (
        "containers may not reach the devices",
        Stuck(
            DEVICE_PLUGIN,
            "RunContainerError",
            _OCI + "nvidia-container-cli: initialization error: nvml error: insufficient permissions",
        ),
    ),
    "diag-16": (
        "a daemon-reload took the devices away",
        Crash(DEVICE_PLUGIN, "Failed to initialize NVML: Unknown Error\n"),
    ),
    "diag-17": (
        "driver and library have different versions",
        Crash(VALIDATOR, "Failed to initialize NVML: Driver/library version mismatch\n"),
    ),
    "diag-18": (
        "a GPU's infoROM is corrupt",
        Crash(VALIDATOR, "WARNING: infoROM is corrupted at gpu 0000:00:1E.0\nlevel=error: exit status 14\n"),
    ),
    "diag-20": (
        "a GPU has fallen off the bus",
        Stuck(
            VALIDATOR,
            "RunContainerError",
            _OCI + "nvidia-container-cli: initialization error: driver rpc error: timed out",
        ),
    ),
    "diag-23": (
        "the node's disk is full",
        Stuck(DRIVER, "Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi"),
    ),
    "diag-25": (
        "the node has no way out",
        Crash(DRIVER, "curl: (6) Could not resolve host: archive.ubuntu.com\n"),
    ),
    "diag-27": (
        "user namespaces are in the way",
        Stuck(VALIDATOR, "RunContainerError", _OCI + "read status from sync socket: No such process"),
    ),
}


def failing(operand: Operand, faults: Collection[str]) -> Trouble | None:
    """What ``faults`` have the operand do."""
    found = [FAILING[name][1] for name in sorted(faults) if name in FAILING]
    return next((trouble for trouble in found if trouble.operand == operand), None)


#: What the kernel has written then, beside what pods say (dmesg; Xid numbers: NVIDIA's XID catalogue).
KERNEL: dict[str, str] = {
    "diag-19": "[  911.0] NVRM: Xid (PCI:0000:00:1e): 48, pid='<unknown>', An uncorrectable double bit error (DBE)\n",
    "diag-20": "[  640.1] NVRM: Xid (PCI:0000:00:1e): 79, pid='<unknown>', GPU has fallen off the bus.\n",
}

MIXED_MIG_DRIVER = "570.133.20"
"""One of those that hide MIG devices of the mixed strategy (gpu-operator#1361: 570.124 to 570.158)."""


def unhealthy(uuid: str) -> str:
    """What the device plugin prints when it takes a GPU back (k8s-device-plugin: internal/rm/health.go)."""
    return (
        "I1126 10:00:00.000000       1 health.go:159] Processing event "
        f"XidCriticalError: Xid=48 on Device={uuid}, the device will go unhealthy.\n"
        f"I1126 10:00:00.100000       1 server.go:240] 'nvidia.com/gpu' device marked unhealthy: {uuid}\n"
    )
