"""Checking a journal, signing for it, moving runs to its archive and copying it.

The log is that of 1,250 runs that work at the same time, 20 steps each with one tool call, 1,000 characters of reply
and of result: 107,500 events. Nothing here is on a path on which a run waits. The floor of a check is reading and
decoding the same rows through the same reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agents import agent, measure_drive
from measure import Figure, against_floor, median_of, options, report, scratch
from views import read_all

from executus import Runtime
from executus.journal import (
    Compactor,
    Inspection,
    SqliteJournal,
    Terms,
    back_up,
    plan,
    read_journal,
    vacuum,
)
from executus.journal.heads import NOTHING, advanced
from executus.journal.placed import placed


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def check(path: Path) -> None:
    """What `executus verify` does."""
    journal = read_journal(path)
    found = [str(one) for one in Inspection(journal).of_everything()]
    journal.close()
    assert found == [], found[:3]


def running_hash(path: Path) -> None:
    """What signing reads and hashes; a signature is one more call for a thousand events."""
    journal = read_journal(path)
    digest = NOTHING
    for event in placed(journal, 0, journal.head(), archived=False):
        digest = advanced(digest, event)
    journal.close()


def copy(path: Path, to: Path) -> None:
    """What `executus backup` does."""
    journal = read_journal(path)
    back_up(journal, to)
    journal.close()


def compact(path: Path) -> int:
    """What `executus compact --yes --vacuum` does; returns the events that were moved."""
    journal = SqliteJournal(path)
    done = Compactor(journal, plan(journal, Terms(before_us=1 << 60)), at_us=1).move()
    vacuum(journal)
    assert journal.close(60)
    assert done.problems == []
    return done.events


def main() -> None:
    given = options(__doc__)
    runs, steps = (20, 5) if given.quick else (1250, 20)
    with scratch(given.folder) as place:
        path = place / "runs.db"
        with Runtime(path, [agent(steps)], views=None) as runtime:
            measure_drive(runtime, runs, steps)
        reader = read_journal(path)
        head = reader.head()
        checks: list[tuple[float, float]] = []
        busy: list[float] = []
        hashes: list[float] = []
        copies: list[float] = []
        for turn in range(given.rounds + 1):
            floor = read_all(reader)
            began = time.process_time()
            took = seconds(lambda: check(path))
            used = time.process_time() - began
            if turn:  # the first one warms the page cache
                checks.append((head / took, head / floor))
                busy.append(head / used)
                hashes.append(head / seconds(lambda: running_hash(path)))
                to = place / f"copy-{turn}.db"
                copies.append(path.stat().st_size / 1e6 / seconds(lambda to=to: copy(path, to)))  # type: ignore[misc]
        reader.close()
        before = path.stat().st_size
        start = time.perf_counter()
        moved = compact(path)
        took = time.perf_counter() - start
        figures = [
            against_floor(f"verify {head:,} events", "events/s", checks),
            median_of("  of processor time", "events/CPU-s", busy, bound=50_000, at_least=True),
            median_of("running hash of all events, for signing", "events/s", hashes),
            median_of("backup", "MB/s", copies),
            Figure(f"compact {moved:,} events", moved / took, "events/s"),
            Figure("  the journal afterwards, of what it was", path.stat().st_size / before, "×"),
            Figure("  verify with the archive", head / seconds(lambda: check(path)), "events/s"),
        ]
    report("evidence", figures, given)


if __name__ == "__main__":
    main()
