"""What several rooms of the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from bot.sandbox.aws import AwsStandIn

# Examples a property: few in `make test`, many in `make test-all` (--hypothesis-profile=thorough).
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile("quick")

_OF_THE_COMMAND_LINE = ("test_cli", "test_doctor", "test_install")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay in one process, so that what its fixtures start is started once.

    Those of the command line, few and long, go together: many tests are begun first, and the last should be short.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            together = "command line" if item.path.stem in _OF_THE_COMMAND_LINE else item.path.stem
            item.add_marker(pytest.mark.xdist_group(together))


@pytest.fixture(scope="module")
def aws_account() -> Iterator[tuple[AwsStandIn, str]]:
    """An AWS account of one's own and its endpoint. moto's state is process-wide, so one runs at a time."""
    stand_in = AwsStandIn()
    yield stand_in, stand_in.start()
    stand_in.stop()


@pytest.fixture(scope="module")
def aws_endpoint(aws_account: tuple[AwsStandIn, str]) -> str:
    return aws_account[1]
