"""Who watches which run: a follower of the journal that passes on the events of watched runs and ignores the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..events import Event

log = logging.getLogger("executus.actors")

Tell: TypeAlias = Callable[[Event], None]


class Observers:
    """A `ports.Follower`, joined to the journal once. Thread-safe; never raises, and costs a dict look-up for an event
    of a run that nobody watches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[str, tuple[Tell, ...]] = {}

    def watch(self, run_id: str, tell: Tell) -> Callable[[], None]:
        """Call `tell` with every event of the run that is committed from now on, in order, on a thread of the journal;
        it must return at once. The returned function ends that, and may be called twice.
        """
        with self._lock:
            self._watched[run_id] = (*self._watched.get(run_id, ()), tell)

        def stop() -> None:
            with self._lock:
                left = tuple([one for one in self._watched.get(run_id, ()) if one is not tell])
                if left:
                    self._watched[run_id] = left
                else:
                    self._watched.pop(run_id, None)

        return stop

    def __call__(self, events: Sequence[Event], /) -> None:
        """Told by the journal what was committed."""
        watched = self._watched
        if not watched:
            return
        for event in events:
            for tell in watched.get(event.run_id, ()):
                try:
                    tell(event)
                except BaseException:
                    log.exception("who watches run %s raised", event.run_id)
