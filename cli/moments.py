"""Points in time as people type them: "3d", "12h", "2026-01-31", "2026-01-31 12:00"."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from .program import Misuse
from .words import one_line

UNITS_S: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment_us(option: str, text: str | None) -> int | None:
    """The wall clock, microseconds, that `text` means: so long ago, or a date or time (local unless it says otherwise).

    Raises:
        Misuse: it means none.
    """
    if text is None:
        return None
    plain = text.strip()
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyz")
    size = UNITS_S.get(plain[len(number) :].strip())
    if size is not None and number.strip().isdecimal():
        return max(0, int((time.time() - int(number) * size) * 1e6))
    try:
        return int(datetime.fromisoformat(plain).astimezone().timestamp() * 1e6)
    except (ValueError, OverflowError, OSError):
        raise Misuse(
            f"{option}: expected how long ago (30min, 12h, 3d, 2w) or a date (2026-01-31, 2026-01-31T12:00),"
            f" got {one_line(text)!r}"
        ) from None
