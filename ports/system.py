"""The ports to time and chance."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. In tests it is a `VirtualClock`."""

    def monotonic(self) -> float:
        """Awake seconds from an arbitrary start: stands still while the machine sleeps."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970 UTC, for people to read."""
        ...


class Ids(Protocol):
    """New run ids and random numbers; seeded in a simulation."""

    def run_id(self) -> str:
        """A new UUIDv7 as text."""
        ...

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        ...
