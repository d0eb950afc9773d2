"""The probe as a program, and the supervisor that a hanging GPU cannot stop."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from manifests.verify import probe

PROBE = Path(probe.__file__)
SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text())


def run_probe(*arguments: str, cwd: Path, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """Start the probe where it can find no GPU, whatever machine this is."""
    command = [sys.executable, *(["-I"] if isolated else []), str(PROBE), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("isolated", [False, True])
def test_without_a_gpu_it_says_so_and_exits_3(tmp_path: Path, isolated: bool) -> None:
    result = run_probe("--level", "quick", cwd=tmp_path, isolated=isolated)
    assert result.returncode == probe.EXIT_NO_GPU
    (line,) = result.stdout.splitlines()
    document = json.loads(line)
    jsonschema.Draft7Validator(SCHEMA).validate(document)
    assert "libcuda.so.1" in document["error"] or "CUDA_ERROR_NO_DEVICE" in document["error"]
    assert result.stderr.strip() == f"no GPU measured: {document['error']}"
    assert list(tmp_path.iterdir()) == []


def test_json_alone_on_request(tmp_path: Path) -> None:
    result = run_probe("--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (probe.EXIT_NO_GPU, "")
    assert json.loads(result.stdout)["level"] == "standard"


def test_unknown_level_is_refused(tmp_path: Path) -> None:
    result = run_probe("--level", "thorough", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "invalid choice: 'thorough'" in result.stderr


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def test_what_hangs_is_killed_and_the_rest_is_heard() -> None:
    hangs = python("import time; print('begun', flush=True); time.sleep(600)")
    started = time.monotonic()
    late, good, also_late = probe.run_side_by_side([hangs, python("print('{\"index\": 7}')"), ["sleep", "600"]], 2)
    assert time.monotonic() - started < 20
    assert (late.status, late.stdout, late.document) == (None, "begun\n", None)
    assert late.problem == "hung: no answer within 2 s"
    assert (good.status, good.document) == (0, {"index": 7})
    assert also_late.status is None


def test_what_hangs_is_gone_afterwards() -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    (late,) = probe.run_side_by_side([python(code)], 2)
    with pytest.raises(ProcessLookupError):
        os.kill(int(late.stdout), 0)


def test_a_crash_and_a_flood_of_output_are_no_obstacle() -> None:
    crash = python("import os, sys; print('last words', file=sys.stderr, flush=True); os.abort()")
    flood = python("print('x' * 1_000_000); print('{}')")
    crashed, flooded = probe.run_side_by_side([crash, flood], 30)
    assert crashed.problem == "the measuring process died of signal 6: last words"
    assert flooded.document == {}


def test_gpus_are_numbered_as_nvidia_smi_numbers_them() -> None:
    (answer,) = probe.run_side_by_side([python("import os; print(os.environ['CUDA_DEVICE_ORDER'])")], 30)
    assert answer.stdout == "PCI_BUS_ID\n"


def test_a_turn_is_waited_for_only_so_long() -> None:
    started = time.monotonic()
    with probe.turn(patience=30), probe.turn(patience=0.1):
        assert 0.1 <= time.monotonic() - started < 20


def test_pairs_that_cannot_be_measured_together_say_why() -> None:
    answered = [{"index": index, "checks": [{"name": "matmul", "ok": True}]} for index in (98, 99)]
    peers = probe.survey_peers(answered, "quick")
    assert [(peer["source"], peer["target"], peer["gbs"]) for peer in peers] == [(98, 99, None), (99, 98, None)]
    assert all("libcuda.so.1" in peer["error"] or "CUDA_ERROR" in peer["error"] for peer in peers)
