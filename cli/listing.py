"""`executus ps`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from ..events import Status
from ..ports import Journal
from ..projections.overview import Overview
from .opening import hosted, reading, row_of
from .program import Misuse
from .shapes import print_json, run_shape
from .standing import Standings
from .words import age, coloured, columns, count, cut, one_line, screen_width, short

STATUSES = (*get_args(Status), "running", "waiting", "quarantined", "suspended", "unreadable")


def list_runs(db: Path, *, statuses: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Print runs, newest first; only those with one of `statuses`, if any is given."""
    for status in statuses:
        if status not in STATUSES:
            raise Misuse(f"{one_line(status)!r} is no status; there are {', '.join(STATUSES)}")
    with reading(db) as journal:
        standings = Standings(journal, hosted(journal))
        table: list[list[str]] = []
        for shown, (row, status, why) in enumerate(_newest(journal, standings, statuses)):
            if limit is not None and shown == limit:
                if not as_json:
                    _print_table(table)
                    click.echo(f"(the newest {limit}; see more with --limit or --all)", err=True)
                return
            if as_json:
                print_json(run_shape(row, status, why) | ({"error": why} if status == "unreadable" else {}))
            else:
                table.append(_cells(row, status, why))
        if as_json:
            return
        if table:
            _print_table(table)
        else:
            click.echo("no runs" + (f" with status {' or '.join(statuses)}" if statuses else ""), err=True)


def _newest(journal: Journal, standings: Standings, statuses: tuple[str, ...]) -> Iterator[tuple[Overview, str, str]]:
    for summary in reversed(journal.runs()):
        row, why = row_of(journal, summary)
        status = "unreadable"
        if not why:
            status, why = standings.of(row)
        if not statuses or status in statuses:
            yield row, status, why


WORDS_WIDTH = 120
"""Columns of last words, also in a pipe; `--json` has them whole."""
NARROW = 110
"""Columns below which there is no room for everything."""
HEADINGS = ["RUN", "STATUS", "AGE", "AGENT", "STEPS", "TOOLS", "TOKENS", "NAME", "LAST WORDS"]


def _cells(row: Overview, status: str, why: str) -> list[str]:
    state = row.state
    last = (why if status != "suspended" else "") or (f"{row.doing} …" if row.doing and status == "running" else "")
    return [
        short(row.run_id),
        status,
        age(time.time() - row.started_at_us / 1e6) if row.started_at_us else "?",
        cut(one_line(row.agent), 24),
        str(state.step),
        str(state.tool_calls),
        count(state.input_tokens + state.output_tokens),
        cut(one_line(row.info.name), max(16, min(40, screen_width() // 4))),
        cut(one_line(last or state.error or state.output[:1000] or state.reason), WORDS_WIDTH),
    ]


def _print_table(table: list[list[str]]) -> None:
    narrow = screen_width() < NARROW
    kept = [index for index, heading in enumerate(HEADINGS) if not (narrow and heading in ("AGENT", "TOOLS"))]
    numbers = [place for place, index in enumerate(kept) if HEADINGS[index] in ("AGE", "STEPS", "TOOLS", "TOKENS")]
    rows = columns([[cells[index] for index in kept] for cells in (HEADINGS, *table)], right=numbers)
    for index, cells in enumerate(rows):
        if index:
            cells[1] = coloured(cells[1].strip(), cells[1])
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))
