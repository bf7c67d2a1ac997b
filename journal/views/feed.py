"""Where stored views get their events: pages of the log, and what is pushed after each commit.

All events that any view sees go through here, each through `reduce`: whoever takes something out of events (because
its content was erased, say) does it there, in one place, for pushed and for read ones.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ...events import Event, at_rest
from .store import Scan

PAGE = 1000
"""Events read at once."""

MOST_PUSHED = 8 * PAGE
"""Pushed events that are kept for a busy reader; of more, all are thrown away and the log is read instead."""

Reduce: TypeAlias = Callable[[Event], Event]


class Pages:
    """The log, a page at a time; of sealed runs what may be written elsewhere, whether their key is here or not."""

    def __init__(self, scan: Scan, reduce: Reduce | None = None) -> None:
        self._scan, self._reduce = scan, reduce or at_rest

    def after(self, position: int, limit: int = PAGE) -> Sequence[Event]:
        """The next events after `position`, reduced."""
        return self.reduced(self._scan(position, limit))

    def reduced(self, events: Sequence[Event]) -> Sequence[Event]:
        """What views may see of `events`."""
        return [self._reduce(event) for event in events]


class Feed:
    """The events after a position as they come: a follower of the journal for one reader. Bounded; loses nothing.

    at: the position of the newest event that was taken.
    """

    def __init__(self, pages: Pages, at: int) -> None:
        self.at = at
        self._pages = pages
        self._pushed: deque[Event] = deque()
        self._behind = True
        self._ended = False
        self._called = False
        self._wake = threading.Condition(threading.Lock())

    # -------------------------------------------------------------- from the journal's thread

    def __call__(self, events: Sequence[Event], /) -> None:
        """Told of a commit; see `ports.Follower`."""
        with self._wake:
            if not self._behind:
                if len(self._pushed) + len(events) > MOST_PUSHED:
                    self._pushed.clear()
                    self._behind = True
                else:
                    self._pushed.extend(events)
            self._wake.notify_all()

    def ended(self) -> None:
        """The journal is closed: what was pushed can be taken, and nothing will come."""
        with self._wake:
            self._ended = True
            self._wake.notify_all()

    def call(self) -> None:
        """Wake the reader, whatever it waits for."""
        with self._wake:
            self._called = True
            self._wake.notify_all()

    # -------------------------------------------------------------- from the reader

    @property
    def behind(self) -> bool:
        """Whether there is more in the log than was pushed."""
        return self._behind

    @property
    def has_ended(self) -> bool:
        """Whether nothing will be pushed any more."""
        return self._ended

    def wait(self, seconds: float | None, *, for_events: bool = True) -> bool:
        """Wait until there may be something to take (with `for_events`), somebody calls, or it has ended. Returns
        whether somebody called.
        """

        def ready() -> bool:
            return self._ended or self._called or (for_events and (self._behind or bool(self._pushed)))

        with self._wake:
            self._wake.wait_for(ready, seconds)
            called, self._called = self._called, False
            return called

    def gather(self, seconds: float) -> None:
        """Wait so long for more of what is coming in, unless there is much already, somebody calls, or it has ended."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._behind or self._ended or self._called or len(self._pushed) >= MOST_PUSHED // 2, seconds
            )

    def slice(self, most: int) -> list[Sequence[Event]]:
        """What there is to take, page by page, about `most` events at most; possibly nothing.

        Raises:
            JournalError: the log cannot be read now; nothing is lost.
        """
        pages: list[Sequence[Event]] = []
        count = 0
        while count < most:
            events = self.take()
            if not events:
                break
            pages.append(events)
            count += len(events)
            if not self._behind:
                break
        return pages

    def take(self) -> Sequence[Event]:
        """The next events, about a page at least if there are so many; possibly none.

        Raises:
            JournalError: the log cannot be read now; nothing is lost.
        """
        with self._wake:
            fresh = [event for event in self._pushed if event.position > self.at]
            self._pushed.clear()
            # A commit whose outcome was unknown was told to nobody: where one is missing, the log is read.
            reading = self._behind or bool(fresh and fresh[-1].position - self.at != len(fresh))
            if reading:
                self._behind = False
        if not reading:
            events = self._pages.reduced(fresh)
        else:
            try:
                events = self._pages.after(self.at)
            except BaseException:
                with self._wake:
                    self._behind = True
                raise
            if len(events) >= PAGE:
                with self._wake:
                    self._behind = True
                    self._pushed.clear()
        if events:
            self.at = events[-1].position
        return events

    def go_back(self, position: int) -> None:
        """Begin anew after `position`."""
        with self._wake:
            self.at = position
            self._behind = True
            self._pushed.clear()
