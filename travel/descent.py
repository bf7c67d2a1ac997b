"""Runs that go on from one another: where a run was forked from, and what was forked from it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..errors import JournalError, UnknownRun
from ..events import Event, InputStaged, RunForked, RunStarted
from ..ports import Journal

OPENING = 16
"""Events of a run that are read at once to find what it goes on from."""


class Branch(msgspec.Struct, frozen=True):
    """A run, and the runs that go on from it, by the version they go on from. version: of the run above, 0 for the
    first. known: whether the journal has it.
    """

    run_id: str
    version: int
    known: bool
    children: tuple[Branch, ...] = ()

    def branches(self) -> Iterator[Branch]:
        """This and all below, those above first."""
        yield self
        for child in self.children:
            yield from child.branches()


def opening(journal: Journal, run_id: str) -> Iterator[Event]:
    """How a run was started: its first events, up to the one that says what it goes on from, if it does.

    Raises:
        UnknownRun, LogCorrupt: as `ports.Journal.read`.
    """
    after = 0
    while page := journal.read(run_id, after, OPENING):
        for event in page:
            if not isinstance(event.fact, (RunStarted, InputStaged, RunForked)):
                return
            yield event
            if isinstance(event.fact, RunForked):
                return
        after = page[-1].version


def source_of(journal: Journal, run_id: str) -> tuple[RunForked, int] | None:
    """What a run goes on from, and the version of the fact that says so; None if it began by itself.

    Raises:
        UnknownRun, LogCorrupt: as `ports.Journal.read`.
    """
    for event in opening(journal, run_id):
        if isinstance(event.fact, RunForked):
            return event.fact, event.version
    return None


def lineage(journal: Journal, run_id: str) -> Branch:
    """The tree of runs that `run_id` belongs to: from the one that all others go on from. Looks at the first events of
    every run of the journal.

    Raises:
        UnknownRun: no such run. LogCorrupt: its first events do not decode.
    """
    if journal.run(run_id) is None:
        raise UnknownRun(run_id)
    below: dict[str, list[tuple[int, str]]] = {}
    known: set[str] = set()
    for row in journal.runs():
        known.add(row.run_id)
        try:
            found = source_of(journal, row.run_id)
        except (JournalError, UnknownRun):  # it cannot be read, or is forgotten by now: then nobody knows
            continue
        if found is not None:
            below.setdefault(found[0].source, []).append((found[0].version, row.run_id))
    first = run_id
    seen = {first}
    while (above := source_of(journal, first) if first in known else None) is not None and above[0].source not in seen:
        first = above[0].source
        seen.add(first)
    return _branch(first, 0, below, known, frozenset())


def _branch(
    run_id: str, version: int, below: dict[str, list[tuple[int, str]]], known: set[str], above: frozenset[str]
) -> Branch:
    within = above | {run_id}
    children = [
        _branch(child, at, below, known, within) for at, child in sorted(below.get(run_id, [])) if child not in within
    ]
    return Branch(run_id, version, run_id in known, tuple(children))
