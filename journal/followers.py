"""Who is told of commits: told in order, on one thread at a time, and never able to hurt the journal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ..errors import JournalError, JournalUnavailable
from ..events import Event
from ..ports import Append, Follower

log = logging.getLogger("executus.journal")


class Followers:
    """The followers of one journal. Joining and leaving is allowed at any time, also while they are told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[Follower, ...] = ()
        self._ended = False

    def join(self, follower: Follower) -> Callable[[], None]:
        """Tell `follower` from now on, until the returned function is called.

        Raises:
            JournalUnavailable: the journal is closed.
        """
        with self._lock:
            if self._ended:
                raise JournalUnavailable("the journal is closed")
            self._all = (*self._all, follower)
        return lambda: self._leave(follower)

    def _leave(self, follower: Follower) -> None:
        with self._lock:
            self._all = tuple(one for one in self._all if one is not follower)

    def __bool__(self) -> bool:
        return bool(self._all)

    def tell(self, events: Sequence[Event]) -> None:
        """Tell everybody; one that raises is logged and the others are told all the same."""
        for follower in self._all:
            try:
                follower(events)
            except BaseException:
                log.exception("a follower of the journal raised; it missed %d events", len(events))

    def end(self) -> None:
        """The journal is closed: followers that have an `ended` method are told, once."""
        with self._lock:
            everybody, self._all, self._ended = self._all, (), True
        for follower in everybody:
            ended = getattr(follower, "ended", None)
            if ended is not None:
                try:
                    ended()
                except BaseException:
                    log.exception("a follower of the journal raised at its end")


def acknowledge(append: Append, error: JournalError | None) -> None:
    """Call `append.done(error)`; what it raises is logged, since the commit has happened whatever it thinks."""
    try:
        append.done(error)
    except BaseException:
        log.exception("run %s: the acknowledgement of an append raised", append.run_id)
