"""Runs that a host keeps out of its stored journal: they live in memory beside it, behind the same port."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..errors import RequestRepeated
from ..events import Event, RunFinished, RunStarted
from ..ports import Append, Follower, RunSummary
from ..projections import Checkpoint
from .memory import MemoryJournal
from .sqlite import SqliteJournal

KEPT = 1_000
"""Finished runs in memory that are remembered, for whoever asks late."""


class BesideJournal:
    """A `Journal` of two: `stored`, and one in memory for the runs named with `keep_aside`, with all their children.

    Followers are told of both; a memory run's positions are its own and mean nothing beside stored ones, so what goes
    by position (`scan`, `head`, `runs`) is the stored journal's alone.
    """

    def __init__(self, stored: MemoryJournal | SqliteJournal) -> None:
        self.stored = stored
        self.aside = MemoryJournal(keep_finished=KEPT)
        self._lock = threading.Lock()
        self._aside: dict[str, bool] = {}
        """Run id -> whether it is recorded; only runs in memory."""
        self._ends: dict[str, RunFinished] = {}
        self._order: deque[str] = deque()

    def keep_aside(self, run_id: str, *, recorded: bool) -> None:
        """Keep the run that is about to start in memory; without `recorded` it is forgotten when it is over."""
        self._aside[run_id] = recorded

    def is_aside(self, run_id: str) -> bool:
        """Whether the run is kept in memory."""
        return run_id in self._aside

    def end_of(self, run_id: str) -> RunFinished | None:
        """How an unrecorded run ended, if it did lately."""
        return self._ends.get(run_id)

    # -------------------------------------------------------------- writing

    @property
    def epoch(self) -> int:
        """The stored journal's."""
        return self.stored.epoch

    def append(self, append: Append) -> None:
        """See `ports.Journal.append`."""
        if append.run_id not in self._aside and append.expected == 0 and append.stored:
            first = append.stored[0].event.fact
            root = first.info.root_run_id if isinstance(first, RunStarted) else ""
            if root in self._aside:  # a child follows its root
                self._aside[append.run_id] = self._aside[root]
        if append.run_id not in self._aside:
            other = self.aside.find_request(append.request_key) if append.request_key else None
            home: MemoryJournal | SqliteJournal = self.stored
        else:
            other = self.stored.find_request(append.request_key) if append.request_key else None
            home = self.aside
        if other is not None and append.expected == 0:
            append.done(RequestRepeated(append.request_key, other))
            return
        home.append(append)
        if home is self.aside:
            end = next((one.event.fact for one in append.stored if isinstance(one.event.fact, RunFinished)), None)
            if isinstance(end, RunFinished):
                self._over(append.run_id, end)

    def _over(self, run_id: str, end: RunFinished) -> None:
        row = self.aside.run(run_id)
        if row is None or not row.over:  # the append was refused
            return
        recorded = self._aside.get(run_id, True)
        with self._lock:
            if not recorded:
                self._ends[run_id] = end
            self._order.append(run_id)
            while len(self._order) > KEPT:
                oldest = self._order.popleft()
                self._ends.pop(oldest, None)
                self._aside.pop(oldest, None)
        if not recorded:
            self.aside.forget(run_id)

    # -------------------------------------------------------------- reading

    def _home(self, run_id: str) -> MemoryJournal | SqliteJournal:
        return self.aside if run_id in self._aside else self.stored

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """See `ports.Journal.read`."""
        return self._home(run_id).read(run_id, after, limit, verify=verify)

    def load(self, run_id: str) -> Checkpoint:
        """See `ports.Journal.load`."""
        return self._home(run_id).load(run_id)

    def run(self, run_id: str) -> RunSummary | None:
        """See `ports.Journal.run`."""
        return self._home(run_id).run(run_id)

    def rows(self, run_id: str) -> list[tuple[int, int, str, bytes | str]]:
        """The run's rows as they are stored; see `verify.StoredRows`."""
        return self._home(run_id).rows(run_id)

    def blob(self, run_id: str, sha256: bytes) -> bytes | None:
        """A blob as it is stored; see `verify.StoredRows`."""
        return self._home(run_id).blob(run_id, sha256)

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Of the stored journal; see `ports.Journal.scan`."""
        return self.stored.scan(after, limit)

    def head(self) -> int:
        """Of the stored journal; see `ports.Journal.head`."""
        return self.stored.head()

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """Of the stored journal; see `ports.Journal.runs`."""
        return self.stored.runs(unfinished=unfinished, after=after, limit=limit)

    def find_request(self, request_key: str) -> str | None:
        """See `ports.Journal.find_request`."""
        return self.stored.find_request(request_key) or self.aside.find_request(request_key)

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Be told of both; a run's events come in order. See `ports.Journal.follow`."""
        leaves = (self.stored.follow(follower), self.aside.follow(follower))

        def leave() -> None:
            for one in leaves:
                one()

        return leave

    def close(self, timeout: float = 10.0) -> bool:
        """Close both; see `ports.Journal.close`."""
        self.aside.close()
        return self.stored.close(timeout)
