"""What an order of supervision comes to: the facts that a run answers it with, or none.

The live run and a backtest both stand on this. A critic's orders are bounded and never refused: what is too late or
beyond its cap changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

from ..events import (
    CeilingRaised,
    CriticKilled,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Fact,
    Usage,
)
from .run import RunState

LONGEST_MS = 1 << 53


def advised(state: RunState, text: str, by: str, evidence: dict[str, Any]) -> list[Fact]:
    """A critic's advice: nobody reads it in a run that is over, or that waits for a person's message."""
    if state.doing in ("new", "over") or state.awaits_message:
        return []
    return [CriticSteered(text=text, by=by, evidence=evidence)]


def noticed(state: RunState, text: str, by: str, evidence: dict[str, Any]) -> list[Fact]:
    """Something a critic noticed."""
    if state.doing in ("new", "over"):
        return []
    return [CriticObserved(text=text, by=by, evidence=evidence)]


def given_time(state: RunState, seconds: float, by: str, reason: str) -> list[Fact]:
    """More time from a critic, up to its cap."""
    until = None if state.over else until_ms(state, seconds, state.governed.cap_ms)
    return [] if until is None else [DeadlineExtended(until_ms=until, by=by, reason=reason)]


def until_ms(state: RunState, seconds: float, cap_ms: int | None) -> int | None:
    """Where the deadline moves when it is extended by `seconds`, to `cap_ms` at most; None if it stays, or is none."""
    deadline = state.governed.deadline_ms
    if deadline is None:
        return None
    until = deadline + round(min(seconds, LONGEST_MS / 2000) * 1000)
    if cap_ms is not None:
        until = min(until, cap_ms)
    return until if until > deadline else None


def given_steps(state: RunState, more: float, by: str, reason: str) -> list[Fact]:
    """More steps from a critic, up to its cap."""
    old = state.limits.max_steps
    new = None if state.over else ceiling(old, more, state.governed.cap_steps)
    return [] if new is None else [CeilingRaised(limit="steps", old=old, new=new, by=by, reason=reason)]


def ceiling(old: float, more: float, cap: float | None) -> float | None:
    """Where a limit goes when it is raised by `more`, to `cap` at most; None if it stays."""
    new = old + more
    if cap is not None:
        new = min(new, cap)
    return new if math.isfinite(new) and new > old else None


def condemned(state: RunState, reason: str, by: str, evidence: dict[str, Any]) -> list[Fact]:
    """A critic's kill; the end follows. Killing twice is killing once."""
    if state.doing in ("new", "over"):
        return []
    return [CriticKilled(reason=reason, by=by, evidence=evidence)]


def billed(state: RunState, usage: Usage, model: str, by: str) -> list[Fact]:
    """What a review has spent is charged to the run."""
    if state.doing in ("new", "over"):
        return []
    return [CriticReviewed(usage=usage, model=model, by=by)]
