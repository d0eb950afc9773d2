"""Verdicts: a measured H100 passes; no single thing wrong with it does, nor anything that cannot be read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.spec import GpuExpectation
from bot.core.verification.verdict import (
    DEGRADED,
    FAILED,
    REQUIRED_CHECKS,
    UNKNOWN,
    VERIFIED,
    NodeResult,
    judge,
    judge_node,
    node_from_json,
    node_to_json,
    report_from_json,
    report_to_json,
    same_model,
    unmeasured_node,
)

FIXTURES = Path(__file__).parents[1] / "probe/fixtures"
H100 = GpuExpectation("p5.4xlarge", "H100", 1, 81920)
DOCUMENT: dict[str, Any] = json.loads((FIXTURES / "h100-quick.json").read_text())


def judged(document: object, expect: GpuExpectation = H100) -> NodeResult:
    return judge_node("node-1", "uid-1", json.dumps(document), expect)


def mutated(*path: str | int, to: object) -> dict[str, Any]:
    """The measured document with one value replaced."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return document


@pytest.mark.parametrize("fixture", ["h100-quick.json", "h100-standard.json"])
def test_a_measured_h100_is_verified_against_what_aws_says_of_it(fixture: str) -> None:
    result = judge_node("node-1", "uid-1", (FIXTURES / fixture).read_text(), H100)
    assert (result.verdict, result.reasons) == (VERIFIED, ())
    (gpu,) = result.gpus
    assert (gpu.name, gpu.memory_mib, gpu.driver) == ("NVIDIA H100 80GB HBM3", 81559, "580.159.04")
    assert {check.name for check in gpu.checks} >= set(REQUIRED_CHECKS)
    assert judge([result], 1).verdict == VERIFIED


GPU = ("gpus", 0)
WRONG = [
    (mutated("error", to="nvmlInit: Driver/library version mismatch"), "version mismatch"),
    (mutated("gpus", to=[]), "0 of 1 GPUs answered"),
    (mutated("gpus", to=None), "no list of gpus"),
    (mutated("gpus", to=[*DOCUMENT["gpus"], {**DOCUMENT["gpus"][0], "uuid": "GPU-2"}]), "2 of 1 GPUs answered"),
    (mutated(*GPU, "name", to="NVIDIA H200"), "it is a NVIDIA H200, but p5.4xlarge has H100"),
    (mutated(*GPU, "name", to=None), "it is a unknown"),
    (mutated(*GPU, "uuid", to=""), "no UUID"),
    (mutated(*GPU, "memory_mib", to=40960), "40960 MiB of memory, but p5.4xlarge has 81920 MiB"),
    (mutated(*GPU, "memory_mib", to=None), "0 MiB of memory"),
    (mutated(*GPU, "memory_mib", to=163840), "163840 MiB"),
    (mutated(*GPU, "checks", 0, "ok", to=False), "vector_add failed"),
    (mutated(*GPU, "checks", 1, "ok", to=None), "matmul failed"),
    (mutated(*GPU, "checks", 2, "ok", to="true"), "memory_pattern failed"),
    (mutated(*GPU, "checks", to=DOCUMENT["gpus"][0]["checks"][:2]), "memory_pattern was not run"),
    (mutated(*GPU, "checks", to=[]), "vector_add was not run"),
    (mutated(*GPU, "checks", to=None), "no list of checks"),
    (mutated(*GPU, "ecc_uncorrected", to=3), "3 uncorrected memory errors"),
    (mutated(*GPU, "remapped_rows", "pending", to=True), "needs a reset"),
    (mutated(*GPU, "remapped_rows", "failure", to=True), "replace the machine"),
    (mutated(*GPU, "recovery_action", to="GPU Reset"), "the driver asks for: GPU Reset"),
    (mutated(*GPU, "throttle_reasons", to=["gpu_idle", "hw_thermal_slowdown"]), "hw_thermal_slowdown"),
    (mutated(*GPU, "throttle_reasons", to=["hw_power_brake_slowdown"]), "hw_power_brake_slowdown"),
    (mutated(*GPU, "pcie", "width", to=8), "PCIe runs at x8 of x16"),
    (mutated(*GPU, "errors", to=["nvmlDeviceGetPowerUsage: GPU is lost"]), "GPU is lost"),
    (mutated("schema", to=2), "schema 2"),
    (mutated("schema", to=None), "schema None"),
]


@pytest.mark.parametrize(("document", "says"), WRONG, ids=[says for _, says in WRONG])
def test_one_thing_wrong_is_not_verified_and_is_named(document: dict[str, Any], says: str) -> None:
    result = judged(document)
    assert result.verdict != VERIFIED
    assert any(says in reason for reason in result.reasons), result.reasons
    assert judge([result], 1).verdict != VERIFIED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("temperature_c",), None),
        (("power_w",), None),
        (("recovery_action",), None),
        (("remapped_rows",), None),
        (("pcie", "width"), None),
        (("ecc_uncorrected",), None),
        (("throttle_reasons",), ["gpu_idle", "sw_power_cap"]),
        (("memory_mib",), 81920),
    ],
)
def test_what_the_driver_does_not_tell_proves_nothing(path: tuple[str, ...], value: object) -> None:
    assert judged(mutated(*GPU, *path, to=value)).verdict == VERIFIED


def test_one_gpu_measured_twice_is_not_two() -> None:
    two = mutated("gpus", to=[DOCUMENT["gpus"][0], {**DOCUMENT["gpus"][0], "index": 1}])
    result = judged(two, GpuExpectation("p5.8xlarge", "H100", 2, 81920))
    assert result.verdict != VERIFIED
    assert "node-1 GPU 0: it shares its UUID with another GPU" in result.reasons[0]


def test_one_bad_gpu_of_eight_is_degraded_and_says_which() -> None:
    gpus = [{**DOCUMENT["gpus"][0], "index": i, "uuid": f"GPU-{i}"} for i in range(8)]
    gpus[5]["memory_mib"] = 40960
    result = judged(mutated("gpus", to=gpus), GpuExpectation("p5.48xlarge", "H100", 8, 81920))
    assert result.verdict == DEGRADED
    assert [gpu.verdict for gpu in result.gpus] == [FAILED if i == 5 else VERIFIED for i in range(8)]
    assert result.reasons[0].startswith("node-1 GPU 5:")
    report = judge([result], 8)
    assert (report.verdict, report.good, report.expected) == (DEGRADED, 7, 8)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ESSENTIAL = [
    ("schema",),
    ("gpus",),
    (*GPU,),
    (*GPU, "name"),
    (*GPU, "uuid"),
    (*GPU, "memory_mib"),
    (*GPU, "checks"),
    *[(*GPU, "checks", i) for i in range(3)],
    *[(*GPU, "checks", i, key) for i in range(3) for key in ("name", "ok")],
]
ANYWHERE = [*ESSENTIAL, *[(*GPU, key) for key in DOCUMENT["gpus"][0]], *[(key,) for key in DOCUMENT]]


@given(st.sampled_from(ESSENTIAL), JSON)
def test_no_other_value_of_what_matters_is_verified(path: tuple[str | int, ...], value: object) -> None:
    harmless: dict[str | int, Callable[[object], bool]] = {
        "schema": lambda v: v == 1,
        "uuid": lambda v: v not in (None, False, 0, "", [], {}),
        "name": lambda v: same_model("H100", str(v)),
        "memory_mib": lambda v: str(v).strip().lstrip("+").startswith(("7", "8")),  # near 81920, however written
        "ok": lambda v: v is True,
    }
    passes = harmless.get(path[-1])
    if passes is None or not passes(value):
        assert judged(mutated(*path, to=value)).verdict != VERIFIED


@given(st.sampled_from(ANYWHERE), JSON)
def test_any_document_can_be_judged_shown_and_stored(path: tuple[str | int, ...], value: object) -> None:
    result = judged(mutated(*path, to=value))
    assert result.verdict in (VERIFIED, DEGRADED, FAILED, UNKNOWN)
    report = judge([result], 1)
    assert report_from_json(report_to_json(report)) == report
    for gpu in result.gpus:
        assert all(n is None or abs(n) < float("inf") for n in (gpu.device_gbs, gpu.temperature_c))


LINE = json.dumps(DOCUMENT)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "printed nothing"),
        ("\n\n", "printed nothing"),
        ("Traceback (most recent call last):\nOSError: libcuda.so.1", "printed no result"),
        (LINE[:-1], "cut off or not JSON"),
        (LINE[: len(LINE) // 2], "cut off or not JSON"),
        ("{", "cut off or not JSON"),
        (LINE + "\n{broken", "cut off or not JSON"),
        ("[1]", "printed no result"),
        ("{}", "schema None"),
        ('{"schema": 1, "gpus": 3, "peers": []}', "no list of gpus"),
        ('{"schema": 1, "gpus": [3], "peers": []}', "no list of gpus"),
        ('{"schema": 1, "gpus": [{"memory_mib": "much"}], "peers": []}', "a number that cannot be"),
        ('{"schema": 1, "gpus": [{"memory_mib": Infinity}], "peers": []}', "Infinity, which is no measurement"),
        ('{"schema": 1, "gpus": [{"checks": "all"}], "peers": []}', "no list of checks"),
    ],
)
def test_output_that_cannot_be_read_proves_nothing_and_names_its_node(log: str, says: str) -> None:
    result = judge_node("node-1", "uid-1", log, H100)
    assert (result.verdict, result.gpus) == (UNKNOWN, ())
    (reason,) = result.reasons
    assert reason.startswith("node-1: ")
    assert says in reason


@given(st.text())
def test_no_text_is_a_pass(log: str) -> None:
    assert judge_node("node-1", "uid-1", log, H100).verdict == UNKNOWN


@given(st.integers(0, len(LINE) - 1))
def test_no_document_that_is_cut_off_is_a_pass(length: int) -> None:
    assert judge_node("node-1", "uid-1", LINE[:length], H100).verdict == UNKNOWN


def test_other_text_around_the_document_does_no_harm() -> None:
    log = f"pulling libcuda\n{{not ours\n{LINE}\nGPU 0: good\n"
    assert judge_node("node-1", "uid-1", log, H100).verdict == VERIFIED


# --- the order ------------------------------------------------------------------------------------------------


def test_nothing_measured_is_unknown_and_never_ready() -> None:
    report = judge([], 2)
    assert (report.verdict, report.good) == (UNKNOWN, 0)
    assert report.reasons


def test_fewer_than_ordered_is_degraded_however_good() -> None:
    report = judge([judged(DOCUMENT)], 2)
    assert (report.verdict, report.reasons) == (DEGRADED, ("1 of 2 GPUs were measured",))


def test_a_node_without_a_measurement_counts_against_the_order() -> None:
    missing = unmeasured_node("node-2", "uid-2", H100, "no GPU")
    report = judge([judged(DOCUMENT), missing], 2)
    assert (report.verdict, report.good, report.reasons) == (DEGRADED, 1, ("node-2: no GPU",))
    assert judge([missing], 1).verdict == FAILED
    assert node_from_json(node_to_json(missing)) == missing


# --- names ----------------------------------------------------------------------------------------------------

# EC2 DescribeInstanceTypes' name, and what the driver calls the board that is in those machines.
MODELS = [
    ("V100", "Tesla V100-SXM2-16GB"),
    ("V100", "Tesla V100-SXM2-32GB"),
    ("T4", "Tesla T4"),
    ("T4g", "NVIDIA T4G"),
    ("A10G", "NVIDIA A10G"),
    ("A100", "NVIDIA A100-SXM4-40GB"),
    ("A100", "NVIDIA A100-SXM4-80GB"),
    ("L4", "NVIDIA L4"),
    ("L40S", "NVIDIA L40S"),
    ("H100", "NVIDIA H100 80GB HBM3"),
    ("H200", "NVIDIA H200"),
    ("B200", "NVIDIA B200"),
    ("B300", "NVIDIA B300 SXM6 AC"),
    ("GB200", "NVIDIA GB200"),
    ("RTX PRO 4500", "NVIDIA RTX PRO 4500 Blackwell Server Edition"),
    ("RTX PRO Server 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
]


@pytest.mark.parametrize("aws", sorted({aws for aws, _ in MODELS}))
@pytest.mark.parametrize("driver", [driver for _, driver in MODELS])
def test_each_name_of_aws_means_its_own_board_and_no_other(aws: str, driver: str) -> None:
    assert same_model(aws, driver) == ((aws, driver) in MODELS)


@pytest.mark.parametrize(
    ("aws", "driver"),
    [
        ("L4", "NVIDIA L40"),
        ("L40S", "NVIDIA L40"),
        ("A10G", "NVIDIA A10"),
        ("A100", "NVIDIA A10"),
        ("H100", "NVIDIA GH200 480GB"),
        ("H200", "NVIDIA GH200 480GB"),
        ("B200", "NVIDIA GB200"),
        ("RTX PRO Server 6000", "NVIDIA RTX 6000 Ada Generation"),
        ("T4", "unknown"),
        ("", "NVIDIA L4"),
        ("H100", ""),
    ],
)
def test_boards_that_sound_alike_are_not_the_same(aws: str, driver: str) -> None:
    assert not same_model(aws, driver)


def test_names_are_compared_whatever_their_case_and_dashes() -> None:
    assert same_model("a10g", "nvidia-A10G")
    assert same_model("RTX PRO Server 6000", "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition")


@pytest.mark.parametrize(
    ("aws_mib", "driver_mib"),
    [(16384, 15360), (16384, 16384), (22888, 23034), (22888, 23028), (45776, 46068), (40960, 40960), (144384, 143771)],
)
def test_what_drivers_show_of_the_memory_that_aws_tells_of(aws_mib: int, driver_mib: int) -> None:
    """T4, V100, L4, A10G, L40S, A100, H200."""
    expect = GpuExpectation("a type", "H100", 1, aws_mib)
    assert judged(mutated(*GPU, "memory_mib", to=driver_mib), expect).verdict == VERIFIED
