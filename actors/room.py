"""Where calls wait that are not begun for want of room on the disk: what they do could not be stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from ..ports import Journal
from .limits import Call
from .pooled import Scheduler

LOOK_S = 0.25
"""Seconds between two looks while somebody waits."""

_Waiting: TypeAlias = tuple[Call, str, Callable[[], None]]


class WaitingRoom:
    """Begins calls when there is room. Used on any thread."""

    def __init__(self, journal: Journal, scheduler: Scheduler) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def enter(self, call: Call, run_id: str, begin: Callable[[], None]) -> None:
        """Have `begin` called when there is room for that run; not at all if `call` is over by then."""
        if not self._journal.short(run_id):
            begin()
            return
        with self._lock:
            self._waiting.append((call, run_id, begin))
            first = len(self._waiting) == 1
        if first:
            self._scheduler.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for call, run_id, begin in waiting:
            if not call.over:
                self.enter(call, run_id, begin)
