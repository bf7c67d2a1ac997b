"""Moving runs to the archive: copied, checked, marked, and only then deleted here.

Every step is durable before the next one begins, so that a crash at any point leaves each event in at least one of the
two files, where readers find it, and doing it again finishes it. Of two copies the journal's own counts until the run
is marked in `archived`, and the archive's from then on.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from ..errors import JournalError, JournalUnavailable
from ..events.codec import run_id_bytes
from ..ports import RunSummary
from ..projections import Checkpoint
from .findings import Finding
from .layout import EVENTS_TABLE
from .reading import LogReader
from .retention import Candidate, Interrupted, Plan, Terms, blob_of, plan
from .snapshots import Snapshot, final_row, shape
from .sqlite import SqliteJournal
from .verify import RunCheck

GROUP_RUNS: Final = 200
GROUP_BYTES: Final = 4 << 20
"""Runs and content that are copied, checked and marked together."""

CHUNK: Final = 1000
"""Rows written in one transaction, so that appends never wait long."""

MOST_LEFT: Final = 64 << 10
"""No larger fold of a run stays here; such a run is read from the archive only."""

CLOSE_S: Final = 60.0

_ROWS: Final = (
    f"SELECT rowid, originator_id, originator_version, topic, state FROM {EVENTS_TABLE}"
    f" WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version LIMIT {CHUNK}"
)
_PUT_EVENT: Final = f"INSERT INTO {EVENTS_TABLE} VALUES (?, ?, ?, ?, ?)"
_PUT_RUN: Final = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLEAR: Final = f"DELETE FROM {EVENTS_TABLE} WHERE originator_id = ? AND originator_version > ?"
_PUT_MARK: Final = "INSERT OR REPLACE INTO archived (run_id, version, hash, archived_us) VALUES (?, ?, ?, ?)"
_RUN: Final = (
    "SELECT run_id, version, first_position, position, over, hash, request_key,"
    f" position < (SELECT max(rowid) FROM {EVENTS_TABLE}) FROM runs WHERE run_id = ?"
)
_DELETE: Final = (
    f"DELETE FROM {EVENTS_TABLE} WHERE rowid IN (SELECT rowid FROM {EVENTS_TABLE} WHERE originator_id = ?"
    " AND originator_version <= ? LIMIT ?)"
)
_MENTIONS: Final = (
    f"SELECT rowid, state FROM {EVENTS_TABLE} WHERE rowid > ? AND instr(state, CAST('sha256' AS BLOB))"
    f" ORDER BY rowid LIMIT {CHUNK}"
)


class Compacted(msgspec.Struct):
    """What was done. problems: what kept a run from moving, or from being deleted here; nothing was lost."""

    runs: int = 0
    events: int = 0
    size: int = 0
    problems: list[Finding] = []


class Compactor:
    """Moves the runs of `plan` from `journal` to its archive, which is made if there is none.

    at_us: wall clock, recorded with each run. tick: called with the number of runs that were moved so far.
    """

    def __init__(
        self, journal: SqliteJournal, plan: Plan, *, at_us: int, tick: Callable[[int], None] = lambda runs: None
    ) -> None:
        self._journal = journal
        self._plan = plan
        self._at_us = at_us
        self._tick = tick
        self.moved = Compacted()

    def move(self) -> Compacted:
        """Do it all; what an earlier compaction has left undone comes first.

        Raises:
            JournalInUse: another process has the archive. JournalError: it cannot be written now; doing it again later
                goes on from here.
        """
        if not self._plan.families and not self._plan.interrupted:
            return self.moved
        if self._journal.archive is None:
            raise JournalError(f"{self._journal.path} is an archive itself; nothing was moved")
        archive = SqliteJournal(self._journal.archive.path)
        try:
            self._finish(archive, self._plan.interrupted)
            for group in _groups(self._plan.families):
                self._move(archive, group)
            self._delete_blobs(archive)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"compaction stopped: {error}; nothing was lost, do it again") from error
        finally:
            archive.close(CLOSE_S)
        return self.moved

    # -------------------------------------------------------------- one group

    def _move(self, archive: SqliteJournal, group: list[Candidate]) -> None:
        sound: list[tuple[Candidate, Any, Checkpoint]] = []
        for run in group:
            row, check = self._checked(self._journal, run.run_id)
            checkpoint = check.checkpoint if check is not None else None
            if row is None or row[1] != run.version:
                continue  # it went on since the plan was made
            if checkpoint is None:
                found = check.findings[0].why if check is not None and check.findings else "it does not fold"
                self.moved.problems.append(Finding(f"it stays, since its log is not whole: {found}", run.run_id))
            else:
                sound.append((run, row, checkpoint))
        if not sound:
            return
        self._copy(archive, [(run, row) for run, row, _ in sound])
        for run, row, _ in sound:
            self._compare(archive, run.run_id, row[1], row[5])
        marked = self._mark(sound)
        gone = [(run, row) for run, row, _ in sound if run.run_id in marked]
        self.moved.events += self._delete([(row[0], row[1]) for _, row in gone])
        self.moved.runs += len(gone)
        self.moved.size += sum(run.size for run, _ in gone)
        self._tick(self.moved.runs)

    def _checked(self, journal: LogReader, run_id: str, *, folds: bool = True) -> tuple[Any, RunCheck | None]:
        """The run's row in the index of `journal`, and a check of its log."""
        key = run_id_bytes(run_id)
        found = journal.ask(_RUN, (key,))
        if not found:
            return None, None
        row = found[0]
        opener = self._journal.opening  # the archive has no keys of its own
        check = RunCheck(
            run_id, lambda sha256: journal.blob(run_id, sha256), row[1], folds=folds, strict=False, opener=opener
        )
        for stored in journal.stream(run_id):
            check.take(stored)
        check.compare(_summary(run_id, row))
        return row, check

    def _copy(self, archive: SqliteJournal, runs: Iterable[tuple[Candidate, Any]]) -> None:
        """Put the events that are here, their payloads, and the row of the index into the archive."""
        rows: list[Any] = []
        clear: list[Any] = []
        whole: list[Any] = []
        for run, row in runs:
            clear.append((row[0], run.moved))  # what an interrupted compaction may have left
            for page in self._pages(run.run_id, run.moved):
                rows += page
                if len(rows) >= CHUNK:
                    self._put(archive, clear, rows, whole)
                    rows, clear, whole = [], [], []
            whole.append(row)
        self._put(archive, clear, rows, whole)

    def _put(self, archive: SqliteJournal, clear: list[Any], rows: list[Any], runs: list[Any]) -> None:
        needed = {ref.sha256 for row in rows if (ref := blob_of(row[4])) is not None}
        # one that is not here is missing on purpose: the run was checked
        blobs = {one: content for one in needed if (content := self._journal.blob("", one)) is not None}

        def put(connection: sqlite3.Connection) -> None:
            connection.executemany(_CLEAR, clear)
            connection.executemany(_PUT_EVENT, rows)
            connection.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?)", list(blobs.items()))
            connection.executemany("DELETE FROM runs WHERE run_id = ?", [row[:1] for row in runs])
            connection.executemany(_PUT_RUN, [row[:7] for row in runs])
            connection.executemany(_PUT_MARK, [(row[0], row[1], row[5], self._at_us) for row in runs])

        try:
            archive.maintain(put, size=sum(len(row[4]) for row in rows) + sum(map(len, blobs.values())))
        except sqlite3.IntegrityError as error:
            raise JournalError(
                f"{archive.path} has other events where these belong ({error}): it is the archive of another journal;"
                " nothing was deleted"
            ) from error

    def _pages(self, run_id: str, after: int) -> Iterator[list[Any]]:
        while page := self._journal.ask(_ROWS, (run_id_bytes(run_id), after)):
            yield page
            after = page[-1][2]

    def _compare(self, archive: SqliteJournal, run_id: str, version: int, digest: bytes) -> None:
        """Check that the archive's copy is whole, and the same.

        Raises:
            JournalError: it is not; nothing was deleted.
        """
        row, check = self._checked(archive, run_id, folds=False)
        if row is None or check is None or check.found or (row[1], row[5]) != (version, digest):
            why = str(check.findings[0]) if check is not None and check.found else "it has another version or hash"
            raise JournalError(f"the copy of run {run_id} in {archive.path} is not whole ({why}); nothing was deleted")

    def _mark(self, runs: list[tuple[Candidate, Any, Checkpoint]]) -> set[str]:
        """Note that the runs are in the archive, and leave their folds here; returns those that did not go on since."""
        sealed = {run.run_id for run, _, _ in runs if self._journal.is_sealed(run.run_id)}

        def mark(connection: sqlite3.Connection) -> set[str]:
            marked: set[str] = set()
            for run, row, checkpoint in runs:
                now = connection.execute(_RUN, (row[0],)).fetchone()
                if now is None or now[:7] != row[:7] or not now[7]:
                    continue
                connection.execute(_PUT_MARK, (row[0], row[1], row[5], self._at_us))
                connection.execute("DELETE FROM snapshots WHERE originator_id = ?", (row[0],))
                left_here = shape() and run.run_id not in sealed  # it would have to be sealed, too
                fold = final_row(Snapshot(run.run_id, checkpoint)) if left_here else None
                if fold is not None and len(fold[3]) <= MOST_LEFT:
                    connection.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?)", fold)
                marked.add(run.run_id)
            return marked

        return self._journal.maintain(mark, size=len(runs) * 4096)

    def _delete(self, runs: Iterable[tuple[bytes, int]]) -> int:
        """Delete what is in the archive of each run, up to a version; returns the number of events."""
        left = deque(runs)
        deleted = 0

        def delete(connection: sqlite3.Connection) -> int:
            room = CHUNK
            while left and room > 0:
                key, version = left[0]
                gone = connection.execute(_DELETE, (key, version, room)).rowcount
                if gone < room:
                    left.popleft()
                room -= gone
            return CHUNK - room

        while left:
            deleted += self._journal.maintain(delete, size=CHUNK * 512)
        return deleted

    # -------------------------------------------------------------- what is left

    def _finish(self, archive: SqliteJournal, interrupted: list[Interrupted]) -> None:
        """Delete what an earlier compaction has marked and not deleted, once its copy has been checked again."""
        for run in interrupted:
            try:
                self._compare(archive, run.run_id, run.version, run.hash)
            except JournalError as error:
                self.moved.problems.append(Finding(f"it stays: {error}", run.run_id))
                continue
            self.moved.events += self._delete([(run_id_bytes(run.run_id), run.version)])
            self.moved.runs += 1

    def _delete_blobs(self, archive: SqliteJournal) -> None:
        """Delete payloads that no event here needs any more, if the archive has them."""
        journal = self._journal
        head = journal.head()
        here = {row[0] for row in journal.ask("SELECT sha256 FROM blobs") if isinstance(row[0], bytes)}
        seen = 0
        while here:
            rows = journal.ask(_MENTIONS, (seen,))
            here -= {ref.sha256 for row in rows if (ref := blob_of(row[1])) is not None}
            if len(rows) < CHUNK:
                break
            seen = rows[-1][0]
        unused = [one for one in here if archive.blob("", one) is not None]
        for start in range(0, len(unused), 50):
            journal.maintain(partial(_delete_unless_needed, unused[start : start + 50], head))


def compact(journal: object, terms: Terms, *, at_us: int) -> Compacted:
    """Move what may move by `terms` from the journal of a host to its archive.

    Raises:
        JournalError: it is no stored journal, or see `Compactor.move`.
    """
    if not isinstance(journal, SqliteJournal):
        raise JournalError("this journal is in memory only: there is nothing to move, and nowhere to move it to")
    return Compactor(journal, plan(journal, terms), at_us=at_us).move()


def _delete_unless_needed(digests: list[bytes], seen: int, connection: sqlite3.Connection) -> None:
    """Delete payloads; events after the position `seen` were not looked at before, and may need one of them."""
    needed: set[bytes] = set()
    while rows := connection.execute(_MENTIONS, (seen,)).fetchall():
        needed |= {ref.sha256 for row in rows if (ref := blob_of(row[1])) is not None}
        seen = rows[-1][0]
    connection.executemany("DELETE FROM blobs WHERE sha256 = ?", [(one,) for one in digests if one not in needed])


def _groups(families: list[list[Candidate]]) -> Iterator[list[Candidate]]:
    group: list[Candidate] = []
    size = 0
    for family in families:
        group += family
        size += sum(run.size for run in family)
        if len(group) >= GROUP_RUNS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _summary(run_id: str, row: Any) -> RunSummary:
    return RunSummary(
        run_id=run_id, version=row[1], first_position=row[2], position=row[3], over=bool(row[4]), hash=row[5]
    )


def vacuum(journal: SqliteJournal) -> None:
    """Give the room that deleted events have left back to the disk. Nothing can be stored meanwhile; positions stay.

    Raises:
        JournalError, sqlite3.Error: it could not be done; nothing was changed.
    """
    journal.maintain(lambda connection: connection.execute("VACUUM").fetchall(), alone=True)
