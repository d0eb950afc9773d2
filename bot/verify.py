"""`gpu-cluster verify`: probe and verdict on any cluster, through its kubeconfig and nothing else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import resources

from rich.table import Table

from bot.core.ports import Clock, Cluster, Node, Permanent, Temporary, WorldError
from bot.core.spec import LABEL_MANAGED, LABEL_REQUEST
from bot.core.survey import expectation
from bot.core.verification.extras import Extra
from bot.core.verification.measuring import Measuring, conclude, give_up, keep
from bot.core.verification.rating import Rate
from bot.core.verification.sight import NAMESPACE
from bot.core.verification.verdict import (
    DEGRADED,
    FAILED,
    UNKNOWN,
    VERDICTS,
    VERIFIED,
    GpuResult,
    NodeResult,
    Report,
    unmeasured_node,
)

EXIT = {VERIFIED: 0, DEGRADED: 1, FAILED: 1, UNKNOWN: 3}
"""Exit status by verdict; 2 is for what kept it from starting."""

TIME_S = {"quick": 110.0, "standard": 115.0, "burn": 1500.0}
"""Seconds after which what has not answered is given up, by level."""

_POLL_S = 2.0


def measuring(image: str, pull_secrets: tuple[str, ...], level: str, extras: tuple[Extra, ...] = ()) -> Measuring:
    """A run of its own, with the probe that travels with the program; `extras` run beside it."""
    run = f"cli-{secrets.token_hex(3)}"
    return Measuring(
        id=run,
        labels={LABEL_MANAGED: "true", LABEL_REQUEST: run},
        image=image,
        pull_secrets=pull_secrets,
        script=(resources.files("manifests") / "verify" / "probe.py").read_text(),
        level=level,
        expect=expectation,
        extras=extras,
    )


def verify(
    cluster: Cluster,
    clock: Clock,
    what: Measuring,
    *,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Measure every idle GPU of the cluster and judge; what was made for it is removed again.

    `say` gets a line whenever there is something new to wait for. Raises `WorldError`s when the cluster cannot be used
    at all, `Permanent` when it has no GPU node.
    """
    nodes = _gpu_nodes(cluster)
    facts: dict[str, str] = {}
    for node in nodes:
        if not node.ready:
            keep(facts, unmeasured_node(node.name, node.uid, expectation(node), "it is not Ready", UNKNOWN))
    try:
        _watch(cluster, clock, what, nodes, facts, say, pause)
    finally:
        _tidy(cluster, what, nodes, facts)
    return conclude(facts, nodes, sum(expectation(node).count for node in nodes))


def _gpu_nodes(cluster: Cluster) -> list[Node]:
    nodes = [node for node in cluster.nodes() if expectation(node).count]
    if not nodes:
        raise Permanent(
            "No node of this cluster offers nvidia.com/gpu.",
            "Install NVIDIA's GPU Operator or device plugin, or use another kubeconfig context.",
        )
    return sorted(nodes, key=lambda node: node.name)


def _watch(
    cluster: Cluster,
    clock: Clock,
    what: Measuring,
    nodes: list[Node],
    facts: dict[str, str],
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> None:
    """Look at all nodes until each has a result or the time is over."""
    until, said = clock.now() + TIME_S[what.level] + sum(extra.deadline_s for extra in what.extras), ""
    while waiting := _look(cluster, clock, what, nodes, facts):
        if clock.now() > until:
            give_up(facts, nodes, expectation, waiting[0])
            return
        if (now := f"{len(nodes) - len(waiting)} of {len(nodes)} nodes measured; {waiting[0]}") != said:
            said = now
            say(said)
        pause(_POLL_S)


def _look(cluster: Cluster, clock: Clock, what: Measuring, nodes: list[Node], facts: dict[str, str]) -> list[str]:
    waiting = []
    sight = what.see(cluster, nodes, facts)
    for node in nodes:
        try:
            why = what.look(sight, node, facts, clock.now())
        except Temporary as error:
            why = error.reason
        if why:
            waiting.append(why)
    return waiting


def _tidy(cluster: Cluster, what: Measuring, nodes: list[Node], facts: dict[str, str]) -> None:
    """Leave the cluster as it was found. What cannot be removed now ends by its own deadline."""
    with suppress(WorldError):
        for name in what.jobs(nodes, facts):
            cluster.remove_job(NAMESPACE, name)
        cluster.remove_namespace(NAMESPACE, what.labels[LABEL_REQUEST])


def table(report: Report) -> Table:
    """The measurements, worst GPU first; beside each number what a good GPU of the model shows, where known."""
    found = Table(title=f"{report.verdict}: {report.good} of {report.expected} GPUs verified")
    for column in ("GPU", "Model", "Verdict", "Performance"):
        found.add_column(column)
    for column in ("Memory GB/s", "From host", "To host", "FP32 TFLOPS", "Tensor TFLOPS", "To other GPUs", "°C"):
        found.add_column(column, justify="right")
    for _, row in sorted(_rows(report.nodes), key=lambda pair: VERDICTS.index(pair[0])):
        found.add_row(*row)
    return found


def lines(report: Report) -> list[str]:
    """What is wrong, then what is worth a look."""
    notes = [f"{gpu.node} GPU {gpu.index}: {note}" for gpu in report.gpus for note in gpu.notes]
    return [*report.reasons, *(f"note: {note}" for note in notes)]


def _rows(nodes: Iterable[NodeResult]) -> list[tuple[str, tuple[str, ...]]]:
    nodes = list(nodes)
    gpus = sorted((gpu for node in nodes for gpu in node.gpus), key=lambda gpu: gpu.badness)
    rows = [(gpu.verdict, _gpu_row(gpu)) for gpu in gpus]
    for node in nodes:
        if not node.gpus and node.expected:
            rows.append((node.verdict, (f"{node.node}/–", f"{node.expected} GPUs", node.verdict, "not measured")))
        if node.unmeasured:
            rows.append((VERIFIED, (f"{node.node}/–", f"{node.unmeasured} in use", "healthy", "not measured")))
    return rows


def _gpu_row(gpu: GpuResult) -> tuple[str, ...]:
    warmth = "–" if gpu.temperature_c is None else str(gpu.temperature_c)
    return (
        f"{gpu.node}/{gpu.index}",
        gpu.name,
        gpu.verdict,
        gpu.performance,
        *map(_number, gpu.rates),
        _copy(gpu),
        warmth,
    )


def _copy(gpu: GpuResult) -> str:
    """The slowest of its copies to GPUs beside it, as they are numbered; beside it what a good pair shows."""
    copy = gpu.slowest_copy
    if copy is None:
        return "–"
    return f"{copy.gbs:,.4g}" + (f" ({copy.usual:,.4g})" if copy.usual else "") + f" →{copy.target}"


def _number(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    return f"{rate.value:,.4g}" + (f" ({rate.expected:,.4g})" if rate.expected else "")
