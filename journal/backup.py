"""Copying a journal while a host writes it: one moment of it, with its archive and its anchors."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ..errors import JournalError, JournalUnavailable
from . import archive, files, heads
from .outside import OutsideReader

PAGES: Final = 2_000
"""Database pages copied between two calls of `tick`; the read transaction stays open from the first to the last."""


class BackedUp(msgspec.Struct, frozen=True):
    """What was copied. position: of the newest event in the copy. files: what was made, the journal first."""

    position: int
    files: tuple[Path, ...]


def back_up(
    journal: OutsideReader, to: str | os.PathLike[str], *, tick: Callable[[int, int], None] = lambda done, all_: None
) -> BackedUp:
    """Copy the journal behind `journal` to the file `to`, and what belongs to it beside that; a host may be writing.

    The copy is the journal as it stood at one moment, opens like any other, and keeps every position. Anchors are
    copied first and the archive last: so no anchor is about what is not in the copy, and no event is in neither file.
    tick: told pages copied and pages in all.

    Raises:
        JournalError: there is a file of that name already, or it cannot be read or written; nothing is left there.
    """
    target = files.resolve(to)
    made = [target, target + archive.ENDING, target + heads.ENDING]
    for one in made:
        if Path(one).exists():
            raise JournalError(f"{one} exists; a backup is never put over another file")
    done: list[Path] = []
    try:
        files.make_directory(target)
        signed = Path(journal.path + heads.ENDING)
        if signed.exists():
            done.append(_copied(signed, made[2]))
        done.insert(0, _backed_up(journal, made[0], tick))
        moved = journal.archive
        if moved is not None and moved.exists:
            there = OutsideReader(moved.path)
            try:
                done.append(_backed_up(there, made[1], tick))
            finally:
                there.close()
        files.sync_directory(str(Path(target).parent))
        copy = OutsideReader(target)
        try:
            return BackedUp(copy.head(), tuple(done))
        finally:
            copy.close()
    except (OSError, sqlite3.Error) as error:
        _remove(done)
        raise JournalUnavailable(f"{target}: the backup could not be made: {error}") from error
    except BaseException:
        _remove(done)
        raise


def _backed_up(journal: OutsideReader, to: str, tick: Callable[[int, int], None]) -> Path:
    new = to + ".new"
    with suppress(FileNotFoundError):
        Path(new).unlink()
    files.create_private(new)
    try:
        copy = sqlite3.connect(new, isolation_level=None)
        try:
            journal.copy_to(copy, tick, PAGES)
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in the one file; the next host puts it back
        finally:
            copy.close()
        _sync(new)
        Path(new).rename(to)
    except BaseException:
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(new + ending).unlink(missing_ok=True)
        raise
    return Path(to)


def _copied(path: Path, to: str) -> Path:
    files.create_private(to)
    with path.open("rb") as source, Path(to).open("wb") as target:
        shutil.copyfileobj(source, target)
    _sync(to)
    return Path(to)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(made: list[Path]) -> None:
    for one in made:
        one.unlink(missing_ok=True)
