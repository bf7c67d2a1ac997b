"""Runs that a host keeps out of its stored journal: they live in memory beside it, behind the same port."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from ..errors import JournalError, RequestRepeated
from ..events import Event, Fact, RunFinished, RunStarted, Seal, Withheld
from ..ports import Append, Follower, Recovery, RunSummary, Unfinished
from ..projections import Checkpoint
from .followers import acknowledge
from .keyring import Keyring
from .memory import MemoryJournal
from .sqlite import SqliteJournal

KEPT = 1_000
"""Finished runs in memory that are remembered, for whoever asks late."""


class BesideJournal:
    """A `Journal` of two: `stored`, and one in memory for the runs named with `keep_aside`, with all their children.

    Followers are told of both; a memory run's positions are its own and mean nothing beside stored ones, so what goes
    by position (`scan`, `head`, `runs`) is the stored journal's alone. One request is one run also across the two,
    except for two starts at the same moment of which only one is kept aside.
    """

    def __init__(self, stored: MemoryJournal | SqliteJournal) -> None:
        self.stored = stored
        self.aside = MemoryJournal(keep_finished=KEPT)
        self._lock = threading.Lock()
        self._aside: dict[str, _Place] = {}
        """By run id; only runs in memory."""
        self._ends: dict[str, RunFinished] = {}
        self._requests: dict[str, str] = {}
        """Request keys of unrecorded runs, as long as their ends are known."""
        self._order: deque[str] = deque()

    def keep_aside(self, run_id: str, *, recorded: bool) -> None:
        """Keep the run that is about to start in memory; without `recorded` it is forgotten when it is over."""
        self._aside[run_id] = _Place(recorded, run_id)

    def is_aside(self, run_id: str) -> bool:
        """Whether the run is kept in memory."""
        return run_id in self._aside

    def is_recorded(self, run_id: str) -> bool:
        """Whether the run's log outlives its end."""
        place = self._aside.get(run_id)
        return place is None or place.recorded

    def end_of(self, run_id: str) -> RunFinished | None:
        """How an unrecorded run ended that is forgotten, if that was lately."""
        return self._ends.get(run_id)

    # -------------------------------------------------------------- writing

    @property
    def epoch(self) -> int:
        """The stored journal's."""
        return self.stored.epoch

    @property
    def held(self) -> bool:
        """The stored journal's."""
        return self.stored.held

    def short(self, run_id: str) -> str:
        """Of the stored journal, for runs in it."""
        why = self.stored.short(run_id)
        return "" if why and run_id in self._aside else why

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        """Of the stored journal; see `ports.Journal.confirm`."""
        self.stored.confirm(told)

    def append(self, append: Append) -> None:
        """See `ports.Journal.append`."""
        place = self._aside.get(append.run_id)
        if append.expected == 0:
            if place is None:
                place = self._beside_its_root(append)
            repeated = self._elsewhere(append.request_key, place) if append.request_key else None
            if repeated is not None:
                self._aside.pop(append.run_id, None)
                acknowledge(append, RequestRepeated(append.request_key, repeated))
                return
        if place is None:
            self.stored.append(append)
            return
        self.aside.append(append)
        if append.expected == 0:
            place.request_key = place.request_key or append.request_key
            if self.aside.run(append.run_id) is None:  # it was refused, and never began
                self._aside.pop(append.run_id, None)
                return
        end = next((fact for fact in _facts(append) if type(fact) is RunFinished), None)
        if end is not None:
            self._over(append.run_id, place, end)

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """See `ports.Journal.seal`. What is kept in memory is in the clear; files of such a run have a key that is not
        stored either.
        """
        if not files and (run_id in self._aside or root in self._aside):
            return None
        return self.stored.seal(run_id, new=new or run_id in self._aside, root=root, files=files)

    def _beside_its_root(self, append: Append) -> _Place | None:
        """A child follows its root."""
        first = next(iter(_facts(append)), None)
        root = first.info.root_run_id if type(first) is RunStarted else ""
        family = self._aside.get(root)
        if family is None:
            return None
        place = self._aside[append.run_id] = _Place(family.recorded, root)
        with self._lock:
            family.children.append(append.run_id)
        return place

    def _elsewhere(self, request_key: str, place: _Place | None) -> str | None:
        """The run of a request in the journal that does not see the append."""
        other = self.aside if place is None else self.stored
        return other.find_request(request_key) or self._requests.get(request_key)

    def _over(self, run_id: str, place: _Place, end: RunFinished) -> None:
        row = self.aside.run(run_id)
        if place.end is not None or row is None or not row.over:  # the append was refused
            return
        place.end = end
        with self._lock:
            self._order.append(run_id)
            if not place.recorded:
                self._forget_family(run_id, place)
            while len(self._order) > KEPT:
                oldest = self._order.popleft()
                self.aside.forget(oldest)
                self._ends.pop(oldest, None)
                gone = self._aside.pop(oldest, None)
                if gone is not None and self._requests.get(gone.request_key) == oldest:
                    del self._requests[gone.request_key]

    def _forget_family(self, run_id: str, place: _Place) -> None:
        """Forget an unrecorded run. A child's log is kept until its root is over: the parent's actor may have to be
        rebuilt, and then looks there for the answer.
        """
        root = self._aside.get(place.root)
        if root is not None and root.end is None:
            return
        for one in (*place.children, run_id):
            gone = self._aside.get(one)
            if gone is not None and gone.end is not None:
                self._ends[one] = gone.end  # before the log is gone: whoever looks finds one of them
                if gone.request_key:
                    self._requests[gone.request_key] = one
                self.aside.forget(one)

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

    def opening(self, run_id: str, key: bytes) -> Seal | Withheld:
        """Of the stored journal; see `events.Opener`."""
        return "locked" if isinstance(self.stored, MemoryJournal) else self.stored.opening(run_id, key)

    @property
    def keyring(self) -> Keyring | None:
        """Of the stored journal."""
        return None if isinstance(self.stored, MemoryJournal) else self.stored.keyring

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Of the stored journal; see `ports.Journal.scan`."""
        return self.stored.scan(after, limit)

    def head(self) -> int:
        """Of the stored journal; see `ports.Journal.head`."""
        return self.stored.head()

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """Of the stored journal; see `ports.Journal.runs`."""
        return self.stored.runs(unfinished=unfinished, after=after, limit=limit)

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        """Of the stored journal; see `ports.Journal.unfinished`."""
        return self.stored.unfinished(after, limit)

    def recoveries(self) -> list[Recovery]:
        """Of the stored journal; see `ports.Journal.recoveries`."""
        return self.stored.recoveries()

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """In the stored journal; runs in memory are not taken up. See `ports.Journal.keep_recoveries`."""
        self.stored.keep_recoveries([one for one in kept if one.run_id not in self._aside], dropped, done)

    def find_request(self, request_key: str) -> str | None:
        """See `ports.Journal.find_request`."""
        return (
            self.stored.find_request(request_key)
            or self.aside.find_request(request_key)
            or self._requests.get(request_key)
        )

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Be told of both; a run's events come in order. See `ports.Journal.follow`."""
        leaves = (self.stored.follow(follower), self.aside.follow(follower))

        def leave() -> None:
            for one in leaves:
                one()

        return leave

    def close(self, timeout: float = 10.0) -> bool:
        """Close both; see `ports.Journal.close`."""
        let_go = self.stored.close(timeout)  # first: a follower of both ends with either, and is told all of this one
        self.aside.close()
        return let_go


class _Place:
    """A run in memory. root: of its family, perhaps itself. children: of a root, of all generations."""

    __slots__ = ("children", "end", "recorded", "request_key", "root")

    def __init__(self, recorded: bool, root: str) -> None:
        self.recorded = recorded
        self.root = root
        self.request_key = ""
        self.children: list[str] = []
        self.end: RunFinished | None = None


def _facts(append: Append) -> list[Fact]:
    """Its facts; none of something that is no append, which its journal will say."""
    try:
        return [one.event.fact for one in append.stored]
    except (AttributeError, TypeError):
        return []
