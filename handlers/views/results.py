"""What was measured on every GPU."""

from __future__ import annotations

from bot.core.story import Story
from bot.core.verification.verdict import DEGRADED, VERDICTS, VERIFIED, GpuResult, NodeResult, Report
from handlers.views.page import Bullets, Header, Note, Page, Para, Part, Table
from handlers.views.render import MOST_ROWS
from handlers.views.spans import bold, line
from handlers.views.words import count

_MOST_NOTES = 8
_NOTHING = "–"
COLUMNS = (
    "GPU",
    "Model",
    "Memory",
    "Driver",
    "Checks",
    "GB/s memory",
    "GB/s to/from host",
    "GB/s to other GPUs",
    "TFLOPS float32/tensor",
    "°C",
    "Performance",
    "Verdict",
)


def results(story: Story) -> Page:
    """The verification table. Raises ValueError when nothing was measured yet."""
    report = story.report
    if report is None:
        raise ValueError(f"{story.request_id} has no report")
    parts: list[Part] = [
        Header(f"{story.cluster}: {report.good} of {count(report.expected, 'GPU')} verified"),
        Para((line("Verdict: ", bold(report.verdict)),)),
        _table(_rows(report)[:MOST_ROWS]),
    ]
    if (rows := row_count(report)) > MOST_ROWS:
        parts.append(Note(line(f"The worst {MOST_ROWS} of {rows:,} rows; all are in the CSV below.")))
    if report.reasons:
        parts.append(Bullets(tuple(line(reason) for reason in report.reasons)))
    parts += [Note(line(said)) for said in (*_notes(report), *between(report))[:_MOST_NOTES]]
    said = f"Results for {story.cluster}: {report.good} of {count(report.expected, 'GPU')} verified, {report.verdict}."
    why = f" {report.reasons[0]}." if report.reasons else ""
    return Page(line(said + why), tuple(parts))


def _table(rows: tuple[tuple[str, ...], ...]) -> Table:
    """Without columns in which no row says anything: a single GPU copies to no other."""
    kept = [n for n in range(len(COLUMNS)) if not rows or any(row[n] != _NOTHING for row in rows)]
    return Table(tuple(COLUMNS[n] for n in kept), tuple(tuple(row[n] for n in kept) for row in rows))


def _notes(report: Report) -> list[str]:
    """What is worth a look and no fault."""
    return [f"{gpu.node} GPU {gpu.index}: {note}" for gpu in worst_first(report) for note in gpu.notes]


def worst_first(report: Report) -> list[GpuResult]:
    """Every GPU that answered."""
    return sorted(report.gpus, key=lambda gpu: gpu.badness)


def row_count(report: Report) -> int:
    """How many rows the whole table has."""
    return len(_rows(report))


def _rows(report: Report) -> tuple[tuple[str, ...], ...]:
    """A row a GPU, one for each node without any and one for those in use; the worst first."""
    nodes = list(report.nodes)
    rows = [(gpu.verdict, _gpu(gpu)) for gpu in worst_first(report)]
    rows += [(node.verdict, _silent(node)) for node in nodes if not node.gpus and node.expected]
    rows += [(VERIFIED, _busy(node)) for node in nodes if node.unmeasured]
    rows.sort(key=lambda row: VERDICTS.index(row[0]))
    return tuple(row for _, row in rows)


def _gpu(gpu: GpuResult) -> tuple[str, ...]:
    passed = sum(check.ok for check in gpu.checks)
    host = f"{_number(gpu.host_to_device_gbs)} / {_number(gpu.device_to_host_gbs)}"
    return (
        f"{gpu.node}/{gpu.index}",
        gpu.name,
        f"{gpu.memory_mib / 1024:.1f} GiB",
        gpu.driver,
        f"{passed} of {len(gpu.checks)} passed",
        _number(gpu.device_gbs),
        host,
        _copy(gpu),
        " / ".join(_number(rate.value) for rate in gpu.rates if rate.unit == "TFLOPS") or _NOTHING,
        _NOTHING if gpu.temperature_c is None else str(gpu.temperature_c),
        gpu.performance or _NOTHING,
        gpu.verdict,
    )


def _copy(gpu: GpuResult) -> str:
    """The slowest of its copies to other GPUs, and which that is."""
    copy = gpu.slowest_copy
    return _NOTHING if copy is None else f"{_number(copy.gbs)} to GPU {copy.target}"


def between(report: Report) -> tuple[str, ...]:
    """The slowest copy between two GPUs of each node that has several, the slowest node first."""
    lines = []
    for node in report.nodes:
        found = [(gpu.slowest_copy, gpu.index) for gpu in node.gpus if gpu.slowest_copy is not None]
        if found:
            copy, source = min(found, key=lambda pair: pair[0].gbs)
            usual = f", {copy.usual:,.4g} on a good pair" if copy.usual else ""
            way = "" if copy.direct else ", through the host"
            said = f"{node.node}: slowest copy between GPUs {source} → {copy.target}, {copy.gbs:,.4g} GB/s{usual}{way}"
            lines.append((copy.gbs, said))
    return tuple(said for _, said in sorted(lines))


def closed_whole(report: Report) -> tuple[str, ...]:
    """Nodes of which some GPUs are good, and that stay closed."""
    return tuple(
        f"{node.node} stays closed as a whole, although {sum(gpu.verdict == VERIFIED for gpu in node.gpus)} of its "
        f"{node.expected} GPUs passed: the device plugin cannot hold one GPU back. Replace the node to get all of them."
        for node in report.nodes
        if node.verdict == DEGRADED
    )


def _silent(node: NodeResult) -> tuple[str, ...]:
    return (node.node, "none answered", *(_NOTHING for _ in COLUMNS[3:]), node.verdict)


def _busy(node: NodeResult) -> tuple[str, ...]:
    return (node.node, f"{node.unmeasured} in use", *(_NOTHING for _ in COLUMNS[3:]), "healthy, not measured")


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.0f}"
