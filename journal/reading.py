"""The reading half of a journal kept in SQLite: the same for the host and for a reader in another process.

Every read is one statement whose rows are all fetched before anything is done with them, so that no reader holds a
transaction while somebody else's code runs, and the log can always be checkpointed.

Events that were moved to the archive are read from there. Positions and versions leave no gap, so a gap in what was
found is what says that something was moved: a journal that was never compacted pays nothing for this.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from ..errors import ArchiveMissing, JournalError, JournalUnavailable, LogCorrupt, UnknownRun
from ..events import GENESIS, Event, Opaque, Seal, Withheld
from ..events.codec import HASH_BYTES, decode_event, decode_fact, run_id_bytes, sealed_blob, verify_hash
from ..ports import Recovery, RunSummary, Unfinished
from ..projections import Checkpoint, evolve, evolve_transcript
from .archive import Archive, Moved
from .keyring import Keyring
from .layout import EVENTS_TABLE
from .snapshots import Snapshot, read_final, read_snapshot

PAGE = 2000
"""Events fetched at once when a whole run is read."""

_RUN = "SELECT version, first_position, position, over, hash FROM runs WHERE run_id = ?"
_ALL_RUNS = "SELECT version, first_position, position, over, hash, run_id FROM runs WHERE first_position > ?"
_UNFINISHED = (
    "SELECT r.version, r.first_position, r.position, r.over, r.hash, r.run_id, e.topic, e.state, e.rowid FROM runs r"
    f" LEFT JOIN {EVENTS_TABLE} e ON e.originator_id = r.run_id AND e.originator_version = 1"
    " WHERE r.over = 0 AND r.first_position > ? ORDER BY r.first_position LIMIT ?"
)
_RECOVERIES = "SELECT run_id, standing, attempts, company, version, at_us, why FROM recoveries"
_EVENTS = (
    f"SELECT originator_version, topic, state, rowid FROM {EVENTS_TABLE}"
    " WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version LIMIT ?"
)
_FACTS = (
    f"SELECT originator_version, topic, state FROM {EVENTS_TABLE}"
    " WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version LIMIT ?"
)
_SCAN = (
    f"SELECT originator_version, topic, state, rowid, originator_id FROM {EVENTS_TABLE}"
    " WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
_SCAN_MOVED = (
    f"SELECT originator_version, topic, state, rowid, originator_id FROM {EVENTS_TABLE}"
    " WHERE rowid > ? AND rowid < ? ORDER BY rowid LIMIT ?"
)
_MOVED = "SELECT version, hash FROM archived WHERE run_id = ?"
_HEAD = "SELECT seq FROM sqlite_sequence WHERE name = ?"

Query = Callable[[str, Sequence[Any]], list[Any]]


class LogReader:
    """Reads the tables through `query`, which runs one statement and returns all its rows. archive: where events were
    moved to. keyring: what opens sealed content; None while nothing is sealed.
    """

    keyring: Keyring | None = None

    def __init__(self, query: Query, archive: Archive | None = None) -> None:
        self._query = query
        self.archive = archive

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement, for this room's own modules.

        Raises:
            JournalUnavailable, sqlite3.Error: it cannot be read now.
        """
        return self._query(sql, parameters)

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        try:
            return self._query(sql, parameters)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"the journal cannot be read now: {error}") from error

    def blob(self, run_id: str, sha256: bytes) -> bytes | None:
        """An out-of-line payload, or None."""
        return self._fetch_blob(sha256)

    def opening(self, run_id: str, key: bytes) -> Seal | Withheld:
        """`events.Opener`: what opens content that was sealed with this key of this run."""
        return "locked" if self.keyring is None else self.keyring.opening(run_id, key)

    def is_sealed(self, run_id: str) -> bool:
        """Whether the run's content is sealed, by its first event."""
        try:
            found = self._events(run_id, 0, 1)
            if (not found or found[0][0] != 1) and (moved := self._moved(run_id)) is not None:
                found = self._page(run_id, 0, 1, moved.version)
            return bool(found) and isinstance(found[0][2], bytes) and sealed_blob(found[0][2])[0] != b""
        except (ValueError, msgspec.MsgspecError, RecursionError, ArchiveMissing):
            return False

    def _fetch_blob(self, sha256: bytes) -> bytes | None:
        sql = "SELECT content FROM blobs WHERE sha256 = ?"
        found = self._rows(sql, sha256) or self._ask_archive(sql, sha256)
        if not found:
            return None
        content = found[0][0]
        return content if isinstance(content, bytes) else str(content).encode()  # damaged: its hash will tell

    # -------------------------------------------------------------- one run

    def run(self, run_id: str) -> RunSummary | None:
        """See `ports.Journal.run`."""
        try:
            key = run_id_bytes(run_id)
        except ValueError:
            return None
        found = self._rows(_RUN, key)
        return _summary(run_id, found[0]) if found else None

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """See `ports.Journal.read`."""
        summary = self.run(run_id)  # before the events: a run that grows meanwhile is only longer than its row says
        if summary is None:
            raise UnknownRun(run_id)
        events: list[Event] = []
        previous = self._hash_at(run_id, after) if verify else GENESIS
        blob, opener = self._fetch_blob, None if self.keyring is None else self.opening
        while limit is None or len(events) < limit:
            page = PAGE if limit is None else min(PAGE, limit - len(events))
            rows = self._page(run_id, after, page, summary.version)
            for version, tag, state, position in rows:
                after += 1
                event = decode_event(run_id, version, tag, state, position=position, blob=blob, opener=opener)
                if verify:
                    verify_hash(event, state, previous)
                    previous = event.hash
                events.append(event)
            if len(rows) < page and after >= summary.version:
                break
        return events

    def _page(self, run_id: str, after: int, limit: int, last: int, sql: str = _EVENTS) -> list[Any]:
        """At most `limit` rows of a run whose versions follow `after` without a gap, from wherever they are; none only
        if the run ends there. last: the version that the index knows.

        Raises:
            LogCorrupt: the next event is missing. ArchiveMissing: it was moved, and the archive is not there.
        """
        rows = self._events(run_id, after, limit, sql)
        if not rows and after >= last:
            return rows
        if rows and rows[-1][0] == after + len(rows):
            return rows
        if whole := _without_gap(rows, after):
            return whole
        moved = self._moved(run_id)
        if moved is None or moved.version <= after:
            what = "this event is" if rows else f"the events from here to {last} are"
            raise LogCorrupt(run_id, after + 1, f"{what} missing")
        archive = self.archive
        assert archive is not None  # or nothing would be known as moved
        found = archive.ask(run_id, sql, (run_id_bytes(run_id), after, min(limit, moved.version - after)))
        if whole := _without_gap(found, after):
            return whole
        raise LogCorrupt(run_id, after + 1, f"this event was moved to {archive.path}, and is missing there")

    def _moved(self, run_id: str) -> Moved | None:
        """Whether, and how far, the run was moved to the archive."""
        if self.archive is None:
            return None
        try:
            found = self._query(_MOVED, (run_id_bytes(run_id),))
        except (sqlite3.Error, ValueError):  # an older layout has no such table
            return None
        if not found or not isinstance(found[0][0], int) or not isinstance(found[0][1], bytes):
            return None
        return Moved(found[0][0], found[0][1])

    def _ask_archive(self, sql: str, *parameters: Any) -> list[Any]:
        """The archive's rows, for reads of all runs: none if nothing was moved, or if it is not there."""
        if self.archive is None:
            return []
        try:
            moved = self._query("SELECT 1 FROM archived LIMIT 1", ())
        except sqlite3.Error:
            return []
        if not moved:
            return []
        try:
            return self.archive.ask("", sql, parameters)
        except ArchiveMissing as error:
            self.archive.complain(error)
            return []

    def _events(self, run_id: str, after: int, limit: int, sql: str = _EVENTS) -> list[Any]:
        try:
            return self._query(sql, (run_id_bytes(run_id), after, limit))
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise LogCorrupt(run_id, after + 1, f"the file is damaged here: {error}") from error
            raise JournalUnavailable(f"the journal cannot be read now: {error}") from error

    def _hash_at(self, run_id: str, version: int) -> bytes:
        if version == 0:
            return GENESIS
        found = self._page(run_id, version - 1, 1, version)
        return bytes(found[0][2][:HASH_BYTES])

    def rows(self, run_id: str) -> list[tuple[int, int, str, bytes | str]]:
        """(version, position, tag, state) of everything stored of a run, undecoded, in order of version.

        Raises:
            ArchiveMissing: some of it was moved, and the archive is not there.
        """
        return list(self.stream(run_id))

    def stream(self, run_id: str) -> Iterator[tuple[int, int, str, bytes | str]]:
        """The same, a page at a time."""
        try:
            run_id_bytes(run_id)
        except ValueError:
            return
        last = 0
        for row in self._stored(run_id):
            if isinstance(row[0], int) and row[0] > last + 1:
                yield from self._stored_there(run_id, last, row[0])
            yield row
            last = row[0]
        yield from self._stored_there(run_id, last, None)

    def _stored(self, run_id: str) -> Iterator[tuple[int, int, str, bytes | str]]:
        at: Any = -1
        while page := self._events(run_id, at, PAGE):
            yield from ((version, position, tag, state) for version, tag, state, position in page)
            at = page[-1][0]

    def _stored_there(self, run_id: str, after: int, before: int | None) -> Iterator[tuple[int, int, str, bytes | str]]:
        """What the archive has of a gap."""
        moved = self._moved(run_id) if isinstance(after, int) else None
        while moved is not None and self.archive is not None and after < moved.version:
            page = self.archive.ask(run_id, _EVENTS, (run_id_bytes(run_id), after, PAGE))
            for version, tag, state, position in page:
                if version > moved.version or (before is not None and version >= before):
                    return
                yield version, position, tag, state
            if len(page) < PAGE:
                return
            after = page[-1][0]

    # -------------------------------------------------------------- folding

    def load(self, run_id: str) -> Checkpoint:
        """See `ports.Journal.load`."""
        start = self._snapshot(run_id)
        if start is not None:
            return self._load_from(run_id, start.checkpoint)
        return self._load_from(run_id, Checkpoint())

    def _load_from(self, run_id: str, start: Checkpoint) -> Checkpoint:
        """`fold(self.read(run_id, start.version), start)`, without making the events."""
        summary = self.run(run_id)
        if summary is None:
            raise UnknownRun(run_id)
        if not start.version and (final := self._final(run_id, summary)) is not None:
            start = final.checkpoint
        state, transcript, version = start.state, start.transcript, start.version
        digest, elapsed_ms = start.hash, start.elapsed_ms
        blob = self._fetch_blob
        withheld = start.withheld

        def opener(run_id: str, key: bytes) -> Seal | Withheld:
            nonlocal withheld
            found = self.opening(run_id, key)
            if isinstance(found, str):
                withheld = found
            return found

        rows: list[Any] = [None]
        while rows and (len(rows) == PAGE or version < summary.version or version == start.version):
            rows = self._page(run_id, version, PAGE, summary.version, _FACTS)
            for _, tag, stored in rows:
                version += 1
                fact, elapsed_ms = decode_fact(run_id, version, tag, stored, blob=blob, opener=opener)
                try:
                    state, transcript = evolve(state, fact), evolve_transcript(transcript, fact)
                except Exception as error:  # it decodes, and makes no sense where it stands
                    raise LogCorrupt(run_id, version, f"the log does not fold: {error!r}") from error
            if rows:
                digest = bytes(rows[-1][2][:HASH_BYTES])
        return Checkpoint(state, transcript, version, digest, elapsed_ms, withheld)

    def _snapshot(self, run_id: str) -> Snapshot | None:
        return read_snapshot(self._query, run_id)

    def _final(self, run_id: str, summary: RunSummary) -> Snapshot | None:
        """What a run that was moved to the archive has left here, if that can be used: then no archive is needed."""
        if not summary.over or self._events(run_id, 0, 1, _FACTS):
            return None
        if self.keyring is not None and self.is_sealed(run_id):
            return None  # it would have to be sealed too
        moved = self._moved(run_id)
        return read_final(self._query, run_id, moved.version, moved.hash) if moved is not None else None

    def has_snapshot(self, run_id: str) -> bool:
        """Whether a snapshot of the run is stored, usable or not."""
        return bool(self._rows("SELECT 1 FROM snapshots WHERE originator_id = ?", run_id_bytes(run_id)))

    # -------------------------------------------------------------- all runs

    def tagged(self, tag: str) -> list[str]:
        """The runs that have an event with this tag. Looks at every row's tag, and decodes none."""
        sql = f"SELECT DISTINCT originator_id FROM {EVENTS_TABLE} WHERE topic = ?"
        return [text_of(run) for run in {row[0]: None for row in (*self._rows(sql, tag), *self._ask_archive(sql, tag))}]

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """See `ports.Journal.scan`."""
        events: list[Event] = []
        blob, opener = self._fetch_blob, None if self.keyring is None else self.opening
        rows = self._rows(_SCAN, after, limit)
        end = rows[-1][3] if rows else self.head() + 1
        if end > after + max(1, len(rows)):  # some were moved, or are missing
            moved = self._ask_archive(_SCAN_MOVED, after, end, limit)
            rows = sorted({row[3]: row for row in (*moved, *rows)}.values(), key=lambda row: row[3])[:limit]
        for version, tag, state, position, run in rows:
            run_id = text_of(run)
            try:
                event = decode_event(run_id, version, tag, state, position=position, blob=blob, opener=opener)
            except LogCorrupt:
                kept = state if isinstance(state, bytes) else repr(state).encode()
                fact = Opaque(tag=str(tag), schema=-1, payload=kept)
                event = Event(run_id=run_id, version=version, tag=str(tag), fact=fact, position=position)
            events.append(event)
        return events

    def head(self) -> int:
        """See `ports.Journal.head`."""
        found = self._rows(_HEAD, EVENTS_TABLE)
        return int(found[0][0]) if found else 0

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """See `ports.Journal.runs`."""
        sql = _ALL_RUNS + (" AND over = 0" if unfinished else "") + " ORDER BY first_position LIMIT ?"
        return [_summary(text_of(row[5]), row) for row in self._rows(sql, after, -1 if limit is None else limit)]

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        """See `ports.Journal.unfinished`."""
        found: list[Unfinished] = []
        blob, opener = self._fetch_blob, None if self.keyring is None else self.opening
        for row in self._rows(_UNFINISHED, after, -1 if limit is None else limit):
            summary = _summary(text_of(row[5]), row)
            tag, state, position = row[6:]
            try:
                if state is None:
                    raise LogCorrupt(summary.run_id, 1, "this event is missing")
                first = decode_event(summary.run_id, 1, tag, state, position=position, blob=blob, opener=opener)
            except JournalError as error:
                found.append(Unfinished(summary=summary, problem=error))
            else:
                found.append(Unfinished(summary=summary, first=first))
        return found

    def recoveries(self) -> list[Recovery]:
        """See `ports.Journal.recoveries`; none in a file of an older layout."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'recoveries'"):
            return []
        return [
            Recovery(
                run_id=text_of(run),
                standing=standing if standing in ("trying", "waiting") else "failed",
                attempts=_whole(attempts),
                company=_whole(company),
                version=_whole(version),
                at_us=_whole(at_us),
                why=str(why),
            )
            for run, standing, attempts, company, version, at_us, why in self._rows(_RECOVERIES)
        ]

    def find_request(self, request_key: str) -> str | None:
        """See `ports.Journal.find_request`."""
        if not request_key:
            return None
        found = self._rows("SELECT run_id FROM runs WHERE request_key = ?", request_key)
        return text_of(found[0][0]) if found else None


def _whole(stored: Any) -> int:
    """A number that is stored beside the log; where somebody put something else, or more than a number holds, 0."""
    return stored if type(stored) is int and 0 <= stored < 1 << 53 else 0


def _summary(run_id: str, row: Any) -> RunSummary:
    version, first, position, over, digest = row[:5]
    return RunSummary(
        run_id=run_id, version=version, first_position=first, position=position, over=bool(over), hash=digest
    )


@lru_cache(maxsize=4096)
def text_of(run: Any) -> str:
    """A stored run id as text."""
    if isinstance(run, bytes) and len(run) == 16:
        return str(UUID(bytes=run))
    return repr(run)  # damaged: shown, and never found


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _without_gap(rows: list[Any], after: int) -> list[Any]:
    """The rows up to the first one whose version does not follow."""
    for number, row in enumerate(rows):
        if row[0] != after + number + 1:
            return rows[:number]
    return rows
