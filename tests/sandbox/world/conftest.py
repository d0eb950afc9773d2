"""The world of these tests, made and ended for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox.world.rig import Rig


@pytest.fixture
def make_rig(tmp_path: Path, aws_endpoint: str) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*faults: str, seed: int = 0, version: str = "2.15") -> Rig:
        rigs.append(Rig(tmp_path, aws_endpoint, faults, seed, version))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()
