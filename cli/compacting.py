"""`executus compact`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from ..journal import Compacted, Compactor, Plan, SqliteJournal, Terms, plan, vacuum
from .opening import owning, reading
from .program import OK, PROBLEM, Misuse, Unopened
from .shapes import print_json
from .verifying import finding_shape
from .words import harmless, many, one_line

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

REASONS: Final = {
    "young": "too young",
    "unfinished": "not over, or of a family that is not",
    "newest": "with the newest event of the journal",
    "kept": "among the newest, to keep",
    "caller": "of another caller",
    "status": "with another status",
    "delivery": "with a delivery that is not settled",
    "unreadable": "that cannot be read",
}

MANY_RUNS = 500


def seconds_of(text: str) -> int:
    """The seconds in "90d", "12h", "30m", "45s" or "2w".

    Raises:
        Misuse: it is no such duration.
    """
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip().lower())
    if found is None:
        raise Misuse(f"{one_line(text)!r} is no duration; write 90d, 12h, 30m, 45s or 2w")
    return int(found[1]) * UNITS[found[2]]


def compact_runs(db: Path, terms: Terms, *, really: bool, shrink: bool, as_json: bool) -> int:
    """Move runs to the archive, or say what would move; returns the exit code."""
    before = _bytes(db)
    if not really:
        with reading(db) as journal:
            planned = plan(journal, terms)
        done = Compacted(
            len(planned.runs), sum(run.events for run in planned.runs), sum(run.size for run in planned.runs)
        )
    else:
        with _hosting(db) as journal:
            planned = plan(journal, terms)
            with _progress(len(planned.runs)) as tick:
                done = Compactor(journal, planned, at_us=time.time_ns() // 1000, tick=tick).move()
            if shrink:
                vacuum(journal)
    if as_json:
        _print_json(planned, done, really, (before, _bytes(db), _bytes(_archive(db))))
    else:
        _print(planned, done, really, (before, _bytes(db), _bytes(_archive(db))), db)
    return PROBLEM if done.problems else OK


@contextmanager
def _hosting(db: Path) -> Generator[SqliteJournal]:
    if not db.exists():
        raise Unopened(f"there is no journal at {db}")
    with owning(db) as journal:
        assert isinstance(journal, SqliteJournal)
        yield journal


@contextmanager
def _progress(runs: int) -> Generator[Callable[[int], None]]:
    import sys

    if runs < MANY_RUNS or not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=runs, label="moving", file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _archive(db: Path) -> Path:
    return db.with_name(db.name + ".archive")


def _bytes(db: Path) -> int:
    return sum(one.stat().st_size for one in (db, db.with_name(db.name + "-wal")) if one.exists())


def _print_json(planned: Plan, done: Compacted, really: bool, sizes: tuple[int, int, int]) -> None:
    for run in planned.runs:
        print_json({"type": "move", "run": run.run_id, "events": run.events, "bytes": run.size})
    for problem in done.problems:
        print_json(finding_shape(problem))
    shape: dict[str, Any] = {"moved": really, "runs": done.runs, "events": done.events, "bytes": done.size}
    shape |= {"staying": planned.staying, "problems": len(done.problems)}
    print_json({"type": "summary", **shape, **dict(zip(("db_before", "db_after", "archive"), sizes, strict=True))})


def _print(planned: Plan, done: Compacted, really: bool, sizes: tuple[int, int, int], db: Path) -> None:
    archive = _archive(db).name
    for problem in done.problems:
        click.echo(harmless(f"run {problem.run_id}: {problem}"))
    what = f"{many(done.runs, 'run')} ({many(done.events, 'event')}, {_megabytes(done.size)})"
    click.echo(f"{'moved' if really else 'would move'} {what} to {archive}")
    for line in _staying(planned.staying):
        click.echo(line)
    if planned.interrupted and not really:
        click.echo(f"would finish what was interrupted: {many(len(planned.interrupted), 'run')}")
    if really:
        before, after, there = sizes
        click.echo(f"{db.name}: {_megabytes(before)} before, {_megabytes(after)} now; {archive}: {_megabytes(there)}")
        if after >= before and done.runs:
            click.echo("the room is used for new events; give it back to the disk with --vacuum", err=True)
    else:
        click.echo("nothing was changed; add --yes to do it", err=True)


def _staying(staying: Mapping[str, int]) -> list[str]:
    return [f"{many(number, 'run')} stay: {REASONS[reason]}" for reason, number in sorted(staying.items())]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
