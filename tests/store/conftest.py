"""The stores under contract: one more parameter here, and the whole suite runs on it too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.core.ports import Store
from bot.store import open_store


@pytest.fixture(params=["sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of its own for the test."""
    return {"sqlite": f"sqlite:///{tmp_path / 'store.db'}"}[request.param]


@pytest.fixture
def store(store_url: str) -> Store:
    """Opened in this process; `store_url` opens it in another."""
    return open_store(store_url)


@pytest.fixture
def count_payloads(store_url: str) -> Callable[[], int]:
    """How many inbound rows still hold what they brought: looked up behind the store's back."""

    def count() -> int:
        with Database(store_url.removeprefix("sqlite:///")) as database:
            return int(database.table("seen").count_where("payload <> ''"))

    return count
