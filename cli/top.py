"""`executus top`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from ..projections.watching import Wait, Watched, Word
from .reaching import Target, reached, without_host
from .shapes import iso, print_json
from .watching import FromFile, Knows, Watching, knows_of
from .words import (
    WIDE_ENOUGH,
    age,
    coloured,
    count,
    cut,
    many,
    moment,
    one_line,
    padded,
    screen_width,
    short,
    span,
    width_of,
)

if TYPE_CHECKING:
    from ..wire.attached import Attached

HEADINGS: Final = ("RUN", "CALLER", "AGENT", "STEP", "NOW", "TOKENS", "COST", "LEFT", "CRITIC")
RIGHT: Final = ("STEP", "TOKENS", "COST", "LEFT")
MOST: Final = {"CALLER": 12, "AGENT": 14, "NOW": 90, "CRITIC": 90}
"""Columns that a cell takes at most."""
LEAVES: Final = ("CRITIC", "COST", "TOKENS", "CALLER", "AGENT", "LEFT")
"""Which column is left out first where the screen is narrow."""
LEAST: Final = 22
"""Columns that what a run does now has at least, if it needs them; and what its critic said."""
ROOM_BESIDE: Final = 5
"""Lines of the screen that are not rows: where from, sums, a gap, the heading, how many more."""
SOON_S: Final = 60.0
DID: Final = {
    "critic-observed": "noticed",
    "critic-steered": "steered",
    "critic-killed": "killed it",
    "critic-lost": "is lost",
    "deadline-extended": "extended it",
    "ceiling-raised": "raised",
}


def top(
    target: Target, *, caller: str, limit: int | None, interval_s: float, sort: str, once: bool, as_json: bool
) -> None:
    """Show the unfinished runs: once, or again every `interval_s` seconds until Ctrl-C."""
    with reached(target) as attached:
        board = Board(attached, Watching(attached), target.said, caller, limit, sort)
        if once:
            board.print(as_json)
            return
        board.watching.follow()
        live = not as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        _live(board, interval_s) if live else _plain(board, interval_s, as_json)


def _plain(board: Board, interval_s: float, as_json: bool) -> None:
    while True:
        board.print(as_json)
        sys.stdout.flush()
        time.sleep(interval_s)
        if not as_json:
            click.echo()


def _live(board: Board, interval_s: float) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the terminal is whole then, too
    lines: list[str] = []
    try:
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                size = console.size  # read anew each time: the window may have another size
                lines = board.lines(size.width, size.height - ROOM_BESIDE)
                live.update(Group(*[Text.from_ansi(line, no_wrap=True) for line in lines]), refresh=True)
                time.sleep(interval_s)
    finally:
        for line in lines:  # the last picture stays, in what comes before the next prompt
            click.echo(line)


class Board:
    """Pictures of what is watched."""

    def __init__(
        self, attached: Attached, watching: Watching, said: str, caller: str, limit: int | None, sort: str
    ) -> None:
        self._attached, self.watching = attached, watching
        self._said, self._caller, self._limit, self._sort = said, caller, limit, sort
        self._knows = knows_of(attached)

    def print(self, as_json: bool) -> None:
        """Print one picture, all of it, or what `--limit` leaves."""
        if as_json:
            print_json(self.document())
        else:
            for line in self.lines(screen_width(), None):
                click.echo(line)

    def document(self) -> dict[str, Any]:
        """A picture as JSON."""
        now_us, rows, note = self._look()
        shown = rows if self._limit is None else rows[: self._limit]
        states = [one.row.state for one in rows]
        return {
            "type": "top",
            "at": iso(now_us),
            "journal": self._said,
            "live": self._attached.live,
            "note": note,
            "runs": [row_shape(one, self._knows, now_us) for one in shown],
            "more": len(rows) - len(shown),
            "unreadable": sorted(self.watching.unreadable),
            "totals": {
                "runs": len(rows),
                "waits": dict(sorted(_kinds(rows).items())),
                "input_tokens": sum(state.input_tokens for state in states),
                "output_tokens": sum(state.output_tokens for state in states),
                "cost_usd": sum(state.cost_usd for state in states),
                "ended": dict(sorted(self.watching.ended.items())),
            },
        }

    def lines(self, width: int, room: int | None) -> list[str]:
        """A picture of at most `room` rows, for a screen of `width` columns."""
        now_us, rows, note = self._look()
        most = min(len(rows) if room is None else max(1, room), self._limit or len(rows))
        shown = rows[:most]
        where = f"{moment(now_us)}  {one_line(self._said)}" + (f"  ({note})" if note else "")
        lines = [cut(where, width), cut(self._sums(rows), width), ""]
        if shown:
            lines += table([_cells(one, self._knows, now_us) for one in shown], width)
        if len(rows) > len(shown):
            lines.append(click.style(cut(f"… and {many(len(rows) - len(shown), 'more run')}", width), dim=True))
        return lines

    def _look(self) -> tuple[int, list[Watched], str]:
        if self.watching.failed is not None:
            raise self.watching.failed
        if isinstance(self._knows, FromFile):
            self._knows.look()
            note = without_host(self._attached)
        else:
            note = "" if self._attached.connected else "the host does not answer now; this is how it stood"
        rows = self.watching.rows(self._caller)
        if self._sort == "longest":
            rows.sort(key=lambda one: min([wait.since_us for wait in one.waits], default=one.since_us))
        else:
            rows.sort(key=lambda one: (one.row.started_at_us, one.row.run_id), reverse=True)
        return time.time_ns() // 1000, rows, note

    def _sums(self, rows: list[Watched]) -> str:
        states = [one.row.state for one in rows]
        kinds = ", ".join(f"{number} {kind}" for kind, number in _kinds(rows).most_common())
        tokens = count(sum(state.input_tokens + state.output_tokens for state in states))
        told = f"{many(len(rows), 'run')}{f' ({kinds})' if kinds else ''}, {tokens} tokens"
        told += f", {sum(state.cost_usd for state in states):.4f} USD"
        if self.watching.ended:
            since = age(time.time() - self.watching.began_s)
            told += f"; ended in {since}: " + ", ".join(f"{n} {status}" for status, n in self.watching.ended.items())
        if self.watching.unreadable:
            told += f"; {many(len(self.watching.unreadable), 'log')} cannot be read, see `executus doctor`"
        return told


# ------------------------------------------------------------------ rows


def _kinds(rows: list[Watched]) -> Counter[str]:
    """What runs wait for, each counted once."""
    return Counter(waits[0].kind if (waits := one.waits) else "new" for one in rows)


def row_shape(watched: Watched, knows: Knows, now_us: int) -> dict[str, Any]:
    """A run, as `top` prints it."""
    row, state = watched.row, watched.row.state
    status, why = knows.of(watched)
    clock_ms = _clock_ms(watched, status, now_us)
    left_ms = watched.left_ms(clock_ms)
    return {
        "run": row.run_id,
        "name": row.info.name,
        "caller": row.info.caller_id,
        "agent": row.agent,
        "model": row.model,
        "parent": row.info.parent_run_id,
        "status": status,
        "why": why,
        "step": state.step,
        "last_step": watched.last_step,
        "attempt": state.attempt,
        "phase": state.phase,
        "waits": [wait_shape(wait, now_us) for wait in watched.waits],
        "tool_calls": state.tool_calls,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
        "cost_usd": state.cost_usd,
        "deadline_in_s": None if left_ms is None else left_ms / 1000,
        "critic": None if watched.word is None else word_shape(watched.word),
        "started_at": iso(row.started_at_us),
        "changed_at": iso(row.changed_at_us),
        "events": row.version,
    }


def wait_shape(wait: Wait, now_us: int) -> dict[str, Any]:
    """One thing that a run waits for."""
    shape: dict[str, Any] = {"kind": wait.kind, "since": iso(wait.since_us), "for_s": _for_s(wait, now_us)}
    if wait.name:
        shape |= {"name": wait.name, "call": wait.call}
    if wait.run_id:
        shape["run"] = wait.run_id
    return shape


def word_shape(word: Word) -> dict[str, Any]:
    """What a critic said."""
    return {"tag": word.kind, "by": word.by, "text": word.text, "at": iso(word.at_us)}


def _for_s(wait: Wait, now_us: int) -> float:
    return max(0, now_us - wait.since_us) / 1e6


def _clock_ms(watched: Watched, status: str, now_us: int) -> int:
    """The run's clock now: it stands still while nobody runs it."""
    at_work = status in ("running", "waiting")
    return watched.clock_ms(now_us) if at_work else watched.row.elapsed_ms


def told_now(wait: Wait, watched: Watched, now_us: int, clock_ms: int) -> str:
    """What a run waits for, and for how long, in few words."""
    lasts = age(_for_s(wait, now_us))
    match wait.kind:
        case "model":
            attempt = watched.row.state.attempt
            return f"model {lasts}" + (f", attempt {attempt}" if attempt > 1 else "")
        case "retry":
            return f"model again in {age(max(0, wait.retry_at_ms - clock_ms) / 1000)}"
        case "tool":
            return f"{one_line(wait.name)} {lasts}"
        case "asking":
            return f"asks {one_line(wait.name)} {lasts}"
        case "child":
            return f"child {child_name(wait)} {lasts}" + (", which waits" if wait.waits else "")
        case "approval":
            return f"a yes to {one_line(wait.name)} {lasts}"
        case "message":
            return f"a person's message {lasts}"
        case "begin":
            return f"to be begun {lasts}"
        case "budget":
            return f"budget {lasts}"
        case "plan" | "step":
            return "the next step"


def child_name(wait: Wait) -> str:
    """The agent or skill that a call hands its work to."""
    return one_line(wait.name.partition("__")[2] or wait.name)


def _now(watched: Watched, status: str, why: str, now_us: int, clock_ms: int) -> str:
    if status == "suspended":
        names = [one_line(wait.name or wait.kind) for wait in watched.waits]
        return f"suspended ({', '.join(names)})" if names else "suspended"
    if why:
        return f"{status}: {one_line(why)}"
    return "; ".join(told_now(wait, watched, now_us, clock_ms) for wait in watched.waits)


def _cells(watched: Watched, knows: Knows, now_us: int) -> dict[str, tuple[str, str]]:
    """Heading -> text and colour."""
    row, state = watched.row, watched.row.state
    status, why = knows.of(watched)
    clock_ms = _clock_ms(watched, status, now_us)
    left_ms = watched.left_ms(clock_ms)
    kinds = {wait.kind for wait in watched.waits}
    shown = status
    if status == "running" and kinds & {"approval", "message", "begin", "budget", "retry"}:
        shown = "waiting"
    left = "" if left_ms is None else _left(left_ms / 1000)
    return {
        "RUN": (short(row.run_id), ""),
        "CALLER": (one_line(row.info.caller_id), ""),
        "AGENT": (one_line(row.agent), ""),
        "STEP": (f"{state.step}/{watched.last_step}", ""),
        "NOW": (_now(watched, status, why, now_us, clock_ms), shown),
        "TOKENS": (count(state.input_tokens + state.output_tokens), ""),
        "COST": (f"{state.cost_usd:.4f}" if state.cost_usd else "", ""),
        "LEFT": (left, "waiting" if left_ms is not None and left_ms < SOON_S * 1000 else ""),
        "CRITIC": ("" if watched.word is None else _told(watched.word), ""),
    }


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "over"
    return span(seconds) if 3600 <= seconds < 86_400 else age(seconds)


def _told(word: Word) -> str:
    by = "" if word.by == "critic" else f"{one_line(word.by)} "
    return f"{by}{DID[word.kind]}" + (f": {one_line(word.text)}" if word.text else "")


def table(rows: list[dict[str, tuple[str, str]]], width: int) -> list[str]:
    """The heading and the rows as lines of at most `width` columns; what has no room is left out or cut."""
    widths = {
        name: min(MOST.get(name, WIDE_ENOUGH), max(len(name), *[width_of(row[name][0]) for row in rows]))
        for name in HEADINGS
    }
    names = [name for name in HEADINGS if name != "CRITIC" or any(row["CRITIC"][0] for row in rows)]
    least = {name: min(widths[name], LEAST) if name in ("NOW", "CRITIC") else widths[name] for name in HEADINGS}
    for name in LEAVES:
        if name in names and sum(least[one] + 2 for one in names) - 2 > width:
            names.remove(name)
    rest = width - sum(widths[name] + 2 for name in names if name not in ("NOW", "CRITIC"))
    if "CRITIC" not in names:
        widths["NOW"] = max(1, min(widths["NOW"], rest))
    else:
        rest -= 2
        widths["NOW"] = min(widths["NOW"], max(least["NOW"], rest // 2, rest - widths["CRITIC"]))
        widths["CRITIC"] = min(widths["CRITIC"], rest - widths["NOW"])
    heading = "  ".join(padded(name, widths[name], name in RIGHT) for name in names).rstrip()
    lines = [click.style(cut(heading, width), bold=True)]
    for row in rows:
        cells = [(padded(row[name][0], widths[name], name in RIGHT), row[name][1]) for name in names]
        while cells and not cells[-1][0].strip():
            cells.pop()
        cells[-1] = (cells[-1][0].rstrip(), cells[-1][1])
        lines.append("  ".join(coloured(colour, text) if colour else text for text, colour in cells))
    return lines
