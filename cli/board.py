"""What a swarm of runs looks like while it works: a live table on a terminal, a line for each change in a pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import click

from ..projections.overview import Overview
from .shapes import print_json, run_shape
from .words import coloured, count, cut, many, one_line, short, span

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REDRAW_S = 0.25
"""Seconds between two pictures of the live table."""
WORDS_WIDTH = 160
"""Columns of last words, where the screen has them."""
ROOM_BESIDE = 6
"""Lines of the screen that are not rows: heading, counts, what comes after."""


class Board(Protocol):
    """Shows rows as they change. Used on one thread."""

    def start(self, total: int) -> None:
        """Begin; `total` runs are expected."""
        ...

    def show(self, rows: Mapping[str, Overview], changed: set[str]) -> None:
        """The newest rows, and which of them changed since last time."""
        ...

    def stop(self) -> None:
        """The last picture stays."""
        ...


class JsonBoard:
    """One JSON object for each change of a run's status, step or tools."""

    def start(self, total: int) -> None:
        """Nothing to say yet."""

    def show(self, rows: Mapping[str, Overview], changed: set[str]) -> None:
        """Print the rows that changed."""
        for run_id in sorted(changed):
            print_json(run_shape(rows[run_id], rows[run_id].status))

    def stop(self) -> None:
        """Nothing stays open."""


class PlainBoard:
    """One line for each change of a run's status: for pipes and logs, without control codes."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._total = self._over = 0

    def start(self, total: int) -> None:
        """Say what is coming."""
        self._total = total

    def show(self, rows: Mapping[str, Overview], changed: set[str]) -> None:
        """Print the rows whose status changed."""
        for run_id in sorted(changed):
            row = rows[run_id]
            if self._seen.get(run_id) == row.status:
                continue
            self._seen[run_id] = row.status
            self._over += row.state.over
            progress = f"[{self._over}/{self._total}]"
            words = f"  {_words(row)}" if row.state.over else ""
            click.echo(f"{progress:>9}  {short(run_id)}  {row.status:<9}  {one_line(row.info.name)}{words}")

    def stop(self) -> None:
        """Nothing stays open."""


class LiveBoard:
    """A table that is redrawn in place, at most four times a second, from the rows as they stand."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._total = 0
        self._began = self._drawn = time.monotonic()

    def start(self, total: int) -> None:
        """Take the screen's lower part."""
        self._total = total
        self._live.start()

    def show(self, rows: Mapping[str, Overview], changed: set[str]) -> None:
        """Redraw."""
        self._drawn = time.monotonic()
        self._live.update(self._picture(rows), refresh=True)

    def stop(self) -> None:
        """Leave the last picture where it is."""
        self._live.stop()

    def _picture(self, rows: Mapping[str, Overview]) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        room = max(3, self._console.size.height - ROOM_BESIDE)
        table = Table(box=None, padding=(0, 1), expand=True, header_style="bold")
        table.add_column("RUN", width=8, no_wrap=True)
        table.add_column("FILE", ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_column("STATUS", width=9, no_wrap=True)
        table.add_column("STEP", width=4, justify="right")
        table.add_column("TOOLS", width=5, justify="right")
        table.add_column("TOKENS", width=6, justify="right")
        table.add_column("NOW / LAST WORDS", ratio=5, no_wrap=True, overflow="ellipsis")
        for row in shown_rows(rows, room):
            state = row.state
            words = f"{row.doing} …" if row.doing else _words(row)
            table.add_row(
                Text(short(row.run_id), style="dim"),
                Text(one_line(row.info.name)),
                Text(row.status, style=STYLES.get(row.status, "red")),
                str(state.step),
                str(state.tool_calls),
                count(state.input_tokens + state.output_tokens),
                Text(words, style="cyan" if row.doing else "default"),
            )
        return Group(table, Text(self._counts(rows)))

    def _counts(self, rows: Mapping[str, Overview]) -> str:
        over = sum(row.state.over for row in rows.values())
        tokens = sum(row.state.input_tokens + row.state.output_tokens for row in rows.values())
        calls = sum(row.state.tool_calls for row in rows.values())
        took = span(time.monotonic() - self._began)
        bar = ("━" * round(24 * over / max(1, self._total))).ljust(24, "─")
        return (
            f"\n{bar} {over} of {many(self._total, 'run')}, {many(calls, 'tool call')}, {count(tokens)} tokens, {took}"
        )


STYLES = {"ok": "green", "dry_run": "green", "running": "cyan", "waiting": "yellow"}


def shown_rows(rows: Mapping[str, Overview], room: int) -> list[Overview]:
    """At most `room` rows: those at work first, in the order they began, then the ones that ended last."""
    at_work = [row for row in rows.values() if not row.state.over]
    over = sorted((row for row in rows.values() if row.state.over), key=lambda row: row.changed_at_us, reverse=True)
    return [*at_work, *over][:room]


def summary_line(statuses: Mapping[str, int]) -> str:
    """Such as "44 ok, 1 error"."""
    return ", ".join(f"{number} {coloured(status)}" for status, number in sorted(statuses.items())) or "no runs"


def _words(row: Overview) -> str:
    state = row.state
    if state.error:
        return cut(one_line(state.error), WORDS_WIDTH)
    return cut(one_line(state.output.strip().partition("\n\n")[0][:300]) or one_line(state.reason), WORDS_WIDTH)
