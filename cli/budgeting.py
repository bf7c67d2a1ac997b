"""`executus budget`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..journal.views.asking import SPANS, spent_by_callers, spent_by_families
from .auditing import print_table, stored_views, usd
from .shapes import print_json
from .words import count, cut, one_line, short, span

WINDOWS = (*SPANS, "run")


def budget(db: Path, caller: str | None, windows: tuple[str, ...], *, as_json: bool) -> None:
    """Print what callers spent and hold back."""
    wanted = [window for window in WINDOWS if window in windows] if windows else list(SPANS)
    with stored_views(db) as (_, views):
        rows = spent_by_callers(views, caller, [window for window in wanted if window != "run"])
        if "run" in wanted:
            rows += spent_by_families(views, caller)
    if as_json:
        for row in rows:
            print_json({"type": "budget", **{_NAMES.get(name, name): value for name, value in row.items()}})
        return
    if not rows:
        click.echo("nobody has spent anything" if caller is None else "this caller has spent nothing", err=True)
        return
    head = ["CALLER", "WINDOW", "TOKENS", "USD", "TIME", "TOOLS", "HELD BACK"]
    print_table(head, [_cells(row) for row in rows], numbers=("TOKENS", "USD", "TIME", "TOOLS"))


_NAMES = {"span": "window", "root_run_id": "run"}


def _cells(row: Mapping[str, Any]) -> list[str]:
    window = row["span"] if row["span"] != "run" else f"run {short(row['root_run_id'])}"
    held = ""
    if row["held_calls"]:
        dollars = f", {usd(row['held_usd'])} USD" if row["held_usd"] else ""
        held = f"{count(row['held_tokens'])} tokens{dollars} for {row['held_calls']}"
    return [
        cut(one_line(row["caller"]), 40),
        window,
        count(row["tokens"]),
        usd(row["cost_usd"]),
        span(row["runtime_s"]),
        count(row["tool_calls"]),
        held,
    ]
