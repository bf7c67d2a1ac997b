"""Critics that live in other processes, as the host sees them: reviews that are wanted, and verdicts that are given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from ..adapters.critics.outside import OutsideCritic
from ..errors import ControlRefused
from .requests import Done, GiveReview, ReviewWanted

WAITING_AT_ONCE: Final = 4
"""Critics that wait for a review at a time: each has a thread of the host's while it does."""


class Critics:
    """Those that a host lets other processes provide, by name. is_there: whether a connection is."""

    def __init__(self, critics: Iterable[OutsideCritic]) -> None:
        self._critics = {critic.name: critic for critic in critics}
        self._waiting = threading.Semaphore(WAITING_AT_ONCE)
        self.is_there: Callable[[int], bool] = lambda connection: True
        for critic in self._critics.values():
            critic.offered = True

    def next(self, name: str, wait_s: float, connection: int) -> ReviewWanted:
        """The next review that is wanted of this critic; an empty one if none is within `wait_s` seconds.

        Raises:
            ControlRefused: the host has no such critic, or too many wait.
        """
        critic = self._named(name)
        has_place = self._waiting.acquire(blocking=False)
        try:
            wanted = critic.take(wait_s if has_place else 0.0, connection, lambda: self.is_there(connection))
        finally:
            if has_place:
                self._waiting.release()
        if wanted is None and not has_place:
            raise ControlRefused("busy", f"{WAITING_AT_ONCE} critics wait for reviews already; ask again")
        if wanted is None:
            return ReviewWanted()
        return ReviewWanted(id=wanted.id, trace=wanted.trace, now=wanted.now, until_s=wanted.timeout_s)

    def left(self, connection: int) -> None:
        """A connection is gone: the reviews that it took are wanted again. Returns at once."""
        for critic in self._critics.values():
            critic.left(connection)

    def given(self, request: GiveReview) -> Done:
        """Hand a verdict over.

        Raises:
            ControlRefused: nobody waits for it any more, or it is no verdict.
        """
        critic = self._named(request.critic)
        if request.error:
            taken = critic.fail(request.review, request.error)
        else:
            try:
                taken = critic.give(request.review, request.verdict)
            except ValueError as error:
                raise ControlRefused("malformed", f"this is no verdict, and counts as a failure: {error}") from None
        if not taken:
            raise ControlRefused("expired", "nobody waits for this review any more")
        return Done(run="", told="taken")

    def _named(self, name: str) -> OutsideCritic:
        critic = self._critics.get(name)
        if critic is None:
            known = ", ".join(self._critics) or "none"
            raise ControlRefused("forbidden", f"this host wants no critic {name!r}; it wants: {known}")
        return critic
