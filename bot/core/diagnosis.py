"""From the words of AWS, Kubernetes and the GPU Operator to one line a person can act on.

Signals and remedies: AWS "Error codes for the Amazon EC2 API"; NVIDIA gpu-operator troubleshooting.rst and the issues
named beside each; k8s-device-plugin internal/rm/health.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.core.ports import PodTrouble


@dataclass(frozen=True)
class Cause:
    """What is likely wrong, and what to do about it. `code` is the outside's own word where it has one."""

    what: str
    remedy: str
    code: str = ""


CAPACITY = frozenset(
    {"InsufficientInstanceCapacity", "InsufficientHostCapacity", "UnfulfillableCapacity", "SpotMaxPriceTooLow"}
)

_EC2: dict[str, tuple[str, str]] = {
    **dict.fromkeys(CAPACITY, ("AWS has no free machine of this type in this zone", "Try again later, in another zone, or with another preset")),
    "VcpuLimitExceeded": ("the account's vCPU quota for this family is used up", "Ask AWS to raise the quota (Service Quotas, EC2), or delete a cluster"),
    "InstanceLimitExceeded": ("the account's instance quota is used up", "Ask AWS to raise the quota, or delete a cluster"),
    "MaxSpotInstanceCountExceeded": ("the account's spot quota is used up", "Ask AWS to raise the spot quota"),
    "InsufficientFreeAddressesInSubnet": ("the subnet has no free addresses", "Name another subnet in the target, or free addresses"),
    "Unsupported": ("AWS does not offer this type in this zone or with this image", "Choose another zone, preset or AMI"),
    "UnauthorizedOperation": ("Rancher's cloud credential may not do this", "Give its AWS user the EC2 actions that Rancher's node driver needs"),
    "AuthFailure": ("Rancher's cloud credential was refused", "Renew the keys of the cloud credential in Rancher"),
    "InvalidAMIID.NotFound": ("the AMI does not exist in this region", "Mend `ami` of the preset or target"),
    "InvalidSubnetID.NotFound": ("the subnet does not exist", "Mend `subnets` of the target"),
    "InvalidGroup.NotFound": ("the security group does not exist", "Mend `security_group` of the target"),
    "InvalidParameterValue": ("AWS refused a parameter", "See AWS's own words, and mend the preset or target"),
    "RequestLimitExceeded": ("AWS is throttling the account", "Wait some minutes, then ask again"),
}  # fmt: skip
_EC2_CODE = re.compile(r"\b(" + "|".join(re.escape(code) for code in sorted(_EC2, key=len, reverse=True)) + r")\b")
# CreateError is Rancher's own word around the driver's text (rancher/rancher: capr/machineprovision/controller.go).
_ANY_CODE = re.compile(r"\b(?!CreateError)([A-Z][A-Za-z]+(?:\.[A-Za-z]+)+|[A-Z][a-z]+(?:[A-Z][A-Za-z]+)+): ")

_OPERANDS: tuple[tuple[str, str, str], ...] = (
    (r"Could not resolve Linux kernel version|Unable to locate package linux-headers",
     "the driver does not build: no headers for this kernel (gpu-operator#85, #152)",
     "Use a stock AMI kernel, pin the kernel, or use the precompiled driver"),
    (r"580\.xx Legacy drivers|not supported by the .*NVIDIA",
     "the driver is too new for this GPU",
     "Pin driver = \"580.173.02\" in the preset (V100 ends with branch 580)"),
    (r"nvcr\.io/nvidia/driver:\S+.*not found",
     "there is no driver image for this operating system or version (gpu-operator#192)",
     "Use Ubuntu 22.04 or 24.04, or another driver version"),
    (r"no such file.*containerd\.sock|containerd\.sock.*no such file|Max retries reached",
     "the container toolkit does not find containerd (gpu-operator#406)",
     "Set CONTAINERD_SOCKET=/run/k3s/containerd/containerd.sock in the toolkit's env"),
    (r"Could not resolve host|Temporary failure resolving",
     "the node reaches no package mirror",
     "Give the subnet a route out (NAT or internet gateway), DNS, or a proxy for the driver"),
    (r"exit status 14|infoROM is corrupted",
     "a GPU's infoROM is corrupt: hardware (gpu-operator#2596)",
     "Replace the machine"),
    (r"XidCriticalError|Xid .*: 79|fallen off the bus",
     "a GPU reported a critical error",
     "Replace the machine"),
    (r"violates PodSecurity",
     "pod security refuses the operator's pods",
     "Label the namespace pod-security.kubernetes.io/enforce=privileged"),
    (r"Evicted|DiskPressure",
     "the node's disk is full",
     "Use a larger root disk: root_gib = 100 or more in the preset"),
    (r"OOMKilled",
     "a container of the operator ran out of memory (gpu-operator#208)",
     "Raise its memory limit in the operator's values"),
    (r"ErrImagePull|ImagePullBackOff",
     "an image cannot be pulled",
     "Check the registry, its credentials and the node's route out"),
    (r"no runtime for \"nvidia\" is configured",
     "the NVIDIA runtime is not registered on the node (gpu-operator#432)",
     "Look at the toolkit's log, then restart rke2-agent on the node"),
    (r"Unschedulable|Insufficient nvidia\.com/gpu|untolerated taint",
     "a pod finds no node that it may run on",
     "Compare the pod's tolerations and GPU count with the nodes"),
)  # fmt: skip


def ec2_cause(text: str) -> Cause | None:
    """The cause in rancher-machine's console text, whose structure varies: known codes first, then any code-like
    word before a colon (rancher/machine: drivers/amazonec2/amazonec2.go)."""
    if (found := _EC2_CODE.search(text)) is not None:
        what, remedy = _EC2[found[1]]
        return Cause(what, remedy + ".", found[1])
    if (found := _ANY_CODE.search(text)) is not None:
        return Cause(f"AWS or the driver answered {found[1]}", "See the words below.", found[1])
    return None


def aws_words(text: str) -> str:
    """AWS's sentence out of the console text: from its code to the end of that line, request id cut off."""
    found = _EC2_CODE.search(text) or _ANY_CODE.search(text)
    tail = text[found.start() :] if found else text
    return tail.splitlines()[0].split("\\n")[0].strip()[:400] if tail.strip() else ""


def operand_causes(troubles: Iterable[PodTrouble]) -> tuple[Cause, ...]:
    """What the pods that do not run say, each cause once, in the table's order: what others only follow from
    (a driver that does not build leaves every other pod without a runtime) comes first."""
    causes: dict[int, Cause] = {}
    for trouble in troubles:
        text = "\n".join((trouble.reason, trouble.message, trouble.log))
        for rank, (pattern, what, remedy) in enumerate(_OPERANDS):
            if re.search(pattern, text, re.DOTALL):
                where = trouble.app or trouble.pod
                on = f" on {trouble.node}" if trouble.node else ""
                causes.setdefault(rank, Cause(f"{where}{on}: {what}", remedy + "."))
                break
    return tuple(causes[rank] for rank in sorted(causes))


def pod_lines(troubles: Iterable[PodTrouble], limit: int = 5) -> tuple[str, ...]:
    """One line per pod that does not run, with the end of its log, for the thread."""
    lines = []
    for trouble in troubles:
        last = trouble.log.strip().splitlines()[-1:] or [trouble.message]
        lines.append(f"{trouble.pod} ({trouble.node or 'no node'}): {trouble.reason}: {last[0]}"[:400])
    return tuple(lines[:limit])
