"""What a team may want run beside the probe: NVIDIA's vectorAdd sample and DCGM's diagnostics. Off unless asked for.

Each is one more Job on a node, after its probe has passed through; what it prints is read here. Neither compares with
the order or with a model: they add reasons against a GPU, never for one.

Sources: NVIDIA/cuda-samples: 0_Introduction/vectorAdd; NVIDIA/DCGM: nvvs/include/NvvsJsonStrings.h,
dcgmlib/dcgm_errors.h, testing/python3/dcgm_diag_schema.json (4.x), nvvs/include/NvidiaValidationSuite.h (3.x).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.core.spec import Image

VECTOR_ADD, DCGM = "vectoradd", "dcgm"
DCGM_DEADLINE_S = {1: 600, 2: 1200, 3: 3000}
"""Of the Job, its image's pull (1 GB) included; r3 takes a quarter of an hour on eight GPUs."""

_VECTOR_ADD_S = 420
_MARK = "gpu-cluster GPU "
_SLIGHT = frozenset({1, 5})
"""DCGM_ERROR_MONITOR (it can work, and wants watching) and DCGM_ERROR_CONFIG (persistence mode, say)."""


@dataclass(frozen=True)
class Remark:
    """One thing that was found wrong. `gpu` None where it is the node's; `slight` where it is a note, not a fault."""

    gpu: int | None
    text: str
    slight: bool = False


@dataclass(frozen=True)
class Extra:
    """One more Job: its name, image and command for a number of GPUs, and how its output is read."""

    name: str
    image: str
    deadline_s: int
    command: Callable[[int], tuple[str, ...]]
    read: Callable[[str, int], tuple[Remark, ...]]


def vector_add(image: str) -> Extra:
    """The sample, once for each GPU: one run would take the first GPU only."""
    return Extra(VECTOR_ADD, image, _VECTOR_ADD_S, _vector_add_command, read_vector_add)


def dcgm(image: str, level: int) -> Extra:
    """DCGM's diagnostics at run level 1, 2 or 3, with a host engine of its own."""

    def command(gpus: int) -> tuple[str, ...]:
        return _shell(
            "nv-hostengine -n -b 127.0.0.1 --log-filename /tmp/hostengine.log >/dev/null 2>&1 & "
            f"sleep 5; cd /tmp; dcgmi diag -r {level} -j"
        )

    return Extra(DCGM, image, DCGM_DEADLINE_S[level], command, read_dcgm)


def extras_of(image: Image) -> tuple[Extra, ...]:
    """What the configuration asks for beside the probe."""
    asked = [vector_add(image.vector_add)] if image.vector_add else []
    if image.dcgm_level:
        asked.append(dcgm(image.dcgm, image.dcgm_level))
    return tuple(asked)


def read_vector_add(log: str, gpus: int) -> tuple[Remark, ...]:
    """A GPU passes with `Test PASSED` and exit code 0, both; one that is not there in the log does not."""
    parts = re.split(rf"^{_MARK}(\d+)$", log, flags=re.MULTILINE)[1:]
    said = dict(zip(map(int, parts[::2]), parts[1::2], strict=True))
    remarks = []
    for index in range(gpus):
        text = said.get(index, "")
        if "Test PASSED" in text and re.search(r"^exit 0$", text, re.MULTILINE):
            continue
        words = [line for line in text.strip().splitlines() if not line.startswith(("exit ", "["))]
        remarks.append(Remark(index, f"vectorAdd did not pass: {words[-1] if words else 'it printed nothing'}"))
    return tuple(remarks)


def read_dcgm(log: str, gpus: int) -> tuple[Remark, ...]:
    """Every test that failed. Output without a single test is a failure: a parser that looks for DCGM 3 in the JSON of
    DCGM 4 finds none, and must not call that good."""
    root = _dcgm_root(log)
    if root is None:
        return (Remark(None, "DCGM printed no result"),)
    if root.get("runtime_error"):
        return (Remark(None, f"DCGM could not run: {root['runtime_error']}"),)
    tests = [test for category in _objects(root.get("test_categories")) for test in _objects(category.get("tests"))]
    results = [(test, result) for test in tests for result in _objects(test.get("results"))]
    ran = [result for _, result in results if _status(result) not in ("skip", "not run", "")]
    if not ran:
        return (Remark(None, "DCGM ran no test"),)
    return tuple(remark for test, result in results for remark in _dcgm_remarks(test, result))


def _dcgm_root(log: str) -> Mapping[str, Any] | None:
    """The diagnostic in the output, by the name of either version; other text may come before and behind it."""
    for found in re.finditer(r"\{", log):
        try:
            raw, _ = json.JSONDecoder().raw_decode(log, found.start())
        except ValueError:
            continue
        for name in ("DCGM Diagnostic", "DCGM GPU Diagnostic"):
            if isinstance(raw, dict) and isinstance(raw.get(name), dict):
                root: Mapping[str, Any] = raw[name]
                return root
    return None


def _dcgm_remarks(test: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[Remark]:
    """JSON says Fail of a warning, too: how bad it is stands in its severity, where the version gives one."""
    status = _status(result)
    if status not in ("fail", "warn", "warning"):
        return
    warnings = list(_warnings(result))
    severities = {severity for _, severity in warnings}
    slight = status != "fail" or (bool(severities) and severities <= _SLIGHT)
    said = "; ".join(dict.fromkeys(text for text, _ in warnings if text)) or "no detail"
    for gpu in _gpus_of(result):
        yield Remark(gpu, f"DCGM {test.get('name') or 'test'}: {said}", slight)


def _warnings(result: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """(text, severity): objects in DCGM 4, texts or objects in `warnings` or one in `warning` in DCGM 3."""
    found = result.get("warnings") or result.get("warning") or []
    for warning in found if isinstance(found, list) else [found]:
        if isinstance(warning, dict):
            severity = warning.get("error_severity")
            yield str(warning.get("warning") or ""), severity if isinstance(severity, int) else None
        else:
            yield str(warning), None


def _gpus_of(result: Mapping[str, Any]) -> list[int | None]:
    """DCGM 4 names entities, DCGM 3 one `gpu_id` or several in `gpu_ids`; software tests name none."""
    if "entity_id" in result:
        on_gpu = str(result.get("entity_group", "GPU")).upper() == "GPU"
        return [result["entity_id"] if on_gpu and isinstance(result["entity_id"], int) else None]
    text = str(result.get("gpu_ids", result.get("gpu_id", "")))
    numbers = [int(word) for word in re.split(r"[,\s]+", text) if word.isdigit()]
    return list(numbers) or [None]


def _status(result: Mapping[str, Any]) -> str:
    return str(result.get("status") or "").strip().lower()


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _vector_add_command(gpus: int) -> tuple[str, ...]:
    each = "for i in " + " ".join(map(str, range(gpus)))
    return _shell(f'{each}; do echo "{_MARK}$i"; CUDA_VISIBLE_DEVICES=$i /cuda-samples/vectorAdd; echo "exit $?"; done')


def _shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)
