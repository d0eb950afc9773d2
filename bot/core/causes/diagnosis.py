"""From the words of AWS, Kubernetes and the GPU Operator to one line a person can act on.

Signals and remedies: AWS "Error codes for the Amazon EC2 API"; NVIDIA gpu-operator troubleshooting.rst and the issues
named beside each; k8s-device-plugin internal/rm/health.go.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.core.causes.failures import CATALOGUE, EVENT, LABEL, LOG, POD, POLICY, PROBE, Mode
from bot.core.ports import Node, PodLog, PodTrouble, PolicyView
from bot.core.verification.verdict import Report


@dataclass(frozen=True)
class Cause:
    """What is likely wrong, and what to do about it. `code` is the outside's own word where it has one."""

    what: str
    remedy: str
    code: str = ""


# What EC2 answers where another place, or the same one later, may well do (AWS: Error codes for the Amazon EC2 API).
# The value: whether waiting may help, too. Every other code is permanent: a person must change something first.
CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
    }
)
ELSEWHERE: dict[str, bool] = {
    **dict.fromkeys(CAPACITY, True),
    "InsufficientFreeAddressesInSubnet": True,
    "Unsupported": False,
}
PASSING = frozenset({"RequestLimitExceeded", "Throttling", "InternalError", "InternalFailure", "ServiceUnavailable"})
"""AWS's own trouble, in every place alike: tried again where it is, for as long as there is time."""

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
    **dict.fromkeys(("RequestLimitExceeded", "Throttling"), ("AWS is throttling the account", "Wait some minutes, then ask again")),
    **dict.fromkeys(("InternalError", "InternalFailure", "ServiceUnavailable"), ("AWS has trouble of its own", "See the AWS Health Dashboard, then ask again")),
}  # fmt: skip
_EC2_CODE = re.compile(r"\b(" + "|".join(re.escape(code) for code in sorted(_EC2, key=len, reverse=True)) + r")\b")
# CreateError is Rancher's own word around the driver's text (rancher/rancher: capr/machineprovision/controller.go).
_ANY_CODE = re.compile(r"\b(?!CreateError)([A-Z][A-Za-z]+(?:\.[A-Za-z]+)+|[A-Z][a-z]+(?:[A-Z][A-Za-z]+)+): ")

# Words that say less than a mode of the catalogue does, for what no mode explains.
_GENERAL: tuple[tuple[str, str, str], ...] = (
    (r"OOMKilled",
     "a container of the operator ran out of memory (gpu-operator#208)",
     "Raise its memory limit in the operator's values"),
    (r"ErrImagePull|ImagePullBackOff",
     "an image cannot be pulled",
     "Check the registry, its credentials and the node's route out"),
    (r"Unschedulable|Insufficient nvidia\.com/gpu|untolerated taint",
     "a pod finds no node that it may run on",
     "Compare the pod's tolerations and GPU count with the nodes"),
)  # fmt: skip

_UPGRADE, _MIXED, _DRIVER_VERSION, _OPERANDS_OFF = (
    "nvidia.com/gpu-driver-upgrade-state",
    "nvidia.com/mig.strategy",
    "nvidia.com/cuda.driver-version.full",
    "nvidia.com/gpu.deploy.operands",
)


NO_DEVICE = "diag-10"
"""The mode in which no GPU is on the PCI bus; a failed operator leaves the same label missing."""


@dataclass(frozen=True)
class Signal:
    """Something that was read: `where` in the catalogue's words, `age_s` for how long it has been so."""

    where: str
    text: str
    subject: str = ""
    app: str = ""
    age_s: float = 0.0


@dataclass(frozen=True)
class Finding:
    """A mode of the catalogue, and the signal that shows it."""

    mode: Mode
    signal: Signal

    @property
    def sentence(self) -> str:
        where = f"{self.signal.subject}: " if self.signal.subject else ""
        return f"{self.mode.code} {where}{self.mode.what} ({self.mode.evidence}). To see it: {self.mode.command}"


def recognise(signals: Iterable[Signal]) -> tuple[Finding, ...]:
    """Every mode that the signals show, each once, the likeliest root first."""
    read = list(signals)
    found = []
    for mode in CATALOGUE:
        shown = next((signal for signal in read if _shows(mode, signal)), None)
        if shown is not None:
            found.append(Finding(mode, shown))
    return tuple(found)


def _shows(mode: Mode, signal: Signal) -> bool:
    if signal.where not in mode.where or signal.age_s < mode.patience_s:
        return False
    return (not mode.app or re.search(mode.app, signal.app) is not None) and mode.matches(signal.text)


def pod_signals(troubles: Iterable[PodTrouble]) -> tuple[Signal, ...]:
    """What pods that do not run say, in their state, their events and the end of their logs. Only an event tells for how
    long; pods are asked when something is late."""
    signals = []
    for trouble in troubles:
        subject = f"{trouble.app or trouble.pod} on {trouble.node}" if trouble.node else trouble.app or trouble.pod
        said = f"{trouble.reason}: {trouble.message}"
        where = EVENT if trouble.seconds is not None else POD
        age_s = math.inf if trouble.seconds is None else trouble.seconds
        signals.append(Signal(where, said, subject, trouble.app, age_s))
        if trouble.log:
            signals.append(Signal(LOG, trouble.log, subject, trouble.app, math.inf))
    return tuple(signals)


def policy_signals(policy: PolicyView | None) -> tuple[Signal, ...]:
    """What the ClusterPolicy says."""
    if policy is None:
        return ()
    return (Signal(POLICY, f"{policy.state} {policy.reason}: {policy.message}", "ClusterPolicy"),)


def node_signals(nodes: Iterable[Node], age_s: float) -> tuple[Signal, ...]:
    """What the labels of GPU machines say, and have said for at least `age_s` (world seconds)."""
    signals = []
    for node in nodes:
        labels = [
            f"{key}={node.labels[key]}"
            for key in (_UPGRADE, _MIXED, _DRIVER_VERSION, _OPERANDS_OFF)
            if key in node.labels
        ]
        labels += [f"{key}={value}" for key, value in node.labels.items() if value == "paused-for-driver-upgrade"]
        if not any("pci-" in key and "10de.present" in key for key in node.labels):
            labels.append("pci-10de.present is missing")
        signals.append(Signal(LABEL, "\n".join(labels), node.name, age_s=age_s))
    return tuple(signals)


def probe_signals(report: Report) -> tuple[Signal, ...]:
    """What the probe found wrong, in its own and the driver's words."""
    reasons = [Signal(PROBE, reason) for reason in report.reasons]
    return (*reasons, *(Signal(PROBE, node.log, node.node) for node in report.nodes if node.log))


def plugin_signals(logs: Iterable[PodLog]) -> tuple[Signal, ...]:
    """What the device plugin printed: it runs on after it has marked a GPU unhealthy, so only its log says why."""
    return tuple(Signal(LOG, log.text, f"{log.app} on {log.node}", log.app, math.inf) for log in logs)


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
    """What the pods that do not run say, each cause once, in the catalogue's order: what others only follow from (a
    driver that does not build leaves every other pod without a runtime) comes first, what no mode explains last."""
    read = list(troubles)
    known = [cause_of(finding) for finding in recognise(pod_signals(read))]
    return (*known, *_general_causes(trouble for trouble in read if not recognise(pod_signals([trouble]))))


def _general_causes(troubles: Iterable[PodTrouble]) -> tuple[Cause, ...]:
    causes: dict[int, Cause] = {}
    for signal in pod_signals(troubles):
        for rank, (pattern, what, remedy) in enumerate(_GENERAL):
            if re.search(pattern, signal.text):
                causes.setdefault(rank, Cause(f"{signal.subject}: {what}", remedy + "."))
                break
    return tuple(causes[rank] for rank in sorted(causes))


def cause_of(finding: Finding) -> Cause:
    """A finding as a cause; its `code` is the mode's."""
    mode, subject = finding.mode, finding.signal.subject
    what = f"{subject}: {mode.what} ({mode.evidence})" if subject else f"{mode.what} ({mode.evidence})"
    return Cause(what, mode.remedy + ".", mode.code)


def cause_lines(causes: Iterable[Cause]) -> tuple[str, ...]:
    """A line a cause, beginning with its code where it has one."""
    return tuple(f"{cause.code} {cause.what}".strip() for cause in causes)


def codes_in(lines: Iterable[str]) -> tuple[str, ...]:
    """The catalogue's codes with which such lines begin, in their order."""
    found = [match[0] for line in lines if (match := re.match(r"diag-\d\d\b", line))]
    return tuple(dict.fromkeys(found))


def pod_lines(troubles: Iterable[PodTrouble], limit: int = 5) -> tuple[str, ...]:
    """One line per pod that does not run, with the end of its log, for the thread."""
    lines = []
    for trouble in troubles:
        last = trouble.log.strip().splitlines()[-1:] or [trouble.message]
        lines.append(f"{trouble.pod} ({trouble.node or 'no node'}): {trouble.reason}: {last[0]}"[:400])
    return tuple(lines[:limit])
