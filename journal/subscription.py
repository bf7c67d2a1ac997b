"""Following the log: what is stored already, then what is committed from now on, with nothing lost or told twice.

A commit is pushed into a bounded buffer. If the consumer is slower than that, the buffer is thrown away and the log
is read again from where the consumer stands, so that nobody ever waits for it (P10).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..errors import JournalUnavailable, UnknownRun
from ..events import TERMINAL_TAGS, Event
from ..ports import Journal
from .router import Router, router_of

PAGE = 512
"""Events read from the log at once."""


LOOK_UP_S = 0.5
"""How long the main thread waits at a time, so that Ctrl-C always ends it."""


class Subscription:
    """Durable events in order, for `for` and `async for`; one consumer at a time.

    run_id: of one run, starting after its version `after`; it ends after the run's terminal event, or never with
    `notes`. Without run_id: of all runs, starting after the position `after`; it ends when it, its router or the
    journal is closed: close one that you do not read to its end, a dropped one is not noticed (a task that reads it may
    be held by nothing else). buffer: events kept for a slow consumer. timeout: seconds that `for` waits for the next
    event before it raises `TimeoutError`; None for ever.

    Raises:
        UnknownRun: no such run.
        LogCorrupt, JournalUnavailable: while reading, as `Journal.read`.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        run_id: str | None = None,
        after: int = 0,
        notes: bool = False,
        buffer: int = 1024,
        timeout: float | None = None,
        router: Router | None = None,
    ) -> None:
        if after < 0 or buffer < 1:
            raise ValueError(f"Subscription: expected after ≥ 0 and buffer ≥ 1, got {after!r} and {buffer!r}")
        self._journal = journal
        self.run_id = run_id
        self.at = after
        """Version (of one run) or position (of all) of the last event handed out."""
        self._notes = notes
        self._timeout = timeout
        self._limit = buffer
        self._ready: deque[Event] = deque()
        self._wake = threading.Condition(threading.Lock())
        self._filling = threading.Lock()  # a cancelled `async for` may leave a page being read behind
        self._pushed: deque[Event] = deque()
        self._behind = True
        self._stale = False
        self._ended = False
        self._no_more = False
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        if run_id is not None and journal.run(run_id) is None:
            raise UnknownRun(run_id)
        self._router = router if router is not None else router_of(journal)
        self._router.add(run_id, self)

    # -------------------------------------------------------------- from the journal's thread

    def push(self, events: Sequence[Event], /) -> None:
        """Take events that were just committed; see `Receiver`."""
        with self._wake:
            if not self._behind:
                if len(self._pushed) + len(events) > self._limit:
                    self._pushed.clear()
                    self._behind = True
                else:
                    self._pushed.extend(events)
            self._rouse()
        if self.run_id is not None and not self._notes and any(event.tag in TERMINAL_TAGS for event in events):
            self._router.remove(self.run_id, self)  # nothing more comes, even if nobody ever reads what did

    def reread(self) -> None:
        """What is in the buffers is forgotten, and read from the log again; see `Receiver`."""
        with self._wake:
            self._pushed.clear()
            self._behind = self._stale = True
            self._rouse()

    def _drop_ready(self) -> None:
        """Step back to before what was read and not yet handed out. Called by the consumer."""
        self._stale = False
        if self._ready:
            first = self._ready[0]
            self.at = (first.version if self.run_id is not None else first.position) - 1
            self._ready.clear()
            with self._wake:
                self._behind = True
            self._ended = False

    def journal_ended(self) -> None:
        """No more will come: what is known is handed out, then it ends."""
        with self._wake:
            self._no_more = True
            self._rouse()

    def _rouse(self) -> None:
        self._wake.notify_all()
        sleepers, self._sleepers = self._sleepers, []
        for loop, future in sleepers:
            try:
                loop.call_soon_threadsafe(_wake_up, future)
            except RuntimeError:  # its loop is closed, so nobody waits there
                continue

    # -------------------------------------------------------------- from the consumer

    def poll(self) -> list[Event]:
        """What there is now, about `buffer` events at most, without waiting: possibly nothing."""
        found: list[Event] = []
        while len(found) < self._limit and self._fill() and self._ready:
            found += self._ready
            self._ready.clear()
        return found

    def take(self, timeout: float | None = None) -> list[Event]:
        """The next events, at least one, as many as are there; [] at the end of the subscription.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._fill():
            with self._wake:
                if self._idle():
                    left = None if until is None else until - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError(f"no event within {timeout} s")
                    if threading.current_thread() is threading.main_thread():
                        # a signal that comes just before it waits is only noticed when it looks up
                        left = LOOK_UP_S if left is None else min(left, LOOK_UP_S)
                    self._wake.wait(left)
        found = list(self._ready)
        self._ready.clear()
        return found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if self._stale:
            self._drop_ready()
        if not self._ready:
            self._ready.extend(self.take(self._timeout))
            if not self._ready:
                raise StopIteration
        return self._ready.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._stale:
            self._drop_ready()
        if not self._ready:
            async with asyncio.timeout(self._timeout):
                await self._arrival()
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()

    async def _arrival(self) -> None:
        while not (await asyncio.to_thread(self._fill) if self._must_read() else self._fill()):
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            with self._wake:
                if not self._idle():
                    continue
                self._sleepers.append((loop, future))
            # A signal that comes just before the loop waits is only noticed when the loop wakes up.
            main = threading.current_thread() is threading.main_thread()
            look_up = loop.call_later(LOOK_UP_S, _wake_up, future) if main else None
            try:
                await future
            finally:
                if look_up is not None:
                    look_up.cancel()
                with self._wake:
                    self._sleepers = [one for one in self._sleepers if one[1] is not future]

    @property
    def ended(self) -> bool:
        """Whether everything was handed out and nothing will come."""
        return self._ended and not self._ready

    def close(self) -> None:
        """End it: whoever waits on it is woken. May be repeated."""
        self._end()
        with self._wake:
            self._ready.clear()
            self._rouse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -------------------------------------------------------------- how it moves

    def _must_read(self) -> bool:
        with self._wake:
            return self._behind and not self._ended

    def _idle(self) -> bool:
        """Whether there is nothing to do but wait. Called with the lock."""
        return not (self._behind or self._pushed or self._ended or self._no_more)

    def _fill(self) -> bool:
        """Move what there is to `_ready`; False if that is nothing and more may come."""
        with self._filling:
            return self._ended or bool(self._ready) or self._refill()

    def _refill(self) -> bool:
        with self._wake:
            reading = self._behind
            if reading:  # from here on pushes are kept: an event is in the page, or pushed later, or both
                self._behind = False
                self._pushed.clear()
                pushed: list[Event] = []
            else:
                pushed = list(self._pushed)
                self._pushed.clear()
            last = self._no_more
        if reading:
            self._read_page()
        else:
            for event in pushed:
                self._hand_out(event)
        if not self._ready and last and not self._must_read():
            self._end()
        return self._ended or bool(self._ready)

    def _read_page(self) -> None:
        try:
            if self.run_id is None:
                page = self._journal.scan(self.at, PAGE)
                over = False
            else:
                summary = self._journal.run(self.run_id)  # before the events: what is over then is in the page
                page = self._journal.read(self.run_id, self.at, PAGE) if summary is not None else []
                over = summary is None or summary.over
        except UnknownRun:  # forgotten meanwhile: what is left is nothing
            page, over = [], True
        except JournalUnavailable:
            if not self._no_more:
                with self._wake:
                    self._behind = True  # the page is still to be read
                raise
            page, over = [], True  # closed while we were behind
        except BaseException:
            with self._wake:
                self._behind = True
            raise
        if len(page) == PAGE:
            with self._wake:
                self._behind = True
        for event in page:
            self._hand_out(event)
        if over and len(page) < PAGE and not self._notes:
            self._end()

    def _hand_out(self, event: Event) -> None:
        number = event.version if self.run_id is not None else event.position
        if number <= self.at or self._ended:
            return
        self.at = number
        self._ready.append(event)
        if self.run_id is not None and not self._notes and event.tag in TERMINAL_TAGS:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._router.remove(self.run_id, self)


def _wake_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
