"""Scenarios are coroutines: each is run in an event loop of its own, within a bound."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONGEST_S = 110
"""Real seconds; a kill -9 costs up to 30 for the leases of the dead process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One scenario at a time: each is a whole world with a bot, and their people expect answers within seconds."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.xdist_group("scenarios"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**wanted), LONGEST_S))
    return True
