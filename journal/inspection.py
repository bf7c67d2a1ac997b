"""Checking a whole journal: its file, every run, what lies between them, and the archive that belongs to it.

It only reads, trusts nothing that it reads, and goes on past whatever it finds: each part that cannot be read is one
finding, and the other parts are checked all the same. One run is in memory at a time, and of it one page.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from heapq import merge
from typing import Any, Final
from uuid import UUID

from ..errors import ArchiveMissing, JournalError
from ..events.codec import run_id_bytes
from ..ports import RunSummary
from ..projections import Checkpoint
from .attesting import HeadsCheck
from .compared import view_findings
from .findings import Finding
from .layout import EVENTS_TABLE
from .placed import placed
from .reading import PAGE, LogReader
from .snapshots import read_all
from .soundness import file_findings
from .verify import Row, RunCheck

RUNS_PAGE: Final = 500
UNREADABLE: Final = (JournalError, sqlite3.Error, OSError, MemoryError)
"""What reading a damaged file may raise."""

_COLUMNS: Final = "run_id, version, first_position, position, over, hash, request_key"
_RUNS: Final = f"SELECT {_COLUMNS} FROM runs WHERE position > ? ORDER BY run_id LIMIT {RUNS_PAGE}"
_MORE_RUNS: Final = f"SELECT {_COLUMNS} FROM runs WHERE position > ? AND run_id > ? ORDER BY run_id LIMIT {RUNS_PAGE}"
_ONE_RUN: Final = f"SELECT {_COLUMNS} FROM runs WHERE run_id = ?"
_ROWS: Final = (
    f"SELECT originator_version, rowid, topic, state FROM {EVENTS_TABLE}"
    " WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version LIMIT ?"
)
_STRAYS: Final = (
    f"SELECT originator_id, min(rowid), count(*) FROM {EVENTS_TABLE}"
    " WHERE originator_id NOT IN (SELECT run_id FROM runs) GROUP BY originator_id LIMIT 1000"
)
_HEADS: Final = (
    f"SELECT (SELECT max(seq) FROM sqlite_sequence WHERE name = ?), (SELECT max(rowid) FROM {EVENTS_TABLE}),"
    f" (SELECT min(rowid) FROM {EVENTS_TABLE})"
)
_IS_ARCHIVE: Final = (
    "SELECT count(*) FROM runs",
    "SELECT count(*) FROM runs WHERE run_id NOT IN (SELECT run_id FROM archived)",
)
BEFORE_ALL: Final = -(1 << 63)


class Inspection:
    """One check of the journal behind `journal`, which may be a live host's: then it is checked as it stood meanwhile.

    since: only runs with events after this position, and positions after it. deep: let SQLite compare its indexes with
    its tables too, and compare stored views with ones that are built anew. tick: called with the number of events
    checked so far, often. heads: anchors that must fit.
    """

    def __init__(
        self,
        journal: LogReader,
        *,
        since: int = 0,
        deep: bool = False,
        tick: Callable[[int], None] = lambda events: None,
        heads: HeadsCheck | None = None,
    ) -> None:
        self._journal = journal
        self._since = since
        self._deep = deep
        self._tick = tick
        self._heads = heads
        self.runs = self.events = self.problems = self.archived = self.locked = 0
        self._any_archived = False
        self._is_archive = False
        self._snapshots: set[Any] = set()
        self._blobs: set[bytes] = set()
        self._blobs_used: set[bytes] = set()
        self._epoch = 0
        self._missing: list[tuple[int, int]] = []
        self._no_archive = False

    # -------------------------------------------------------------- what is asked

    def of_run(self, run_id: str) -> Iterator[Finding]:
        """What is wrong with one run."""
        self._prepare()
        yield from self._counted(self._of_row(row) for row in self._journal.ask(_ONE_RUN, (run_id_bytes(run_id),)))

    def of_everything(self) -> Iterator[Finding]:
        """What is wrong, anywhere."""
        parts = [
            self._of_file(),
            self._of_runs(),
            self._of_strays(),
            self._of_heads(),
            self._of_positions(),
            self._of_owner(),
            self._of_blobs(),
            self._of_views(),
        ]
        yield from self._counted([self._guarded("the journal", iter(self._prepare())), *parts])

    def _counted(self, parts: Any) -> Iterator[Finding]:
        for part in parts:
            for finding in part:
                self.problems += not finding.remark
                yield finding

    def _guarded(self, what: str, findings: Iterator[Finding], run_id: str = "") -> Iterator[Finding]:
        """The findings; one more if what they look at cannot be read."""
        try:
            yield from findings
        except ArchiveMissing as error:
            yield from self._without_archive(error)
        except UNREADABLE as error:
            yield Finding(f"{what} cannot be read: {error}", run_id)

    def _without_archive(self, error: ArchiveMissing) -> Iterator[Finding]:
        if not self._no_archive:
            self._no_archive = True
            yield Finding(f"{error.path}, to which runs were moved, cannot be read: {error.why}")

    def _prepare(self) -> list[Finding]:
        """Look at what must be known beforehand."""
        ask = self._journal.ask
        found: list[Finding] = []
        try:
            self._snapshots = {row[0] for row in ask("SELECT DISTINCT originator_id FROM snapshots")}
            if not self._since:  # before the runs: what is stored later may be used by runs that were checked already
                self._blobs = {row[0] for row in ask("SELECT sha256 FROM blobs") if isinstance(row[0], bytes)}
        except UNREADABLE as error:
            found.append(Finding(f"snapshots or blobs cannot be read: {error}"))
        try:
            self._any_archived = bool(ask("SELECT 1 FROM archived LIMIT 1"))
            if self._any_archived:
                everything, not_archived = (ask(sql)[0][0] for sql in _IS_ARCHIVE)
                self._is_archive = bool(everything) and not not_archived
        except UNREADABLE:  # an older layout has no such table, and a damaged one is found by others
            self._any_archived = False
        return found

    # -------------------------------------------------------------- the file

    def _of_file(self) -> Iterator[Finding]:
        yield from self._guarded("the file", file_findings("", self._journal.ask, deep=self._deep))
        archive = self._journal.archive
        if archive is not None and not self._is_archive and archive.exists:
            there = file_findings("archive: ", lambda sql: archive.ask("", sql), deep=self._deep)
            yield from self._guarded("the archive", there)

    # -------------------------------------------------------------- runs

    def _of_runs(self) -> Iterator[Finding]:
        return self._guarded("the index of runs", self._all_runs())

    def _all_runs(self) -> Iterator[Finding]:
        rows = self._journal.ask(_RUNS, (self._since,))
        while rows:
            for row in rows:
                yield from self._of_row(row)
            rows = self._journal.ask(_MORE_RUNS, (self._since, rows[-1][0])) if len(rows) == RUNS_PAGE else []

    def _of_row(self, row: Any) -> Iterator[Finding]:
        key, version, first, position, over, digest, request_key = row
        self.runs += 1
        if not isinstance(key, bytes) or len(key) != 16:
            yield Finding(f"the index has a run with the id {key!r:.60}, which is none", position=_number(first))
            return
        run_id = str(UUID(bytes=key))
        summary = RunSummary(
            run_id=run_id, version=version, first_position=first, position=position, over=bool(over), hash=digest
        )
        yield from self._guarded("its log", self._of_run(key, summary, request_key), run_id)

    def _of_run(self, key: bytes, summary: RunSummary, request_key: Any) -> Iterator[Finding]:
        snapshots: dict[int, Checkpoint] = {}
        useless = 0
        if key in self._snapshots:
            snapshots, useless = read_all(self._journal.ask, summary.run_id)
        opener = self._journal.opening
        check = RunCheck(summary.run_id, self._blob, _number(summary.version), snapshots, opener=opener)
        if useless:
            check.note("a snapshot that cannot be used is ignored", remark=True)
        for row in self._rows_of(key, check):
            check.take(row)
        check.compare(summary, str(request_key or ""))
        check.compare_key(self._journal.keyring)
        self.locked += "locked" in check.contents
        if check.version > _number(summary.version) > 0:
            check.compare_again(self._journal.run(summary.run_id))
        self._epoch = max(self._epoch, check.epoch)
        self._missing += check.missing
        self.events += check.taken
        self._tick(self.events)
        yield from check.findings

    def _rows_of(self, key: bytes, check: RunCheck) -> Iterator[Row]:
        here = self._stream(self._journal.ask, key)
        if not self._any_archived or self._is_archive:
            yield from here
            return
        found = self._journal.ask("SELECT version, hash FROM archived WHERE run_id = ?", (key,))
        if not found:
            yield from here
            return
        self.archived += 1
        archive = self._journal.archive
        assert archive is not None
        moved, digest = found[0]
        there = self._stream(lambda sql, values: archive.ask(check.run_id, sql, values), key)
        last: Row | None = None
        for row, _ in merge(((row, 0) for row in there), ((row, 1) for row in here), key=_in_order):
            if last is not None and last[0] == row[0]:
                if last != row:
                    check.note("the journal and the archive have different events", _number(row[0]), row[1])
                continue  # a compaction was interrupted before it was gone here
            if row[0] == moved and isinstance(row[3], bytes) and row[3][:32] != digest:
                check.note("its hash is not the one with which it was moved to the archive", row[0], row[1])
            last = row
            yield row

    @staticmethod
    def _stream(ask: Callable[[str, Any], list[Any]], key: bytes) -> Iterator[Row]:
        at: Any = BEFORE_ALL
        while rows := ask(_ROWS, (key, at, PAGE)):
            yield from rows
            if len(rows) < PAGE:
                return
            at = rows[-1][0]

    def _blob(self, sha256: bytes) -> bytes | None:
        self._blobs_used.add(sha256)
        return self._journal.blob("", sha256)

    def _of_strays(self) -> Iterator[Finding]:
        """Events of runs that the index does not know."""
        return self._guarded("the events", self._all_strays())

    def _all_strays(self) -> Iterator[Finding]:
        for key, position, count in self._journal.ask(_STRAYS):
            run_id = str(UUID(bytes=key)) if isinstance(key, bytes) and len(key) == 16 else ""
            of = "" if run_id else f" of the run {key!r:.60}"
            yield Finding(f"the index has no row for this run: {count} events{of}", run_id, 0, position)
        if not self._any_archived or self._is_archive:
            return
        for (key,) in self._journal.ask("SELECT run_id FROM archived WHERE run_id NOT IN (SELECT run_id FROM runs)"):
            run_id = str(UUID(bytes=key)) if isinstance(key, bytes) and len(key) == 16 else repr(key)[:60]
            yield Finding("it was moved to the archive, and the index has no row for it", run_id)

    # -------------------------------------------------------------- positions, and what was signed for

    def _of_heads(self) -> Iterator[Finding]:
        if self._heads is None:
            return iter(())
        return self._guarded("the file of anchors", self._heads.of_file())

    def _of_positions(self) -> Iterator[Finding]:
        return self._guarded("the events", self._all_positions())

    def _all_positions(self) -> Iterator[Finding]:
        journal = self._journal
        given, newest, oldest = journal.ask(_HEADS, (EVENTS_TABLE,))[0]
        given, newest = _number(given), _number(newest)
        if newest > given:
            yield Finding(
                f"positions after {given} could be given twice: SQLite's count of them is behind", position=newest
            )
        if _number(oldest) < (1 if newest else 0):
            yield Finding("there are events at positions below 1", position=_number(oldest))
        archive = journal.archive
        archived = archive is not None and not self._is_archive and archive.exists
        if self._any_archived and archive is not None and not archived and not self._is_archive:
            yield from self._without_archive(ArchiveMissing("", archive.path, "there is no such file"))
        if self._heads is not None:
            self._heads.partial = self._no_archive
        at = self._since
        both = 0
        for one in placed(journal, self._since, newest, archived=archived, twice=True):
            if one.position != at + 1:
                yield from self._gap(at, one.position)
            at = one.position
            if one.twice is not None:
                both += 1
                if one.twice != (one.run, one.version, one.hash):
                    yield Finding("the archive has another event at this position", _named(one.run), 0, one.position)
            if self._heads is not None:
                yield from self._heads.see(one)
        if self._heads is not None:
            yield from self._heads.of_the_end()
        if given > newest:
            yield from self._gap(newest, given + 1)
        if both:
            why = f"{both} events are in the journal and in its archive: compaction was interrupted; run it again"
            yield Finding(why, remark=True)

    def _gap(self, before: int, after: int) -> Iterator[Finding]:
        """Nothing stands between two positions. Where a run misses events just there, that was told."""
        if self._is_archive or self._no_archive:
            return
        first, last = before + 1, after - 1
        if any(left <= before and (after <= right or not right) for left, right in self._missing):
            return
        what = f"position {first} is" if first == last else f"positions {first} to {last} are"
        yield Finding(f"{what} missing: events were deleted", position=first)

    # -------------------------------------------------------------- the rest

    def _of_owner(self) -> Iterator[Finding]:
        return self._guarded("the owner", self._the_owner())

    def _the_owner(self) -> Iterator[Finding]:
        rows = self._journal.ask("SELECT epoch FROM owner")
        if len(rows) != 1 or not isinstance(rows[0][0], int):
            yield Finding(f"the table of the owner has {len(rows)} rows, and no epoch to go by")
        elif rows[0][0] < self._epoch and not self._is_archive:
            yield Finding(f"the owner has epoch {rows[0][0]}, and events have epoch {self._epoch}")

    def _of_blobs(self) -> Iterator[Finding]:
        """Payloads that no event needs."""
        unused = len(self._blobs - self._blobs_used)
        if unused and not self._since and not self.problems:
            yield Finding(f"{unused} payloads in the table of blobs are needed by no event", remark=True)

    def _of_views(self) -> Iterator[Finding]:
        """Building views anew takes long: only when all is to be looked at."""
        if not self._deep or self._is_archive:
            return iter(())
        return self._guarded("the stored views", view_findings(self._journal))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _in_order(row: tuple[Row, int]) -> tuple[bool, Any, int]:
    version = row[0][0]
    return not isinstance(version, int), version if isinstance(version, int) else 0, row[1]


def _named(key: Any) -> str:
    return str(UUID(bytes=key)) if isinstance(key, bytes) and len(key) == 16 else ""
