"""Which runs of a journal may move to its archive: whole families that are over, delivered, and old enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args
from uuid import UUID

import msgspec

from ..errors import JournalError
from ..events import Event, RunFinished, RunStarted, Status
from ..events.codec import HASH_BYTES, BlobRef, Body, decode_event, run_id_bytes
from ..projections.outbox import Sending, evolve_sending
from .layout import EVENTS_TABLE
from .reading import LogReader

PAGE: Final = 1000

_RUNS: Final = (
    "SELECT r.run_id, r.version, r.first_position, r.position, r.over, a.version, a.hash, f.topic, f.state, l.topic,"
    " l.state FROM runs r LEFT JOIN archived a ON a.run_id = r.run_id"
    f" LEFT JOIN {EVENTS_TABLE} f ON f.rowid = r.first_position LEFT JOIN {EVENTS_TABLE} l ON l.rowid = r.position"
    " WHERE r.first_position > ? ORDER BY r.first_position LIMIT ?"
)
_SIZE: Final = f"SELECT count(*), sum(length(state)) FROM {EVENTS_TABLE} WHERE originator_id = ?"
_PAYLOADS: Final = f"SELECT state FROM {EVENTS_TABLE} WHERE originator_id = ? AND instr(state, CAST('sha256' AS BLOB))"
_NEVER: Final = "WITH archived(run_id, version, hash) AS (SELECT 0, 0, 0 WHERE 0) "
"""Before a statement about a file of layout 1, which has no such table."""
_HEAD: Final = f"SELECT max(rowid) FROM {EVENTS_TABLE}"
_INTERRUPTED: Final = (
    f"SELECT a.run_id, a.version, a.hash FROM archived a WHERE EXISTS (SELECT 1 FROM {EVENTS_TABLE} e"
    " WHERE e.originator_id = a.run_id AND e.originator_version <= a.version)"
)

_body = msgspec.msgpack.Decoder(Body).decode

ENDING: Final = 20
"""Newest events of a run that are read to find its end."""


class Terms(msgspec.Struct, frozen=True):
    """Which runs move.

    before_us: wall clock; the newest event of the whole family must be older. caller, statuses: only families whose
    root has this caller, and one of these statuses; None and () for any. keep: so many of the newest families stay.
    """

    before_us: int
    caller: str | None = None
    statuses: tuple[str, ...] = ()
    keep: int = 0


def terms(
    now_us: int, older_than_s: float, caller: str | None = None, statuses: Iterable[str] = (), keep: int = 0
) -> Terms:
    """`Terms` by age in seconds.

    Raises:
        TypeError, ValueError: what was expected.
    """
    if isinstance(older_than_s, bool) or not isinstance(older_than_s, (int, float)) or not 0 <= older_than_s < 1e11:
        raise ValueError(f"compact, older_than_s: expected seconds ≥ 0, got {older_than_s!r}")
    if caller is not None and not isinstance(caller, str):
        raise TypeError(f"compact, caller: expected a text or None, got {caller!r}")
    chosen = () if isinstance(statuses, str) else tuple(statuses)
    if isinstance(statuses, str) or any(one not in get_args(Status) for one in chosen):
        raise ValueError(f"compact, statuses: expected some of {', '.join(get_args(Status))}, got {statuses!r}")
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
        raise ValueError(f"compact, keep: expected a number ≥ 0, got {keep!r}")
    return Terms(now_us - round(older_than_s * 1e6), caller, chosen, keep)


class Candidate(msgspec.Struct):
    """A run that is not wholly in the archive. moved: the version up to which it is, 0 for not at all."""

    run_id: str
    version: int
    first_position: int
    position: int
    over: bool
    moved: int
    started: RunStarted | None
    at_us: int
    events: int = 0
    size: int = 0


class Interrupted(msgspec.Struct):
    """A run that is in the archive up to `version`, which has `hash`, and is not yet gone here."""

    run_id: str
    version: int
    hash: bytes


class Plan(msgspec.Struct):
    """What moves, family by family, and how many of the other runs stay for which reason.

    Reasons: "young", "unfinished" (or of a family that is), "newest" (the journal's newest event always stays), "kept",
    "caller", "status", "delivery" (not settled), "unreadable".
    """

    families: list[list[Candidate]]
    staying: dict[str, int]
    interrupted: list[Interrupted]

    @property
    def runs(self) -> list[Candidate]:
        """Every run that moves."""
        return [run for family in self.families for run in family]


def plan(journal: LogReader, terms: Terms) -> Plan:
    """What may move by `terms`.

    Raises:
        JournalUnavailable: the journal cannot be read now.
    """
    families: dict[str, list[Candidate]] = {}
    never = _NEVER if journal.ask("PRAGMA user_version")[0][0] < 2 else ""
    for one in _candidates(journal, never):
        root = one.run_id
        if not one.moved and one.started is not None:  # what was moved before has only left something that came later
            root = one.started.info.root_run_id or one.run_id
        families.setdefault(root, []).append(one)
    newest = sorted(families, key=lambda root: families[root][0].first_position)[-terms.keep :] if terms.keep else ()
    kept = frozenset(newest)
    head = journal.ask(_HEAD)[0][0] or 0
    staying: Counter[str] = Counter()
    moving: list[list[Candidate]] = []
    for root, family in families.items():
        why = "kept" if root in kept else _why_not(journal, root, family, terms, head)
        if why:
            staying[why] += len(family)
        else:
            moving.append(family)
    for run in (run for family in moving for run in family):
        key = run_id_bytes(run.run_id)
        run.events, size = journal.ask(_SIZE, (key,))[0]
        payloads = [ref.size for (state,) in journal.ask(_PAYLOADS, (key,)) if (ref := blob_of(state)) is not None]
        run.size = (size or 0) + sum(payloads)
    interrupted = [Interrupted(str(UUID(bytes=row[0])), row[1], row[2]) for row in journal.ask(never + _INTERRUPTED)]
    return Plan(moving, dict(staying), interrupted)


def blob_of(state: Any) -> BlobRef | None:
    """The payload that a stored event has out of line, if it has one."""
    try:
        body = _body(state[HASH_BYTES:])
        return body.b if body.b is not None else body.y
    except Exception:  # it does not decode: it needs nothing that could be found
        return None


def _candidates(journal: LogReader, never: str) -> Iterator[Candidate]:
    after = 0
    while rows := journal.ask(never + _RUNS, (after, PAGE)):
        after = rows[-1][2]
        for row in rows:
            if row[1] != row[5] and isinstance(row[0], bytes) and len(row[0]) == 16:
                yield _candidate(journal, row)


def _candidate(journal: LogReader, row: Any) -> Candidate:
    key, version, first, position, over, moved, _, first_tag, first_state, last_tag, last_state = row
    run_id = str(UUID(bytes=key))
    started: RunStarted | None = None
    at_us = 0
    try:
        if moved is None:
            begun = _event(journal, run_id, 1, first_tag, first_state)
        else:
            begun = journal.read(run_id, limit=1)[0]
        if isinstance(begun.fact, RunStarted):
            started = begun.fact
        at_us = _event(journal, run_id, version, last_tag, last_state).at_us
    except (JournalError, TypeError, IndexError):  # damaged, or its archive is missing: it stays
        started = None
    return Candidate(run_id, version, first, position, bool(over), moved or 0, started, at_us)


def _event(journal: LogReader, run_id: str, version: int, tag: str, state: bytes) -> Event:
    def blob(sha256: bytes) -> bytes | None:
        return journal.blob(run_id, sha256)

    return decode_event(run_id, version, tag, state, position=0, blob=blob, opener=journal.opening)


def _why_not(journal: LogReader, root: str, family: list[Candidate], terms: Terms, head: int) -> str:
    """Why the family stays, "" if it may move."""
    if any(run.started is None for run in family):
        return "unreadable"
    if not all(run.over for run in family):
        return "unfinished"
    if any(run.position >= head for run in family):
        return "newest"
    if any(run.at_us >= terms.before_us for run in family):
        return "young"
    first = family[0].started
    assert first is not None
    if terms.caller is not None and first.info.caller_id != terms.caller:
        return "caller"
    try:
        if terms.statuses and _status(journal, root) not in terms.statuses:
            return "status"
        if any(_owes_delivery(journal, run) for run in family):
            return "delivery"
    except JournalError:
        return "unreadable"
    return ""


def _status(journal: LogReader, run_id: str) -> str:
    ends = [event.fact.status for event in _newest(journal, run_id) if isinstance(event.fact, RunFinished)]
    return ends[0] if ends else ""


def _owes_delivery(journal: LogReader, run: Candidate) -> bool:
    started = run.started
    if run.moved:
        sending = Sending(wanted=True, over=True, settled="dead")
        events: Iterable[Event] = journal.read(run.run_id, after=run.moved)
    elif started is not None and started.deliver:
        sending = Sending(wanted=True)
        events = _newest(journal, run.run_id)
    else:
        return False
    for event in events:
        sending = evolve_sending(sending, event.fact)
    return not sending.settled


def _newest(journal: LogReader, run_id: str) -> list[Event]:
    """The newest events of a run, its end among them."""
    summary = journal.run(run_id)
    after = summary.version if summary is not None else 0
    events: list[Event] = []
    while after and not any(isinstance(event.fact, RunFinished) for event in events):
        before, after = after, max(0, after - ENDING)
        events = [*journal.read(run_id, after=after, limit=before - after), *events]
    return events
