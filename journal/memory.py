"""A journal in memory: for runs that need not outlive the process. It forgets the oldest finished runs."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from msgspec.structs import force_setattr

from ..errors import DiskFull, ForkedProcess, JournalError, JournalUnavailable, LogCorrupt, RequestRepeated, UnknownRun
from ..events import GENESIS, Event, Opaque, Seal, Withheld
from ..events.codec import decode_event, verify_hash
from ..ports import Append, Follower, Recovery, RunSummary, Unfinished
from ..projections import Checkpoint, fold
from . import forks
from .followers import Followers, acknowledge
from .rules import Head, advance_head, refusal


class ForgettingRecorder(POPOApplicationRecorder):
    """The library's in-memory recorder, able to forget a whole run. Positions grow and are never reused."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[Notification] = []
        self._runs: dict[str, list[Notification]] = {}
        self._last = 0
        self._forgotten = 0

    def _assert_uniqueness(self, stored_events: Sequence[StoredEvent], **_: Any) -> None:
        """Uniqueness follows from the contiguity that the journal checks."""

    def _update_table(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        first = self._last + 1
        for stored in stored_events:
            self._last += 1
            run_id = str(stored.originator_id)
            kept = Notification(run_id, stored.originator_version, stored.topic, stored.state, self._last)
            self._order.append(kept)
            self._runs.setdefault(run_id, []).append(kept)
        return range(first, self._last + 1)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[Notification]:
        """As the library's; each event comes with its position as `id`."""
        with self._database_lock:
            found = self._runs.get(str(originator_id), [])[gt or 0 : lte]
        if desc:
            found.reverse()
        return found[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        """As the library's, without what was forgotten."""
        first = (start or 0) + (0 if inclusive_of_start else 1)
        found: list[Notification] = []
        with self._database_lock:
            for index in range(bisect_left(self._order, first, key=_position), len(self._order)):
                one = self._order[index]
                if len(found) >= limit or (stop is not None and one.id > stop):
                    break
                if one.originator_id in self._runs and (not topics or one.topic in topics):
                    found.append(one)
        return found

    def max_notification_id(self) -> int | None:
        """The highest position ever given, None if there was none."""
        return self._last or None

    def forget(self, run_id: str) -> None:
        """Drop the run. The order is swept when half of it is gone, so that forgetting costs O(1) an event."""
        with self._database_lock:
            self._forgotten += len(self._runs.pop(run_id, ()))
            if self._forgotten * 2 > len(self._order):
                self._order = [one for one in self._order if one.originator_id in self._runs]
                self._forgotten = 0


def _position(notification: Notification) -> int:
    return notification.id


class _Kept:
    """What the journal knows of one run."""

    __slots__ = ("blobs", "head", "request_key")

    def __init__(self, request_key: str) -> None:
        self.head = Head()
        self.request_key = request_key
        self.blobs: dict[bytes, bytes] = {}


class MemoryJournal:
    """A `Journal` of this process only. keep_finished: how many finished runs are remembered.

    An append is stored by the call itself; `done` and followers are told on whichever appending thread comes first,
    in order. After a run was forgotten its id is unknown, and readers of positions get what is left.
    """

    def __init__(self, *, keep_finished: int = 1000) -> None:
        if keep_finished < 0:
            raise ValueError(f"keep_finished: expected a number ≥ 0, got {keep_finished!r}")
        self._keep_finished = keep_finished
        self.recorder = ForgettingRecorder()
        self._lock = threading.Lock()
        self._runs: dict[str, _Kept] = {}
        self._finished: deque[str] = deque()
        self._requests: dict[str, str] = {}
        self._recoveries: dict[str, Recovery] = {}
        self._followers = Followers()
        self._outbox: deque[tuple[Append, JournalError | None]] = deque()
        self._telling = False
        self._closed = False
        self._forked = False
        forks.register(self)

    @property
    def epoch(self) -> int:
        """Always 1: nobody else can own this memory."""
        return 1

    @property
    def held(self) -> bool:
        """Always."""
        return True

    def short(self, run_id: str) -> str:
        """Never."""
        return ""

    def no_room(self) -> DiskFull | None:
        """Never."""
        return None

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        """See `ports.Journal.confirm`."""
        self._check_open()
        told(None)

    def when_stopped(self, told: Callable[[JournalError], None]) -> None:
        """See `SqliteJournal.when_stopped`; this one never does."""

    def left_behind(self) -> list[object]:
        """A forked child may not use this: a lock in it may be held by a thread that the child does not have."""
        self._forked = True
        return []

    def _check_open(self) -> None:
        if self._forked:
            raise ForkedProcess("this journal")
        if self._closed:
            raise JournalUnavailable("the journal is closed")

    # -------------------------------------------------------------- writing

    def append(self, append: Append) -> None:
        """Store `append` now; see `ports.Journal.append`."""
        self._check_open()
        with self._lock:
            self._outbox.append((append, self._store(append)))
            if self._telling:
                return
            self._telling = True
        self._tell()

    def _store(self, append: Append) -> JournalError | None:
        try:
            repeated = self._requests.get(append.request_key) if append.request_key else None
            if repeated is not None and append.expected == 0:
                return RequestRepeated(append.request_key, repeated)
            run_id = append.run_id
            kept = self._runs.get(run_id) or _Kept(append.request_key)
            error = refusal(append, kept.head)
            if error is not None or not append.stored:
                return error
            rows = [StoredEvent(run_id, one.event.version, one.event.tag, one.state) for one in append.stored]
            positions = self.recorder.insert_events(rows)
            assert positions is not None
            for stored, position in zip(append.stored, positions, strict=True):
                force_setattr(stored.event, "position", position)
                if stored.blob is not None:
                    kept.blobs[stored.blob[0]] = stored.blob[1]
            was_over = kept.head.over
            advance_head(kept.head, append, positions[-1])
            self._runs[run_id] = kept
            if kept.request_key:
                self._requests[kept.request_key] = run_id
            if kept.head.over and not was_over:
                self._finished.append(run_id)
                while len(self._finished) > self._keep_finished:
                    self._forget(self._finished.popleft())
            return None
        except Exception as error:  # something that is no append: it fails alone
            return JournalUnavailable(f"this append cannot be stored: {error!r}")

    def forget(self, run_id: str) -> None:
        """Drop a run that is over; one that is not, or is unknown, is left alone."""
        with self._lock:
            kept = self._runs.get(run_id)
            if kept is not None and kept.head.over:
                self._finished.remove(run_id)
                self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        kept = self._runs.pop(run_id)
        self._requests.pop(kept.request_key, None)
        self.recorder.forget(run_id)

    def _tell(self) -> None:
        while True:
            with self._lock:
                batch = list(self._outbox)
                self._outbox.clear()
                if not batch:
                    self._telling = False
                    return
            for append, error in batch:
                acknowledge(append, error)
            if self._followers:
                events = [stored.event for append, error in batch if error is None for stored in append.stored]
                if events:
                    self._followers.tell(events)

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """In the clear: nothing is stored anywhere."""
        return None

    # -------------------------------------------------------------- reading

    def _decode(self, row: Notification) -> Event:
        run_id = str(row.originator_id)
        kept = self._runs.get(run_id)
        blobs = kept.blobs if kept is not None else {}
        return decode_event(run_id, row.originator_version, row.topic, row.state, position=row.id, blob=blobs.get)

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """See `ports.Journal.read`."""
        self._check_open()
        with self._lock:
            if run_id not in self._runs:
                raise UnknownRun(run_id)
            rows = self.recorder.select_events(run_id, gt=after, limit=limit)
            events = [self._decode(row) for row in rows]
            before = self.recorder.select_events(run_id, gt=after - 1, limit=1) if verify and after else []
        if verify:
            previous = before[0].state[:32] if before else GENESIS
            for event, row in zip(events, rows, strict=True):
                verify_hash(event, row.state, previous)
                previous = event.hash
        return events

    def load(self, run_id: str) -> Checkpoint:
        """See `ports.Journal.load`."""
        events = self.read(run_id)
        try:
            return fold(events)
        except Exception as error:
            raise LogCorrupt(run_id, len(events), f"the log does not fold: {error!r}") from error

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """See `ports.Journal.scan`."""
        self._check_open()
        with self._lock:
            rows = self.recorder.select_notifications(after, limit, inclusive_of_start=False)
            return [self._decode_or_opaque(row) for row in rows]

    def _decode_or_opaque(self, row: Notification) -> Event:
        try:
            return self._decode(row)
        except LogCorrupt:
            return Event(
                run_id=str(row.originator_id),
                version=row.originator_version,
                tag=row.topic,
                fact=Opaque(tag=row.topic, schema=-1, payload=row.state),
                position=row.id,
            )

    def rows(self, run_id: str) -> list[tuple[int, int, str, bytes | str]]:
        """(version, position, tag, state) of everything stored of a run, undecoded, in order of version."""
        self._check_open()
        found = self.recorder.select_events(run_id)
        return [(row.originator_version, row.id, row.topic, row.state) for row in found]

    def blob(self, run_id: str, sha256: bytes) -> bytes | None:
        """An out-of-line payload of a run, or None."""
        self._check_open()
        kept = self._runs.get(run_id)
        return kept.blobs.get(sha256) if kept is not None else None

    def head(self) -> int:
        """See `ports.Journal.head`."""
        self._check_open()
        return self.recorder.max_notification_id() or 0

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """See `ports.Journal.runs`."""
        self._check_open()
        with self._lock:
            found = [
                kept.head.summary(run_id)
                for run_id, kept in self._runs.items()
                if kept.head.first_position > after and not (unfinished and kept.head.over)
            ]
        return found[:limit]

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        """See `ports.Journal.unfinished`."""
        return [
            Unfinished(summary=row, first=self.read(row.run_id, limit=1)[0])
            for row in self.runs(unfinished=True, after=after, limit=limit)
        ]

    def recoveries(self) -> list[Recovery]:
        """See `ports.Journal.recoveries`."""
        self._check_open()
        with self._lock:
            return list(self._recoveries.values())

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """See `ports.Journal.keep_recoveries`; `done` is called before it returns."""
        self._check_open()
        with self._lock:
            for run_id in dropped:
                self._recoveries.pop(run_id, None)
            self._recoveries.update({one.run_id: one for one in kept})
        done(None)

    def run(self, run_id: str) -> RunSummary | None:
        """See `ports.Journal.run`."""
        self._check_open()
        with self._lock:
            kept = self._runs.get(run_id)
            return kept.head.summary(run_id) if kept is not None else None

    def find_request(self, request_key: str) -> str | None:
        """See `ports.Journal.find_request`."""
        self._check_open()
        return self._requests.get(request_key) if request_key else None

    def follow(self, follower: Follower) -> Callable[[], None]:
        """See `ports.Journal.follow`."""
        self._check_open()
        return self._followers.join(follower)

    def close(self, timeout: float = 10.0) -> bool:
        """End it; what is remembered is gone with it."""
        if self._forked:
            raise ForkedProcess("this journal")
        if not self._closed:
            self._closed = True
            forks.unregister(self)
            self._followers.end()
        return True
