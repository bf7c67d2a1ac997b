"""What a critic says about itself: its name, how often it wants to be asked, and how long it may take."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ..events.clean import clean_text
from .saying import said
from .supervision import Critic

REVIEW_TIMEOUT_S = 60.0
LEAST_EVERY_S = 0.1
"""However often a critic wants to be asked regularly, it is asked no more often than this."""
MOST_S = 1e9
WORDS = 200
"""Characters of a critic's name."""


class Terms(msgspec.Struct, frozen=True):
    """name: who the facts say gave an order. every_s, every_steps: None for never. timeout_s: for one review."""

    name: str = "critic"
    every_s: float | None = None
    every_steps: int | None = None
    timeout_s: float = REVIEW_TIMEOUT_S


def name_of(critic: Critic) -> str:
    """Its name, or "critic"; what reading it raises is passed on."""
    name: Any = getattr(critic, "name", "")
    return clean_text(name, WORDS) if isinstance(name, str) and name else "critic"


def terms_of(critic: Critic) -> Terms:
    """Read its attributes; they are foreign code, and whatever they raise is passed on.

    Raises:
        ValueError: an attribute is not what the port says.
    """
    every_s = _seconds("every_s", getattr(critic, "every_s", None))
    every_steps: Any = getattr(critic, "every_steps", None)
    if every_steps is not None and (type(every_steps) is not int or every_steps < 1):
        raise ValueError(f"every_steps: expected a whole number ≥ 1 or None, got {said(every_steps)[:WORDS]}")
    timeout_s = _seconds("timeout_s", getattr(critic, "timeout_s", None))
    return Terms(
        name=name_of(critic),
        every_s=None if every_s is None else max(every_s, LEAST_EVERY_S),
        every_steps=every_steps,
        timeout_s=REVIEW_TIMEOUT_S if timeout_s is None else timeout_s,
    )


def _seconds(what: str, seconds: Any) -> float | None:
    if seconds is None:
        return None
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{what}: expected seconds > 0 or None, got {said(seconds)[:WORDS]}")
    return float(min(seconds, MOST_S))
