"""A stage of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.store import SqliteStore
from tests.core.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(SqliteStore(tmp_path / "store.db"))
