"""Runs whose events were moved out of a journal: read from the archive beside it, as if they had stayed.

The archive of `runs.db` is `runs.db.archive`, itself a journal of the same layout. What a reader misses in the journal,
and the table `archived` says was moved, is looked for there; nobody looks there for anything else. Writing it is the
business of `compacting`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import ArchiveMissing, JournalError

log = logging.getLogger("executus.journal")

ENDING = ".archive"


class Moved:
    """What the table `archived` says of a run: its events up to `version`, which has `hash`, are in the archive."""

    __slots__ = ("hash", "version")

    def __init__(self, version: int, digest: bytes) -> None:
        self.version, self.hash = version, digest


class ArchiveReader(Protocol):
    """A reader of the archive's file."""

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement."""
        ...

    def close(self, timeout: float = 10.0) -> bool:
        """Let go."""
        ...


class Archive:
    """The archive of the journal at `path`, opened when it is first needed. Thread-safe."""

    def __init__(self, path: str, opening: Callable[[str], ArchiveReader]) -> None:
        self.path = path + ENDING
        self._opening = opening
        self._lock = threading.Lock()
        self._reader: ArchiveReader | None = None
        self._closed = False
        self._complained = False

    @classmethod
    def of(cls, path: str, opening: Callable[[str], ArchiveReader]) -> Archive | None:
        """The archive of the journal at `path`; an archive has none."""
        return None if path.endswith(ENDING) else cls(path, opening)

    @property
    def exists(self) -> bool:
        """Whether there is a file of its name."""
        return Path(self.path).exists()

    def ask(self, run_id: str, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement, for `run_id`, or for all runs ("").

        Raises:
            ArchiveMissing: it is not there, or cannot be read.
        """
        try:
            return self._opened().ask(sql, parameters)
        except (JournalError, OSError, sqlite3.Error) as error:
            raise ArchiveMissing(run_id, self.path, getattr(error, "why", "") or str(error)) from error

    def _opened(self) -> ArchiveReader:
        with self._lock:
            if self._closed:
                raise JournalError("the journal is closed")
            if self._reader is None:
                self._reader = self._opening(self.path)
            return self._reader

    def complain(self, error: ArchiveMissing) -> None:
        """Say once that what was moved is left out."""
        if not self._complained:
            self._complained = True
            log.error("events that were moved to %s are left out: %s", self.path, error.why)

    def close(self) -> None:
        """Let go of the file. May be repeated."""
        with self._lock:
            self._closed = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
