"""Starting `other_process.py`, and ending it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Process = subprocess.Popen[str]


@contextmanager
def other_process(*arguments: str) -> Iterator[Process]:
    """It runs until it ends by itself or is killed, at the latest when the block ends."""
    command = [sys.executable, str(Path(__file__).with_name("other_process.py")), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: Process) -> str:
    """Its next line; '' when it has ended."""
    assert process.stdout
    return process.stdout.readline().strip()


def start(process: Process) -> None:
    """What it waits for."""
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def rest(process: Process) -> list[str]:
    """What it says until it ends, which it has to do well."""
    assert process.stdout
    lines = process.stdout.read().split("\n")[:-1]
    assert process.wait() == 0
    return lines
