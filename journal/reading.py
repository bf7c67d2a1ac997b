"""The reading half of a journal kept in SQLite: the same for the host and for a reader in another process.

Every read is one statement whose rows are all fetched before anything is done with them, so that no reader holds a
transaction while somebody else's code runs, and the log can always be checkpointed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ..errors import JournalUnavailable, LogCorrupt, UnknownRun
from ..events import GENESIS, Event, Opaque
from ..events.codec import HASH_BYTES, decode_event, decode_fact, run_id_bytes, verify_hash
from ..ports import RunSummary
from ..projections import Checkpoint, evolve, evolve_transcript
from .layout import EVENTS_TABLE
from .snapshots import Snapshot, read_snapshot

PAGE = 2000
"""Events fetched at once when a whole run is read."""

_RUN = "SELECT version, first_position, position, over, hash FROM runs WHERE run_id = ?"
_ALL_RUNS = "SELECT version, first_position, position, over, hash, run_id FROM runs WHERE first_position > ?"
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
_HEAD = "SELECT seq FROM sqlite_sequence WHERE name = ?"

Query = Callable[[str, Sequence[Any]], list[Any]]


class LogReader:
    """Reads the tables through `query`, which runs one statement and returns all its rows."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        try:
            return self._query(sql, parameters)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"the journal cannot be read now: {error}") from error

    def blob(self, run_id: str, sha256: bytes) -> bytes | None:
        """An out-of-line payload, or None."""
        return self._fetch_blob(sha256)

    def _fetch_blob(self, sha256: bytes) -> bytes | None:
        found = self._rows("SELECT content FROM blobs WHERE sha256 = ?", sha256)
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
        while limit is None or len(events) < limit:
            page = PAGE if limit is None else min(PAGE, limit - len(events))
            rows = self._events(run_id, after, page)
            for version, tag, state, position in rows:
                after += 1
                if version != after:
                    raise LogCorrupt(run_id, after, "this event is missing")
                event = decode_event(run_id, version, tag, state, position=position, blob=self._fetch_blob)
                if verify:
                    verify_hash(event, state, previous)
                    previous = event.hash
                events.append(event)
            if len(rows) < page:
                if after < summary.version:
                    raise LogCorrupt(run_id, after + 1, f"the events from here to {summary.version} are missing")
                break
        return events

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
        found = self._events(run_id, version - 1, 1)
        if not found or found[0][0] != version:
            raise LogCorrupt(run_id, version, "this event is missing")
        return bytes(found[0][2][:HASH_BYTES])

    def rows(self, run_id: str) -> list[tuple[int, int, str, bytes | str]]:
        """(version, position, tag, state) of everything stored of a run, undecoded, in order of version."""
        found: list[tuple[int, int, str, bytes | str]] = []
        try:
            run_id_bytes(run_id)
        except ValueError:
            return found
        while page := self._events(run_id, found[-1][0] if found else -1, PAGE):
            found.extend((version, position, tag, state) for version, tag, state, position in page)
        return found

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
        state, transcript, version = start.state, start.transcript, start.version
        digest, elapsed_ms = start.hash, start.elapsed_ms
        rows: list[Any] = []
        blob = self._fetch_blob
        while version == start.version or len(rows) == PAGE:
            rows = self._events(run_id, version, PAGE, _FACTS)
            for found, tag, stored in rows:
                version += 1
                if found != version:
                    raise LogCorrupt(run_id, version, "this event is missing")
                fact, elapsed_ms = decode_fact(run_id, version, tag, stored, blob=blob)
                try:
                    state, transcript = evolve(state, fact), evolve_transcript(transcript, fact)
                except Exception as error:  # it decodes, and makes no sense where it stands
                    raise LogCorrupt(run_id, version, f"the log does not fold: {error!r}") from error
            if rows:
                digest = bytes(rows[-1][2][:HASH_BYTES])
            else:
                break
        if version < summary.version:
            raise LogCorrupt(run_id, version + 1, f"the events from here to {summary.version} are missing")
        return Checkpoint(state, transcript, version, digest, elapsed_ms)

    def _snapshot(self, run_id: str) -> Snapshot | None:
        return read_snapshot(self._query, run_id)

    # -------------------------------------------------------------- all runs

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """See `ports.Journal.scan`."""
        events: list[Event] = []
        for version, tag, state, position, run in self._rows(_SCAN, after, limit):
            run_id = _text_of(run)
            try:
                event = decode_event(run_id, version, tag, state, position=position, blob=self._fetch_blob)
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
        return [_summary(_text_of(row[5]), row) for row in self._rows(sql, after, -1 if limit is None else limit)]

    def find_request(self, request_key: str) -> str | None:
        """See `ports.Journal.find_request`."""
        if not request_key:
            return None
        found = self._rows("SELECT run_id FROM runs WHERE request_key = ?", request_key)
        return _text_of(found[0][0]) if found else None


def _summary(run_id: str, row: Any) -> RunSummary:
    version, first, position, over, digest = row[:5]
    return RunSummary(
        run_id=run_id, version=version, first_position=first, position=position, over=bool(over), hash=digest
    )


def _text_of(run: Any) -> str:
    if isinstance(run, bytes) and len(run) == 16:
        return str(UUID(bytes=run))
    return repr(run)  # damaged: shown, and never found


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
