"""Opening a journal: as the host that writes it, or as a reader beside it."""

from __future__ import annotations

import os

from ..ports import Encryption
from .memory import MemoryJournal
from .outside import OutsideReader
from .sqlite import SqliteJournal


def open_journal(
    path: str | os.PathLike[str] | None,
    *,
    max_queued: int = 100_000,
    encryption: Encryption | None = None,
    keep_free_bytes: int | None = None,
) -> MemoryJournal | SqliteJournal:
    """Open the journal at `path` as its one host; None keeps it in memory, bounded, and gone with the process.

    encryption: with what runs are sealed on the disk; in memory nothing is.

    Raises:
        JournalInUse, JournalTooNew, JournalUnreadable, KeyRefused, DiskFull, JournalError: see `SqliteJournal`.
    """
    if path is None:
        return MemoryJournal()
    return SqliteJournal(path, max_queued=max_queued, encryption=encryption, keep_free_bytes=keep_free_bytes)


def read_journal(path: str | os.PathLike[str], *, encryption: Encryption | None = None) -> OutsideReader:
    """Open the journal at `path` for reading only: beside a live host, or when nobody has it open. Changes nothing.

    encryption: what opens sealed runs; without it they are shown without their content.

    Raises:
        JournalTooNew, JournalUnreadable, KeyRefused, JournalError: see `OutsideReader`.
    """
    return OutsideReader(path, encryption=encryption)
