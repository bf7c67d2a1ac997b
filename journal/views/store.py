"""Stored views in their file: how each stands, how it moves forward, how a new one takes the place of an old one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final

from ...events import GENESIS, Event
from ..batch import is_content
from .definition import Apply, Definition
from .file import ViewsFile
from .tables import BufferedRows, create_table

BUILDING_PREFIX: Final = "new_"
"""Before the names of the tables of a view that is built beside its old one."""

Scan = Callable[[int, int], Sequence[Event]]
"""Events after a position, at most so many; see `ports.Journal.scan`."""

_FIND = "SELECT shape, status, error, hash, relations FROM views WHERE name = ?"
_POSITION = "SELECT notification_id FROM tracking WHERE application_name = ?"
_MOVE = "UPDATE tracking SET notification_id = ? WHERE application_name = ? AND notification_id = ?"
_MARK = "UPDATE views SET hash = ? WHERE name = ? AND shape = ? AND status <> 'stopped'"


class Moved(Exception):
    """Somebody else moved the view, stopped it or built it anew: look again where it stands."""


class StoredView:
    """A view in the file, and its rows in memory. position, hash: of the newest event that is stored in it."""

    def __init__(self, file: ViewsFile, definition: Definition, row: StoredRow, *, building: bool) -> None:
        self.definition = definition
        self.building = building
        self.position, self.hash = row.position, row.hash
        self.status, self.error = row.status, row.error
        self.name = definition.name
        self.key = _key(definition.name, building)
        self.rows = BufferedRows(definition.tables, BUILDING_PREFIX if building else "", file.ask)
        self._apply: Apply | None = None

    def apply(self, events: Sequence[Event]) -> None:
        """Change the rows in memory by `events`, which come after `position`.

        Raises:
            Exception: whatever the view raises; then `forget`.
        """
        if self._apply is None:
            self._apply = self.definition.fold(self.rows)
        self._apply(events)

    def stored(self, last: Event) -> None:
        """What was applied is durable, up to `last`."""
        self.position, self.hash = last.position, last.hash
        self.rows.written()

    def forget(self) -> None:
        """What was applied and is not stored never happened."""
        self.rows.forget()
        self._apply = None


class StoredRow:
    """What the file says of a view."""

    __slots__ = ("error", "hash", "position", "relations", "shape", "status")

    def __init__(self, found: Sequence[Any], position: int) -> None:
        self.shape, self.status, self.error = str(found[0]), str(found[1]), str(found[2])
        self.hash = bytes(found[3])
        self.relations: list[str] = json.loads(found[4])
        self.position = position


class ViewStore:
    """The views of one file. The file is open. Not thread-safe."""

    def __init__(self, file: ViewsFile) -> None:
        self._file = file

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All of what is done within, or nothing."""
        connection = self._file.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    # -------------------------------------------------------------- how views stand

    def row(self, name: str, building: bool = False) -> StoredRow | None:
        """What the file says of a view, None if nothing."""
        key = _key(name, building)
        found, position = self._file.ask(_FIND, (key,)), self._file.ask(_POSITION, (key,))
        return StoredRow(found[0], int(position[0][0])) if found and position else None

    def names(self) -> list[str]:
        """The views in the file, without those that are only built."""
        return [row[0] for row in self._file.ask("SELECT name FROM views WHERE name NOT LIKE 'new %' ORDER BY name")]

    def find(self, definition: Definition, scan: Scan, *, building: bool = False) -> StoredView | None:
        """The view as it is stored, if it was made by this definition of events that are those of the journal."""
        row = self.row(definition.name, building)
        if row is None or row.shape != definition.shape or not self._is_whole(definition, building):
            return None
        if not is_sound(row.position, row.hash, scan):
            return None
        return StoredView(self._file, definition, row, building=building)

    def _is_whole(self, definition: Definition, building: bool) -> bool:
        there = {row[0] for row in self._file.ask("SELECT name FROM sqlite_master")}
        if building:
            return {BUILDING_PREFIX + table.name for table in definition.tables} <= there
        return set(definition.relations()) <= there

    def kept_or_begun(self, definition: Definition, scan: Scan) -> StoredView:
        """The stored view, or one that is being built, or one that begins to be built, beside an old one that stays.

        Rows of another journal, or of events that are no longer there, do not stay.
        """
        kept = self.find(definition, scan)
        if kept is not None:
            return kept
        begun = self.find(definition, scan, building=True)
        if begun is not None and begun.status != "stopped":
            return begun
        old = self.row(definition.name)
        worthless = old is not None and not is_sound(old.position, old.hash, scan)
        return self.begin(definition, drop_old=worthless)

    def begin(self, definition: Definition, *, drop_old: bool = False) -> StoredView:
        """Begin to build the view from nothing; what was built of it so far is dropped."""
        with self.transaction() as connection:
            self._forget(definition.name, building=True)
            if drop_old:
                self._forget(definition.name, building=False)
            for table in definition.tables:
                self._drop([BUILDING_PREFIX + table.name])
                connection.execute(create_table(table, BUILDING_PREFIX))
            names = [BUILDING_PREFIX + table.name for table in definition.tables]
            key = _key(definition.name, True)
            values = (key, definition.shape, "building", "", GENESIS, json.dumps(names))
            connection.execute("INSERT INTO views VALUES (?, ?, ?, ?, ?, ?)", values)
            connection.execute("INSERT INTO tracking VALUES (?, 0)", (key,))
        row = self.row(definition.name, True)
        if row is None:
            raise Moved
        return StoredView(self._file, definition, row, building=True)

    def drop_building(self, definition: Definition) -> None:
        """Give up building: the old view stays as it is."""
        with self.transaction():
            self._forget(definition.name, building=True)

    # -------------------------------------------------------------- moving forward

    def commit(self, views: Iterable[StoredView], last: Event) -> list[tuple[StoredView, Exception]]:
        """Store what was applied to `views`, rows and positions in one transaction. Returns the views whose rows cannot
        be stored, with the reason; they stand where they stood.

        Raises:
            Moved: one of them is not where we thought; nothing was stored.
            sqlite3.Error: nothing was stored, or it is unknown; drop the connection.
        """
        views = list(views)
        failed: list[tuple[StoredView, Exception]] = []
        with self.transaction() as connection:
            for view in views:
                connection.execute("SAVEPOINT one")
                try:
                    self._move(connection, view, last)
                    view.rows.write(connection)
                except Exception as error:
                    if isinstance(error, Moved) or not is_content(error):
                        raise
                    connection.execute("ROLLBACK TO one")
                    failed.append((view, error))
                connection.execute("RELEASE one")
        hurt = {id(view) for view, _ in failed}
        for view in views:
            if id(view) in hurt:
                view.forget()
            else:
                view.stored(last)
        return failed

    def _move(self, connection: sqlite3.Connection, view: StoredView, last: Event) -> None:
        """Move the position; a method so that a test can plant a mistake here."""
        moved = connection.execute(_MOVE, (last.position, view.key, view.position)).rowcount
        marked = connection.execute(_MARK, (last.hash, view.key, view.definition.shape)).rowcount
        if (moved, marked) != (1, 1):
            raise Moved

    def stop(self, view: StoredView, error: str) -> None:
        """The view moves no more; its rows stay as they are at its position."""
        view.forget()
        view.status, view.error = "stopped", error
        with self.transaction() as connection:
            connection.execute("UPDATE views SET status = 'stopped', error = ? WHERE name = ?", (error, view.key))

    def swap(self, view: StoredView) -> StoredView:
        """The view that was built takes the place of its old one, in one transaction.

        Raises:
            Moved: it is no longer the one that was built.
        """
        assert view.building, view.key
        definition = view.definition
        with self.transaction() as connection:
            found = self.row(definition.name, building=True)
            if found is None or found.shape != definition.shape or found.position != view.position:
                raise Moved
            self._forget(definition.name, building=False)
            self._drop(definition.relations())
            for table in definition.tables:
                connection.execute(f"ALTER TABLE {BUILDING_PREFIX}{table.name} RENAME TO {table.name}")
            for statement in definition.after_building():
                connection.execute(statement)
            values = (definition.name, json.dumps(definition.relations()), view.key)
            connection.execute("UPDATE views SET name = ?, status = 'kept', relations = ? WHERE name = ?", values)
            connection.execute(
                "UPDATE tracking SET application_name = ? WHERE application_name = ?", (definition.name, view.key)
            )
        row = self.row(definition.name)
        if row is None:
            raise Moved
        return StoredView(self._file, definition, row, building=False)

    def _forget(self, name: str, *, building: bool) -> None:
        row, key = self.row(name, building), _key(name, building)
        if row is not None:
            self._drop(row.relations)
        self._file.connection.execute("DELETE FROM views WHERE name = ?", (key,))
        self._file.connection.execute("DELETE FROM tracking WHERE application_name = ?", (key,))

    def _drop(self, names: Iterable[str]) -> None:
        kinds = {row[0]: row[1] for row in self._file.ask("SELECT name, type FROM sqlite_master")}
        wanted = [name for name in names if kinds.get(name) in ("table", "view")]
        for name in sorted(wanted, key=lambda one: kinds[one], reverse=True):  # sums before what they add up
            self._file.connection.execute(f'DROP {kinds[name].upper()} "{name}"')


def is_sound(position: int, digest: bytes, scan: Scan) -> bool:
    """Whether the event at `position` of the journal is the one with this hash, so that all before it are the same."""
    if position == 0:
        return True
    found = scan(position - 1, 1)
    return bool(found) and found[0].position == position and found[0].hash == digest


def _key(name: str, building: bool) -> str:
    return f"new {name}" if building else name
