"""A world for the tests that need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from living import Living
from moto.server import ThreadedMotoServer
from scripted import Hands, Scripted

from bot.rancher import RancherAdapter


@pytest.fixture(scope="session")
def ec2_endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def make_living(tmp_path: Path, ec2_endpoint: str) -> Iterator[Callable[..., Living]]:
    made: list[Living] = []

    def make(*faults: str) -> Living:
        made.append(Living(tmp_path, ec2_endpoint, faults))
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
