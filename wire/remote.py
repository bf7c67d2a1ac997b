"""A host's journal, read from another process: pages are asked for, and the feed says when there is more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ..errors import JournalError, JournalUnavailable, UnknownRun
from ..events import Event, Seal, Withheld
from ..journal.followers import Followers
from ..ports import Append, Follower, Recovery, RunSummary, Unfinished
from ..projections import Checkpoint, fold
from .dialers import Listening
from .feed import BEAT_S
from .frames import Frame, decode_frame, off_the_wire
from .line import Line
from .requests import (
    PAGE_EVENTS,
    REPLY_BYTES,
    FindRun,
    Found,
    Head,
    ListRuns,
    Number,
    Page,
    ReadAll,
    ReadRun,
    Rows,
)
from .sockets import Closed, TimedOut, check_fork, is_left_behind

log = logging.getLogger("executus.wire")

SILENT_S: Final = 4 * BEAT_S
"""Seconds without a beat after which the host is looked for anew."""


class RemoteJournal:
    """The reading half of `ports.Journal` over a `Line`; `append` raises. Thread-safe.

    lagged: called when the feed has missed something: whoever follows has to read it. content: whether what the feed
    carries is for this client; if not, each frame only says that there is something to read.
    """

    epoch = 0
    held = True

    def __init__(self, line: Line, lagged: Callable[[], None] = lambda: None, *, content: bool = True) -> None:
        self._line = line
        self.lagged = lagged
        self._content = content
        self._looked = (0, 0)
        self._followers = Followers()
        self._starting = threading.Lock()
        self._listener: threading.Thread | None = None
        self._listening: Listening | None = None
        self._is_closed = False
        self.connected = True
        """Whether the host was heard within the last seconds; only known while somebody follows."""

    # -------------------------------------------------------------- reading

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """See `ports.Journal`; `verify` is the host's to do.

        Raises:
            HostUnreachable: nobody answers.
        """
        found: list[Event] = []
        while limit is None or len(found) < limit:
            most = PAGE_EVENTS if limit is None else min(PAGE_EVENTS, limit - len(found))
            page = self._line.ask(ReadRun(run=run_id, after=after, limit=most), Page)
            found += [off_the_wire(one) for one in page.events]
            if not page.more:
                break
            after = page.at
        return found

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """See `ports.Journal`. What this grant may not see is left out."""
        found: list[Event] = []
        last, looked = self._looked
        at = looked if after == last else after  # after the last one that was seen, nothing was to be seen up to there
        while len(found) < limit:
            page = self._line.ask(ReadAll(after=at, limit=min(PAGE_EVENTS, limit - len(found))), Page)
            found += [off_the_wire(one) for one in page.events]
            at = page.at
            if not page.more:
                break
        self._looked = (found[-1].position if found else after, at)
        return found

    def load(self, run_id: str) -> Checkpoint:
        """See `ports.Journal`."""
        return fold(self.read(run_id))

    def head(self) -> int:
        """See `ports.Journal`."""
        return self._line.ask(Head(), Number).value

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """See `ports.Journal`."""
        found: list[RunSummary] = []
        while limit is None or len(found) < limit:
            most = 1000 if limit is None else min(1000, limit - len(found))
            rows = self._line.ask(ListRuns(unfinished=unfinished, after=after, limit=most), Rows)
            found += rows.runs
            if not rows.next:
                break
            after = rows.next
        return found

    def run(self, run_id: str) -> RunSummary | None:
        """See `ports.Journal`."""
        return self._line.ask(FindRun(run=run_id), Found).run if 1 <= len(run_id) <= 36 else None

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        """See `ports.Journal`."""
        found: list[Unfinished] = []
        for row in self.runs(unfinished=True, after=after, limit=limit):
            try:
                found.append(Unfinished(summary=row, first=self.read(row.run_id, limit=1)[0]))
            except JournalUnavailable:
                raise
            except (JournalError, UnknownRun) as error:
                problem = error if isinstance(error, JournalError) else JournalUnavailable(str(error))
                found.append(Unfinished(summary=row, problem=problem))
        return found

    def find_request(self, request_key: str) -> str | None:
        """Not told to other processes."""
        return None

    def recoveries(self) -> list[Recovery]:
        """Not told to other processes."""
        return []

    # -------------------------------------------------------------- following

    def follow(self, follower: Follower) -> Callable[[], None]:
        """See `ports.Journal`: told of what the feed brings. What it misses is only said by `lagged`."""
        check_fork()
        with self._starting:
            if self._listener is None and not self._is_closed:
                self._listener = threading.Thread(target=self._listen, name="executus-listening", daemon=True)
                self._listener.start()
        return self._followers.join(follower)

    def _listen(self) -> None:
        while not self._is_closed:
            try:
                self._hear()
            except Closed:
                continue
            except Exception:
                if self._is_closed:
                    return
                log.exception("following a host failed; it is tried again")
                threading.Event().wait(1.0)

    def _hear(self) -> None:
        """Hear one opening of the host out."""
        where = self._line.where
        listening = Listening(where.feed, tls=where.tls, recv_bytes=REPLY_BYTES)
        self._listening = listening
        at: int | None = None
        boot = ""
        try:
            while not self._is_closed:
                try:
                    frame = decode_frame(listening.take(SILENT_S))
                except TimedOut:
                    self.connected = False
                    self.lagged()  # whoever follows asks, and so meets the host that is there now
                    if self._line.where.feed != where.feed:
                        return
                    at = None
                    continue
                except (Closed, RuntimeError):
                    raise
                except Exception as error:  # no host of ours sends this
                    log.warning("a frame of the feed cannot be read: %s", error)
                    at = None
                    self.lagged()
                    continue
                self.connected = True
                if frame.boot != boot:
                    at, boot = None, frame.boot
                at = self._take(frame, at)
        finally:
            listening.close()

    def _take(self, frame: Frame, at: int | None) -> int:
        """Tell of a frame; the position up to which everything was told, or was said to be missing."""
        if at is None or frame.after > at:
            self.lagged()
            at = frame.after
        fresh = [one for one in frame.events if one.position > at] if self._content else []
        if fresh:
            try:
                self._followers.tell([off_the_wire(one) for one in fresh])
            except JournalError as error:
                log.warning("an event of the feed cannot be read: %s", error)
                self.lagged()
            at = fresh[-1].position
        if frame.last > at:
            self.lagged()
            at = frame.last
        return at

    # -------------------------------------------------------------- what only a host does

    def append(self, append: Append) -> None:
        """Only the host appends."""
        self._refuse()

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        """Only the host owns it."""
        self._refuse()

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """Only the host seals."""
        self._refuse()

    def short(self, run_id: str) -> str:
        """Nothing is begun from here."""
        return ""

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """Only the host keeps them."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise JournalUnavailable("another process has this journal; from here it is only read")

    def close(self, timeout: float = 10.0) -> bool:
        """Stop following. The line is not closed."""
        if is_left_behind():
            return True
        self._is_closed = True
        listening = self._listening
        if listening is not None:
            listening.close()
        listener = self._listener
        if listener is not None and listener is not threading.current_thread():
            listener.join(timeout)
        self._followers.end()
        return listener is None or not listener.is_alive()
