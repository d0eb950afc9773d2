"""vectorAdd and DCGM beside the probe: what their output means, and when their Jobs run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.core.ports import JobView
from bot.core.verification.extras import DCGM_DEADLINE_S, Remark, dcgm, read_dcgm, read_vector_add, vector_add
from bot.core.verification.measuring import conclude, measured
from bot.core.verification.verdict import FAILED, UNKNOWN, VERIFIED
from tests.core.test_measuring import DOCUMENT, NO_DRIVER, NODE, RUNNING, Scripted, ended, look, watch, what

SAMPLE, ENGINE = vector_add("sample:1"), dcgm("dcgm:4", 2)
FIXTURES = Path(__file__).parent.parent / "probe/fixtures"
PASSED = "gpu-cluster GPU 0\n[Vector addition of 50000 elements]\nTest PASSED\nDone\nexit 0\n"


def diagnostic(*results: dict[str, Any], root: str = "DCGM Diagnostic", name: str = "pcie") -> str:
    tests = [{"name": name, "results": list(results)}]
    return json.dumps({root: {"test_categories": [{"category": "Integration", "tests": tests}]}}, indent=2)


def four(status: str = "Pass", gpu: int = 0, **more: Any) -> dict[str, Any]:
    return {"entity_group": "GPU", "entity_group_id": 1, "entity_id": gpu, "status": status, **more}


GOOD = diagnostic(four())

# --- vectorAdd ------------------------------------------------------------------------------------------------


def test_each_gpu_must_pass_by_word_and_exit_code() -> None:
    two = PASSED + PASSED.replace("GPU 0", "GPU 1")
    assert read_vector_add(two, 2) == ()
    (remark,) = read_vector_add(PASSED + "gpu-cluster GPU 1\nResult verification failed at element 7!\nexit 1\n", 2)
    assert remark == Remark(1, "vectorAdd did not pass: Result verification failed at element 7!")
    assert read_vector_add(PASSED.replace("exit 0", "exit 139"), 1)[0].gpu == 0, "it said so, and crashed"
    assert read_vector_add(PASSED.replace("Test PASSED", ""), 1)[0].gpu == 0
    assert read_vector_add(PASSED, 2) == (Remark(1, "vectorAdd did not pass: it printed nothing"),)
    assert len(read_vector_add("sh: 1: /cuda-samples/vectorAdd: not found\n", 2)) == 2


def test_what_the_sample_printed_on_two_h100_is_read() -> None:
    """NVIDIA/cuda-samples, compiled by nvcc, under our command; the second log from where it finds no GPU."""
    assert read_vector_add((FIXTURES / "h100x2-vectoradd.log").read_text(), 2) == ()
    (remark,) = read_vector_add((FIXTURES / "no-gpu-vectoradd.log").read_text(), 1)
    assert remark.text.startswith("vectorAdd did not pass: Failed to allocate device vector A"), "the cause, not [..."


def test_the_sample_runs_once_for_each_gpu() -> None:
    script = SAMPLE.command(3)[-1]
    assert "for i in 0 1 2;" in script
    assert "CUDA_VISIBLE_DEVICES=$i" in script


# --- DCGM -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "log",
    [
        GOOD,
        "Warning: something first {\n" + GOOD + "\nand behind it",
        diagnostic(four("Skip"), four("Pass", 1)),
        diagnostic({"gpu_ids": "0,1", "status": "PASS"}, root="DCGM GPU Diagnostic"),
        diagnostic({"gpu_id": "0", "status": "Pass"}, root="DCGM GPU Diagnostic"),
    ],
)
def test_what_passed_says_nothing(log: str) -> None:
    assert read_dcgm(log, 2) == ()


@pytest.mark.parametrize(
    ("log", "text"),
    [
        ("", "DCGM printed no result"),
        ("Error: unable to establish a connection to the specified host: localhost", "DCGM printed no result"),
        (GOOD[:-20], "DCGM printed no result"),
        ('{"DCGM Diagnostic": {"test_categories": []}}', "DCGM ran no test"),
        ('{"DCGM Diagnostic": {}}', "DCGM ran no test"),
        (diagnostic(root="DCGM GPU Diagnostic"), "DCGM ran no test"),
        (diagnostic(four("Skip"), four("Not Run", 1)), "DCGM ran no test"),
        ('{"DCGM Diagnostic": {"runtime_error": "No GPUs"}}', "DCGM could not run: No GPUs"),
        (diagnostic(root="Something Else"), "DCGM printed no result"),
    ],
)
def test_no_test_is_a_failure_and_never_a_pass(log: str, text: str) -> None:
    assert read_dcgm(log, 2) == (Remark(None, text),)


def warning(severity: int | None) -> dict[str, Any]:
    return {"warning": "Persistence mode is off", "error_id": 1, "error_severity": severity}


@pytest.mark.parametrize(
    ("result", "remark"),
    [
        (four("Fail", 3, warnings=[warning(2)]), Remark(3, "DCGM pcie: Persistence mode is off")),
        (four("Fail", 3, warnings=[warning(6)]), Remark(3, "DCGM pcie: Persistence mode is off")),
        (four("fail", 3, warnings=[warning(5)]), Remark(3, "DCGM pcie: Persistence mode is off", slight=True)),
        (four("Fail", 3, warnings=[warning(1)]), Remark(3, "DCGM pcie: Persistence mode is off", slight=True)),
        (four("Fail", 3, warnings=[warning(5), warning(2)]), Remark(3, "DCGM pcie: Persistence mode is off")),
        (four("Fail", 3, warnings=[warning(None)]), Remark(3, "DCGM pcie: Persistence mode is off")),
        (four("Fail", 3), Remark(3, "DCGM pcie: no detail")),
        ({"gpu_id": "2", "status": "FAIL", "warning": "row remap"}, Remark(2, "DCGM pcie: row remap")),
        ({"gpu_ids": "1", "status": "WARN", "warnings": ["hot"]}, Remark(1, "DCGM pcie: hot", slight=True)),
        ({"status": "Fail", "warnings": ["no library"]}, Remark(None, "DCGM pcie: no library")),
        ({**four("Fail", 0), "entity_group": "CPU"}, Remark(None, "DCGM pcie: no detail")),
    ],
)
def test_a_failed_test_names_its_gpu_and_how_bad_it_is(result: dict[str, Any], remark: Remark) -> None:
    assert read_dcgm(diagnostic(four(), result), 4) == (remark,)


# --- when they run --------------------------------------------------------------------------------------------


def done(log: str) -> JobView:
    return ended(word="succeeded", log=log)


def test_they_run_after_the_probe_one_after_the_other() -> None:
    cluster = Scripted([done(DOCUMENT), done(PASSED), done(GOOD)])
    said, facts = watch(cluster, measuring=what(extras=(SAMPLE, ENGINE)))
    probe, sample, engine = cluster.orders
    assert (sample.name, engine.name) == (f"{probe.name}-vectoradd", f"{probe.name}-dcgm")
    assert (sample.image, engine.image, sample.script, sample.gpus) == ("sample:1", "dcgm:4", "", probe.gpus)
    assert engine.deadline_s == DCGM_DEADLINE_S[2]
    assert engine.tolerations == probe.tolerations
    assert said == ["the probe is starting on n1", "vectoradd is starting on n1", "dcgm is starting on n1"]
    assert conclude(facts, [NODE], 1).verdict == VERIFIED
    names = what(extras=(SAMPLE,)).jobs([NODE], facts)
    assert names == [probe.name, sample.name], "all are removed again"


def test_what_they_find_fails_the_gpu_that_the_probe_passed() -> None:
    bad = diagnostic(four("Fail", 0, warnings=[warning(2)]))
    _, facts = watch(Scripted([done(DOCUMENT), done(PASSED), done(bad)]), measuring=what(extras=(SAMPLE, ENGINE)))
    (node,) = measured(facts)
    assert (node.verdict, node.gpus[0].verdict) == (FAILED, FAILED)
    assert node.reasons == ("n1 GPU 0: DCGM pcie: Persistence mode is off",)


def test_a_slight_finding_is_a_note() -> None:
    slight = diagnostic(four("Fail", 0, warnings=[warning(5)]))
    _, facts = watch(Scripted([done(DOCUMENT), done(slight)]), measuring=what(extras=(ENGINE,)))
    (node,) = measured(facts)
    assert (node.verdict, node.gpus[0].notes) == (VERIFIED, ("DCGM pcie: Persistence mode is off",))


def test_one_that_cannot_run_leaves_it_unknown() -> None:
    cluster = Scripted([done(DOCUMENT), ended("ImagePullBackOff")])
    _, facts = watch(cluster, measuring=what(extras=(SAMPLE,)))
    assert conclude(facts, [NODE], 1).verdict == UNKNOWN
    assert measured(facts)[0].reasons == ("n1: vectoradd ended without a result: ImagePullBackOff",)


def test_no_test_fails_the_node() -> None:
    empty = '{"DCGM Diagnostic": {"test_categories": []}}'
    _, facts = watch(Scripted([done(DOCUMENT), done(empty)]), measuring=what(extras=(ENGINE,)))
    report = conclude(facts, [NODE], 1)
    assert report.verdict != VERIFIED
    assert report.reasons == ("n1: DCGM ran no test",)


def test_where_the_probe_could_measure_nothing_they_are_not_run() -> None:
    cluster = Scripted([done(NO_DRIVER)])
    watch(cluster, measuring=what(extras=(SAMPLE, ENGINE)))
    assert len(cluster.orders) == 1


def test_a_restart_between_them_repeats_nothing() -> None:
    cluster = Scripted([done(DOCUMENT), RUNNING])
    facts: dict[str, str] = {}
    for _ in range(4):
        why = look(cluster, NODE, facts, 0.0, what(extras=(SAMPLE,)))
    assert why == "vectoradd runs on n1"
    cluster.ends[1] = done(PASSED)
    assert look(cluster, NODE, json.loads(json.dumps(facts)), 9.0, what(extras=(SAMPLE,))) == ""
    assert len(cluster.orders) == 2


def test_what_takes_longer_is_given_longer() -> None:
    assert what(level="standard").patience_s == 0
    assert what(level="standard", extras=(ENGINE,)).patience_s == DCGM_DEADLINE_S[2]
    assert what(level="burn").patience_s == 1080
