"""Text for terminals: made harmless, cut to a width, and numbers as people read them."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from ..projections.line import span as span

WIDE_ENOUGH = 10_000
"""The width of a pipe: nothing is cut there."""

STATUS_COLOURS = {
    "ok": "green",
    "dry_run": "green",
    "running": "cyan",
    "waiting": "yellow",
    "quarantined": "red",
    "suspended": "yellow",
    "unreadable": "red",
}


def harmless(text: str) -> str:
    """`text` with control characters made visible, so that what a tool returned cannot steer the terminal."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def one_line(text: str) -> str:
    """`text` as one harmless line, white space joined."""
    return harmless(" ".join(text.split()))


def width_of(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def cut(text: str, width: int) -> str:
    """`text`, cut to `width` columns with "…" at a cut."""
    if width_of(text) <= width:
        return text
    kept, used = 0, 0
    for character in text:
        used += _columns(character)
        if used > width - 1:
            break
        kept += 1
    return text[:kept] + "…" if width > 0 else ""


def padded(text: str, width: int, right: bool = False) -> str:
    """`text`, cut and filled up to exactly `width` columns."""
    text = cut(text, width)
    fill = " " * (width - width_of(text))
    return fill + text if right else text + fill


def screen_width() -> int:
    """Columns of the terminal on standard output; `WIDE_ENOUGH` when that is a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE_ENOUGH


def columns(rows: Sequence[Sequence[str]], right: Iterable[int] = (), width: int | None = None) -> list[list[str]]:
    """The cells of `rows`, padded so that they stand in columns; the last one is only cut, to what `width` leaves."""
    if not rows:
        return []
    width = screen_width() if width is None else width
    on_the_right = frozenset(right)
    widths = [max(width_of(row[index]) for row in rows) for index in range(len(rows[0]))]
    used = sum(widths[:-1]) + 2 * (len(widths) - 1)
    last = max(10, width - used)
    return [
        [padded(cell, widths[index], index in on_the_right) for index, cell in enumerate(row[:-1])]
        + [cut(row[-1], last)]
        for row in rows
    ]


def coloured(status: str, text: str | None = None) -> str:
    """`text` (by default the status itself) in the colour of `status`."""
    return click.style(status if text is None else text, fg=STATUS_COLOURS.get(status.strip(), "red"))


def age(seconds: float) -> str:
    """How long ago: "3 s", "5 min", "2 h", "4 d"."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def count(number: int) -> str:
    """A number, short: "940", "12.3k", "4.1M"."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def many(number: int, noun: str) -> str:
    """Such as "1 run" and "2 runs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def moment(at_us: int) -> str:
    """A wall clock time as local "2026-01-31 12:00:00"."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short(run_id: str) -> str:
    """The end of a run id, which tells runs apart; every command accepts it."""
    return run_id[-8:]


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
