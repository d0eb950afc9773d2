"""What is SQLite's alone: the file, its migrations, its errors in words, its indexes, its connections."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import sample_rows as rows
from processes import hear, other_process, rest, start
from sqlite_utils import Database

from bot.core.ports import Permanent, Taken, Temporary
from bot.core.records import TroubleRow
from bot.store import SqliteStore, StoreBusy, StoreError, open_store
from bot.store.errors import explain
from bot.store.migrations import migrations
from bot.store.sqlite_tx import SqliteTx

# --- the file ---------------------------------------------------------------------------------------------------


def test_the_file_and_its_folder_are_made_for_one_pair_of_eyes(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gpu-cluster.db"
    store = SqliteStore(path)
    with store.transaction() as tx:
        tx.add(rows.cluster())
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in (path.parent, *path.parent.iterdir())}
    assert modes == {"state": 0o700, path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}


SCHEMA = len(list(migrations.pending(Database(memory=True))))


def test_urls_relative_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = open_store("sqlite:///here.db")
    with relative.transaction() as tx:
        tx.add(rows.cluster())
    absolute = open_store(f"sqlite:///{tmp_path}/here.db")
    with absolute.reading() as tx:
        assert tx.cluster("c1").name == "blog"
    assert relative.describe() == absolute.describe() == f"sqlite:///{tmp_path}/here.db (schema {SCHEMA})"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://bot:secret@db/gpu", "postgresql:// is not in this version"),
        ("postgres://bot:secret@db/gpu", "postgres:// is not in this version"),
        ("mysql://bot:secret@db/gpu", "none that can be opened"),
        ("store.db", "none that can be opened"),
        ("", "none that can be opened"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_other_urls_are_refused_with_those_that_work_and_without_secrets(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        open_store(url)
    assert "sqlite:///relative/file.db" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "file" / "store.db", "cannot be made"),
        (Path("/dev/null/store.db"), "cannot be made"),
        (tmp_path, "cannot be opened"),
    ):
        with pytest.raises(StoreError, match=reason) as refused:
            SqliteStore(path)
        assert refused.value.remedy


# --- migrations -------------------------------------------------------------------------------------------------


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = SqliteStore(path)
    with first.transaction() as tx:
        tx.add(rows.cluster())
    with Database(path) as database:
        schema = database.schema
        again = SqliteStore(path)
        assert (database.schema, again.describe()) == (schema, first.describe())
    with again.reading() as tx:
        assert tx.cluster("c1") == rows.cluster()


def test_processes_that_make_the_same_store_at_once_agree(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with other_process("migrate", url) as one, other_process("migrate", url) as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        start(one)
        start(two)
        assert rest(one) == rest(two) == [f"{url} (schema {SCHEMA})"]


def test_threads_that_make_the_same_store_at_once_agree(tmp_path: Path) -> None:
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        with ThreadPoolExecutor(4) as pool:
            told = set(pool.map(lambda path: SqliteStore(path).describe(), [path] * 4))
        assert told == {f"sqlite:///{path} (schema {SCHEMA})"}


def test_every_column_is_strict_and_times_are_reals(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "store.db")
    with Database(tmp_path / "store.db") as database:
        tables = [database.table(name) for name in database.table_names() if not name.startswith("_")]
        assert {"clusters", "rosters", "posted_leads", "homes"} <= {table.name for table in tables}
        assert all(table.strict for table in tables)
        timed = {column.type for table in tables for column in table.columns if column.name.endswith(("_at", "_real"))}
        assert timed == {"REAL"}


def test_troubles_of_an_older_store_read_as_they_were_and_one_a_kind_is_open_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Database(path) as database:
        migrations.apply(database, stop_before="m045_each_announcement_is_a_trouble_of_its_own")
        database.execute("PRAGMA foreign_keys = OFF")
        database.table("troubles").insert(
            {"id": "t-1", "cluster_id": "c1", "kind": "notice", "subject": "uid", "detail": "AWS retires it",
             "seen_at": 1.0, "told_at": 2.0, "ignored_by": "U1"}
        )  # fmt: skip
    store = SqliteStore(path)
    old = TroubleRow("t-1", "c1", "notice", "uid", "AWS retires it", 1.0, told_at=2.0, ignored_by="U1")
    with store.transaction() as tx:
        assert tx.troubles("c1") == [old]
        tx.add(rows.cluster("c2"))
        tx.add(replace(old, id="t-2", cluster_id="c2", event="spot"))
        tx.add(replace(old, id="t-3", cluster_id="c2", event="instance-event-1", due_at=9.0))
        with pytest.raises(Taken, match="open_trouble"):
            tx.add(replace(old, id="t-4", cluster_id="c2", event="spot"))


def test_a_store_of_a_newer_release_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path)
    newer = {"migration_set": "gpu-cluster", "name": "m999_from_the_future", "applied_at": "2030-01-01"}
    with Database(path) as database:
        database.table("_sqlite_migrations").insert(newer)
    with pytest.raises(StoreError, match=r"newer release.*m999_from_the_future") as refused:
        SqliteStore(path)
    assert "Install" in refused.value.remedy


def test_the_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with Database(path) as database:
        database.table("recipes").insert({"cake": "lemon"})
        with pytest.raises(StoreError, match="another program"):
            SqliteStore(path)
        assert database.table_names() == ["recipes"]


# --- errors in words --------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but a note " * 100)
    with pytest.raises(StoreError, match="is not a database") as refused:
        SqliteStore(path)
    assert (refused.value.reason, refused.value.remedy != "") == (f"{path} is not a database.", True)
    assert path.read_text().startswith("not a database")


def test_a_disk_that_takes_no_more_is_named_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with other_process("fill_disk", f"sqlite:///{path}") as process:
        said, after = rest(process)
    assert said.startswith(f"The disk that holds {path} ")
    assert after == "blog 0"


def _full(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE t (x)")
    finally:
        connection.close()


def _read_only(path: Path) -> None:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.execute("CREATE TABLE t (x)")
    finally:
        connection.close()


def _locked(path: Path) -> None:
    first, second = sqlite3.connect(path, isolation_level=None), sqlite3.connect(path, timeout=0)
    try:
        first.execute("BEGIN IMMEDIATE")
        second.execute("BEGIN IMMEDIATE")
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("provoke", "kind", "reason"),
    [
        (_full, Permanent, "The disk that holds .* is full"),
        (_read_only, Permanent, "cannot be written"),
        (_locked, Temporary, "Another process keeps .* locked"),
    ],
)
def test_sqlite_errors_in_words(
    tmp_path: Path, provoke: Callable[[Path], None], kind: type[Exception], reason: str
) -> None:
    path = tmp_path / "x.db"
    path.touch()
    with pytest.raises(sqlite3.Error) as raised:
        provoke(path)
    with pytest.raises((StoreError, StoreBusy), match=reason) as explained:
        raise explain(raised.value, path)
    assert isinstance(explained.value, kind)
    assert explained.value.remedy


def test_a_damaged_file_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        SqliteStore(path)


def test_a_row_without_its_parent_is_a_store_error(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with pytest.raises(StoreError, match="FOREIGN KEY"), store.transaction() as tx:
        tx.add(rows.request())


# --- the audit trail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'U9'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT id, at, 'U9', action, request_id, cluster_id, detail FROM audit",
    ],
)
def test_the_audit_trail_cannot_be_changed(tmp_path: Path, sql: str) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with store.transaction() as tx:
        tx.add(rows.audit())
    with Database(tmp_path / "store.db") as database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(sql)
    with store.reading() as tx:
        assert tx.audit_trail("r1") == [rows.audit()]


# --- indexes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda tx: tx.claim_requests(now=1.0, real=1.0, owner="a", lease_s=1.0, limit=1), "request_due"),
        (lambda tx: tx.next_due_at(), "request_due"),
        (lambda tx: tx.open_request("c1"), "open_request"),
        (lambda tx: tx.requests_of("c1"), "request_of_cluster"),
        (lambda tx: tx.living_cluster("blog"), "cluster_name"),
        (lambda tx: tx.due_messages(1), "message_due"),
        (lambda tx: tx.message_at("C1", "1.2"), "message_at"),
        (lambda tx: tx.messages("r1"), "message_of_request"),
        (lambda tx: tx.audit_trail("r1"), "audit_of_request"),
        (lambda tx: tx.claim_inbound(real=1.0, lease_s=1.0, limit=1), "inbound_due"),
        (lambda tx: tx.forget_inbound(before_real=1.0), "inbound_old"),
    ],
)
def test_what_is_asked_often_has_an_index(tmp_path: Path, ask: Callable[[SqliteTx], object], index: str) -> None:
    SqliteStore(tmp_path / "store.db")
    connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    ask(SqliteTx(connection, writable=True))
    connection.set_trace_callback(None)
    plan = [row[-1] for sql in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    connection.close()
    assert any(f"INDEX {index}" in line for line in plan), plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


# --- connections ------------------------------------------------------------------------------------------------


def test_every_thread_has_its_own_connection_which_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)

    def descriptors() -> int:
        return sum(opened.path == str(path) for opened in psutil.Process().open_files())

    seen: list[int] = []

    def read(store: SqliteStore) -> None:
        with store.reading() as tx:
            tx.clusters()
            seen.append(descriptors())

    for _ in range(5):
        thread = threading.Thread(target=read, args=(store,))
        thread.start()
        thread.join()
    assert seen == [2] * 5
    del store
    assert descriptors() == 0


def test_commits_are_synced_and_parents_checked(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    with store.reading() as tx:
        assert isinstance(tx, SqliteTx)
        connection = tx._connection
        answers = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "foreign_keys")]
        waits = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    assert (answers, waits) == ([2, 1], 30_000)
