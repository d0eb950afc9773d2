"""The document's shape, and what becomes of a GPU that hangs, crashes or talks nonsense."""

import ast
import ctypes
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from manifests.verify import probe

HERE = Path(__file__).parent
PROBE = Path(probe.__file__)
VALIDATOR = jsonschema.Draft7Validator(json.loads((HERE / "schema.json").read_text()))
IDENTITY: dict[str, Any] = {
    "index": 1,
    "uuid": "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
    "name": "NVIDIA L4",
    "memory_mib": 22491,
    "compute_capability": "8.9",
    "pci_bus_id": "0000:31:00.0",
}


def document(*gpus: dict[str, Any], error: str | None = None) -> dict[str, Any]:
    return {
        "schema": probe.SCHEMA,
        "probe": hashlib.sha256(PROBE.read_bytes()).hexdigest()[:12],
        "level": "quick",
        "host": "node-1",
        "started": 1764000000.0,
        "seconds": 6.1,
        "driver": "580.159.04",
        "cuda_driver": 13000,
        "error": error,
        "gpus": list(gpus),
        "peers": [],
    }


def measured(**changes: Any) -> dict[str, Any]:
    check = {"name": "vector_add", "ok": True, "seconds": 0.1, "detail": ""}
    return {**probe.blank_gpu(IDENTITY), "checks": [check], **changes}


def answer(status: int | None = 0, stdout: str = "", stderr: str = "") -> probe.Answer:
    return probe.Answer(status, stdout, stderr, 12.3456)


@pytest.mark.parametrize("path", sorted((HERE / "fixtures").glob("*.json")), ids=lambda path: path.stem)
def test_documents_of_real_gpus_have_the_documented_shape(path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text()))


def test_schema_itself_is_sound_and_takes_a_measured_gpu() -> None:
    jsonschema.Draft7Validator.check_schema(VALIDATOR.schema)
    VALIDATOR.validate(document(measured()))


@pytest.mark.parametrize(
    "broken",
    [
        document(),
        document(measured(), error="cuInit: CUDA_ERROR_NO_DEVICE"),
        document(measured(extra=1)),
        document(measured(checks=[])),
        document(measured(memory_mib=None)),
        document(measured(throttle_reasons=["tired"])),
    ],
    ids=["no gpu, no error", "error and a gpu", "extra field", "unchecked", "no memory", "unheard-of word"],
)
def test_schema_refuses(broken: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(broken)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (answer(status=None, stdout="half a "), "hung: no answer within 12 s"),
        (answer(status=-11), "the measuring process died of signal 11: no message"),
        (answer(status=1, stderr="Traceback\nMemoryError: \n"), "exited with status 1: MemoryError:"),
        (answer(stdout='{"index": 1, "uu'), "exited with status 0: no message"),
        (answer(stdout="[1, 2]"), "exited with status 0"),
        (answer(stdout='{"error": "cuInit: CUDA_ERROR_UNKNOWN"}'), "cuInit: CUDA_ERROR_UNKNOWN"),
    ],
    ids=["hung", "crashed", "traceback", "truncated", "not an object", "error"],
)
def test_a_gpu_that_gives_no_record_gets_one(result: probe.Answer, expected: str) -> None:
    record = probe.gpu_record(IDENTITY, result)
    (check,) = record["checks"]
    assert (check["name"], check["ok"]) == ("answers", False)
    assert expected in check["detail"]
    assert record["errors"] == [f"answers: {check['detail']}"]
    assert {key: record[key] for key in IDENTITY} == IDENTITY
    VALIDATOR.validate(document(record))
    assert probe.exit_status(document(measured(), record)) == probe.EXIT_CHECK_FAILED


def test_a_record_is_taken_from_the_last_line() -> None:
    record = measured()
    assert probe.gpu_record(IDENTITY, answer(stdout=f"a library's chatter\n{json.dumps(record)}\n")) == record


def test_exit_status() -> None:
    failed = measured(checks=[{"name": "matmul", "ok": False, "seconds": 0.1, "detail": "3 wrong"}])
    assert probe.exit_status(document(measured())) == 0
    assert probe.exit_status(document(measured(), failed)) == 1
    assert probe.exit_status(document(measured(errors=["device_bandwidth: cuMemAlloc_v2: …"]))) == 1
    assert probe.exit_status(document(error="the driver shows no GPU")) == 3


def test_summary_names_the_gpu_and_its_trouble() -> None:
    bad = measured(errors=["matmul: 3 of 1048576 elements are wrong"])
    bandwidth = {"device": 251.2, "host_to_device": None, "device_to_host": 12.9}
    lines = probe.summary(document(measured(bandwidth_gbs=bandwidth), bad)).splitlines()
    assert "correct; device 251.2 GB/s; device to host 12.9 GB/s" in lines[0]
    assert "GPU 1 NVIDIA L4" in lines[1]
    assert "FAILED matmul: 3 of 1048576 elements are wrong" in lines[1]
    assert "libcuda.so.1 not found" in probe.summary(document(error="libcuda.so.1 not found"))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, []),
        (0x1, ["gpu_idle"]),
        (0x44, ["sw_power_cap", "hw_thermal_slowdown"]),
        (0xA8, ["hw_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown"]),
        (0x1000000000000200, ["unknown_0x200", "unknown_0x1000000000000000"]),
    ],
)
def test_throttle_bits_become_words(mask: int, words: list[str]) -> None:
    assert probe.throttle_words(mask) == words


def test_enumerations_become_words() -> None:
    assert probe.word(1, probe.SWITCH) == "Enabled"
    assert probe.word(0, probe.RECOVERY_ACTIONS) == "None"
    assert probe.word(99, probe.RECOVERY_ACTIONS) == "unknown (99)"
    assert probe.word(None, probe.SWITCH) is None


def test_field_value_has_the_size_of_nvmls_structure() -> None:
    assert ctypes.sizeof(probe.FieldValue) == 40
    assert (probe.FieldValue.status.offset, probe.FieldValue.value.offset) == (28, 32)


@pytest.mark.parametrize(
    ("ptx", "kernels"), [(probe.PTX, probe.KERNELS), (probe.PTX_TENSOR, probe.KERNELS_TENSOR)], ids=["plain", "tensor"]
)
def test_every_kernel_the_probe_uses_is_in_its_ptx(ptx: str, kernels: tuple[str, ...]) -> None:
    entries = {line.split("(")[0].split()[-1] for line in ptx.splitlines() if ".entry" in line}
    assert entries == set(kernels)


def test_a_gpu_is_checked_with_the_parts_it_has() -> None:
    class Gpu:
        capability = (6, 1)

    pascal, volta = Gpu(), Gpu()
    volta.capability = (7, 0)
    assert set(probe.checks_for(volta)) - set(probe.checks_for(pascal)) == {"tensor_product"}


def test_reasons_for_slowing_down_are_kept_from_load_to_load() -> None:
    assert probe.seen_so_far(None, None) is None
    assert probe.seen_so_far(None, ["sw_power_cap"]) == ["sw_power_cap"]
    assert probe.seen_so_far(["hw_slowdown"], None) == ["hw_slowdown"]
    assert probe.seen_so_far(["hw_slowdown"], ["sw_power_cap", "hw_slowdown"]) == ["hw_slowdown", "sw_power_cap"]


def test_pairs_are_told_and_a_bad_one_counts() -> None:
    pair = {**probe.blank_peer((0, 1)), "access": True, "gbs": 335.1}
    bad = {**probe.blank_peer((1, 0)), "access": False, "error": "3 of 16777216 numbers that arrived are wrong"}
    both = {**document(measured(), measured()), "peers": [pair, bad]}
    VALIDATOR.validate(both)
    assert probe.exit_status(both) == probe.EXIT_CHECK_FAILED
    assert probe.exit_status({**both, "peers": [pair]}) == probe.EXIT_OK
    lines = probe.summary(both).splitlines()
    assert lines[-2:] == ["GPU 0 to GPU 1: 335.1 GB/s", f"GPU 1 to GPU 0: FAILED {bad['error']}"]


def test_pairs_of_gpus_that_do_not_answer_together_say_why() -> None:
    alone = measured()
    silent = probe.gpu_record(IDENTITY, answer(status=None))
    assert probe.survey_peers([alone, silent], "quick") == [], "only those that answered are paired"


def test_the_file_is_plain_python_38_on_the_standard_library() -> None:
    tree = ast.parse(PROBE.read_text(), feature_version=(3, 8))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names
