"""How long reading and judging takes, and how much of the catalogue of failures is named."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from bot.core.diagnosis import recognise
from bot.core.spec import GpuExpectation
from bot.core.verdict import VERIFIED, judge, judge_node, report_from_json, report_to_json
from tests.bench.crowd import NotVerified
from tests.bench.figures import Figure
from tests.core.test_failures import LOOK_ALIKES, SHOWN

_FIXTURE = Path(__file__).parent.parent / "probe" / "fixtures" / "h100-standard.json"
_NODES, _GPUS, _TIMES = 125, 8, 7


async def verdicts() -> list[Figure]:
    """1,000 GPUs on 125 nodes: parse, judge, write and read the report; and the catalogue."""
    logs = [_log(node) for node in range(_NODES)]
    milliseconds = statistics.median(_judge(logs) for _ in range(_TIMES))
    named = sum([finding.mode.number for finding in recognise(SHOWN[number])] == [number] for number in SHOWN)
    false = sum(len(recognise(signals)) for signals in LOOK_ALIKES.values())
    how = f"median of {_TIMES}: parse, judge, store and read back the documents of 125 nodes with 8 GPUs"
    return [
        Figure("verdict_1000_ms", milliseconds, "ms", how),
        Figure("diag_named", named, "of 28", "modes of the catalogue recognised by their own signal, and alone"),
        Figure("diag_false", false, "", "modes named where a healthy look-alike was shown", 0),
    ]


def _log(node: int) -> str:
    document: dict[str, Any] = json.loads(_FIXTURE.read_text())
    gpus = [{**document["gpus"][0], "index": index, "uuid": f"GPU-{node}-{index}"} for index in range(_GPUS)]
    return json.dumps({**document, "gpus": gpus})


def _judge(logs: list[str]) -> float:
    expect = GpuExpectation("p5.48xlarge", "H100", _GPUS, 81920)
    began = time.perf_counter()
    nodes = [judge_node(f"n{index}", f"u{index}", log, expect) for index, log in enumerate(logs)]
    report = report_from_json(report_to_json(judge(nodes, _NODES * _GPUS)))
    spent = 1000 * (time.perf_counter() - began)
    if report.verdict != VERIFIED:
        raise NotVerified(f"1,000 good GPUs are {report.verdict}: {report.reasons[:1]}")
    return spent
