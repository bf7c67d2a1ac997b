"""Amounts spent, and their sums over the time just past.

All amounts are whole numbers (dollars in billionths), so that sums are exact, whatever the order of adding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

BudgetMeasure: TypeAlias = Literal["tokens", "cost_usd", "seconds", "tool_calls"]
"""What an allowance counts; names as in `events.Measure`."""

NANO = 1_000_000_000
MOST_USD = 1e12
"""A log may claim any number; billionths of the largest ones are beyond a float."""
SLACK = 16
"""Buckets kept beyond a window: events of one moment may come out of order, and a wall clock may step."""


class Spent(msgspec.Struct, frozen=True, gc=False):
    """An amount in whole units: tokens, billionths of a dollar, milliseconds of running, tool calls."""

    tokens: int = 0
    nano_usd: int = 0
    runtime_ms: int = 0
    tool_calls: int = 0

    @property
    def cost_usd(self) -> float:
        """Dollars."""
        return self.nano_usd / NANO

    @property
    def runtime_s(self) -> float:
        """Seconds."""
        return self.runtime_ms / 1000

    def plus(self, other: Spent) -> Spent:
        """The sum of both."""
        return Spent(
            self.tokens + other.tokens,
            self.nano_usd + other.nano_usd,
            self.runtime_ms + other.runtime_ms,
            self.tool_calls + other.tool_calls,
        )

    def minus(self, other: Spent) -> Spent:
        """What is left without `other`."""
        return Spent(
            self.tokens - other.tokens,
            self.nano_usd - other.nano_usd,
            self.runtime_ms - other.runtime_ms,
            self.tool_calls - other.tool_calls,
        )

    def units(self, measure: BudgetMeasure) -> int:
        """The whole units of one measure."""
        match measure:
            case "tokens":
                return self.tokens
            case "cost_usd":
                return self.nano_usd
            case "seconds":
                return self.runtime_ms
            case "tool_calls":
                return self.tool_calls


NOTHING = Spent()


def nano(usd: float | None) -> int:
    """Dollars in billionths, at most those of `MOST_USD`; 0 for what is unknown, negative or not a number."""
    return round(min(usd, MOST_USD) * NANO) if usd is not None and math.isfinite(usd) and usd > 0 else 0


class Rolling:
    """Sums over the last `count` buckets of `resolution_s` seconds, and the one under way.

    So a window is up to one bucket longer than its name says, and never shorter. Only the newest buckets are kept, by
    when they were begun: a wall clock that was ahead for a while neither empties the window nor fills it for ever.
    """

    __slots__ = ("_count", "_edge", "_sum", "begun", "buckets", "changed", "resolution_us")

    def __init__(self, resolution_s: int, count: int) -> None:
        self.resolution_us = resolution_s * 1_000_000
        self._count = count
        self.buckets: dict[int, Spent] = {}
        """The newest buckets, in the order in which they were begun."""
        self.begun = 0
        """How many buckets were ever begun."""
        self.changed: set[int] | None = None
        """For whoever stores them: buckets that were changed or dropped since this was made a set."""
        self._edge = 0
        self._sum = NOTHING

    def restore(self, buckets: Mapping[int, Spent], begun: int) -> None:
        """Take up buckets that were kept elsewhere, in the order in which they were begun."""
        self.buckets, self.begun = dict(buckets), begun
        self._edge, self._sum = 0, NOTHING
        for bucket, amount in buckets.items():
            if bucket >= self._edge:
                self._sum = self._sum.plus(amount)

    def add(self, at_us: int, amount: Spent) -> None:
        """Count `amount` at that wall clock."""
        bucket = at_us // self.resolution_us
        buckets = self.buckets
        before = buckets.get(bucket)
        if before is None:
            self.begun += 1
        buckets[bucket] = amount if before is None else before.plus(amount)
        if self.changed is not None:
            self.changed.add(bucket)
        if bucket >= self._edge:
            self._sum = self._sum.plus(amount)
        if len(buckets) > self._count + SLACK:
            oldest = next(iter(buckets))
            gone = buckets.pop(oldest)
            if self.changed is not None:
                self.changed.add(oldest)
            if oldest >= self._edge:
                self._sum = self._sum.minus(gone)

    def sum(self, now_us: int) -> Spent:
        """What was spent in the window that ends now. What the clock says comes later counts too."""
        edge = now_us // self.resolution_us - self._count
        if edge != self._edge:
            self._edge, self._sum = edge, NOTHING
            for bucket, amount in self.buckets.items():
                if bucket >= edge:
                    self._sum = self._sum.plus(amount)
        return self._sum

    def leaving(self, now_us: int) -> list[tuple[int, Spent]]:
        """When (wall clock, microseconds) which amounts leave the window, the first first."""
        edge = now_us // self.resolution_us - self._count
        return [
            ((bucket + self._count + 1) * self.resolution_us, self.buckets[bucket])
            for bucket in sorted(self.buckets)
            if bucket >= edge
        ]
