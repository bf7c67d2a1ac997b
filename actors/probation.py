"""What a run that is being taken up tells of how it fares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..events import Status
from ..projections import RunState


class TakenUp(msgspec.Struct, frozen=True):
    """Report: a run's log was read, and it gets an actor, or is over with `status`. children: those it waits for."""

    run_id: str
    children: frozenset[str]
    status: Status | None


class Resumed(msgspec.Struct, frozen=True):
    """Report: that the run is taken up is durable."""

    run_id: str


class Survived(msgspec.Struct, frozen=True):
    """Report: something came of it, it waits for a person, or it is over: taking it up did no harm."""

    run_id: str


class Failed(msgspec.Struct, frozen=True):
    """Report: the run was set aside. counts: whether that is held against it. resting: runs below it that had been at
    work, each with its parent.
    """

    run_id: str
    why: str
    counts: bool = True
    resting: tuple[tuple[str, str], ...] = ()


class LetGo(msgspec.Struct, frozen=True):
    """Report: the attempt was given up for a reason that lies elsewhere."""

    run_id: str


class Probation:
    """The attempt to take one run up, as the run and its supervisor see it; told to whoever makes it."""

    __slots__ = ("_resumed", "_tell", "over", "run_id")

    def __init__(self, run_id: str, tell: Callable[[Any], None]) -> None:
        self.run_id = run_id
        self._tell = tell
        self._resumed = False
        self.over = False

    def settled(self, state: RunState) -> None:
        """An append of the run is durable: the first is that it is taken up, the next that it survived."""
        if not self._resumed:
            self._resumed = True
            self._tell(Resumed(self.run_id))
            if state.doing not in ("waiting", "over"):
                return
        self.survived()

    def survived(self) -> None:
        """It did no harm."""
        if not self.over:
            self.over = True
            self._tell(Survived(self.run_id))

    def let_go(self) -> None:
        """It was given up."""
        if not self.over:
            self.over = True
            self._tell(LetGo(self.run_id))
