"""Every event of a journal in order of position: as little of each as says that it is there, and the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..events.codec import HASH_BYTES
from .layout import EVENTS_TABLE
from .reading import LogReader

PAGE: Final = 5000

_PAGE: Final = (
    f"SELECT rowid, originator_id, originator_version, substr(state, 1, {HASH_BYTES}) FROM {EVENTS_TABLE}"
    " WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
)


class Placed(NamedTuple):
    """What stands at a position: run, version and hash, as they are stored. twice: also what the archive has there."""

    position: int
    run: Any
    version: Any
    hash: Any
    twice: tuple[Any, Any, Any] | None = None


def placed(journal: LogReader, after: int, upto: int, *, archived: bool, twice: bool = False) -> Iterator[Placed]:
    """The events at positions after `after`, up to `upto`; with `archived` those of the archive among them. twice: look
    there also where nothing is missing.

    Raises:
        ArchiveMissing: the archive cannot be read. JournalUnavailable, sqlite3.Error: nor can the journal.
    """
    while after < upto:
        rows = journal.ask(_PAGE, (after, upto, PAGE))
        end = rows[-1][0] if len(rows) == PAGE else upto
        if not archived or (not twice and rows and rows[-1][0] == end == after + len(rows)):
            yield from (Placed(*row) for row in rows)
        else:
            yield from _merged(journal, rows, after, end)
        after = end


def _merged(journal: LogReader, rows: list[Any], after: int, end: int) -> Iterator[Placed]:
    here = {row[0]: row for row in rows}
    archive = journal.archive
    assert archive is not None
    while after < end:
        moved = archive.ask("", _PAGE, (after, end, PAGE))
        upto = moved[-1][0] if len(moved) == PAGE else end
        there = {row[0]: row for row in moved}
        for position in sorted({*there, *(one for one in here if after < one <= upto)}):
            row = here.get(position)
            other = there.get(position)
            if row is None:
                yield Placed(*there[position])
            else:
                yield Placed(row[0], row[1], row[2], row[3], None if other is None else (other[1], other[2], other[3]))
        after = upto
