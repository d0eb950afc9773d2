"""A scripted API server: the same stand-in that the Rancher adapter's tests listen with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.kube import KubeCluster

sys.path.append(str(Path(__file__).parent.parent / "rancher"))

from scripted import Hands, Scripted


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def kube(server: Scripted, hands: Hands) -> Iterator[KubeCluster]:
    cluster = KubeCluster(server.url, "token-bot:secret", "c-m-1", clock=hands)
    yield cluster
    cluster.close()
