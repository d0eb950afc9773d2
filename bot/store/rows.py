"""Dataclasses to rows and back: which table a value lives in, what identifies it, how its columns are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast, get_type_hints

from bot.core.records import (
    ApprovalRow,
    AuditRow,
    ClusterRow,
    CredentialRow,
    HomeRow,
    InboundRow,
    MessageRow,
    PostedRow,
    RequestRow,
    RosterRow,
    StepRow,
    SwitchRow,
    TroubleRow,
    VerdictRow,
)

R = TypeVar("R")


@dataclass(frozen=True)
class Table(Generic[R]):
    """One table: its columns are the fields of `row`, in that order, whatever else the database has there.

    `readers` are those of the columns, by place, whose values a driver does not give as they are wanted; `values` are
    a row's.
    """

    name: str
    row: type[R]
    key: tuple[str, ...]
    columns: tuple[str, ...]
    readers: tuple[tuple[int, Callable[[Any], Any]], ...]
    values: Callable[[R], tuple[Any, ...]]

    @property
    def has_rev(self) -> bool:
        """Whether changes are compare-and-set."""
        return "rev" in self.columns

    def read(self, values: Sequence[Any]) -> R:
        """A row from its columns, in the order of `columns`."""
        found = list(values)
        for place, reader in self.readers:
            found[place] = reader(found[place])
        return self.row(*found)

    def rev_of(self, row: R) -> int:
        """The revision at which the row was read; only where the table has them."""
        return int(getattr(row, "rev"))  # noqa: B009

    def key_of(self, row: R) -> tuple[Any, ...]:
        """The values of the primary key."""
        return tuple(getattr(row, column) for column in self.key)


def written(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values as a database driver takes them: enums as plain text."""
    return tuple(value.value if isinstance(value, StrEnum) else value for value in values)


def table_of(row: type[R]) -> Table[R]:
    """The table of a kind of row."""
    return cast(Table[R], _TABLES[row])


def columns_of(row: Any) -> tuple[Any, ...]:
    """All values of a row, in the order of its table's columns, as a driver takes them."""
    return written(table_of(type(row)).values(row))


def _table(name: str, row: type[Any], *key: str) -> Table[Any]:
    hints = get_type_hints(row)
    columns = tuple(field.name for field in fields(row))
    readers = ((place, _reader(hints[column])) for place, column in enumerate(columns))
    special = tuple((place, reader) for place, reader in readers if reader is not None)
    return Table(name, row, key, columns, special, attrgetter(*columns))


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    """What SQL's types cannot say by themselves; None where the driver's value is right already."""
    if hint is float:
        return float  # a whole number comes back from SQLite's RETURNING as int
    if hint == float | None:
        return lambda value: None if value is None else float(value)
    if isinstance(hint, type) and issubclass(hint, bool | StrEnum):
        return cast(Callable[[Any], Any], hint)
    return None


_TABLES: Mapping[type[Any], Table[Any]] = {
    table.row: table
    for table in (
        _table("clusters", ClusterRow, "id"),
        _table("requests", RequestRow, "id"),
        _table("steps", StepRow, "request_id", "position"),
        _table("approvals", ApprovalRow, "request_id", "envelope_hash", "approver"),
        _table("messages", MessageRow, "id"),
        _table("credentials", CredentialRow, "id"),
        _table("seen", InboundRow, "key"),
        _table("audit", AuditRow),
        _table("rosters", RosterRow, "name", "seen_at"),
        _table("posted_leads", PostedRow, "request_id"),
        _table("homes", HomeRow, "user"),
        _table("verdicts", VerdictRow, "cluster_id", "node_uid", "gpu_uuid"),
        _table("troubles", TroubleRow, "id"),
        _table("switches", SwitchRow, "name"),
    )
}
