"""A stage of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.aws.cloud import Ec2Cloud
from bot.sandbox.aws import AwsStandIn
from bot.store import SqliteStore
from tests.core.account import World
from tests.core.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(SqliteStore(tmp_path / "store.db"))


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """With one cluster that is ready."""
    stage.finish(stage.running())
    return stage


@pytest.fixture(scope="module")
def account(request: pytest.FixtureRequest) -> Iterator[AwsStandIn]:
    """One account for all; parameter False: one where AWS lists the P3 family no longer."""
    stand_in = AwsStandIn(p3=getattr(request, "param", True))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", stand_in.start())
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "example")
        environment.setenv("AWS_CONFIG_FILE", "/nowhere")
        yield stand_in
    stand_in.stop()


@pytest.fixture(scope="module")
def cloud(account: AwsStandIn) -> Ec2Cloud:
    return Ec2Cloud(account.region)


@pytest.fixture
def world(account: AwsStandIn, cloud: Ec2Cloud) -> World:
    return World(account, cloud)
