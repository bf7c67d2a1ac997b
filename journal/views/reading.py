"""Reading stored views from any process, while a host moves them on: no lock that it would notice, no change."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...errors import JournalError, JournalUnavailable
from ...ports.views import ViewStanding
from ..checkpoints import BUSY_MS
from .definition import Definition
from .file import APPLICATION_ID, ViewsFile

_STANDING = (
    "SELECT v.name, t.notification_id, v.status, v.error, v.shape FROM views v"
    " JOIN tracking t ON t.application_name = v.name ORDER BY v.name"
)


class ViewsReader:
    """Reads the file of stored views at `path`, or the open file `of`.

    Raises:
        JournalUnavailable: it is not there, damaged, or cannot be read now.
    """

    def __init__(self, path: str, of: ViewsFile | None = None) -> None:
        self._of = of
        self.path = path
        try:
            self._connection = of.connection if of is not None else _connect(path)
            if of is None and self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise JournalUnavailable(f"{path} is no file of stored views")
        except sqlite3.Error as error:
            raise _unreadable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go."""
        if self._of is None:
            self._connection.close()
        else:
            self._of.close()

    @contextmanager
    def still(self) -> Generator[None]:
        """What is read within is as of one moment."""
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("SELECT count(*) FROM views").fetchone()
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def standing(self) -> dict[str, tuple[ViewStanding, str]]:
        """The views in the file, each with its shape; `behind` is not known here. Building ones are "new NAME"."""
        return {row[0]: (ViewStanding(row[0], row[1], 0, row[2], row[3]), row[4]) for row in self.each(_STANDING)}

    def standing_of(self, definition: Definition) -> tuple[int, bytes] | None:
        """The position of the view and the hash of the event there, if it is stored in this shape."""
        sql = (
            "SELECT t.notification_id, v.hash FROM views v JOIN tracking t ON t.application_name = v.name"
            " WHERE v.name = ? AND v.shape = ?"
        )
        for position, digest in self.each(sql, (definition.name, definition.shape)):
            return int(position), bytes(digest)
        return None

    def position_of(self, definition: Definition) -> int:
        """Where the view stands.

        Raises:
            JournalError: it is not there in this shape.
        """
        found = self.standing().get(definition.name)
        if found is None:
            raise JournalError(f"the view {definition.name!r} is not stored; `executus rebuild` builds it")
        if found[1] != definition.shape:
            raise JournalError(
                f"the stored view {definition.name!r} was made by another version; `executus rebuild` builds it anew"
            )
        return found[0].position

    def each(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement, as they are read.

        Raises:
            JournalUnavailable: it cannot be read now, or is damaged.
        """
        try:
            yield from self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise _unreadable(self.path, error) from error

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """All rows of one statement by the names of their columns.

        Raises:
            JournalUnavailable: it cannot be read now, or is damaged.
        """
        try:
            cursor = self._connection.execute(sql, parameters)
            names = [one[0] for one in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except sqlite3.Error as error:
            raise _unreadable(self.path, error) from error


def _connect(path: str) -> sqlite3.Connection:
    """Read-only; as immutable where nothing may be written beside the file and nobody writes it."""
    for how in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?{how}", uri=True, isolation_level=None, timeout=BUSY_MS / 1000
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
            if how != "mode=ro" or Path(path + "-wal").exists() or not Path(path).exists():
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("one of the two returned or raised")


def _unreadable(path: str, error: sqlite3.Error) -> JournalUnavailable:
    return JournalUnavailable(f"the stored views at {path} cannot be read: {error}; `executus rebuild` makes them anew")
