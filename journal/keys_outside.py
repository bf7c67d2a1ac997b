"""The keys file of a journal, read from outside: beside a live host or when nobody has it open. Changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from ..errors import JournalUnavailable, JournalUnreadable
from ..events.codec import run_id_bytes
from . import files
from .checkpoints import BUSY_MS
from .keys_file import COUNT_KEYS, ENDING, Row, read_ring


class KeysReader:
    """The keys file of a journal that is read from outside: looked up anew each time, never changed."""

    def __init__(self, path: str) -> None:
        self.path = path + ENDING
        self.ring = read_ring(self.path, connection := self._connect())
        connection.close()

    def row(self, run_id: str) -> Row | None:
        """See `KeysFile.row`."""
        found = self._ask("SELECT key_id, wrapped FROM keys WHERE run_id = ?", run_id_bytes(run_id))
        return Row(*found[0]) if found else None

    def count(self) -> tuple[int, int]:
        """See `KeysFile.count`."""
        [(here, gone)] = self._ask(COUNT_KEYS)
        return here, gone

    def copy(self, to: str) -> None:
        """Copy it, as it stands, into the empty file `to`.

        Raises:
            JournalUnavailable: it cannot be read, or that file not written.
        """
        source, target = self._connect(), sqlite3.connect(to, isolation_level=None)
        try:
            source.backup(target)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"{self.path} cannot be copied now: {error}") from error
        finally:
            target.close()
            source.close()

    def _ask(self, sql: str, *parameters: Any) -> list[Any]:
        connection = self._connect()
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise JournalUnavailable(f"{self.path} cannot be read now: {error}") from error
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        shared = Path(self.path + "-wal").exists() and Path(self.path + "-shm").exists()
        try:
            connection = sqlite3.connect(
                f"{Path(self.path).as_uri()}?mode=ro{'' if shared else '&immutable=1'}",
                uri=True,
                isolation_level=None,
                timeout=BUSY_MS / 1000,
            )
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise JournalUnavailable(f"{self.path} cannot be read now: {error}") from error
        return connection

    def close(self) -> None:
        """Nothing is held."""

    def left_behind(self) -> list[object]:
        """Nothing is held."""
        return []


def back_up(path: str, to: str) -> None:
    """Copy the keys file of the journal `path` to the file `to`, for its owner alone; a host may be writing.

    Raises:
        JournalUnreadable: there is no keys file, or `to` is there already or cannot be written; nothing is left.
        JournalUnavailable: it cannot be read now.
    """
    reader = KeysReader(path)
    try:
        files.create_private(to)
    except OSError as error:
        raise JournalUnreadable(to, f"it cannot be made: {error.strerror}") from error
    try:
        reader.copy(to)
        files.sync_directory(str(Path(to).parent))
    except BaseException:
        Path(to).unlink()
        raise
