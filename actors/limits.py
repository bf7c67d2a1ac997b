"""Calls under way: the first outcome of each counts, and a time limit is an outcome too."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from .pooled import Cancellable, Scheduler

SWEEP_S = 0.5
"""How late a time limit may be noticed."""


class Call:
    """One call under way: the first outcome is told, later ones are ignored."""

    __slots__ = ("_limits", "_reply", "_under_way", "over")

    def __init__(self, reply: Callable[[Any], None], limits: TimeLimits) -> None:
        self._reply: Callable[[Any], None] | None = reply
        self._limits = limits
        self._under_way: Cancellable | None = None
        self.over = False

    def carry(self, under_way: Cancellable) -> None:
        """What to call off when nobody wants the outcome any more."""
        self._under_way = under_way
        if self.over:
            under_way.cancel()

    def answer(self, message: Any) -> None:
        """Tell the outcome, unless there was one already."""
        reply, self._reply = self._reply, None
        if reply is None:
            return
        self.over = True
        self._limits.forget(self)
        self._under_way = None
        reply(message)

    def cancel(self) -> None:
        """Nobody wants the outcome."""
        self._reply = None
        self.over = True
        self._limits.forget(self)
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.cancel()

    def expire(self, message: Any) -> None:
        """Time is up: that is the outcome, and what is under way is called off."""
        under_way = self._under_way
        self.answer(message)
        if under_way is not None:
            under_way.cancel()


class TimeLimits:
    """Which calls are under way until when. One timer for all: a call that answers in time, as nearly all do, costs
    two dict operations. It is late by up to `SWEEP_S`, short limits (under four of those) by nothing.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._due: dict[Call, tuple[float, Callable[[], Any]]] = {}
        self._lock = threading.Lock()
        self._next = math.inf
        """When the timer goes off."""

    def watch(self, call: Call, seconds: float, late: Callable[[], Any]) -> None:
        """Answer `call` with `late()` unless it has an outcome within `seconds` of awake time."""
        if seconds < 4 * SWEEP_S:
            self._scheduler.call_later(seconds, lambda: None if call.over else call.expire(late()))
            return
        due = self._scheduler.awake() + seconds
        self._due[call] = (due, late)
        if due < self._next:
            self._arm(due)

    def forget(self, call: Call) -> None:
        """It has an outcome."""
        self._due.pop(call, None)

    def _arm(self, due: float) -> None:
        now = self._scheduler.awake()
        with self._lock:
            if due >= self._next:
                return
            self._next = due = max(due, now + SWEEP_S)
        self._scheduler.call_later(due - now, self._sweep)

    def _sweep(self) -> None:
        now = self._scheduler.awake()
        with self._lock:
            if now < self._next:  # an earlier timer was set after this one
                return
            self._next = math.inf
        soonest = math.inf
        for call, (due, late) in self._due.copy().items():
            if due > now:
                soonest = min(soonest, due)
            elif not call.over:
                call.expire(late())
        if soonest < math.inf:
            self._arm(soonest)
