"""Keeping the write-ahead log short. Only the write connection checkpoints (see `layout.has_wal_reset_bug`)."""

from __future__ import annotations

import logging
import sqlite3

log = logging.getLogger("executus.journal")

WAL_BYTES = 8 << 20
"""Content of the log at which it is copied into the database."""

WARN_BYTES = 64 << 20
"""Size of the log at which somebody should look for a reader that holds it."""


MANY_TRIFLES = 100
"""Rows that were rewritten since the last checkpoint: a megabyte of log."""


class WalKeeper:
    """Counts what goes into the log and copies it into the database in time.

    SQLite does not tell how full the log is, so pages are estimated from what was stored; each checkpoint tells the
    truth again. A checkpoint that fails changes nothing: the log still holds everything, and the next one tries again.
    left_bytes: size of the log's file at the opening. A host that was killed leaves it full, and one that is killed
    again and again would otherwise never come to empty it, while every opening has to read all of it. most_bytes: copy
    it earlier than at `WAL_BYTES`, as the disk is small.
    """

    def __init__(self, page_bytes: int, left_bytes: int = 0, most_bytes: int = WAL_BYTES) -> None:
        self._page_bytes = page_bytes
        self._bytes = left_bytes
        self._limit = self._next_at = min(WAL_BYTES, most_bytes)
        self._warned = False
        self._trifles = 0

    @property
    def dirty(self) -> bool:
        """Whether the log holds something that the database does not, and that is worth a checkpoint."""
        return self._bytes > 0 or self._trifles > MANY_TRIFLES

    def rewrote(self) -> None:
        """A row was written again that nobody needs after a crash: an idle host is not to wake the disk for it."""
        self._trifles += 1

    def wrote(self, content_bytes: int, runs: int, wal_bytes: int) -> None:
        """A transaction was committed; wal_bytes: size of the log's file now."""
        self._bytes += content_bytes + (runs + 6) * self._page_bytes
        if wal_bytes > WARN_BYTES and not self._warned:
            self._warned = True
            log.warning("the journal's write-ahead log has grown to %d MB: a reader holds it", wal_bytes >> 20)

    @property
    def due(self) -> bool:
        """Whether the log is full enough."""
        return self._bytes >= self._next_at

    def checkpoint(self, connection: sqlite3.Connection, *, empty: bool = False) -> None:
        """Copy what readers allow; with `empty` also cut the log's file to nothing, if nobody reads. Never waits."""
        try:
            if empty:
                connection.execute("PRAGMA busy_timeout = 0")
            mode = "TRUNCATE" if empty else "PASSIVE"
            busy, frames, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            log.warning("the journal's write-ahead log could not be checkpointed: %s", error)
            self._next_at = self._bytes + self._limit
            return
        finally:
            if empty:
                connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        left = max(frames - copied, 0)
        self._bytes = max(left, 1 if busy else 0) * self._page_bytes
        self._next_at = self._bytes + self._limit
        self._trifles = 0
        if not self._bytes:
            self._warned = False


BUSY_MS = 5000
"""How long the writer waits for another program that holds the write lock."""
