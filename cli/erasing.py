"""`executus erase`."""

from __future__ import annotations

from pathlib import Path

import click

from ..adapters.files.stager import DirectoryStager
from ..adapters.keys.sources import key_of_environment
from ..erasure import Erasure
from ..errors import MessageRefused
from ..runtime import Runtime
from .opening import find_run
from .program import OK, PROBLEM, Misuse, Unopened
from .shapes import print_json
from .words import harmless, many, one_line

SHOWN_RUNS = 20
"""Runs that are listed before somebody is asked; `--json` has all."""


def erase_runs(
    db: Path,
    digits: str | None,
    *,
    caller: str,
    by: str,
    reason: str,
    files: Path | None,
    phrases: tuple[str, ...],
    prove: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Erase one run or a caller's; returns the exit code."""
    if (digits is None) == (not caller):
        raise Misuse("name a run, or a caller with --caller, and one of them only")
    if not db.exists():
        raise Unopened(f"there is no journal at {db}; name one with --db")
    if not (yes or dry_run) and as_json:
        raise Misuse("--json asks nothing: give --yes, or --dry-run")
    stager = None if files is None else DirectoryStager(files)
    with Runtime(db, resume=False, files=stager, encryption=key_of_environment()) as runtime:
        run = None if digits is None else find_run(runtime.journal, digits)
        try:
            plan = runtime.erase(run, caller=caller, dry_run=True)
        except MessageRefused as error:
            raise Misuse(str(error)) from error
        if dry_run or not plan.runs:
            return _told(plan, [], as_json)
        if not yes:
            _print_runs(plan)
            click.confirm("Erase for ever what was said in them?", abort=True, err=True)
        erasure = runtime.erase(run, caller=caller, by=by, reason=reason)
        problems = runtime.prove_erasure(erasure.runs, phrases) if prove or phrases else []
    return _told(erasure, problems, as_json)


def _print_runs(erasure: Erasure) -> None:
    for run_id in erasure.runs[:SHOWN_RUNS]:
        click.echo(f"run {run_id}")
    if len(erasure.runs) > SHOWN_RUNS:
        click.echo(f"and {many(len(erasure.runs) - SHOWN_RUNS, 'more run')}")


def _told(erasure: Erasure, problems: list[str], as_json: bool) -> int:
    left = [*erasure.left, *(problem for problem in problems if problem not in erasure.left)]
    if as_json:
        for run_id in erasure.runs:
            print_json({"type": "erased", "run": run_id, "done": not erasure.dry_run})
        for one in left:
            print_json({"type": "problem", "problem": one})
        counts = {"artifacts": erasure.artifacts, "blobs": erasure.blobs, "attachments": erasure.attachments}
        print_json({"type": "summary", "runs": len(erasure.runs), **counts, "problems": len(left)})
    else:
        if erasure.dry_run:
            _print_runs(erasure)
        what = "would be erased" if erasure.dry_run else "erased: no key of theirs is left"
        click.echo(f"{many(len(erasure.runs), 'run')} {what}")
        for one in left:
            click.echo(harmless(one_line(one)))
    return PROBLEM if left else OK
