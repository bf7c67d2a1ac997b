"""The tables of a view in SQLite, and its rows in memory between two transactions."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from msgspec.structs import astuple

from ...projections.rows import MOST_WHOLE, Row, Table, columns

R = TypeVar("R", bound=Row)

Ask = Callable[[str, Sequence[Any]], list[Any]]
"""Runs one statement and returns all its rows."""

MOST_KEPT = 20_000
"""Rows of a table that are remembered for the next transaction; with more, all are read again when needed."""

_TYPES = {str: "TEXT", int: "INTEGER", bool: "INTEGER", float: "REAL", bytes: "BLOB"}


def create_table(table: Table, prefix: str = "") -> str:
    """The statement that makes the table, its name after `prefix`."""
    lines = [
        f"{column} {_TYPES[kind]}{' NOT NULL' if column in table.key else ''}"
        for column, (kind, _) in columns(table.row).items()
    ]
    return f"CREATE TABLE {prefix}{table.name} ({', '.join(lines)}, PRIMARY KEY ({', '.join(table.key)}))"


def create_indexes(table: Table) -> list[str]:
    """The statements that make its indexes."""
    return [
        f"CREATE INDEX {table.name}_by_{'_'.join(some)} ON {table.name} ({', '.join(some)})" for some in table.indexes
    ]


def select_all(table: Table, prefix: str = "") -> str:
    """All rows in the order of their keys."""
    return f"SELECT * FROM {prefix}{table.name} ORDER BY {', '.join(table.key)}"


class BufferedTable(Generic[R]):
    """`projections.rows.TableRows` over a table: it remembers what was asked for, and what is to be written."""

    def __init__(self, table: Table, prefix: str, ask: Ask) -> None:
        self._table, self._ask = table, ask
        self._kind = cast("type[R]", table.row)
        self._key = table.key
        self._key_of = _values_of(table.key)
        self._rows: dict[tuple[Any, ...], R | None] = {}
        """Known rows; None for one that is known not to be there."""
        self._changed: dict[tuple[Any, ...], R | None] = {}
        """Rows to be written; None for one to be removed."""
        name = prefix + table.name
        one = " AND ".join(f"{column} = ?" for column in table.key)
        self._select = f"SELECT * FROM {name} WHERE {one}"
        self._delete = f"DELETE FROM {name} WHERE {one}"
        self._insert = f"INSERT OR REPLACE INTO {name} VALUES ({', '.join('?' * len(table.row.__struct_fields__))})"
        self._name = name
        indexed = {column for some in table.indexes for column in some}
        rest = [one for one in table.row.__struct_fields__ if one not in table.key and one not in indexed]
        self._marks = _values_of([one for one in table.row.__struct_fields__ if one in indexed])
        self._rest = _values_of([*rest, *table.key])
        settings = ", ".join(f"{column} = ?" for column in rest)
        self._update = f"UPDATE {name} SET {settings} WHERE {one}" if rest else ""
        self._stored: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        """Rows that are known to be in the table, with what its indexes have of them: one of which that does not change
        is updated beside them, at a third of the cost.
        """

    # -------------------------------------------------------------- for views

    def change(self, *key: Any) -> R:
        """See `projections.rows.TableRows.change`."""
        row = self._changed.get(key)
        if row is None:
            row = self.get(*key)
            if row is None:
                row = self._rows[key] = self._kind(*key)
            self._changed[key] = row
        return row

    def get(self, *key: Any) -> R | None:
        """See `projections.rows.TableRows.get`."""
        if key in self._rows:
            return self._rows[key]
        found = self._ask(self._select, _bearable(key))
        row = self._kind(*found[0]) if found else None
        self._rows[key] = row
        if row is not None:
            self._stored[key] = self._marks(row)
        return row

    def put(self, row: R, /) -> None:
        """See `projections.rows.TableRows.put`."""
        key = self._key_of(row)
        self._rows[key] = self._changed[key] = row

    def remove(self, *key: Any) -> None:
        """See `projections.rows.TableRows.remove`."""
        self._rows[key] = self._changed[key] = None

    def all(self, *key: Any) -> Iterator[R]:
        """See `projections.rows.TableRows.all`."""
        where = " AND ".join(f"{column} = ?" for column in self._key[: len(key)]) or "1"
        order = ", ".join(self._key)
        found: dict[tuple[Any, ...], R | None] = {}
        for values in self._ask(f"SELECT * FROM {self._name} WHERE {where} ORDER BY {order}", _bearable(key)):
            row = self._kind(*values)
            found[self._key_of(row)] = row
        for other, changed in self._changed.items():
            if other[: len(key)] == key:
                found[other] = changed
        return iter([one for _, one in sorted(found.items()) if one is not None])

    # -------------------------------------------------------------- for the keeper

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what was changed, within the caller's transaction.

        Raises:
            Exception: as SQLite does, or because a value is none that it can keep.
        """
        if not self._changed:
            return
        gone: list[tuple[Any, ...]] = []
        new: list[Row] = []
        known: list[Row] = []
        stored, marks = (self._stored if self._update else {}), self._marks
        for key, row in self._changed.items():
            if row is None:
                gone.append(key)
            elif key in stored and stored[key] == marks(row):
                known.append(row)
            else:
                new.append(row)
        if known and _many(connection, self._update, [self._rest(row) for row in known]) != len(known):
            new += known  # somebody took some of them away
        if new:
            _many(connection, self._insert, [astuple(row) for row in new])
        if gone:
            _many(connection, self._delete, gone)

    def written(self) -> None:
        """What was changed is durable."""
        for key, row in self._changed.items():
            if row is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = self._marks(row)
        self._changed.clear()
        if len(self._rows) > MOST_KEPT:
            self._rows.clear()
            self._stored.clear()

    def forget(self) -> None:
        """Nothing of what was changed is true."""
        self._changed.clear()
        self._rows.clear()
        self._stored.clear()


class BufferedRows:
    """`projections.rows.Rows` of one view: all its tables."""

    def __init__(self, tables: Sequence[Table], prefix: str, ask: Ask) -> None:
        self._tables = {table.row: BufferedTable[Row](table, prefix, ask) for table in tables}

    def of(self, row: type[R], /) -> BufferedTable[R]:
        """See `projections.rows.Rows.of`.

        Raises:
            KeyError: the view has no table of this class.
        """
        found = self._tables.get(row)
        if found is None:
            raise KeyError(f"the view has no table of {row.__name__}")
        return cast("BufferedTable[R]", found)

    def write(self, connection: sqlite3.Connection) -> None:
        """See `BufferedTable.write`."""
        for table in self._tables.values():
            table.write(connection)

    def written(self) -> None:
        """See `BufferedTable.written`."""
        for table in self._tables.values():
            table.written()

    def forget(self) -> None:
        """See `BufferedTable.forget`."""
        for table in self._tables.values():
            table.forget()


def _values_of(columns: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    """A fast function from a row to the values of these columns."""
    if not columns:
        return lambda row: ()
    if len(columns) > 1:
        return attrgetter(*columns)
    one = attrgetter(columns[0])
    return lambda row: (one(row),)


def _many(connection: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> int:
    """Run a statement for each of `rows`; returns how many rows it changed. What no column can hold, in a hostile or
    damaged log, is cut.
    """
    try:
        return connection.executemany(sql, rows).rowcount
    except (OverflowError, UnicodeEncodeError):
        return connection.executemany(sql, [_bearable(row) for row in rows]).rowcount


def _bearable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([_bearable_one(value) for value in values])


def _bearable_one(value: Any) -> Any:
    if type(value) is int and not -MOST_WHOLE <= value <= MOST_WHOLE:
        return MOST_WHOLE if value > 0 else -MOST_WHOLE
    if type(value) is str:
        return value.encode("utf-8", "replace").decode()
    if type(value) is float and math.isnan(value):
        return None
    return value
