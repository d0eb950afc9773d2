"""What was measured: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One number. `how` says what was done to get it; `target` is the most it should be, where there is one, or the
    least where `at_least`."""

    key: str
    value: float
    unit: str
    how: str
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _cpu() -> str:
    """The processor's own name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def table(figures: Sequence[Figure], where: dict[str, str | int]) -> Table:
    """One row a figure."""
    title = f"{where['cpu']}, {where['cores']} cores, Python {where['python']}"
    grid = Table("figure", title=title)
    for heading in ("value", "target"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("how")
    for figure, before in zip(figures, (None, *figures), strict=False):
        how = "″" if before and before.how == figure.how else figure.how
        target = (
            ""
            if figure.target is None
            else f"{'≥' if figure.at_least else '≤'} {figure.target:g} {'met' if figure.met else 'missed'}"
        )
        grid.add_row(figure.key, f"{shown(figure.value)} {figure.unit}".strip(), target, how)
    return grid


def shown(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_json(figures: Sequence[Figure], where: dict[str, str | int]) -> str:
    """The values by key, then what they mean."""
    document = {
        **{figure.key: round(figure.value, 4) for figure in figures},
        "targets": {figure.key: figure.target for figure in figures if figure.target is not None},
        "how": {figure.key: figure.how for figure in figures},
        "machine": where,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
