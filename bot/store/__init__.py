"""Where everything asked is written down: one SQLite file."""

from __future__ import annotations

from pathlib import Path

from bot.core.ports import Store
from bot.store.errors import StoreBusy, StoreError
from bot.store.sqlite import SqliteStore

__all__ = ["SqliteStore", "StoreBusy", "StoreError", "open_store"]

_SQLITE = "sqlite:///"


def open_store(url: str) -> Store:
    """The store of a DATABASE_URL: `sqlite:///relative/file.db` or `sqlite:////absolute/file.db`.

    Raises `ValueError` for other URLs, `StoreError` or `StoreBusy` when the store cannot be opened.
    """
    path = url.removeprefix(_SQLITE)
    if path == url or path in ("", ":memory:"):
        raise ValueError(_why_not(url))
    return SqliteStore(Path(path))


def _why_not(url: str) -> str:
    works = "This version works with sqlite:///relative/file.db and sqlite:////absolute/file.db."
    scheme = url.partition("://")[0]
    if scheme in ("postgresql", "postgres"):
        return f"DATABASE_URL: {scheme}:// is not in this version. {works}"
    if url.startswith(_SQLITE):
        return f"DATABASE_URL names no file; the store has to outlive the process. {works}"
    # The URL itself may hold a password, and stays unsaid.
    return f"DATABASE_URL is none that can be opened. {works}"
