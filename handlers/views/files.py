"""What was measured, as files for the thread: the documents whole, a picture, and a CSV where the table is cut off."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.core.story import Story
from bot.core.verification.rating import Rate
from bot.core.verification.verdict import GpuResult, Report
from handlers.views.render import MOST_ROWS
from handlers.views.results import row_count, worst_first
from handlers.views.words import count

COMMENT = "What the probe printed, whole, and a picture: measured against expected, GPU by GPU, the worst first."
_FORMULA = ("=", "+", "-", "@", "\t")
_CSV_HEAD = (
    "node",
    "index",
    "uuid",
    "model",
    "memory_mib",
    "driver",
    "verdict",
    "performance",
    "temperature_c",
)

_COPY = ("slowest_copy_gbs", "slowest_copy_to")


@dataclass(frozen=True)
class Attachment:
    """One file. `alt` describes a picture to those who do not see it; '' for what is text anyway."""

    name: str
    title: str
    content: bytes
    alt: str = ""


def attachments(story: Story, documents: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """The files of a verified (or failed) cluster. `documents` by node, as the probe printed them; empty without a
    report."""
    report = story.report
    if report is None:
        return ()
    found = [
        Attachment(f"{story.cluster}-measurements.json", "Measurements (JSON)", _whole(story, report, documents)),
    ]
    if row_count(report) > MOST_ROWS:
        found.append(Attachment(f"{story.cluster}-gpus.csv", "All GPUs (CSV)", _csv(report)))
    if report.gpus:
        found.append(_picture(story.cluster, report))
    return tuple(found)


def _whole(story: Story, report: Report, documents: Mapping[str, Any]) -> bytes:
    """The verdict, and under `documents` every node's document of the probe, word for word."""
    about = {"cluster": story.cluster, "request": story.request_id}
    whole = {**about, "report": report, "documents": dict(documents)}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False, default=vars).encode()


def _picture(cluster: str, report: Report) -> Attachment:
    # Pillow is loaded with the first picture: a bot that draws none starts without it.
    from handlers.views.picture import draw

    worst = worst_first(report)[0]
    alt = (
        f"Bars for {count(len(report.gpus), 'GPU')} of {cluster}: measured against expected. "
        f"The worst is {worst.node} GPU {worst.index}, {worst.verdict}, performance {worst.performance or 'unknown'}."
    )
    return Attachment(f"{cluster}-gpus.png", "Measured against expected", draw(cluster, report), alt)


def _csv(report: Report) -> bytes:
    measures = [rate.measure for rate in max((gpu.rates for gpu in report.gpus), key=len, default=())]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        (*_CSV_HEAD, *(part for name in measures for part in (name, f"{name}_expected")), *_COPY, "reasons")
    )
    for gpu in worst_first(report):
        rates = {rate.measure: rate for rate in gpu.rates}
        numbers = [value for name in measures for value in _pair(rates.get(name))]
        writer.writerow([_harmless(cell) for cell in (*_about(gpu), *numbers, *_copy(gpu), "; ".join(gpu.reasons))])
    for node in report.nodes:
        if not node.gpus and node.expected:
            writer.writerow([_harmless(cell) for cell in (node.node, "", "", "", "", "", node.verdict)])
    return out.getvalue().encode()


def _about(gpu: GpuResult) -> tuple[object, ...]:
    identity = (gpu.node, gpu.index, gpu.uuid, gpu.name, gpu.memory_mib, gpu.driver)
    return (*identity, gpu.verdict, gpu.performance, gpu.temperature_c)


def _copy(gpu: GpuResult) -> tuple[float | None, int | None]:
    return (None, None) if gpu.slowest_copy is None else (gpu.slowest_copy.gbs, gpu.slowest_copy.target)


def _pair(rate: Rate | None) -> tuple[float | None, float | None]:
    return (None, None) if rate is None else (rate.value, rate.expected)


def _harmless(cell: object) -> object:
    """A spreadsheet must not take what a driver printed for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
