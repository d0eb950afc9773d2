"""How long reading and judging takes, and how much of the catalogue of failures is named."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from bot.core.causes.diagnosis import recognise
from bot.core.spec import GpuExpectation
from bot.core.verification.verdict import VERIFIED, judge, judge_node, report_from_json, report_to_json
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
        *_walls(),
        *_images(),
    ]


def _walls() -> list[Figure]:
    """How long the probe took on real GPUs, from the documents it printed there."""
    figures = []
    for key, name, target in (
        ("probe_quick_s", "h100-quick", 10.0),
        ("probe_standard_s", "h100-standard", 60.0),
        ("probe_burn_s", "h100-burn", None),
        ("probe_quick_2_gpus_s", "h100x2-quick", 10.0),
        ("probe_standard_2_gpus_s", "h100x2-standard", 60.0),
    ):
        document = json.loads(_FIXTURE.with_name(f"{name}.json").read_text())
        how = f"wall time on {len(document['gpus'])} x {document['gpus'][0]['name']}, recorded in {name}.json"
        figures.append(Figure(key, document["seconds"], "s", how, target))
    return figures


def _images() -> list[Figure]:
    """What a node has to pull before it can be measured. As others report it: no registry is asked here."""
    probe = Path(__file__).parents[2] / "manifests" / "verify" / "probe.py"
    slim = "python:3.12-slim on disk, reported by oneuptime.com (2026-02-08, how to reduce docker image size)"
    sample = "nvcr.io/nvidia/k8s/cuda-sample on disk, reported in ublue-os/config#134"
    torch = "an image with torch and CUDA 12.6 on disk, 4,400 to download, reported in vectorize-io/hindsight#3749"
    return [
        Figure("probe_script_bytes", probe.stat().st_size, "bytes", "manifests/verify/probe.py, measured"),
        Figure("image_mb_probe", 150, "MB", slim),
        Figure("image_mb_cuda_sample", 117, "MB", sample),
        Figure("image_mb_pytorch", 10_800, "MB", torch),
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
