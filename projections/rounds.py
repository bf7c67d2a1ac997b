"""When a critic is asked about a run: at its soft timeout, after every so many steps, every so many seconds of work.

The live watch and a backtest both stand on this, so that they ask at the same moments. It knows no clock: seconds are
those that the run has worked, and whoever has them says so.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from ..events import Fact, SoftTimeoutReached, StepCompleted

LOST_AFTER: Final = 3
"""Failures in a row after which a critic is lost."""
FIRST_PAUSE_S: Final = 1.0
"""Pause after the first failure in a row; then it doubles."""
MOST_ORDERS: Final = 1_000
"""Orders to one run; a critic that gives more is lost. Each is a fact in the run's log."""
TIMER_S: Final = 0.001
"""How much later than planned a regular review begins: a timer that fires early would have to be set again."""


class Rounds(msgspec.Struct, frozen=True):
    """every_s, every_steps: how often the critic wants to be asked, None for never. seen_steps: the newest step for
    which it was. regular_at_s: the next regular review, in seconds that the run has worked; None before the first look.
    """

    every_s: float | None = None
    every_steps: int | None = None
    seen_steps: int = 0
    regular_at_s: float | None = None


def after_fact(rounds: Rounds, fact: Fact) -> tuple[Rounds, bool]:
    """The rounds after `fact`, and whether a review is due for it."""
    if type(fact) is SoftTimeoutReached:
        return rounds, True
    if type(fact) is StepCompleted:
        every = rounds.every_steps
        if every is not None and fact.step - rounds.seen_steps >= every:
            return replace(rounds, seen_steps=fact.step), True
    return rounds, False


def planned(rounds: Rounds, worked_s: float) -> Rounds:
    """The rounds with a next regular review, if there are any regular ones."""
    if rounds.every_s is None or rounds.regular_at_s is not None:
        return rounds
    return replace(rounds, regular_at_s=(worked_s // rounds.every_s + 1) * rounds.every_s)


def after_time(rounds: Rounds, worked_s: float) -> tuple[Rounds, bool]:
    """The rounds when the run has worked for `worked_s`, and whether the regular review is due."""
    if rounds.every_s is None or rounds.regular_at_s is None or worked_s < rounds.regular_at_s:
        return rounds, False
    return replace(rounds, regular_at_s=worked_s + rounds.every_s), True
