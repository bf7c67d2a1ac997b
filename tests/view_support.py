"""What tests of stored views share: a log of many runs, a view of a host's own, and all rows of a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from any_life import Life, lives
from hypothesis import strategies as st

from executus.events import Event, Fact, RunInfo, RunStarted, StepCompleted, Text, tag_of
from executus.journal.views.advancing import advance
from executus.journal.views.building import TemporaryViews, move_to
from executus.journal.views.definition import Definition
from executus.journal.views.feed import Pages
from executus.journal.views.store import Scan, ViewStore
from executus.journal.views.tables import select_all
from executus.projections.rows import Row, Rows, Table

START_US = 1_800_000_000_000_000


class Said(Row):
    """How much was said in a run."""

    run_id: str
    replies: int = 0
    chars: int = 0
    longest: str | None = None


class SaidView:
    """A view as a host writes one."""

    name = "said"
    version = 1
    tables: Sequence[Table] = (Table("said", Said, indexes=(("chars",),)),)

    def apply(self, event: Event, rows: Rows) -> None:
        if isinstance(event.fact, StepCompleted):
            row = rows.of(Said).change(event.run_id)
            for part in event.fact.reply:
                if isinstance(part, Text):
                    row.replies += 1
                    row.chars += len(part.text)
                    row.longest = max(row.longest or "", part.text, key=len)


def no_progress(_: int) -> None:
    """Nobody watches."""


def log_of(runs: Sequence[Sequence[Fact]], order: Sequence[int]) -> list[Event]:
    """The events of `runs` in one journal: `order` says whose fact comes next, as far as it goes."""
    queues = [list(facts) for facts in runs]
    versions = [0] * len(runs)
    log: list[Event] = []
    turns = [*order, *(number for number, queue in enumerate(queues) for _ in queue)]
    for turn in turns:
        number = turn % len(runs)
        if not queues[number]:
            continue
        versions[number] += 1
        fact = queues[number].pop(0)
        run_id = f"00000000-0000-7000-8000-{number:012}"
        if isinstance(fact, RunStarted):
            info = msgspec.structs.replace(fact.info, run_id=run_id, caller_id=f"caller {number % 2}")
            fact = msgspec.structs.replace(fact, info=info)
        position = len(log) + 1
        log.append(
            Event(
                run_id=run_id,
                version=versions[number],
                tag=tag_of(fact),
                fact=fact,
                position=position,
                at_us=START_US + position * 1_700_000,
                elapsed_ms=versions[number] * 900,
                hash=position.to_bytes(32),
            )
        )
    return log


@st.composite
def logs(draw: st.DrawFn, most: int = 4) -> list[Event]:
    """Lives of a few runs, interleaved."""
    runs: list[Life] = draw(st.lists(lives(), min_size=1, max_size=most))
    order = draw(st.lists(st.integers(0, 9), max_size=60))
    return log_of([life.facts for life in runs], order)


def scan_of(log: Sequence[Event]) -> Scan:
    """`Journal.scan` over a list."""
    return lambda after, limit: [event for event in log[after:] if event.position > after][:limit]


def moved(store: ViewStore, definition: Definition, log: Sequence[Event], sizes: Iterable[int]) -> None:
    """Move the view over all of `log` in transactions of so many events; after each, what was in memory is forgotten,
    as by a crash.
    """
    for size in sizes:
        view = store.kept_or_begun(definition, scan_of(log))
        page = Pages(scan_of(log)).after(view.position, size)
        if page:
            advance(store, [view], [page])
            assert view.status != "stopped", view.error
    view = store.kept_or_begun(definition, scan_of(log))
    move_to(store, view, Pages(scan_of(log)), len(log), no_progress)
    if view.building:
        store.swap(view)


def built(definition: Definition, log: Sequence[Event]) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the view, built from nothing."""
    file = TemporaryViews()
    file.open()
    moved(ViewStore(file), definition, log, ())
    rows = rows_of(file.connection, definition)
    file.close()
    return rows


def rows_of(where: sqlite3.Connection | Path, definition: Definition) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a view, with the types of their values."""
    connection = where if isinstance(where, sqlite3.Connection) else sqlite3.connect(where)
    try:
        return {
            table.name: [
                tuple((type(value).__name__, value) for value in row) for row in connection.execute(select_all(table))
            ]
            for table in definition.tables
        }
    finally:
        if connection is not where:
            connection.close()


def info_of(name: str, **more: Any) -> RunInfo:
    """Who asked."""
    return RunInfo(run_id="", name=name, **more)
