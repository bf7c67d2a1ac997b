"""Mistakes to plant in a host that is killed: what finds none of them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from executus.actors.run import actor, decide
from executus.journal.sqlite import SqliteJournal


class _Shadow:
    """An append whose outcome was already told."""

    def __init__(self, append: Any) -> None:
        self.run_id, self.expected, self.stored = append.run_id, append.expected, append.stored
        self.request_key = append.request_key

    def done(self, error: Any) -> None:
        """Nobody is told."""


def acknowledge_early() -> None:
    """Say that it is stored, then store it."""
    append = SqliteJournal.append

    def early(self: SqliteJournal, one: Any) -> None:
        append(self, _Shadow(one))  # type: ignore[arg-type]
        one.done(None)

    SqliteJournal.append = early  # type: ignore[method-assign]


def act_before_intent() -> None:
    """Begin what is owed before the facts that say so are stored."""
    append = actor.RunActor.append

    def eager(self: actor.RunActor, *arguments: Any) -> None:
        append(self, *arguments)
        self.reconcile()

    actor.RunActor.append = eager  # type: ignore[method-assign]


def run_again() -> None:
    """After a crash, take every tool for one that may be run again."""
    resumed = decide._resumed

    def careless(state: Any, message: Any, now_ms: int) -> Any:
        return resumed(
            replace(state, open_calls=tuple(replace(one, effect="pure") for one in state.open_calls)), message, now_ms
        )

    decide._resumed = careless


def forget_results() -> None:
    """Lose the results of tools that were stored: fold them as if they had not come."""
    from executus.events import ToolFinished
    from executus.journal import reading

    evolve = reading.evolve

    def forgetful(state: Any, fact: Any) -> Any:
        return state if isinstance(fact, ToolFinished) and len(state.open_calls) > 1 else evolve(state, fact)

    reading.evolve = forgetful


BUGS: dict[str, Callable[[], None]] = {
    "acknowledge-early": acknowledge_early,
    "act-before-intent": act_before_intent,
    "run-again": run_again,
    "forget-results": forget_results,
}


def plant(name: str) -> None:
    """Plant the bug of that name in this process."""
    BUGS[name]()
