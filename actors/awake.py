"""Awake time: the clock's, without the time in which this process did not run (P13)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..ports import Clock

SLEPT_AFTER_S = 1.5
"""When nobody has looked at the clock for so long, this process did not run: the timers' thread looks every half
second."""


class _Epoch:
    """The time between two sleeps. A thread that was stopped in the middle of a reading writes into the epoch in which
    it began, where it does no harm.
    """

    __slots__ = ("looked", "slept")

    def __init__(self, looked: float, slept: float) -> None:
        self.looked = looked
        """When somebody last looked at the clock."""
        self.slept = slept
        """What all sleeps before this epoch took, in the clock's seconds."""


class AwakeClock:
    """Reads a clock; thread-safe. Somebody must read it at least every half second.

    A stop or a suspension that the clock counts is left out, from the last reading before it to the first one after
    it, by whoever makes that first reading: nobody ever sees a time that contains the sleep, and no timer is early by
    it. A host's own clock (any but the system's) is taken at its word: it promises to stand still by itself.

    monotonic, boot: the system's clocks, for tests. boot also counts while the machine is suspended.
    """

    def __init__(
        self,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        boot: Callable[[], float] | None = None,
    ) -> None:
        self._read = clock.monotonic
        self._trusted = clock.monotonic is not monotonic
        self._boot = _boot_clock() if boot is None else boot
        self._lock = threading.Lock()
        self._epoch = _Epoch(self._read(), 0.0)
        self._untold = 0.0
        self._suspended = self._suspension()

    def now(self) -> float:
        """Seconds of awake time from an arbitrary start."""
        if self._trusted:
            return self._read()
        epoch = self._epoch
        now = self._read()
        if now - epoch.looked > SLEPT_AFTER_S:
            return self._woke()
        epoch.looked = now
        return now - epoch.slept

    def _woke(self) -> float:
        """The first reading after a sleep; others may have made it meanwhile."""
        with self._lock:
            epoch, now = self._epoch, self._read()
            slept = now - epoch.looked
            if slept > SLEPT_AFTER_S:
                self._untold += slept
                epoch = self._epoch = _Epoch(now, epoch.slept + slept)
            return now - epoch.slept

    def slept(self) -> float:
        """For how many seconds the host stood still since this was last asked: stopped, or with the machine suspended.
        0.0 nearly always.
        """
        if self._trusted:
            return 0.0
        suspended = self._suspension()
        with self._lock:
            told, self._untold = self._untold, 0.0
            grown, self._suspended = suspended - self._suspended, suspended
        return told + (grown if grown > SLEPT_AFTER_S else 0.0)

    def _suspension(self) -> float:
        """How long the machine was suspended since it booted, where the clock does not count that."""
        return self._boot() - self._read() if not self._trusted else 0.0


def _boot_clock() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic
