"""Every mode of the catalogue is recognised by its signal, alone and beside others; what only looks like it is not."""

from __future__ import annotations

import itertools
import re

import pytest

from bot.core.causes.diagnosis import (
    Signal,
    cause_lines,
    cause_of,
    codes_in,
    node_signals,
    operand_causes,
    pod_signals,
    policy_signals,
    recognise,
)
from bot.core.causes.failures import CATALOGUE
from bot.core.ports import Node, PodTrouble, PolicyView

DRIVER, TOOLKIT, PLUGIN = (
    "nvidia-driver-daemonset",
    "nvidia-container-toolkit-daemonset",
    "nvidia-device-plugin-daemonset",
)
VALIDATOR = "nvidia-operator-validator"
PCI = {"feature.node.kubernetes.io/pci-10de.present": "true"}
OTHER_PCI = "feature.node.kubernetes.io/pci-0302_10de.present"
UPGRADE = "nvidia.com/gpu-driver-upgrade-state"


def pod(message: str, reason: str = "RunContainerError", app: str = VALIDATOR) -> tuple[Signal, ...]:
    return pod_signals([PodTrouble(f"{app}-x", app, "n1", reason, message, "")])


def log(text: str, app: str = VALIDATOR) -> tuple[Signal, ...]:
    return pod_signals([PodTrouble(f"{app}-x", app, "n1", "CrashLoopBackOff", "back-off 5m0s restarting", text)])


def event(message: str, reason: str = "FailedCreatePodSandBox", seconds: float = 600.0) -> tuple[Signal, ...]:
    return pod_signals([PodTrouble(f"{VALIDATOR}-x", VALIDATOR, "n1", reason, message, "", seconds)])


def labelled(found: dict[str, str], seconds: float = 1200.0) -> tuple[Signal, ...]:
    return node_signals([Node("n1", "u", True, {**PCI, **found}, (), 1, 1)], seconds)


def policy(state: str, reason: str, message: str) -> tuple[Signal, ...]:
    return policy_signals(PolicyView(state, False, reason, message))


def image(tag: str) -> str:
    return f'Back-off pulling image "nvcr.io/nvidia/driver:{tag}": nvcr.io/nvidia/driver:{tag}: not found'


MIXED = {"nvidia.com/mig.strategy": "mixed", "nvidia.com/cuda.driver-version.full": "570.133.20"}
NO_RUNTIME = 'failed to get sandbox runtime: no runtime for "nvidia" is configured'
SHOWN: dict[int, tuple[Signal, ...]] = {
    1: event(NO_RUNTIME),
    2: log("unable to dial: dial unix /run/containerd/containerd.sock: connect: no such file or directory", TOOLKIT),
    3: log("wrote /runtime/config-dir/config.toml.tmpl\ncontainerd did not come back", TOOLKIT),
    4: log("E: Unable to locate package linux-headers-6.8.0-1031-aws", DRIVER),
    5: pod(image("595.91.07-ubuntu20.04"), "ImagePullBackOff", DRIVER),
    6: pod(image("580-6.8.0-1031-aws-ubuntu24.04"), "ImagePullBackOff", DRIVER),
    7: log("NVRM: The NVIDIA Tesla V100 GPU is supported through the NVIDIA 580.xx Legacy drivers.", DRIVER),
    8: log("rmmod: ERROR: Module nouveau is in use", DRIVER),
    9: labelled({"nvidia.com/gpu.deploy.operands": "false"}),
    10: node_signals([Node("n1", "u", True, {}, (), 1, 1)], 900),
    11: log("Failed to allocate device vector A (error code system not yet initialized)!"),
    12: log("error code CUDA driver version is insufficient for CUDA runtime version"),
    13: log("Failed to allocate device vector A (error code initialization error)!"),
    14: pod("failed to inject CDI devices: unresolvable CDI devices management.nvidia.com/gpu=all"),
    15: pod("nvidia-container-cli: initialization error: nvml error: insufficient permissions"),
    16: log("Failed to initialize NVML: Unknown Error"),
    17: log("Failed to initialize NVML: Driver/library version mismatch"),
    18: log('time=… level=error msg="Error: driver validation failed: exit status 14"'),
    19: log("XidCriticalError: Xid=48 on Device=GPU-7b7c84ab-6874, the device will go unhealthy.", PLUGIN),
    20: pod("nvidia-container-cli: initialization error: driver rpc error: timed out"),
    21: pod("back-off 5m0s restarting failed container (OOMKilled)", "CrashLoopBackOff", "gpu-operator"),
    22: labelled({UPGRADE: "upgrade-failed"}),
    23: pod("The node was low on resource: ephemeral-storage.", "Evicted", DRIVER),
    24: event('pods "nvidia-driver-daemonset-" is forbidden: violates PodSecurity "restricted:latest"', "FailedCreate"),
    25: log("curl: (6) Could not resolve host: archive.ubuntu.com", DRIVER),
    26: policy("ignored", "", "only one instance is allowed"),
    27: pod("runc create failed: read status from sync socket: No such process"),
    28: labelled(MIXED),
}

LOOK_ALIKES: dict[int, tuple[Signal, ...]] = {
    1: event(NO_RUNTIME, seconds=240.0),
    2: log("Loading config from /etc/containerd/config.toml; containerd.sock answered at once", TOOLKIT),
    3: log("Loading config: /runtime/config-dir/config.toml", TOOLKIT),
    4: log("Installing linux-headers-6.8.0-1031-aws\nUnable to locate package matching: none, all found", DRIVER),
    5: event("Pulling image nvcr.io/nvidia/driver:595.91.07-ubuntu24.04", "FailedCreate"),
    6: pod("Pulling image nvcr.io/nvidia/driver:580-6.8.0-1031-aws-ubuntu24.04", "PodInitializing", DRIVER),
    7: log("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.173.02", DRIVER),
    8: log("Checking that nouveau is not loaded: ok", DRIVER),
    9: labelled({"nvidia.com/gpu.deploy.operands": "true"}),
    10: node_signals([Node("n1", "u", True, {OTHER_PCI: "true"}, (), 1, 1)], 900),
    11: log("fabric.state: Completed"),
    12: log("CUDA driver version 13.0, runtime version 12.5: sufficient"),
    13: log("initialization done, error code 0"),
    14: pod("waiting for CDI devices to be generated", "PodInitializing"),
    15: log("permissions: sufficient"),
    16: log("NVML initialised"),
    17: log("Driver and library version 580.173.02 match"),
    18: log("nvidia-smi: exit status 0"),
    19: log("XidCriticalError", VALIDATOR),
    20: log("NVRM: Xid (PCI:0000:00:1e): 31, pid=99, an application's own fault"),
    21: pod("back-off restarting failed container (OOMKilled)", "CrashLoopBackOff", "somebody-s-notebook"),
    22: labelled({UPGRADE: "upgrade-done"}),
    23: pod("", "ContainerCreating", DRIVER),
    24: event('would violate policy if enforced, audit only: PodSecurity "restricted:latest"', "FailedCreate"),
    25: log("Resolved host archive.ubuntu.com", DRIVER),
    26: policy("notReady", "OperandNotReady", "states not ready: [state-driver]"),
    27: pod("", "PodInitializing"),
    28: labelled({**MIXED, "nvidia.com/cuda.driver-version.full": "570.172.08"}),
}  # fmt: skip


def numbers(*signals: Signal) -> list[int]:
    return [finding.mode.number for finding in recognise(signals)]


def test_the_catalogue_is_whole() -> None:
    assert sorted(mode.number for mode in CATALOGUE) == list(range(1, 29)) == sorted(SHOWN) == sorted(LOOK_ALIKES)
    for mode in CATALOGUE:
        re.compile(mode.pattern)
        assert mode.where
        assert mode.what
        assert mode.remedy
        assert mode.evidence
        assert mode.command


@pytest.mark.parametrize("number", sorted(SHOWN))
def test_a_mode_is_named_by_its_signal_and_nothing_else_is(number: int) -> None:
    assert numbers(*SHOWN[number]) == [number]


@pytest.mark.parametrize("number", sorted(LOOK_ALIKES))
def test_what_is_healthy_names_nothing(number: int) -> None:
    assert numbers(*LOOK_ALIKES[number]) == []


def test_all_look_alikes_together_name_nothing() -> None:
    assert numbers(*itertools.chain.from_iterable(LOOK_ALIKES.values())) == []


@pytest.mark.parametrize("pair", list(itertools.combinations(sorted(SHOWN), 2)))
def test_two_at_once_are_both_named(pair: tuple[int, int]) -> None:
    first, second = pair
    assert set(numbers(*SHOWN[first], *SHOWN[second])) == {first, second}
    assert numbers(*SHOWN[first], *SHOWN[second]) == numbers(*SHOWN[second], *SHOWN[first]), "ranked, not as read"


def test_what_is_broken_for_good_is_named_first() -> None:
    assert numbers(*SHOWN[1], *SHOWN[14], *SHOWN[18])[0] == 18
    assert numbers(*SHOWN[1], *SHOWN[4])[0] == 4


def test_what_is_normal_for_a_while_is_a_mode_after_it() -> None:
    assert numbers(*event(NO_RUNTIME, seconds=299.0)) == []
    assert numbers(*event(NO_RUNTIME, seconds=301.0)) == [1]
    assert numbers(*labelled({"nvidia.com/gpu.deploy.driver": "paused-for-driver-upgrade"}, 60)) == []
    assert numbers(*labelled({"nvidia.com/gpu.deploy.driver": "paused-for-driver-upgrade"}, 1000)) == [22]


def test_causes_carry_their_code_and_lines_give_it_back() -> None:
    (finding,) = recognise(SHOWN[5])
    lines = cause_lines([cause_of(finding)])
    assert lines[0].startswith(f"diag-05 {DRIVER} on n1: there is no driver image")
    assert finding.sentence.endswith("To see it: kubectl -n gpu-operator describe pods")
    assert codes_in([*lines, "ClusterPolicy: not ready, see diag-07", *lines]) == ("diag-05",)


def test_what_no_mode_explains_is_said_in_general_and_without_a_code() -> None:
    (cause,) = operand_causes([PodTrouble("p", "a", "n1", "ImagePullBackOff", "docker.io/x: unauthorized", "")])
    assert (cause.code, cause.what) == ("", "a on n1: an image cannot be pulled")
    assert operand_causes([PodTrouble("p", "a", "n1", "NotReady", "", "")]) == ()
