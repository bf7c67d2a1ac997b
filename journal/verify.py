"""Checking one run's log as it is stored, without trusting anything that reads it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..errors import LogCorrupt, UnknownRun
from ..events import AFTER_THE_END, GENESIS, TERMINAL_TAGS, Event
from ..events.codec import HASH_BYTES, decode_event, verify_hash
from ..ports import Journal, RunSummary


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
    out-of-line payload is there and unaltered, at most one end with nothing but notes after it, and the row of the
    index (whose hash shows a log that was cut off).

    Raises:
        UnknownRun: neither the log nor the index knows the run.
        JournalUnavailable: the journal cannot be read now.
        TypeError: this journal does not show what it stored.
    """
    if not isinstance(journal, StoredRows):
        raise TypeError(f"expected a journal that shows its stored rows, got {journal!r}")
    summary = journal.run(run_id)  # before the rows: a live run may have grown since
    rows = journal.rows(run_id)
    if summary is None and not rows:
        raise UnknownRun(run_id)
    problems: list[str] = []
    hashes: dict[int, tuple[bytes, int]] = {}
    ended_at = 0
    previous = GENESIS
    last_version = last_position = 0
    for version, position, tag, state in rows:
        if version != last_version + 1:
            problems.append(f"version {last_version + 1}: missing, the next one stored is {version}")
        if position <= last_position:
            problems.append(f"version {version}: its position {position} does not follow {last_position}")
        event = _decoded(journal, run_id, version, tag, state, position, problems)
        if event is not None and isinstance(state, bytes):
            try:
                verify_hash(event, state, previous)
            except LogCorrupt as error:
                problems.append(f"version {version}: {error.why}")
        if ended_at and tag not in AFTER_THE_END:
            problems.append(f"version {version}: {tag} after the run's end at version {ended_at}")
        if tag in TERMINAL_TAGS and not ended_at:
            ended_at = version
        previous = state[:HASH_BYTES] if isinstance(state, bytes) else b""
        hashes[version] = previous, position
        last_version, last_position = version, position
    return problems + _index_problems(summary, rows[0][1] if rows else 0, hashes, last_version, ended_at)


def _decoded(
    journal: StoredRows, run_id: str, version: int, tag: str, state: bytes | str, position: int, problems: list[str]
) -> Event | None:
    try:
        if isinstance(state, str):
            raise LogCorrupt(run_id, version, "text is stored where bytes belong")
        return decode_event(
            run_id, version, tag, state, position=position, blob=lambda sha256: journal.blob(run_id, sha256)
        )
    except LogCorrupt as error:
        problems.append(f"version {version}: {error.why}")
        return None


def _index_problems(
    summary: RunSummary | None, first: int, hashes: dict[int, tuple[bytes, int]], last_version: int, ended_at: int
) -> list[str]:
    if summary is None:
        return ["the index has no row for this run"]
    if summary.version not in hashes:
        return [f"the index says that the log has {summary.version} events, but it ends at version {last_version}"]
    problems: list[str] = []
    digest, position = hashes[summary.version]
    if digest != summary.hash:
        problems.append(f"version {summary.version}: its hash is not the one in the index")
    if position != summary.position or first != summary.first_position:
        problems.append("the index names other positions than the log")
    if summary.over != (0 < ended_at <= summary.version):
        problems.append(
            f"the index says that the run is {'over' if summary.over else 'not over'}, the log says otherwise"
        )
    return problems
