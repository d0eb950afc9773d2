"""Measure everything: `python -m tests.bench`. Requests that do not end verified fail it; no figure does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import flight, people, runs
from tests.bench.capacity import under_errors
from tests.bench.crowd import NotVerified
from tests.bench.figures import Figure, as_json, machine, table
from tests.bench.order import overlap
from tests.bench.preflight import preflights
from tests.bench.verdicts import verdicts

OUTPUT = Path("bench.json")
RUNS: dict[str, Callable[[], Coroutine[Any, Any, list[Figure]]]] = {
    "acks": lambda: runs.acks(speed=1, busy_speed=10, end_speed=25),
    "overhead": lambda: runs.overhead(speed=20),
    "load": lambda: runs.load(first_speed=2, speed=6),
    "manners": people.manners,
    "rush": people.rush,
    "order": overlap,
    "flight": flight.in_flight,
    "verdicts": verdicts,
    "preflight": preflights,
    "capacity": lambda: under_errors(speed=20),
}
"""The worlds run as fast as two cores can follow with the sandbox beside the bot: the figures are the bot's then."""


def main(chosen: list[str]) -> int:
    """Run what was chosen (nothing: everything), print the table and write `bench.json`."""
    console, told = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True, highlight=False)
    figures: list[Figure] = []
    for name in chosen or list(RUNS):
        began = time.monotonic()
        try:
            figures += asyncio.run(RUNS[name]())
        except NotVerified as error:
            told.print(f"{name}: {error}", *getattr(error, "__notes__", ()), sep="\n", markup=False)
            return 1
        told.print(f"{name}: measured in {time.monotonic() - began:.0f} s")
    where = machine()
    console.print(table(figures, where))
    OUTPUT.write_text(as_json(figures, where) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
