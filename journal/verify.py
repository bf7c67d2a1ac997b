"""Checking one run's log as it is stored, without trusting anything that reads it.

Rows are taken as they come out of the table, whatever somebody put there; nothing in them can do more than be found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from ..errors import LogCorrupt, UnknownRun
from ..events import (
    AFTER_THE_END,
    GENESIS,
    TERMINAL_TAGS,
    Content,
    Event,
    Opaque,
    Opener,
    RunFinished,
    RunStarted,
    Withheld,
)
from ..events.codec import HASH_BYTES, decode_event, run_id_bytes, sealed_blob
from ..events.envelope import chain_hash
from ..ports import Journal, RunSummary, request_key_of
from ..projections import Checkpoint, RunState, Transcript, evolve, evolve_transcript, stats
from .findings import Finding
from .keyring import Keyring

MOST_OF_A_RUN: Final = 20
"""Findings of one run that are told; of more there is only the number."""

LAST_TIME_US: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999: no clock ever said more."""

BROKEN: Final = "the hash chain is broken here"

Row = tuple[Any, Any, Any, Any]
"""(version, position, tag, state) as they are stored: integers, a text, bytes, or whatever was put there."""


@runtime_checkable
class StoredRows(Protocol):
    """A journal that shows what it stored, undecoded."""

    def run(self, run_id: str) -> RunSummary | None:
        """The run's row in the index."""
        ...

    def rows(self, run_id: str) -> list[tuple[int, int, str, bytes | str]]:
        """(version, position, tag, state: text if somebody damaged it) of a run's events, in order of version."""
        ...

    def blob(self, run_id: str, sha256: bytes) -> bytes | None:
        """An out-of-line payload."""
        ...


def verify_run(journal: Journal, run_id: str) -> list[str]:
    """Check promise P2 for one run, and that the index agrees with its log; return what is wrong, a sentence each.

    Checked are: versions without a gap, positions that grow, the hash chain, that every event decodes and every
    out-of-line payload is there and unaltered, at most one end with nothing but notes after it, epochs never
    going down, and the row of the index (whose hash shows a log that was cut off).

    Raises:
        UnknownRun: neither the log nor the index knows the run.
        ArchiveMissing: its events were moved to an archive that is not there.
        JournalUnavailable: the journal cannot be read now.
        TypeError: this journal does not show what it stored.
    """
    if not isinstance(journal, StoredRows):
        raise TypeError(f"expected a journal that shows its stored rows, got {journal!r}")
    summary = journal.run(run_id)  # before the rows: a live run may have grown since
    rows = journal.rows(run_id)
    if summary is None and not rows:
        raise UnknownRun(run_id)
    watched = summary.version if summary is not None else 0
    opener: Opener | None = getattr(journal, "opening", None)
    blob = partial(journal.blob, run_id)
    check = RunCheck(run_id, blob, watched, folds=False, strict=False, opener=opener)
    for row in rows:
        check.take(row)
    check.compare(summary)
    check.compare_key(getattr(journal, "keyring", None))
    if summary is not None and check.version > summary.version:
        check.compare_again(journal.run(run_id))
    return [str(finding) for finding in check.findings if not finding.remark]


class RunCheck:
    """The check of one run: `take` its rows in order of version, then `compare` with the row of the index.

    blob: fetches an out-of-line payload. watched: the version that the index knows. folds: whether the facts must fold,
    and to the stored folds in `snapshots`, by version. strict: whether they must also add up to the stats at the end,
    and the run's clock never go back.
    """

    def __init__(
        self,
        run_id: str,
        blob: Callable[[bytes], bytes | None],
        watched: int,
        snapshots: dict[int, Checkpoint] | None = None,
        *,
        folds: bool = True,
        strict: bool = True,
        opener: Opener | None = None,
    ) -> None:
        self.run_id = run_id
        self.taken = 0
        self._key = run_id_bytes(run_id)
        self.findings: list[Finding] = []
        self.version = self.position = self.first_position = 0
        self.ended_at = 0
        self.started: RunStarted | None = None
        self.found = 0
        """Findings, those that are not told included."""
        self._watched = watched
        """The version that the index knows, whose hash and position are remembered."""
        self._at_watched: tuple[bytes, int] | None = None
        self._ended_by_watched = 0
        self._blob = blob
        self._opener = opener
        self.contents: set[Content] = set()
        """How the content of its events was found."""
        self._said_erased = False
        self._snapshots = snapshots or {}
        self._previous: bytes | None = GENESIS
        self._epoch = self._elapsed_ms = 0
        self._state = RunState()
        self._transcript = Transcript()
        self._folds, self._strict = folds, strict
        self.missing: list[tuple[int, int]] = []
        """Between which positions (exclusive) versions are missing; 0 for the end."""

    def note(self, why: str, version: int = 0, position: int = 0, *, remark: bool = False) -> None:
        """Something was found."""
        self.found += not remark
        if remark or self.found <= MOST_OF_A_RUN:
            self.findings.append(Finding(why, self.run_id, version, position, remark))

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the events add up to, if nothing is wrong with them."""
        if self.found or not self._folds or not isinstance(self._previous, bytes):
            return None
        withheld: Withheld | None = None
        if "erased" in self.contents or "locked" in self.contents:
            withheld = "erased" if "erased" in self.contents else "locked"
        return Checkpoint(self._state, self._transcript, self.version, self._previous, self._elapsed_ms, withheld)

    # -------------------------------------------------------------- the log

    def take(self, row: Row) -> None:
        """Check the next row."""
        version, position, tag, state = row
        self.taken += 1
        if not isinstance(version, int) or not 1 <= version < 1 << 63:
            self.note(f"an event has the version {version!r:.40}, which is none", 0, position)
            return
        if version != self.version + 1:
            self.note("missing" + _next(version), self.version + 1, position)
            self.missing.append((self.position, position))
            self._previous, self._folds = None, False  # what it was chained to is not known
        if position <= self.position:
            self.note(f"its position does not follow {self.position}", version, position)
        before = self.found
        digest = state[:HASH_BYTES] if isinstance(state, bytes) else b""
        event = self._decoded(version, position, tag, state)
        if event is not None:
            self._look_at(event, version, position)
        if isinstance(tag, str):
            self._order(tag, version, position)
        if event is not None and self.found == before:
            self._fold(event, version, position)
        else:
            self._folds = False
        if version == self._watched:
            self._at_watched, self._ended_by_watched = (digest, position), self.ended_at
        self._previous = digest if len(digest) == HASH_BYTES else None
        self.first_position = self.first_position or position
        self.version, self.position = version, position

    def _decoded(self, version: int, position: int, tag: Any, state: Any) -> Event | None:
        if not isinstance(tag, str) or not isinstance(state, bytes):
            what = "tag" if isinstance(state, bytes) else "content"
            self.note(f"its {what} is stored as {type(tag if what == 'tag' else state).__name__}", version, position)
            return None
        event: Event | None = None
        why = ""
        try:
            event = decode_event(
                self.run_id, version, tag, state, position=position, blob=self._blob, opener=self._opener
            )
            self.contents.add(event.content)
            if event.content == "locked" and (sealed := sealed_blob(state)[1]) is not None:
                self._look_at_sealed(sealed)
        except LogCorrupt as error:
            why = error.why
        if self._previous is None:
            chained = True  # nobody can tell
        else:
            want = chain_hash(self._previous, self._key, version, tag, state[HASH_BYTES:])
            chained = want == state[:HASH_BYTES]
            if not chained:
                why = f"{why}; {BROKEN}" if why else BROKEN
        if why:
            self.note(why, version, position)
        return event if chained else None

    def _look_at_sealed(self, sha256: bytes) -> None:
        """A sealed payload that cannot be opened here must be there, and be what its hash says."""
        found = self._blob(sha256)
        if found is None or hashlib.sha256(found).digest() != sha256:
            what = "missing" if found is None else "altered"
            raise LogCorrupt(self.run_id, self.version + 1, f"blob {sha256.hex()} is {what}")

    def _look_at(self, event: Event, version: int, position: int) -> None:
        self._said_erased = self._said_erased or event.tag == "content-erased"
        if event.epoch < self._epoch:
            self.note(f"owner epoch {event.epoch} after epoch {self._epoch}", version, position)
        if event.elapsed_ms < self._elapsed_ms and self._strict:
            self.note(f"the run's clock goes back from {self._elapsed_ms} to {event.elapsed_ms} ms", version, position)
        if not 0 <= event.at_us <= LAST_TIME_US:
            self.note(f"its time, {event.at_us} µs, is none", version, position)
        self._epoch, self._elapsed_ms = max(event.epoch, self._epoch), max(event.elapsed_ms, self._elapsed_ms)
        if version == 1:
            if isinstance(event.fact, RunStarted):
                self.started = event.fact
                if event.fact.info.run_id != self.run_id:
                    self.note(f"it is the start of run {event.fact.info.run_id!r:.60}", version, position)
            elif not isinstance(event.fact, Opaque):
                self.note(f"a run cannot begin with {event.tag}", version, position)
        if isinstance(event.fact, Opaque) and self._folds:
            why = f"the fact {event.tag!r:.60} is of a newer version: the run is read-only here"
            self.note(why, version, position, remark=True)
            self._folds = False

    def compare_key(self, keyring: Keyring | None) -> None:
        """Compare what the log says of its content with the keys."""
        if self._said_erased and "sealed" in self.contents:
            self.note("its log says that its content was erased, and its key is there: erase it again")
        elif "erased" in self.contents and not self._said_erased:
            self.note("its key was destroyed, and its log does not say so")
        elif "locked" in self.contents and keyring is not None and keyring.can_open:
            self.note("its content is sealed, and its key is not in the keys file")

    def _order(self, tag: str, version: int, position: int) -> None:
        if self.ended_at and tag not in AFTER_THE_END:
            self.note(f"{tag!r:.60} after the run's end at version {self.ended_at}", version, position)
        if tag in TERMINAL_TAGS and not self.ended_at:
            self.ended_at = version

    # -------------------------------------------------------------- what it adds up to

    @property
    def epoch(self) -> int:
        """The highest owner epoch so far."""
        return self._epoch

    def _fold(self, event: Event, version: int, position: int) -> None:
        if not self._folds:
            return
        fact = event.fact
        try:
            if isinstance(fact, RunFinished) and self._strict:
                given = fact.stats
                counted = stats(self._state, given.status, given.error, round(given.runtime_s * 1000))
                if counted != given:
                    self.note("the stats at the end are not what the events add up to", version, position)
            self._state = evolve(self._state, fact)
            self._transcript = evolve_transcript(self._transcript, fact)
        except Exception as error:  # it decodes, and makes no sense where it stands
            self.note(f"the log does not fold: {error!r:.200}", version, position)
            self._folds = False
            return
        stored = self._snapshots.get(version)
        if stored is not None:
            now = Checkpoint(self._state, self._transcript, version, event.hash, event.elapsed_ms)
            if stored.hash != event.hash:
                self.note("a snapshot of another log is ignored", version, position, remark=True)
            elif now != stored:
                self.note("folding the log from its first event gives another state than stored", version, position)

    # -------------------------------------------------------------- the index

    def compare(self, summary: RunSummary | None, request_key: str | None = None) -> None:
        """Compare with the row of the index, which was read before the rows. request_key: as the index has it."""
        if self.found > MOST_OF_A_RUN:
            more = self.found - MOST_OF_A_RUN
            self.findings.append(Finding(f"and {more} more", self.run_id, self.version, self.position))
        if summary is None:
            self.note("the index has no row for this run", 0, self.first_position)
            return
        version, position = summary.version, summary.position
        if not (isinstance(version, int) and isinstance(position, int) and isinstance(summary.hash, bytes)):
            self.note("the index has no numbers where they belong", 0, self.first_position)
            return
        if version > self.version:
            why = f"the index says that the log has {version} events, but it ends at version {self.version}"
            self.note(why, self.version + 1, self.position + 1 if self.position else summary.first_position)
            self.missing.append((self.position, position + 1))
            return
        at = self._at_watched if version == self._watched else None
        if at is None:
            self.note(f"the index says that the newest event is version {version}, which is missing", version)
            return
        if at[0] != summary.hash:
            self.note("its hash is not the one in the index", version, at[1])
        if at[1] != position or self.first_position != summary.first_position:
            self.note("the index names other positions than the log", version, at[1])
        if summary.over != (0 < self._ended_by_watched <= version):
            says = "over" if summary.over else "not over"
            self.note(f"the index says that the run is {says}, the log says otherwise", version, at[1])
        info = self.started.info if self.started is not None else None
        asked = request_key_of(info.caller_id, info.request_id) if info is not None else ""
        if asked and request_key is not None and request_key != asked:
            self.note("the index has another request for this run than its log", 1, self.first_position)

    def compare_again(self, summary: RunSummary | None) -> None:
        """The log goes on past the row of the index: then the row, read again after the rows, must have moved too."""
        if summary is None or summary.version < self.version:
            known = 0 if summary is None else summary.version
            self.note(
                f"the log goes on to version {self.version}, the index only knows {known}", known + 1, self.position
            )


def _next(version: int) -> str:
    return f", the next one stored is {version}"
