"""Building stored views from the log: the audit trail, the budgets, and a view of one small table.

The floor is reading and decoding the same rows through the same reader in the same round. The log is that of 1,250 runs
that work at the same time, 20 steps each with one tool call, 1,000 characters of reply and of result: 107,500 events.
Built is what `executus rebuild` builds: tables in a file on the disk, indexed, swapped in.
Target: 100,000 events a second, or half the floor's speed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from agents import agent, measure_drive
from measure import Figure, Options, against_floor, median_of, options, report, scratch

from executus import Event, Runtime
from executus.events import StepCompleted
from executus.journal import OutsideReader, read_journal
from executus.journal.views.building import rebuild
from executus.journal.views.builtin import builtin_views
from executus.journal.views.definition import Definition, defined
from executus.journal.views.feed import PAGE, Pages
from executus.journal.views.file import ViewsFile
from executus.projections.rows import Row, Rows, Table


class ModelUse(Row):
    """What a model was used for."""

    model: str
    replies: int = 0
    tokens_out: int = 0


class Trivial:
    """A view of one small table."""

    name = "trivial"
    version = 1
    tables: Sequence[Table] = (Table("model_use", ModelUse),)

    def apply(self, event: Event, rows: Rows) -> None:
        """Count replies."""
        if isinstance(event.fact, StepCompleted):
            row = rows.of(ModelUse).change(event.fact.model)
            row.replies += 1
            row.tokens_out += event.fact.usage.output


def read_all(journal: OutsideReader) -> float:
    """Seconds to read and decode every event."""
    start = time.perf_counter()
    after, page = 0, journal.scan(0, PAGE)
    while page:
        after = page[-1].position
        page = journal.scan(after, PAGE)
    return time.perf_counter() - start


def build(journal: OutsideReader, definition: Definition, path: Path, head: int) -> float:
    """Seconds to build the view anew."""
    file = ViewsFile(str(path))
    file.open()
    start = time.perf_counter()
    rebuild(file, definition, Pages(journal.scan), head, lambda position: None)
    took = time.perf_counter() - start
    file.close()
    return took


def measured(journal: OutsideReader, given: Options, folder: Path) -> list[Figure]:
    """One line a view, against the floor of its own rounds."""
    head = journal.head()
    definitions = [*builtin_views(), defined(Trivial())]
    speeds: dict[str, list[tuple[float, float]]] = {one.name: [] for one in definitions}
    for turn in range(given.rounds + 1):
        for definition in definitions:
            floor = read_all(journal)
            took = build(journal, definition, folder / "views", head)
            if turn:  # the first one warms the page cache
                speeds[definition.name].append((head / took, head / floor))
    figures: list[Figure] = []
    for name, pairs in speeds.items():
        figures.append(against_floor(f"{name}, of {head:,} events", "events/s", pairs, bound=0.5, at_least=True))
        figures.append(median_of("  or in itself", "events/s", [one for one, _ in pairs], bound=100_000, at_least=True))
    return figures


def main() -> None:
    given = options(__doc__)
    runs, steps = (20, 5) if given.quick else (1250, 20)
    with scratch(given.folder) as place:
        with Runtime(place / "runs.db", [agent(steps)], views=None) as runtime:
            measure_drive(runtime, runs, steps)
        journal = read_journal(place / "runs.db")
        figures = measured(journal, given, place)
        journal.close()
    report("views", figures, given)


if __name__ == "__main__":
    main()
