"""The file of a journal's keys, `PATH.keys`: a small SQLite database beside the journal, with a life of its own.

It is apart so that its backups can be few and short-lived: whoever has a copy of it, and the host's key, can read
what was erased since. Deleted keys are overwritten (`secure_delete`), and the write-ahead log is emptied after.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from ..errors import JournalUnavailable, JournalUnreadable, KeysMissing
from ..events.codec import run_id_bytes
from . import files
from .checkpoints import BUSY_MS

ENDING: Final = ".keys"

_APPLICATION_ID: Final = 0x6578636B
"""`PRAGMA application_id`: "exck"."""
_LAYOUT: Final = 1

_CREATE: Final = (
    "CREATE TABLE ring (id BLOB NOT NULL, source TEXT NOT NULL, master BLOB NOT NULL)",
    """
CREATE TABLE keys (
    run_id BLOB PRIMARY KEY,
    key_id BLOB NOT NULL,
    wrapped BLOB,
    destroyed_us INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID""",
    """
CREATE TABLE erasures (
    run_id BLOB PRIMARY KEY,
    "by" TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL
) WITHOUT ROWID""",
)
"""ring: one row; master is the key that wraps the runs' keys, itself wrapped by the host's key. keys: wrapped is NULL
once the key is destroyed. erasures: begun and not yet finished.
"""


class Ring(msgspec.Struct, frozen=True):
    """Which keys file it is. source: the name of the host's key that wrapped `master`."""

    id: bytes
    source: str
    master: bytes


class Row(msgspec.Struct, frozen=True):
    """A run's key. wrapped: None once it is destroyed."""

    key: bytes
    wrapped: bytes | None


class Unfinished(msgspec.Struct, frozen=True):
    """An erasure that was begun and not finished."""

    run_id: str
    by: str
    reason: str


class KeysFile:
    """The keys file of a journal that this process hosts; made by `create`. Thread-safe.

    Raises:
        KeysMissing: there is none.
        JournalUnreadable: it is something else, or damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path + ENDING
        self._lock = threading.Lock()
        self._guard = -1
        if not Path(self.path).is_file():
            raise KeysMissing(path, f"{self.path}, which holds the keys of its sealed runs, is missing")
        self._guard = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            files.hold_shared_range(self._guard, self.path)
            self._connection = _open(self.path)
            self.ring = read_ring(self.path, self._connection)
        except BaseException:
            os.close(self._guard)
            raise

    @property
    def guard(self) -> int:
        """A descriptor of the file that stays open: closing another one would drop SQLite's locks."""
        return self._guard

    # -------------------------------------------------------------- reading

    def row(self, run_id: str) -> Row | None:
        """The run's key.

        Raises:
            JournalUnavailable: the file cannot be read now.
        """
        found = self._ask("SELECT key_id, wrapped FROM keys WHERE run_id = ?", run_id_bytes(run_id))
        return Row(*found[0]) if found else None

    def count(self) -> tuple[int, int]:
        """How many keys there are, and how many were destroyed."""
        [(here, gone)] = self._ask(COUNT_KEYS)
        return here, gone

    def unfinished(self) -> list[Unfinished]:
        """Erasures that were begun and not finished."""
        rows = self._ask('SELECT run_id, "by", reason FROM erasures ORDER BY at_us, run_id')
        return [Unfinished(str(UUID(bytes=run)), by, reason) for run, by, reason in rows]

    def _ask(self, sql: str, *parameters: Any) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise JournalUnavailable(f"{self.path} cannot be read now: {error}") from error

    # -------------------------------------------------------------- writing

    def add(self, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Store (run id, key id, wrapped key) of new runs; durable on return. Those that are there already stay.

        Raises:
            JournalUnavailable: nothing was stored, or it is unknown.
        """
        given = [(run_id_bytes(run_id), key, wrapped) for run_id, key, wrapped in rows]
        self._transact([("INSERT OR IGNORE INTO keys (run_id, key_id, wrapped) VALUES (?, ?, ?)", given)])

    def replace_master(self, source: str, master: bytes, rewrapped: Iterable[tuple[bytes, bytes]]) -> None:
        """Put another wrapped master in place, with every key wrapped by it as (wrapped key, run id)."""
        self._transact(
            [
                ("UPDATE ring SET source = ?, master = ?", [(source, master)]),
                ("UPDATE keys SET wrapped = ? WHERE run_id = ?", list(rewrapped)),
            ]
        )
        self.ring = Ring(self.ring.id, source, master)
        self._rewrite()

    def every(self) -> list[tuple[bytes, bytes, bytes]]:
        """(run id, key id, wrapped key) of every key that is not destroyed."""
        return self._ask("SELECT run_id, key_id, wrapped FROM keys WHERE wrapped IS NOT NULL")

    def begin_erasure(self, run_ids: Iterable[str], by: str, reason: str, at_us: int) -> None:
        """Note what is about to be erased; durable on return."""
        rows = [(run_id_bytes(run_id), by, reason, at_us) for run_id in run_ids]
        self._transact([("INSERT OR IGNORE INTO erasures VALUES (?, ?, ?, ?)", rows)])

    def finish_erasure(self, run_ids: Iterable[str]) -> None:
        """It is done."""
        self._transact([("DELETE FROM erasures WHERE run_id = ?", [(run_id_bytes(one),) for one in run_ids])])

    def destroy(self, run_ids: Iterable[str], at_us: int) -> None:
        """Overwrite the keys of these runs; on return their bytes are neither in the file nor in its log.

        Raises:
            JournalUnavailable: it could not be done, or not to the end: repeat it.
        """
        run_ids = list(run_ids)
        wrapped = [row.wrapped for one in run_ids if (row := self.row(one)) is not None and row.wrapped is not None]
        rows = [(at_us, run_id_bytes(run_id)) for run_id in run_ids]
        sql = "UPDATE keys SET wrapped = NULL, destroyed_us = ? WHERE run_id = ? AND wrapped IS NOT NULL"
        self._transact([(sql, rows)])
        self._rewrite()
        if self.holds(wrapped):
            raise JournalUnavailable(f"{self.path}: keys that were destroyed are still in the file")

    def _rewrite(self) -> None:
        """Write the whole file anew, in place. Where SQLite has moved a row within a page, `secure_delete` may leave a
        part of its old copy: in 4 of 120 tries, 30 to 35 of the 60 bytes of one key of 600 destroyed ones were left.

        Raises:
            JournalUnavailable: it could not be done.
        """
        with self._lock:
            try:
                self._connection.execute("VACUUM")
            except sqlite3.Error as error:
                raise JournalUnavailable(f"{self.path} could not be written anew: {error}") from error
        self.empty_log()

    def holds(self, wrapped: Sequence[bytes]) -> bool:
        """Whether any part of these wrapped keys, of 16 bytes, stands in the file."""
        parts = [one[at : at + 16] for one in wrapped for at in range(0, max(1, len(one) - 15), 8)]
        with self._lock, mmap.mmap(self._guard, 0, prot=mmap.PROT_READ) as content:
            return any(content.find(part) >= 0 for part in parts)

    def empty_log(self) -> None:
        """Copy the write-ahead log into the file and cut it to nothing.

        Raises:
            JournalUnavailable: another program reads the file.
        """
        with self._lock:
            try:
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.Error as error:
                raise JournalUnavailable(f"{self.path}: its log could not be emptied: {error}") from error
        if busy:
            raise JournalUnavailable(f"{self.path}: its log could not be emptied, since another program reads it")

    def _transact(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        with self._lock:
            execute = self._connection.execute
            try:
                execute("BEGIN IMMEDIATE")
                for sql, rows in statements:
                    self._connection.executemany(sql, rows)
                execute("COMMIT")
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    execute("ROLLBACK")
                raise JournalUnavailable(f"{self.path} could not be written: {error}") from error

    # -------------------------------------------------------------- the end

    def close(self) -> None:
        """Let go of the file; its log is copied and removed."""
        with self._lock:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            if self._guard >= 0:
                os.close(self._guard)
                self._guard = -1

    def left_behind(self) -> list[object]:
        """In a forked child: the file is the parent's."""
        guard, self._guard = self._guard, -1
        if guard >= 0:
            os.close(guard)
        return [self._connection]


COUNT_KEYS: Final = "SELECT count(wrapped), count(*) - count(wrapped) FROM keys"


def create(path: str, ring: Ring) -> None:
    """Put an empty keys file beside the journal `path`, if there is none: built apart, then renamed.

    Raises:
        JournalUnreadable: it could not be built.
    """
    target, new = path + ENDING, path + ENDING + ".new"
    try:
        with suppress(FileNotFoundError):
            Path(new).unlink()
        files.create_private(new)
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_LAYOUT}")
            for statement in _CREATE:
                connection.execute(statement)
            connection.execute("INSERT INTO ring VALUES (?, ?, ?)", (ring.id, ring.source, ring.master))
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        Path(new).rename(target)
        files.sync_directory(str(Path(path).parent))
    except (OSError, sqlite3.Error) as error:
        raise JournalUnreadable(target, f"it cannot be made: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        Path(path).as_uri() + "?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
    )
    try:
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "secure_delete = ON",
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError("write-ahead logging is not on")
        return connection
    except sqlite3.Error as error:
        connection.close()
        raise JournalUnreadable(path, f"it cannot be used: {error}") from error


def read_ring(path: str, connection: sqlite3.Connection) -> Ring:
    """Which keys file an open connection is to; closes it if it is none.

    Raises:
        JournalUnreadable: it is something else, or damaged.
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID or layout != _LAYOUT:
            raise JournalUnreadable(path, "it is no keys file that this version knows")
        return Ring(*connection.execute("SELECT id, source, master FROM ring").fetchone())
    except (sqlite3.Error, TypeError) as error:
        connection.close()
        raise JournalUnreadable(path, f"it is damaged: {error}") from error
    except BaseException:
        connection.close()
        raise
