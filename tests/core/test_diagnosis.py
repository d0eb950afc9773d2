"""From the words of AWS, Kubernetes and the operator to one line that a person can act on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.causes.diagnosis import CAPACITY, aws_words, ec2_cause, operand_causes, pod_lines
from bot.core.ports import PodTrouble

# As Rancher keeps it (rancher/rancher: capr/machineprovision/controller.go) around rancher-machine's console text.
DRIVER = "Error creating machine: Error in driver during machine creation: error launching instance: {}"
RANCHER = (
    "failed creating server [fleet-default/train-a-gpu-x] of kind (Amazonec2Machine) for machine train-a-gpu-x in "
    "infrastructure provider: CreateError: Running pre-create checks...\nCreating machine...\n" + DRIVER
)
TAIL = "\n\tstatus code: 500, request id: 1a2b-3c"
WRAPPED = ["{}", DRIVER, RANCHER, RANCHER.lower().replace("createerror", "CreateError")]


@pytest.mark.parametrize("around", WRAPPED)
@pytest.mark.parametrize(
    ("code", "says", "do"),
    [
        ("InsufficientInstanceCapacity", "no free machine of this type", "another zone"),
        ("InsufficientHostCapacity", "no free machine", "another zone"),
        ("UnfulfillableCapacity", "no free machine", "another zone"),
        ("SpotMaxPriceTooLow", "no free machine", "another zone"),
        ("VcpuLimitExceeded", "vCPU quota", "raise the quota"),
        ("InstanceLimitExceeded", "instance quota", "raise the quota"),
        ("MaxSpotInstanceCountExceeded", "spot quota", "raise the spot quota"),
        ("InsufficientFreeAddressesInSubnet", "no free addresses", "another subnet"),
        ("Unsupported", "does not offer this type", "another zone"),
        ("UnauthorizedOperation", "may not do this", "EC2 actions"),
        ("AuthFailure", "was refused", "Renew the keys"),
        ("InvalidAMIID.NotFound", "AMI does not exist", "`ami`"),
        ("InvalidSubnetID.NotFound", "subnet does not exist", "`subnets`"),
        ("InvalidGroup.NotFound", "security group does not exist", "`security_group`"),
        ("InvalidParameterValue", "refused a parameter", "AWS's own words"),
        ("RequestLimitExceeded", "throttling", "some minutes"),
        ("InvalidKeyPair.Duplicate", "answered InvalidKeyPair.Duplicate", "words below"),
        ("SomethingQuiteNew", "answered SomethingQuiteNew", "words below"),
    ],
)
def test_aws_codes_wherever_they_stand(around: str, code: str, says: str, do: str) -> None:
    text = around.format(f"{code}: It is so, because it is so.") + TAIL
    cause = ec2_cause(text)
    assert cause is not None
    assert cause.code == code
    assert says in cause.what
    assert do in cause.remedy
    assert cause.remedy.endswith(".")
    assert aws_words(text) == f"{code}: It is so, because it is so."


def test_capacity_codes_are_told_apart() -> None:
    assert {"InsufficientInstanceCapacity", "SpotMaxPriceTooLow"} <= CAPACITY
    assert "VcpuLimitExceeded" not in CAPACITY


@pytest.mark.parametrize("text", ["", "\n", "exit status 1", "context deadline exceeded", "CreateError: "])
def test_text_without_a_code_has_no_cause(text: str) -> None:
    assert ec2_cause(text) is None
    assert aws_words(text) == text.strip()


def test_words_written_with_a_literal_line_break_end_there() -> None:
    assert aws_words("AuthFailure: AWS was not able to validate\\n\\tstatus code: 401") == (
        "AuthFailure: AWS was not able to validate"
    )


@given(st.text(max_size=2000))
def test_any_text_gives_at_most_a_line(text: str) -> None:
    assert len(aws_words(text)) <= 400
    assert "\n" not in aws_words(text)
    ec2_cause(text)


def trouble(*, reason: str = "CrashLoopBackOff", message: str = "", log: str = "", app: str = "app") -> PodTrouble:
    return PodTrouble(f"{app}-x7", app, "node-1", reason, message, log)


# gpu-operator's troubleshooting.rst and the issues named in bot/core/causes/diagnosis.py.
SIGNALS = [
    (trouble(log="Could not resolve Linux kernel version"), "does not build", "kernel"),
    (trouble(log="E: Unable to locate package linux-headers-6.8.0-1\nexit 100"), "does not build", "kernel"),
    (trouble(log="NVRM: ... supported through the NVIDIA 580.xx Legacy drivers"), "too new for this GPU", "580.173.02"),
    (trouble(log="NVRM: GPU is not supported by the 595.1\nNVRM: NVIDIA driver"), "too new", "580.173.02"),
    (
        trouble(reason="ImagePullBackOff", message="nvcr.io/nvidia/driver:580.1-debian13: not found"),
        "no driver image for this operating system",
        "Ubuntu",
    ),
    (
        trouble(log="unable to dial: dial unix /run/containerd/containerd.sock: connect: no such file or directory"),
        "does not find containerd",
        "CONTAINERD_SOCKET",
    ),
    (trouble(log="Max retries reached 6/6, aborting"), "does not find containerd", "CONTAINERD_SOCKET"),
    (trouble(message='no runtime for "nvidia" is configured'), "runtime is not registered", "toolkit"),
    (trouble(log="Could not resolve host: archive.ubuntu.com"), "no package mirror", "DNS"),
    (trouble(log="Temporary failure resolving 'archive.ubuntu.com'"), "no package mirror", "DNS"),
    (trouble(log="running nvidia-smi: exit status 14"), "infoROM is corrupt", "Replace the machine"),
    (trouble(log="WARNING: infoROM is corrupted at gpu 0000:00:1E.0"), "infoROM is corrupt", "Replace"),
    (trouble(log="XidCriticalError: Xid=48 on Device=GPU-1"), "critical Xid", "Replace the machine"),
    (trouble(log="NVRM: Xid (PCI:0000:00:1e): 79, GPU has fallen off the bus."), "off the bus", "Replace"),
    (trouble(message='violates PodSecurity "restricted:latest"'), "pod security", "privileged"),
    (trouble(reason="Evicted", message="The node was low on resource: ephemeral-storage"), "disk is full", "root_gib"),
    (trouble(message="had condition: [DiskPressure]"), "disk is full", "root_gib"),
    (trouble(reason="OOMKilled"), "ran out of memory", "memory limit"),
    (trouble(reason="ErrImagePull", message="429 Too Many Requests"), "image cannot be pulled", "registry"),
    (trouble(reason="ImagePullBackOff", message="Back-off pulling image"), "image cannot be pulled", "registry"),
    (trouble(reason="Unschedulable", message="1 node(s) had untolerated taint"), "no node", "tolerations"),
    (trouble(reason="Pending", message="0/4 nodes: 4 Insufficient nvidia.com/gpu"), "no node", "GPU count"),
]


@pytest.mark.parametrize(("seen", "says", "do"), SIGNALS, ids=[f"{says}-{i}" for i, (_, says, _) in enumerate(SIGNALS)])
def test_signals_of_the_operators_pods(seen: PodTrouble, says: str, do: str) -> None:
    (cause,) = operand_causes([seen])
    assert cause.what.startswith("app on node-1: ")
    assert says in cause.what
    assert do in cause.remedy


def test_what_nobody_knows_has_no_cause_and_is_still_shown() -> None:
    strange = trouble(reason="Error", log="first\nsegmentation fault\n")
    assert operand_causes([strange]) == ()
    assert pod_lines([strange]) == ("app-x7 (node-1): Error: segmentation fault",)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cause_comes_before_what_follows_from_it_in_whatever_order_pods_are_listed(order: tuple[int, ...]) -> None:
    pods = [
        trouble(app="driver", log="Unable to locate package linux-headers-6.8"),
        trouble(app="feature-discovery", message='no runtime for "nvidia" is configured'),
        trouble(app="validator", reason="Unschedulable"),
    ]
    causes = operand_causes(pods[place] for place in order)
    assert [cause.what.split(" ")[0] for cause in causes] == ["driver", "feature-discovery", "validator"]


def test_one_cause_on_many_nodes_is_told_once() -> None:
    assert len(operand_causes([trouble(log="exit status 14")] * 8)) == 1


def test_a_pod_without_a_node_is_named_without_one() -> None:
    lonely = PodTrouble("validator-1", "", "", "Unschedulable", "no node", "")
    assert operand_causes([lonely])[0].what.startswith("validator-1: ")
    assert pod_lines([lonely]) == ("validator-1 (no node): Unschedulable: no node",)


def test_at_most_five_pods_are_quoted_each_in_a_line() -> None:
    lines = pod_lines([trouble(log="x" * 5000)] * 9)
    assert len(lines) == 5
    assert all(len(line) <= 400 for line in lines)
