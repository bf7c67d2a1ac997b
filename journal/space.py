"""How much room the disk of a journal has: what is little enough to begin nothing new, and that a write found none.

What is under way must still be stored when nothing new is begun any more, so both marks are well above nothing.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from typing import Final

log = logging.getLogger("executus.journal")

MOST_KEPT_BYTES: Final = 64 << 20
KEPT_PART: Final = 0.05
"""By default new runs need so much, or this part of the disk if that is less."""

PAUSE_PART: Final = 0.25
"""Below this part of that, runs pause."""

WAL_PART: Final = 16
"""The write-ahead log is copied into the database before it takes more than one part in so many of the disk."""

LOOK_S: Final = 1.0
"""The disk is looked at this often at most."""

PROBE_S: Final = 0.5
"""When there is no room it is looked for this often."""


class Space:
    """The room on the disk of `path`. The journal's thread looks at it; anybody may ask.

    keep_bytes: what must be free for a new run; None for the default, 0 to go by writes that fail alone.
    """

    def __init__(self, path: str, keep_bytes: int | None = None) -> None:
        self.path = path
        self._directory = os.path.dirname(path) or "."  # noqa: PTH120 - a string stays one
        self._keep_bytes = keep_bytes
        self._looked = float("-inf")
        self._start_at = self._pause_at = 0
        self._free = self._total = 0
        self._full = False
        self._said = ""
        self.look()

    def look(self, *, again: bool = False) -> None:
        """See how much is free, if nobody did lately; with `again` in any case."""
        now = time.monotonic()
        if not again and now - self._looked < (PROBE_S if self._said else LOOK_S):
            return
        self._looked = now
        try:
            found = os.statvfs(self._directory)
        except OSError:  # it is gone: the journal will say so
            return
        self._free, self._total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        kept = self._keep_bytes
        self._start_at = min(MOST_KEPT_BYTES, round(self._total * KEPT_PART)) if kept is None else kept
        self._pause_at = round(self._start_at * PAUSE_PART)
        self._say()

    def wrote(self) -> None:
        """A write went well."""
        if self._full:
            self._full = False
            self._say()

    def failed(self, error: BaseException) -> bool:
        """A write failed; whether that was for want of room."""
        if not is_full(error):
            return False
        self._full = True
        self._say()
        return True

    @property
    def wal_bytes(self) -> int:
        """How long the write-ahead log may become on this disk: it is room that nobody else has."""
        return self._total // WAL_PART if self._total else sys.maxsize

    @property
    def full(self) -> bool:
        """Whether the last write found no room."""
        return self._full

    @property
    def tight(self) -> bool:
        """Whether there is too little room for new runs, or none."""
        return self._full or self._free < self._start_at

    @property
    def pauses(self) -> str:
        """Why nothing new is to be begun for any run; "" if there is room."""
        if self._full:
            return f"the disk is full: {_mb(self._free)} MB left in {self._directory}"
        return self._why(self._pause_at) if self._free < self._pause_at else ""

    @property
    def refuses(self) -> str:
        """Why no run is to be started; "" if there is room."""
        if self._full:
            return self.pauses
        return self._why(self._start_at) if self._free < self._start_at else ""

    def _why(self, mark: int) -> str:
        return f"the disk is nearly full: {_mb(self._free)} MB left in {self._directory}, under {_mb(mark)} MB"

    def _say(self) -> None:
        """In the log of the host, when it changes."""
        stands = "pauses" if self.pauses else "refuses" if self.refuses else ""
        if stands == self._said:
            return
        self._said = stands
        if stands:
            what = "runs pause until there is room" if stands == "pauses" else "no new run is started"
            log.error("%s; %s", self.pauses or self.refuses, what)
        else:
            log.warning("there is room on the disk again: %s MB left in %s", _mb(self._free), self._directory)


def is_full(error: BaseException) -> bool:
    """Whether SQLite raised that for want of room."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _mb(size: int) -> str:
    return f"{size / (1 << 20):.3g}"
