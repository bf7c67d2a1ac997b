"""What became of a commit that failed to report: all of it is stored or nothing, and followers must be told which."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from msgspec.structs import force_setattr

from ..events import Event
from ..events.codec import HASH_BYTES, run_id_bytes
from .layout import EVENTS_TABLE

log = logging.getLogger("executus.journal")

_AT = f"SELECT originator_id, originator_version, substr(state, 1, {HASH_BYTES}) FROM {EVENTS_TABLE} WHERE rowid = ?"


class Unsure(Exception):
    """COMMIT raised: the whole transaction is stored, or nothing of it. Its connection must be dropped.

    events: what it was to store, in order. before: the position before the first of them.
    """

    def __init__(self, cause: Exception, events: Sequence[Event], before: int) -> None:
        super().__init__(str(cause))
        self.cause, self.events, self.before = cause, events, before

    def was_stored(self, connection: sqlite3.Connection) -> bool:
        """Look, on another connection. If it is stored, it is durable when this returns, and its events carry their
        positions.

        Raises:
            sqlite3.Error: it cannot be seen now; look again later.
        """
        if not self.events:
            return False
        first = self.events[0]
        found = connection.execute(_AT, (self.before + 1,)).fetchone()
        if found is None or tuple(found) != (run_id_bytes(first.run_id), first.version, first.hash):
            return False  # nothing is there, or what somebody else stored meanwhile
        # The commit may have failed in its fsync, and then the log's pages count as written though they are not: what
        # it holds is written again, into the database.
        _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if copied < frames:
            log.warning("a commit that reported a failure is stored; a reader keeps it in the write-ahead log")
        for position, event in enumerate(self.events, self.before + 1):
            force_setattr(event, "position", position)
        return True
