"""A world for the tests that need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from living import Living
from scripted import Hands, Scripted

from bot.rancher import RancherAdapter


@pytest.fixture
def make_living(tmp_path: Path, aws_endpoint: str) -> Iterator[Callable[..., Living]]:
    made: list[Living] = []

    def make(*faults: str, **plot: str) -> Living:
        made.append(Living(tmp_path, aws_endpoint, faults, **plot))
        return made[-1]

    yield make
    for living in made:
        living.close()


@pytest.fixture
def living(make_living: Callable[..., Living]) -> Living:
    return make_living()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def rancher(server: Scripted, hands: Hands) -> Iterator[RancherAdapter]:
    adapter = RancherAdapter(server.url, "token-bot:secret", clock=hands)
    yield adapter
    adapter.close()
