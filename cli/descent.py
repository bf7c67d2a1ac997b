"""`executus lineage`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..events import Edit, RunForked
from ..ports import Journal
from ..projections.overview import Overview
from ..travel import Branch, lineage
from ..travel.descent import source_of
from .opening import find_run, hosted, reading, row_of
from .shapes import print_json
from .standing import Standings
from .words import coloured, columns, cut, one_line, screen_width, short

EDIT_WIDTH = 60
"""Columns of one edit, also in a pipe; `--json` has all that the log has of it."""


class Told(NamedTuple):
    """A run of the tree. lead: what stands before it in a drawing. above: the run it goes on from, "" for the first.
    fork: the fact that says so.
    """

    branch: Branch
    lead: str
    depth: int
    above: str
    fork: RunForked | None
    row: Overview
    status: str
    why: str


def print_lineage(db: Path, digits: str, *, full: bool, as_json: bool) -> None:
    """Print the tree of runs that go on from one another, to which a run belongs."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        standings = Standings(journal, hosted(journal))
        told = list(_told(journal, standings, lineage(journal, run_id)))
    if as_json:
        for one in told:
            print_json(_shape(one))
        return
    rows = [_cells(one, run_id, full) for one in told]
    heading = ["RUN", "FROM", "STATUS", "STEPS", "AGENT", "DIFFERENT", "ENDED"]
    for index, cells in enumerate(columns([heading, *rows], right=(1, 3))):
        if index:
            cells[2] = coloured(cells[2].strip(), cells[2])
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))


def _told(journal: Journal, standings: Standings, first: Branch) -> Iterator[Told]:
    # Not by recursion: forks of forks may go deeper than Python's stack.
    left = [(first, "", "", 0, "")]
    while left:
        branch, lead, below, depth, above = left.pop()
        yield _one(journal, standings, branch, lead, depth, above)
        last = len(branch.children) - 1
        for index in range(last, -1, -1):
            child, ends = branch.children[index], index == last
            mine = (below + ("└ " if ends else "├ "), below + ("  " if ends else "│ "))
            left.append((child, *mine, depth + 1, branch.run_id))


def _one(journal: Journal, standings: Standings, branch: Branch, lead: str, depth: int, above: str) -> Told:
    summary = journal.run(branch.run_id) if branch.known else None
    if summary is None:
        return Told(branch, lead, depth, above, None, Overview(), "not here", "this journal does not have it")
    row, why = row_of(journal, summary)
    if why:
        return Told(branch, lead, depth, above, None, row, "unreadable", why)
    found = source_of(journal, branch.run_id)
    status, why = standings.of(row)
    return Told(branch, lead, depth, above, None if found is None else found[0], row, status, why)


def _cells(told: Told, asked: str, full: bool) -> list[str]:
    state, fork = told.row.state, told.fork
    edits = [] if fork is None else [edit_line(one) for one in fork.edits]
    if fork is not None and fork.reuse == "recorded":
        edits.append("reuses recorded replies")
    width = screen_width() if full else EDIT_WIDTH
    ended = f"by {one_line(state.by)}" if state.by else ""
    said = state.reason or state.error or told.why
    return [
        told.lead + short(told.branch.run_id) + (" *" if told.branch.run_id == asked else ""),
        str(told.branch.version or ""),
        told.status,
        str(state.step) if told.row.version else "",
        cut(one_line(told.row.agent), 24),
        "; ".join(cut(edit, width) for edit in edits),
        ": ".join(one for one in (ended, one_line(said)) if one),
    ]


def edit_line(edit: Edit) -> str:
    """What was made different, in one line: what, and from what to what."""
    change = f"{edit.before} → {edit.after}" if edit.before else edit.after
    return one_line(f"{edit.what}: {change}" if change else edit.what)


def _shape(told: Told) -> dict[str, Any]:
    state, fork = told.row.state, told.fork
    return {
        "type": "branch",
        "run": told.branch.run_id,
        "above": told.above or None,
        "version": told.branch.version,
        "depth": told.depth,
        "known": told.branch.known,
        "edits": [{"what": one.what, "before": one.before, "after": one.after} for one in fork.edits] if fork else [],
        "reuse": fork.reuse if fork else "never",
        "name": told.row.info.name,
        "agent": told.row.agent,
        "status": told.status,
        "by": state.by,
        "reason": state.reason,
        "error": state.error,
        "why": told.why,
        "steps": state.step,
        "events": told.row.version,
    }
