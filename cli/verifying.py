"""`executus verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import JournalError
from ..events import Event, RunFinished
from ..journal import verify_run
from ..ports import Journal
from ..projections import Checkpoint, advance, fold, stats
from .opening import find_run, reading
from .program import OK, PROBLEM
from .shapes import print_json
from .words import harmless, many

MANY_RUNS = 200
"""From this many runs on there is a progress bar."""


def verify_runs(db: Path, digits: str | None, *, as_json: bool) -> int:
    """Check one run or all; returns the exit code."""
    runs = events = problems = 0
    with reading(db) as journal:
        ids = [row.run_id for row in journal.runs()] if digits is None else [find_run(journal, digits)]
        hidden = len(ids) < MANY_RUNS or not sys.stderr.isatty()
        with click.progressbar(ids, label="verifying", file=sys.stderr, hidden=hidden) as bar:
            for run_id in bar:
                row = journal.run(run_id)
                runs += 1
                events += row.version if row is not None else 0
                for problem in _problems(journal, run_id):
                    problems += 1
                    if as_json:
                        print_json({"type": "problem", "run": run_id, "problem": problem})
                    else:
                        click.echo(harmless(f"run {run_id}: {problem}"))
    if as_json:
        print_json({"type": "summary", "runs": runs, "events": events, "problems": problems})
    elif problems:
        click.echo(f"{many(problems, 'problem')} in {many(runs, 'run')} ({many(events, 'event')})")
    else:
        click.echo(f"{many(runs, 'run')}, {many(events, 'event')}: every log is whole, and folds to what was stored")
    return PROBLEM if problems else OK


def _problems(journal: Journal, run_id: str) -> list[str]:
    """What is wrong with a run: its log as stored (P2), and then what it adds up to (P7)."""
    try:
        problems = verify_run(journal, run_id)
        if problems:
            return problems
        log = journal.read(run_id)
        loaded = journal.load(run_id)
    except JournalError as error:
        return [str(error)]
    return rebuilt_otherwise(log, loaded)


def rebuilt_otherwise(log: list[Event], loaded: Checkpoint) -> list[str]:
    """How a log differs from `loaded`, the fold that was stored of it, and its end from the sum of its facts."""
    problems: list[str] = []
    rebuilt = fold(log[: loaded.version])  # a live run may have grown between the two reads
    if rebuilt != loaded:
        problems.append(
            f"version {loaded.version}: folding the log from its first event gives another state than stored"
        )
    so_far = Checkpoint()
    for event in log:
        fact = event.fact
        if isinstance(fact, RunFinished):
            given = fact.stats
            counted = stats(so_far.state, given.status, given.error, round(given.runtime_s * 1000))
            if counted != given:
                problems.append(f"version {event.version}: the stats at the end are not what the events add up to")
        so_far = advance(so_far, event)
    return problems
