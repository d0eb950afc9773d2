"""The store in one SQLite file: connections, transactions, the file itself. What is asked of it is in `sqlite_tx`."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from bot.core.ports import Tx
from bot.store.errors import StoreError, explained, primary_code
from bot.store.migrations import migrate
from bot.store.sqlite_tx import SqliteTx
from bot.store.turns import Turns

BUSY_S = 30.0
"""Real seconds that a transaction waits for another process's."""

_CREATING = threading.Lock()


class SqliteStore:
    """A `bot.core.ports.Store` in a file, shared by threads and by processes of one machine.

    Makes the file (mode 0600) and its folder (0700) where they are missing, and brings its schema up to date.
    Raises `StoreError` when the file cannot be used, `StoreBusy` when another process holds it for `BUSY_S`;
    so do its transactions.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()
        self._threads = threading.local()
        # SQLite lets one writer in at a time anyway, but lets the others sleep and poll; a lock wakes them at once.
        self._turns = Turns()
        _create_file(self._path)
        with explained(self._path):
            _use_wal(self._database().conn, self._path)
            self._schema = migrate(self._database(), self._path)

    @contextmanager
    def transaction(self, *, first: bool = False) -> Iterator[Tx]:
        """A write transaction: serialised with all others, committed at the end, rolled back on an exception.

        `first`: before those of this process that wait, too.
        """
        database = self._idle_database()
        with explained(self._path), self._turns.mine(first=first):
            # IMMEDIATE: a deferred one that reads first and writes later fails when another has written meanwhile.
            database.conn.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteTx(database.conn, writable=True)
                database.conn.execute("COMMIT")
            finally:
                database.rollback()

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A read transaction, which waits for nobody; writing in it is a `RuntimeError`."""
        database = self._idle_database()
        with explained(self._path):
            database.conn.execute("BEGIN")
            try:
                yield SqliteTx(database.conn, writable=False)
            finally:
                database.rollback()

    def describe(self) -> str:
        """The URL of the store, and its schema number."""
        return f"sqlite:///{self._path} (schema {self._schema})"

    def _idle_database(self) -> Database:
        with explained(self._path):
            database = self._database()
        if database.conn.in_transaction:
            raise RuntimeError("this thread is in a transaction already; they do not nest")
        return database

    def _database(self) -> Database:
        """This thread's own; closed when the thread or the store ends."""
        database: Database | None = getattr(self._threads, "database", None)
        if database is None:
            database = _connect(self._path)
            weakref.finalize(database, database.conn.close).atexit = False
            self._threads.database = database
        return database


def _connect(path: Path) -> Database:
    # isolation_level None: no statement opens a transaction by itself, so none is left open by accident.
    # check_same_thread off: each thread has its own, but whoever drops the last reference closes it.
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return Database(connection, execute_plugins=False)
    except BaseException:
        connection.close()
        raise


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Readers and one writer side by side; the file remembers it."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # When two processes switch a new file at once, the loser is told so without waiting (busy_timeout).
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise StoreError(
            f"{path} lies on a file system that processes cannot share (journal mode {mode}).",
            "Put it on a local disk: DATABASE_URL.",
        )


def _create_file(path: Path) -> None:
    # By path, never by opening it: closing any descriptor of a database drops SQLite's locks on it (POSIX).
    # Only the one that makes the file has a descriptor, hence the lock. (sqlite.org/howtocorrupt.html, 2.2)
    try:
        with _CREATING:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(
            f"The store at {path} cannot be made: {error.strerror}.",
            "Point DATABASE_URL at a file in a folder that the user who runs the bot can write.",
        ) from error
