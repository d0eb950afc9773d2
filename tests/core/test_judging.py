"""From the probe's log to the verdict: real documents pass, every way in which one can be wrong has a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.spec import GpuExpectation
from bot.core.verification.gpu_models import MEASURES, MODELS, find_model, line, slow_line
from bot.core.verification.verdict import (
    DEGRADED,
    FAILED,
    UNKNOWN,
    VERIFIED,
    NodeResult,
    busy_node,
    judge,
    judge_node,
    node_from_json,
    node_to_json,
    report_from_json,
    report_to_json,
    unmeasured_node,
)

FIXTURES = Path(__file__).parent.parent / "probe" / "fixtures"
H100 = GpuExpectation("p5.4xlarge", "H100", 1, 81920)
PAIR = GpuExpectation("p5.8xlarge", "H100", 2, 81920)

Document = dict[str, Any]


def real(level: str = "standard") -> Document:
    document: Document = json.loads((FIXTURES / f"h100-{level}.json").read_text())
    return document


def two() -> Document:
    """The document of a machine with two good GPUs."""
    document = real()
    first, second = document["gpus"][0], real()["gpus"][0]
    second |= {"index": 1, "uuid": "GPU-11111111-1111-1111-1111-111111111111"}
    pair = {"access": True, "gbs": 335.0, "error": None}
    peers = [{"source": 0, "target": 1, **pair}, {"source": 1, "target": 0, **pair}]
    return {**document, "gpus": [first, second], "peers": peers}


def judged(document: Document, expect: GpuExpectation = H100) -> NodeResult:
    return judge_node("n1", "uid-1", json.dumps(document), expect)


@pytest.mark.parametrize("level", ["quick", "standard", "burn"])
def test_real_documents_are_verified_and_rated_good(level: str) -> None:
    result = judged(real(level))
    assert (result.verdict, result.reasons) == (VERIFIED, ())
    assert (result.gpus[0].performance, result.gpus[0].notes) == ("good", ())


def change(path: str, value: Any) -> Callable[[Document], Document]:
    """A copy of a document with one field of its first GPU changed."""

    def changed(document: Document) -> Document:
        *parents, last = path.split("/")
        inner = document["gpus"][0]
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        return document

    return changed


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("name", "NVIDIA A100-SXM4-80GB", "it is a NVIDIA A100-SXM4-80GB, but p5.4xlarge has H100"),
        ("memory_mib", 40960, "40960 MiB of memory, but p5.4xlarge has 81920 MiB"),
        ("checks", [], "matmul was not run"),
        ("ecc_uncorrected", 3, "3 uncorrected memory errors"),
        ("recovery_action", "Node Reboot", "the driver asks for: Node Reboot"),
        ("remapped_rows/pending", True, "a row remap is pending"),
        ("remapped_rows/failure", True, "row remapping has failed"),
        ("mig_mode", "Enabled", "MIG is on"),
        ("throttle_reasons", ["hw_thermal_slowdown"], "slowed down by hardware"),
        ("pcie/width", 8, "PCIe runs at x8 of x16"),
        ("errors", ["nvmlDeviceGetEccMode: GPU is lost (15)"], "GPU is lost"),
        ("bandwidth_gbs/device", 2300.0, "memory bandwidth 2,300 GB/s, should be 2,680 or more"),
        ("bandwidth_gbs/host_to_device", 24.6, "bandwidth from the host 24.6 GB/s"),
        ("tflops/fp32", 30.0, "float32 throughput 30 TFLOPS"),
        ("tflops/tensor", 330.0, "tensor throughput 330 TFLOPS"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_said(path: str, value: Any, reason: str) -> None:
    result = judged(change(path, value)(real()))
    assert result.verdict == FAILED
    assert any(reason in said for said in result.reasons), result.reasons


@pytest.mark.parametrize(
    ("path", "value", "note"),
    [
        ("bandwidth_gbs/device", 2500.0, "memory bandwidth 2,500 GB/s, should be 2,680 or more"),
        ("tflops/tensor", 430.0, "tensor throughput 430 TFLOPS"),
        ("pcie/generation", 4, "PCIe runs at generation 4 of 5"),
        ("throttle_reasons", ["sw_thermal_slowdown"], "because it is warm"),
    ],
)
def test_what_is_only_worth_a_look_is_a_note(path: str, value: Any, note: str) -> None:
    result = judged(change(path, value)(real()))
    assert result.verdict == VERIFIED
    assert any(note in said for said in result.gpus[0].notes), result.gpus[0].notes


@pytest.mark.parametrize("path", ["serial", "ecc_uncorrected", "recovery_action", "throttle_reasons", "remapped_rows"])
def test_what_the_driver_does_not_know_proves_nothing(path: str) -> None:
    assert judged(change(path, None)(real())).verdict == VERIFIED


def broken(**fields: Any) -> str:
    return json.dumps({**real(), **fields})


REAL = json.dumps(real())


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", "the probe printed nothing"),
        ("Traceback (most recent call last):\n", "the probe printed no result"),
        (REAL[: len(REAL) // 2], "cut off or not JSON"),
        ("{not json}", "cut off or not JSON"),
        (broken(schema=0), "the probe speaks schema 0, this release reads 1"),
        (broken(schema="1"), "the probe speaks schema '1'"),
        (broken(gpus=None), "no list of gpus"),
        (broken(gpus=["x"]), "no list of gpus"),
        (json.dumps(change("bandwidth_gbs/device", float("nan"))(real())), "holds NaN, which is no measurement"),
        (json.dumps(change("bandwidth_gbs/device", float("inf"))(real())), "holds Infinity"),
        (REAL.replace("3016.0", "1e999"), "a number that cannot be"),
        (json.dumps(change("tflops/fp32", "fast")(real())), "a number that cannot be"),
        (json.dumps(change("memory_mib", -1)(real())), "a number that cannot be"),
        (json.dumps(change("tflops", [])(real())), "a wrong field tflops"),
        (json.dumps(change("throttle_reasons", [{}])(real())), "a wrong field throttle_reasons"),
        (json.dumps(change("checks", "all")(real())), "no list of checks"),
    ],
)
def test_what_cannot_be_read_is_unknown_by_name(log: str, reason: str) -> None:
    result = judge_node("n1", "uid-1", log, H100)
    assert (result.verdict, result.gpus) == (UNKNOWN, ())
    assert reason in result.reasons[0]
    assert result.log == log[-2000:], "the evidence is kept"
    report = judge([result], 1)
    assert (report.verdict, report.good) == (UNKNOWN, 0)


def test_a_result_of_another_probe_is_not_taken() -> None:
    own = real()["probe"]
    assert judge_node("n1", "u", REAL, H100, probe=own).verdict == VERIFIED
    result = judge_node("n1", "u", REAL, H100, probe="000000000000")
    assert result.verdict == UNKNOWN
    assert f"from another probe ({own}) than the one sent (000000000000)" in result.reasons[0]


def test_chatter_before_the_document_does_not_matter() -> None:
    assert judge_node("n1", "u", f"warning: {{}}\n{{}}\n{REAL}\n\n", H100).verdict == VERIFIED


def test_two_good_gpus_and_what_can_be_wrong_with_a_pair() -> None:
    assert judged(two(), PAIR).verdict == VERIFIED
    fewer = judged({**two(), "gpus": two()["gpus"][:1]}, PAIR)
    assert (fewer.verdict, fewer.reasons) == (DEGRADED, ("n1: 1 of 2 GPUs answered",))
    more = judged(two(), H100)
    assert (more.verdict, more.reasons) == (DEGRADED, ("n1: 2 of 1 GPUs answered",))
    twins = judged({**two(), "gpus": [real()["gpus"][0]] * 2}, PAIR)
    assert twins.verdict == FAILED
    assert "it shares its UUID with another GPU" in twins.reasons[0]
    bad_copy = two()
    bad_copy["peers"][1]["error"] = "3 of 16777216 numbers that arrived are wrong"
    assert judged(bad_copy, PAIR).verdict == DEGRADED
    assert "the copy from GPU 1 to GPU 0 failed: 3 of" in judged(bad_copy, PAIR).reasons[0]


def test_no_usable_gpu_at_all_is_a_failure() -> None:
    result = judged({**real(), "gpus": [], "error": "cuInit: CUDA_ERROR_NO_DEVICE (100, no CUDA-capable device)"})
    assert result.verdict == FAILED
    assert "cuInit: CUDA_ERROR_NO_DEVICE" in result.reasons[0]


def test_a_uuid_on_two_nodes_is_nobody_s() -> None:
    first, second = judged(real()), judge_node("n2", "uid-2", REAL, H100)
    report = judge([first, second], 2)
    assert report.verdict == DEGRADED
    assert "is on more than one node" in report.reasons[0]


def unreadable(name: str = "n2") -> NodeResult:
    return unmeasured_node(name, f"uid-{name}", H100, "the probe ended without a result", UNKNOWN)


@pytest.mark.parametrize(
    ("nodes", "expected", "verdict"),
    [
        ([], 1, UNKNOWN),
        ([judged(real())], 1, VERIFIED),
        ([judged(real())], 2, DEGRADED),
        ([judged(real()), unreadable()], 2, DEGRADED),
        ([unreadable("n1"), unreadable()], 2, UNKNOWN),
        ([unmeasured_node("n1", "u", H100, "no GPU"), unreadable()], 2, FAILED),
        ([busy_node("n1", "u", 1)], 1, UNKNOWN),
        ([judged(real()), busy_node("n2", "u", 1)], 2, UNKNOWN),
        ([judged(change("ecc_uncorrected", 1)(real())), busy_node("n2", "u", 1)], 2, FAILED),
    ],
)
def test_the_order_s_verdict_is_never_rounded_up(nodes: list[NodeResult], expected: int, verdict: str) -> None:
    report = judge(nodes, expected)
    assert report.verdict == verdict
    assert (report.verdict == VERIFIED) == (not report.reasons)


def test_gpus_in_use_read_healthy_not_measured() -> None:
    result = judge_node("n1", "u", REAL, PAIR, unmeasured=1)
    assert (result.verdict, result.expected, result.unmeasured) == (VERIFIED, 1, 1)
    report = judge([result], 2)
    assert (report.verdict, report.good) == (UNKNOWN, 1)
    assert report.reasons == ("1 of 2 GPUs are in use: healthy, not measured",)


def test_reports_survive_the_store_and_those_of_an_earlier_release_are_read() -> None:
    report = judge([judged(two(), PAIR), unreadable()], 3)
    assert report_from_json(report_to_json(report)) == report
    old = json.loads(node_to_json(judged(real())))
    del old["unmeasured"], old["log"]
    for gpu in old["gpus"]:
        del gpu["performance"], gpu["rates"], gpu["notes"]
    assert node_from_json(json.dumps(old)).verdict == VERIFIED


# --- what is judged by which numbers --------------------------------------------------------------------------

NAMES = {
    "V100 SXM2": ("Tesla V100-SXM2-16GB", 795.0),
    "T4": ("Tesla T4", 240.0),
    "T4G": ("NVIDIA T4G", 240.0),
    "A10G": ("NVIDIA A10G", 480.0),
    "A100 SXM 40 GB": ("NVIDIA A100-SXM4-40GB", 1300.0),
    "A100 SXM 80 GB": ("NVIDIA A100-SXM4-80GB", 1700.0),
    "L4": ("NVIDIA L4", 240.0),
    "L40S": ("NVIDIA L40S", 700.0),
    "H100 SXM": ("NVIDIA H100 80GB HBM3", 3016.0),
    "H100 PCIe": ("NVIDIA H100 PCIe", 1700.0),
    "H200 SXM": ("NVIDIA H200", 4200.0),
    "B200": ("NVIDIA B200", 6900.0),
    "B300": ("NVIDIA B300 SXM6 AC", 6900.0),
}


def of_model(name: str, device: float) -> Document:
    document = change("bandwidth_gbs/device", device)(real())
    model = find_model(name)
    if model is not None and model.reference is None:  # as a board that leaves its boost clock, in a narrow slot
        document = change("tflops/fp32", 0.5 * model.fp32)(change("tflops/tensor", 0.4 * model.tensor)(document))
        document = change("bandwidth_gbs/host_to_device", 5.5)(document)
    return change("name", name)(document)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_healthy_gpu_of_every_model_comes_out_clean(model: Any) -> None:
    name, device = NAMES[model.name]
    assert find_model(name) is model
    result = judged(of_model(name, device), GpuExpectation("any", "", 1, 0))
    assert (result.verdict, result.gpus[0].notes) == (VERIFIED, ())
    assert result.gpus[0].performance == ("good" if model.reference else "unrated")


@pytest.mark.parametrize("model", [model for model in MODELS if model.floor_gbs], ids=lambda model: model.name)
def test_dcgm_s_floor_fails_every_model(model: Any) -> None:
    result = judged(of_model(NAMES[model.name][0], model.floor_gbs - 1), GpuExpectation("any", "", 1, 0))
    assert result.verdict == FAILED
    assert result.gpus[0].performance == "bad"


UNMEASURED = [model for model in MODELS if model.reference is None]


@pytest.mark.parametrize("model", UNMEASURED, ids=lambda model: model.name)
@pytest.mark.parametrize(("path", "share"), [("tflops/fp32", 0.39), ("tflops/tensor", 0.29)])
def test_far_below_the_data_sheet_is_slow_and_fails_nothing(model: Any, path: str, share: float) -> None:
    name, device = NAMES[model.name]
    measure = path.partition("/")[2]
    whole = model.fp32 if measure == "fp32" else model.tensor
    result = judged(change(path, share * whole)(of_model(name, device)), GpuExpectation("any", "", 1, 0))
    assert result.verdict == VERIFIED
    if slow_line(model, measure) is None:
        assert (model.name[0], measure, result.gpus[0].performance) == ("B", "tensor", "unrated")
        return
    assert result.gpus[0].performance == "slow, by data sheet"
    (note,) = result.gpus[0].notes
    assert "slow by the data sheet" in note


def test_memory_below_the_data_sheet_is_slow_above_dcgm_s_floor_and_bad_below() -> None:
    (h200,) = (model for model in MODELS if model.name == "H200 SXM")
    words = [
        judged(of_model("NVIDIA H200", gbs), GpuExpectation("any", "", 1, 0)).gpus[0].performance
        for gbs in (0.61 * h200.memory_gbs, 0.59 * h200.memory_gbs, 2211.0)
    ]
    assert words == ["unrated", "slow, by data sheet", "bad"]


def test_a_measured_model_keeps_its_own_lines() -> None:
    (h100,) = (model for model in MODELS if model.reference)
    assert all(slow_line(h100, measure) is None for measure in MEASURES)


@pytest.mark.parametrize("name", ["NVIDIA H100 NVL", "NVIDIA H200 NVL", "NVIDIA RTX PRO 6000", "Quadro"])
def test_a_model_that_the_table_lacks_is_judged_by_nobody_s_guess(name: str) -> None:
    assert find_model(name) is None
    result = judged(of_model(name, 1.0), GpuExpectation("any", "", 1, 0))
    assert (result.verdict, result.gpus[0].performance) == (VERIFIED, "unrated")


def test_narrow_links_that_ec2_gives_are_no_alarm() -> None:
    t4 = change("pcie/width", 8)(of_model("Tesla T4", 240.0))
    assert judged(t4, GpuExpectation("g4dn.xlarge", "T4", 1, 0)).verdict == VERIFIED
    assert judged(change("pcie/width", 4)(t4), GpuExpectation("g4dn.xlarge", "T4", 1, 0)).verdict == FAILED


def test_lines_lie_below_what_a_good_gpu_shows() -> None:
    for model in MODELS:
        for measure in ("device", "host_to_device", "device_to_host", "fp32", "tensor"):
            found = line(model, measure)
            if found is not None and found.expected is not None and found.good is not None:
                assert found.bad < found.good < found.expected


FIELDS = sorted(real()["gpus"][0])
JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(FIELDS), value=JUNK)
def test_no_field_of_any_shape_breaks_the_judge(field: str, value: Any) -> None:
    result = judged(change(field, value)(real()))
    assert result.verdict in (VERIFIED, FAILED, UNKNOWN)
    assert report_from_json(report_to_json(judge([result], 1))) == judge([result], 1)


@given(cut=st.integers(0, len(REAL) - 1))
def test_no_document_that_is_cut_off_passes(cut: int) -> None:
    assert judge_node("n1", "u", REAL[:cut], H100).verdict == UNKNOWN


# --- two GPUs of one host, as they were measured ----------------------------------------------------------------

PAIRS = ("h100x2-quick", "h100x2-quick-2", "h100x2-standard")


def measured_pair(name: str = "h100x2-standard") -> Document:
    return json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_of_good_gpus_is_verified_whatever_else_its_host_does(name: str) -> None:
    result = judged(measured_pair(name), PAIR)
    assert (result.verdict, result.reasons) == (VERIFIED, ())
    slow = [note for gpu in result.gpus for note in gpu.notes]
    assert slow == (["bandwidth from the host 40.2 GB/s, should be 48 or more"] if name == "h100x2-quick-2" else [])


def test_half_a_link_fails() -> None:
    document = measured_pair()
    document["gpus"][1]["bandwidth_gbs"]["device_to_host"] = 27.3
    result = judged(document, PAIR)
    assert [gpu.verdict for gpu in result.gpus] == [VERIFIED, FAILED]
    assert "bandwidth to the host 27.3 GB/s, should be 48 or more" in result.reasons[0]


@pytest.mark.parametrize(
    ("gbs", "access", "verdict", "noted"),
    [
        (376.9, True, VERIFIED, False),
        (300.0, True, VERIFIED, True),
        (200.0, True, "degraded", False),
        (30.0, False, VERIFIED, False),
    ],
)
def test_copies_between_gpus_are_judged_where_they_reach_one_another(
    gbs: float, access: bool, verdict: str, noted: bool
) -> None:
    document = measured_pair()
    document["peers"][1] |= {"gbs": gbs, "access": access}
    result = judged(document, PAIR)
    assert result.verdict == verdict
    assert any("copies to GPU 0 at 300 GB/s, 335 are usual" in note for note in result.gpus[1].notes) == noted
    assert any("from GPU 1 to GPU 0 runs at 200 GB/s" in reason for reason in result.reasons) == (gbs == 200.0)


def test_copies_of_a_model_that_was_never_measured_are_not_judged() -> None:
    document = measured_pair()
    for gpu in document["gpus"]:
        gpu["name"] = "NVIDIA H200"
        gpu["bandwidth_gbs"]["device"] = 4000.0
    document["peers"][0]["gbs"] = 1.0
    assert judged(document, GpuExpectation("any", "", 2, 0)).verdict == VERIFIED


@pytest.mark.parametrize("gbs", ["fast", -1, True, [377.0]])
def test_a_copy_with_a_number_that_cannot_be_is_unreadable(gbs: Any) -> None:
    document = measured_pair()
    document["peers"][0]["gbs"] = gbs
    assert judged(document, PAIR).verdict == UNKNOWN
