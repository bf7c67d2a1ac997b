"""`executus verify`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..journal import Finding, HeadsCheck, Inspection
from .opening import find_run, reading
from .program import OK, PROBLEM, Misuse
from .shapes import print_json
from .words import harmless, many

MANY_EVENTS = 50_000
"""From this many events on there is a progress bar."""


def verify_runs(
    db: Path, digits: str | None, *, since: int, deep: bool, keys: Sequence[Path], heads: Path | None, as_json: bool
) -> int:
    """Check one run or the whole journal; returns the exit code."""
    signed = _heads(db, digits, keys, heads, since)
    with reading(db) as journal, _progress(journal.head() - since if digits is None else 0) as tick:
        inspection = Inspection(journal, since=since, deep=deep, tick=tick, heads=signed)
        findings = inspection.of_everything() if digits is None else inspection.of_run(find_run(journal, digits))
        interrupted = _tell(findings, as_json)
    _sum_up(inspection, signed, as_json, interrupted)
    if interrupted:
        raise KeyboardInterrupt
    return PROBLEM if inspection.problems else OK


def _heads(db: Path, digits: str | None, keys: Sequence[Path], heads: Path | None, since: int) -> HeadsCheck | None:
    """The check of what was signed, if it is wanted."""
    if not keys and heads is None:
        return None
    if not keys:
        raise Misuse("--heads needs the key that signed: --public-key FILE")
    if digits is not None:
        raise Misuse("anchors are about the whole journal; leave RUN out")
    from ..adapters.signing import PublicKey

    try:
        known = [PublicKey(key) for key in keys]
    except (ValueError, OSError) as error:
        raise Misuse(str(error)) from error
    path = heads if heads is not None else db.with_name(db.name + ".heads")
    return HeadsCheck(path, known, since=since)


@contextmanager
def _progress(events: int) -> Generator[Callable[[int], None]]:
    """A bar for people who wait at a terminal."""
    if events < MANY_EVENTS or not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=events, label="verifying", file=sys.stderr) as bar:
        yield lambda done: bar.update(min(done, events) - bar.pos)


def _tell(findings: Iterator[Finding], as_json: bool) -> bool:
    """Print each finding as it comes; True if somebody pressed Ctrl-C."""
    try:
        for finding in findings:
            if as_json:
                print_json(finding_shape(finding))
            else:
                of = f"run {finding.run_id}: " if finding.run_id else ""
                click.echo(harmless(f"{'(note) ' if finding.remark else ''}{of}{finding}"))
    except KeyboardInterrupt:
        return True
    return False


def finding_shape(finding: Finding) -> dict[str, Any]:
    """A finding, as `verify --json` prints it."""
    kind = "remark" if finding.remark else "problem"
    place = {"run": finding.run_id, "version": finding.version, "position": finding.position}
    return {"type": kind, **place, kind: str(finding)}


def _sum_up(inspection: Inspection, signed: HeadsCheck | None, as_json: bool, interrupted: bool) -> None:
    runs, events, problems = inspection.runs, inspection.events, inspection.problems
    if as_json:
        shape = {"runs": runs, "events": events, "archived": inspection.archived, "locked": inspection.locked}
        shape |= {"problems": problems}
        if signed is not None:
            shape |= {"anchors": signed.anchors, "signed_to": signed.signed_to}
        print_json({"type": "summary", **shape, "interrupted": interrupted})
        return
    so_far = f"{many(runs, 'run')} ({many(events, 'event')})"
    if interrupted:
        click.echo(f"interrupted: {many(problems, 'problem')} so far, in {so_far}")
    elif problems:
        click.echo(f"{many(problems, 'problem')} in {so_far}")
    else:
        click.echo(f"{many(runs, 'run')}, {many(events, 'event')}: every log is whole, and folds to what was stored")
    if signed is not None and not interrupted:
        how = "all fit" if not problems else "see above"
        click.echo(f"{many(signed.anchors, 'signed anchor')}, up to position {signed.signed_to}: {how}")
    if inspection.locked:
        them = "it" if inspection.locked == 1 else "them"
        told = f"{many(inspection.locked, 'run')} sealed, and checked without what is said in {them}"
        click.echo(f"{told}: set EXECUTUS_KEY or EXECUTUS_KEY_FILE")
