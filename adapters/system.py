"""The real clock and real ids."""

from __future__ import annotations

import os
import random
import threading
import time
from uuid import UUID


class SystemClock:
    """`Clock` on the system's clocks. On Linux the monotonic one stands still while the machine is suspended."""

    monotonic = staticmethod(time.monotonic)
    """Seconds from an arbitrary start."""

    def wall_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000


class SystemIds:
    """`Ids`: UUIDv7 (RFC 9562 §5.7), growing within the process, and random numbers from the system's pool."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()
        self._lock = threading.Lock()
        self._last = 0

    def run_id(self) -> str:
        """A new id: 48 bits of milliseconds, then 74 random bits that count up within one millisecond."""
        with self._lock:
            stamp = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(9), "big") >> 1
            self._last = stamp = max(stamp, self._last + 1)
        milliseconds, high, low = stamp >> 74, stamp >> 62 & 0xFFF, stamp & (1 << 62) - 1
        return str(UUID(int=(milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        return self._random.random()
