"""Opening a journal: as the host that writes it, or as a reader beside it."""

from __future__ import annotations

import os

from .memory import MemoryJournal
from .outside import OutsideReader
from .sqlite import SqliteJournal


def open_journal(path: str | os.PathLike[str] | None, *, max_queued: int = 100_000) -> MemoryJournal | SqliteJournal:
    """Open the journal at `path` as its one host; None keeps it in memory, bounded, and gone with the process.

    Raises:
        JournalInUse, JournalTooNew, JournalUnreadable, JournalError: see `SqliteJournal`.
    """
    if path is None:
        return MemoryJournal()
    return SqliteJournal(path, max_queued=max_queued)


def read_journal(path: str | os.PathLike[str]) -> OutsideReader:
    """Open the journal at `path` for reading only: beside a live host, or when nobody has it open. Changes nothing.

    Raises:
        JournalTooNew, JournalUnreadable, JournalError: see `OutsideReader`.
    """
    return OutsideReader(path)
