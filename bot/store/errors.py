"""What goes wrong with a store, said so that a person can mend it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.core.ports import Permanent, Temporary


class StoreError(Permanent):
    """The store cannot be used; `remedy` says what to do about it."""


class StoreBusy(Temporary):
    """Another process has been writing for so long that we gave up waiting; it may work a little later."""


_REASONS = {
    sqlite3.SQLITE_NOTADB: (
        "{path} is not a database.",
        "Point DATABASE_URL at another file, or move this one away.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "{path} is damaged: {error}.",
        "Stop the bot, keep a copy, and restore a backup or try `sqlite3 FILE .recover`.",
    ),
    sqlite3.SQLITE_FULL: (
        "The disk that holds {path} is full.",
        "Make room there; nothing that was written before is lost.",
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk that holds {path} refuses to read or write: {error}.",
        "See that it has room, is mounted and is healthy; nothing that was written before is lost.",
    ),
    sqlite3.SQLITE_READONLY: (
        "{path} cannot be written.",
        "Give the user who runs the bot write access to the file and to its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "{path} cannot be opened.",
        "Give the user who runs the bot write access to the file and to its folder.",
    ),
}
_OTHER = ("The store at {path} refused: {error}.", "This is a mistake in the bot; please report it.")


def primary_code(error: sqlite3.Error) -> int:
    """The SQLITE_… code, which extended result codes keep in the low byte (sqlite.org/rescode.html); 0 if none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def explain(error: sqlite3.Error, path: Path) -> StoreError | StoreBusy:
    """SQLite's error in words."""
    code = primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"Another process keeps {path} locked.", "See which other bot or tool uses the file; we try again."
        )
    reason, remedy = _REASONS.get(code, _OTHER)
    return StoreError(reason.format(path=path, error=error), remedy)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into `StoreError` or `StoreBusy`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
