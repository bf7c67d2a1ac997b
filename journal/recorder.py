"""eventsourcing's SQLite recorders, fitted to a journal's file: its tables, read-only connections, no writing here.

The library's pool is replaced, since it closes connections that are in use and counts its waits on the wall clock;
its recorders never write, since a write must go through the journal's one writer to be chained and acknowledged.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Notification, NotSupportedError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteAggregateRecorder,
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from ..errors import JournalUnavailable
from ..events.codec import run_id_bytes
from .layout import CREATE_EVENTS, CREATE_REST, EVENTS_TABLE

IDLE_CONNECTIONS = 4
"""Read connections kept for the next reader; more are opened when more threads read at once, and closed after."""


class Connection(SQLiteConnection):
    """A connection of the library with the plain one within reach. Only the library's cursors see rows with names."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        super().__init__(sqlite_conn=raw, max_age=None)
        self.raw = raw

    def cursor(self) -> SQLiteCursor:
        """A cursor as the library's recorders expect it."""
        cursor = self.raw.cursor()
        cursor.row_factory = sqlite3.Row
        return SQLiteCursor(cursor)


class ReadConnections(SQLiteConnectionPool):
    """Read-only connections, one a reading thread; nobody waits for one. `connect` opens another."""

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(db_name=path)
        self._path = path
        self._connect = connect
        self._idle: list[Connection] = []
        self._lent = 0
        self._ended = False
        self._lock = threading.Lock()
        self._when_empty: Callable[[], None] | None = None

    def _create_connection(self) -> Connection:
        return Connection(self._connect())

    def get_connection(self, timeout: float | None = None, *, is_writer: bool | None = None) -> Connection:
        """Lend a connection.

        Raises:
            JournalUnavailable: the journal is closed, or cannot be opened now.
            NotSupportedError: one for writing was asked for.
        """
        if is_writer:
            raise NotSupportedError("events are stored by the journal's append() alone")
        with self._lock:
            if self._ended:
                raise JournalUnavailable("the journal is closed")
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._create_connection()
        except sqlite3.Error as error:
            self._returned(None)
            raise JournalUnavailable(f"{self._path} cannot be read now: {error}") from error

    def put_connection(self, conn: SQLiteConnection) -> None:
        """Take a lent connection back."""
        assert isinstance(conn, Connection)
        self._returned(conn)

    def drop_connection(self, conn: Connection) -> None:
        """Close a lent connection that failed."""
        conn.raw.close()
        self._returned(None)

    def _returned(self, conn: Connection | None) -> None:
        with self._lock:
            if conn is not None:
                if self._ended or len(self._idle) >= IDLE_CONNECTIONS:
                    conn.raw.close()
                else:
                    self._idle.append(conn)
            self._lent -= 1
            then = self._when_empty if self._lent == 0 else None
        if then is not None:
            then()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement; no transaction is open afterwards.

        Raises:
            sqlite3.Error: as SQLite does.
        """
        lent = self.get_connection()
        try:
            rows = fetched(lent.raw, sql, parameters)
        except BaseException:
            self.drop_connection(lent)
            raise
        self._returned(lent)
        return rows

    def close(self, then: Callable[[], None] | None = None) -> None:
        """Lend no more and close what is not lent; `then` is called when the last connection is closed."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            idle, self._idle = self._idle, []
            self._when_empty = then
            empty = self._lent == 0
        for conn in idle:
            conn.raw.close()
        if empty and then is not None:
            then()

    def everything(self) -> list[object]:
        """What must not be destroyed in a forked child."""
        return list(self._idle)

    def __del__(self) -> None:
        """Nothing: the journal closes its connections, and a forked child must not."""


def fetched(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """All rows of one statement, also if somebody put into a text what is none: it is shown rather than stopped at.

    Raises:
        sqlite3.Error: as SQLite does, also where Python stumbles over a damaged name in SQLite's own sentence.
    """
    try:
        return connection.execute(sql, parameters).fetchall()
    except UnicodeDecodeError:
        raise damaged("the file is damaged: a name in it is no text") from None
    except sqlite3.OperationalError as error:
        if "decode to UTF-8" not in str(error):
            raise
    connection.text_factory = _readable
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.text_factory = str


def damaged(why: str) -> sqlite3.DatabaseError:
    """What SQLite raises for a file that is not as it should be."""
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "replace")


class ReadStore(SQLiteDatastore):
    """The library's datastore over `ReadConnections`."""

    def __init__(self, pool: ReadConnections) -> None:
        super().__init__(pool.db_name, originator_id_type="text")
        self.pool = pool
        self.connections = pool

    @contextmanager
    def get_connection(self, *, commit: bool) -> Generator[SQLiteConnection]:
        """Lend a connection for a `with` block."""
        conn = self.connections.get_connection(is_writer=commit)
        try:
            yield conn
        finally:
            self.connections.put_connection(conn)

    def __del__(self) -> None:
        """Nothing; see `ReadConnections`."""


class EventsRecorder(SQLiteApplicationRecorder):
    """The journal's events as the library sees them: `select_events`, `select_notifications`. Run ids are text here."""

    def construct_create_table_statements(self) -> list[str]:
        """Our events table (run ids of 16 bytes, positions never reused) and the tables beside it."""
        return [CREATE_EVENTS, *CREATE_REST]

    def convert_originator_id(self, originator_id: str) -> UUID | str:
        """The text of a stored run id."""
        return str(UUID(bytes=originator_id)) if isinstance(originator_id, bytes) else originator_id

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """As the library's, for a run id as text."""
        key: Any = run_id_bytes(str(originator_id))
        return super().select_events(key, gt=gt, lte=lte, desc=desc, limit=limit)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """As the library's; ids are positions."""
        return super().select_notifications(start, limit, stop, topics, inclusive_of_start=inclusive_of_start)


class SnapshotRecorder(SQLiteAggregateRecorder):
    """Snapshots as the library keeps them: originator the run, version the event, topic the shape, state the fold."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore, events_table_name="snapshots")


def create_statements() -> list[str]:
    """Everything that makes an empty file a journal, from the recorders that read it."""
    nowhere = ReadStore(ReadConnections("", lambda: sqlite3.connect(":memory:")))
    events, snapshots = EventsRecorder(nowhere, EVENTS_TABLE), SnapshotRecorder(nowhere)
    return [*events.construct_create_table_statements(), *snapshots.construct_create_table_statements()]
