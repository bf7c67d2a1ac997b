"""Limits of rate, as token buckets. Pure: the clock is passed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

MOST_KEPT: Final = 4096


class Buckets:
    """One bucket a key: `burst` at once, `rate` a second. Keys that were not seen for longest are forgotten."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now_s: float) -> bool:
        """Take one; False if there is none."""
        left, since = self._left.pop(key, (self._burst, now_s))
        left = min(self._burst, left + max(0.0, now_s - since) * self._rate)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now_s)
        if len(self._left) > MOST_KEPT:
            self._left.popitem(last=False)
        return taken
