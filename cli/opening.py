"""Opening a journal for a command, and finding runs in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..adapters.keys.sources import encryption_of, key_of_environment
from ..errors import JournalError
from ..events import RunInfo
from ..journal import OutsideReader, open_journal, read_journal
from ..ports import Encryption, Journal, RunSummary
from ..projections.overview import Overview, overview
from .program import Misuse, Unopened
from .words import one_line

MIN_DIGITS = 4
"""Digits of a run id that are enough, if they are unique."""


@contextmanager
def reading(db: Path) -> Generator[OutsideReader]:
    """The journal at `db`, for reading only; safe while a host writes."""
    if not db.exists():
        raise Unopened(f"there is no journal at {db}; make one with `executus demo`, or name another with --db")
    journal = read_journal(db, encryption=encryption_here())
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def owning(db: Path) -> Generator[Journal]:
    """The journal at `db`, for writing; made if there is none."""
    journal = open_journal(db, encryption=encryption_here())
    try:
        yield journal
    finally:
        journal.close()


def encryption_here() -> Encryption | None:
    """What opens sealed runs, if the environment has its key."""
    key = key_of_environment()
    return None if key is None else encryption_of(key)


def hosted(journal: OutsideReader) -> bool:
    """Whether a host has the journal open now, and is awake."""
    if journal.owner().boot.id:
        return journal.standing() == "live"
    return _locked(journal.path)  # by a host of before there were leases


def _locked(path: str) -> bool:
    try:
        lock = os.open(path + ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not os.pread(lock, 1, 0):  # a host that closed has emptied it; only after a crash the lock itself must tell
            return False
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def find_run(journal: Journal, digits: str) -> str:
    """The id of the one run whose id begins or ends with `digits`."""
    if journal.run(digits) is not None:
        return digits
    wanted = digits.lower().replace("-", "")
    ids = [row.run_id for row in journal.runs()]
    found = [one for one in ids if (plain := one.replace("-", "")).startswith(wanted) or plain.endswith(wanted)]
    if len(wanted) < MIN_DIGITS:
        raise Misuse(f"{one_line(digits)!r} is too short for a run id; give at least {MIN_DIGITS} digits")
    if not found:
        raise Misuse(f"no run has an id like {one_line(digits)!r}; list the runs with `executus ps`")
    if len(found) > 1:
        shown = ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
        raise Misuse(f"{len(found)} runs have an id like {one_line(digits)!r}: {shown}; give more digits")
    return found[0]


def row_of(journal: Journal, summary: RunSummary) -> tuple[Overview, str]:
    """A run's row, and why it cannot be read (then the row is empty but for its id), or ""."""
    try:
        return overview(journal.read(summary.run_id)), ""
    except JournalError as error:
        return Overview(info=RunInfo(run_id=summary.run_id, name=""), version=summary.version), str(error)
