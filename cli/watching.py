"""The unfinished runs of a host as they stand now, kept by following it: looking again costs the host nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import ExecutusError, HostUnreachable, JournalError, UnknownRun
from ..events import Event
from ..journal import OutsideReader
from ..projections.watching import Watched, evolve_watched, watched_of
from .opening import hosted
from .standing import Standings

if TYPE_CHECKING:
    from ..wire.attached import Attached

SILENT_S: Final = 5.0
"""A run from which nothing came for so long may be one that nobody works on: the host is asked how it stands."""
ASKED_AGAIN_S: Final = 30.0
"""Seconds that such an answer is good for, if nothing comes."""
ANSWER_S: Final = 2.0
NO_ROOM: Final = "there is no room on the disk"


class Watching:
    """Every unfinished run, folded from the log and from what comes. Thread-safe.

    ended: runs that ended since, by status. unreadable: run -> why its log cannot be read.
    """

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        self._lock = threading.Lock()
        self._rows: dict[str, Watched] = {}
        self._following: threading.Thread | None = None
        self.unreadable: dict[str, str] = {}
        self.ended: Counter[str] = Counter()
        self.failed: BaseException | None = None
        """What ended the following, which should not end."""
        self.began_s = time.time()
        journal = attached.journal
        self.at = journal.head()  # before the rows are read: what comes between the two is met twice, and known by it
        for summary in journal.runs(unfinished=True):
            self._read(summary.run_id)

    def rows(self, caller: str = "") -> list[Watched]:
        """As they stand, of all callers or of one."""
        with self._lock:
            return [one for one in self._rows.values() if not caller or one.row.info.caller_id == caller]

    def follow(self) -> None:
        """Go on as events come, on a thread of its own, until what is watched is closed."""
        events = self._attached.follow(since=self.at)

        def listen() -> None:
            try:
                for event in events:
                    self.take(event)
            except BaseException as error:
                self.failed = error

        self._following = threading.Thread(target=listen, name="executus-watching", daemon=True)
        self._following.start()

    def take(self, event: Event) -> None:
        """Fold one event."""
        with self._lock:
            known = self._rows.get(event.run_id)
        if known is None and event.version != 1:
            return  # what is told of a run after its end, such as its delivery
        before = 0 if known is None else known.row.version
        if event.version <= before:
            return
        if event.version != before + 1:
            self._read(event.run_id)
            return
        self._keep(evolve_watched(Watched() if known is None else known, event), event.run_id)

    def _read(self, run_id: str) -> None:
        try:
            watched = watched_of(self._attached.journal.read(run_id))
        except HostUnreachable:
            raise
        except (JournalError, UnknownRun) as error:
            self.unreadable[run_id] = str(error)
            return
        self._keep(watched, run_id)

    def _keep(self, watched: Watched, run_id: str) -> None:
        with self._lock:
            if watched.row.state.over:
                if self._rows.pop(run_id, None) is not None or self._following is not None:
                    self.ended[str(watched.row.status)] += 1
            elif watched.row.version:
                self._rows[run_id] = watched


class Knows(Protocol):
    """Knows how runs stand beyond their logs."""

    def of(self, watched: Watched) -> tuple[str, str]:
        """The status to show, and why nobody is at work on it, or ""."""
        ...


class FromHost:
    """Asks the host, of silent runs only, and seldom again: a host need not be asked how a run is that it talks of."""

    def __init__(self, attached: Attached, silent_s: float = SILENT_S) -> None:
        self._attached, self._silent_s = attached, silent_s
        self._known: dict[str, tuple[int, float, tuple[str, str]]] = {}
        self._deaf_until = 0.0

    def of(self, watched: Watched) -> tuple[str, str]:
        """See `Knows`."""
        row, now = watched.row, time.monotonic()
        version, asked_at, answer = self._known.get(row.run_id, (0, 0.0, ("", "")))
        if version == row.version and now - asked_at < ASKED_AGAIN_S:
            return answer
        if time.time() - row.changed_at_us / 1e6 < self._silent_s or now < self._deaf_until:
            return row.status, ""
        try:
            answer = self._ask(watched)
        except HostUnreachable:
            self._deaf_until = now + ANSWER_S
            return row.status, ""
        except (ExecutusError, TimeoutError):
            answer = row.status, ""
        self._known[row.run_id] = row.version, now, answer
        return answer

    def _ask(self, watched: Watched) -> tuple[str, str]:
        from ..wire.requests import Standing, Stands

        line = self._attached.live_line()
        assert line is not None
        stands = line.ask(Standing(run=watched.row.run_id), Stands, ANSWER_S)
        if stands.status == "waiting" and not stands.reason and watched.row.state.doing != "waiting":
            return stands.status, NO_ROOM
        return stands.status, stands.reason


class FromFile:
    """Looks at what hosts keep beside the logs."""

    def __init__(self, journal: OutsideReader) -> None:
        self._journal = journal
        self.look()

    def look(self) -> None:
        """Look anew."""
        self._standings = Standings(self._journal, hosted(self._journal))

    def of(self, watched: Watched) -> tuple[str, str]:
        """See `Knows`."""
        return self._standings.of(watched.row)


def knows_of(attached: Attached, silent_s: float = SILENT_S) -> Knows:
    """Whoever knows how the runs of what is attached stand. silent_s: see `FromHost`."""
    journal = attached.journal
    return FromFile(journal) if isinstance(journal, OutsideReader) else FromHost(attached, silent_s)
