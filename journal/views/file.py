"""The file of stored views beside a journal: made, opened, guarded, and replaced when it is worth nothing.

It can be made again from the journal, so its commits do not wait for the disk (`synchronous = NORMAL`): after a power
cut it is as old as its newest checkpoint, rows and positions together, and the views catch up from there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder

from ...errors import JournalError, JournalUnreadable
from .. import files
from ..checkpoints import BUSY_MS, WAL_BYTES

log = logging.getLogger("executus.views")

APPLICATION_ID: Final = 0x65787677
"""`PRAGMA application_id` of a file of views: "exvw"."""
LAYOUT: Final = 1
"""`PRAGMA user_version`. A file with another one is made anew: everything in it is derived."""

CREATE_VIEWS: Final = """
CREATE TABLE views (
    name TEXT PRIMARY KEY,
    shape TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    hash BLOB NOT NULL,
    relations TEXT NOT NULL
) WITHOUT ROWID"""
"""One row a view. status: "kept", "building" or "stopped". hash: of the event at its position, which stands in the
library's `tracking`. relations: its tables and sums, as JSON. A view that is built beside its old one is "new NAME"."""


def views_path(journal_path: str) -> str:
    """Where the stored views of a journal are."""
    return journal_path + ".views"


class ForeignViews(JournalError):
    """There is a database of another program at the path of the stored views; it is left alone, and none are kept."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is a database of another program: no views are stored; move it away")


class Replaced(Exception):
    """The file was deleted or replaced while it was open: what is in it now is to be looked at again."""


class ViewsFile:
    """The one connection of a process that writes stored views. Not thread-safe.

    `open` makes the file if there is none, or if what is there is damaged. guarded: for a host, which keeps it open:
    SQLite's locks on it are guarded as those on the journal are. If its name means another file all the same, `check`
    says so. making: shared by all that a process has at this path: one must not clear away the log of another.
    """

    def __init__(self, path: str, *, guarded: bool = False, making: threading.Lock | None = None) -> None:
        self.path = path
        self._making = making or threading.Lock()
        self._guarded = guarded
        self._connection: sqlite3.Connection | None = None
        self._guard = -1
        self._watched: tuple[int, int] | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection."""
        assert self._connection is not None, "it was opened"
        return self._connection

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement."""
        return self.connection.execute(sql, parameters).fetchall()

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement, as they are read."""
        yield from self.connection.execute(sql)

    def open(self) -> None:
        """Open it; harmless when it is open.

        Raises:
            ForeignViews: another program's file is there; it was not touched.
            sqlite3.Error, OSError: it cannot be opened or made now.
        """
        if self._connection is not None:
            return
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                log.warning("%s is damaged (%s); the stored views are made anew", self.path, error)
                self.throw_away()
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._making:
            if not Path(self.path).exists():
                _make(self.path)
        connection = self._connect()
        if self._guarded and self._guard < 0:
            self._guard = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            with suppress(JournalUnreadable):  # somebody copies it: then without
                files.hold_shared_range(self._guard, self.path)
        connection.execute("SELECT count(*) FROM views").fetchone()
        connection.execute("PRAGMA wal_autocheckpoint = 1000")
        self._watched = self._look()

    def _connect(self) -> sqlite3.Connection:
        self._connection = connection = sqlite3.connect(
            Path(self.path).as_uri() + "?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
        )
        execute = connection.execute
        execute("PRAGMA trusted_schema = OFF")
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA cache_size = -16384")
        execute("PRAGMA legacy_alter_table = ON")  # a renamed table is nobody else's business
        empty, application, layout = execute(
            "SELECT NOT EXISTS (SELECT * FROM sqlite_master), application_id, user_version"
            " FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if application != APPLICATION_ID and not (application == 0 and empty):
            raise ForeignViews(self.path)
        if layout != LAYOUT:
            raise _damaged("it is empty" if empty else f"it has layout {layout}")
        if execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        return connection

    def throw_away(self) -> None:
        """Delete it with all that belongs to it: everything in it is in the journal."""
        self.close()
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(self.path + ending).unlink()

    def _look(self) -> tuple[int, int] | None:
        """Which files the names mean now."""
        try:
            return os.stat(self.path).st_ino, os.stat(self.path + "-wal").st_ino  # noqa: PTH116 - on a hot path
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Make sure that what is written goes where others read.

        Raises:
            Replaced: it would not; the connection is closed.
        """
        if self._connection is not None and self._look() != self._watched:
            self.close()
            raise Replaced(self.path)

    def drop_connection(self) -> None:
        """Throw the connection away after a failure: what it thinks of its transaction is worth nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.rollback()
            with suppress(Exception):
                connection.close()

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file, if nobody is in the way."""
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA busy_timeout = 0")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                log.info("%s: its log stays as it is: %s", self.path, error)
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def close(self) -> None:
        """Let go. The guard comes last: closing it drops the locks that SQLite has in this process."""
        self.drop_connection()
        guard, self._guard = self._guard, -1
        if guard >= 0:
            os.close(guard)

    def left_behind(self) -> list[object]:
        """In a forked child: the connection is the parent's, and so is the guard."""
        guard, self._guard = self._guard, -1
        if guard >= 0:
            os.close(guard)
        return [self._connection]


def _make(path: str) -> None:
    """Make an empty file of views under another name and give it its own when it is whole: others may open it at that
    moment, and must not find half of it.
    """
    for ending in ("-wal", "-shm"):  # of a file that somebody deleted: they would be taken for parts of the new one
        with suppress(FileNotFoundError):
            Path(path + ending).unlink()
    made = f"{path}.{uuid4().hex}"
    files.create_private(made)
    try:
        connection = sqlite3.connect(Path(made).as_uri() + "?mode=rw", uri=True, isolation_level=None)
        try:
            for statement in (
                f"PRAGMA application_id = {APPLICATION_ID}",
                f"PRAGMA user_version = {LAYOUT}",
                CREATE_VIEWS,
                CREATE_TRACKING,
                "PRAGMA journal_mode = WAL",
            ):
                connection.execute(statement).fetchall()
        finally:
            connection.close()
        try:
            os.link(made, path)
        except FileExistsError:
            pass  # another process made it in the meantime
        except OSError:  # a file system without links
            Path(made).replace(path)
    finally:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(made + ending).unlink()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no database, or one that is broken or lacks what every file of views has."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error)


def _damaged(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _create_tracking() -> str:
    """The library's table of positions, one row a view, as its recorders read it."""
    store = SQLiteDatastore(":memory:", single_row_tracking=True)
    try:
        return SQLiteTrackingRecorder(store).construct_create_table_statements()[-1]
    finally:
        store.close()


CREATE_TRACKING: Final = _create_tracking()
