"""What every benchmark here shares: the content of a step, medians, the options, one table and one JSON line.

Nothing here asserts a time: a figure is printed beside its target and whether it was met; the exit code stays 0.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

CONTENT = 1000
"""Characters of a reply's text, and of a tool's result."""

_LETTERS = "".join(random.Random(11).choices("abcdefghijklmnopqrstuvwxyz     .,0123456789", k=1 << 18))


def text(run: int, step: int) -> str:
    """`CONTENT` characters of ASCII, different for neighbouring runs and steps."""
    start = (run * 6151 + step * 40503) % (len(_LETTERS) - CONTENT)
    return _LETTERS[start : start + CONTENT]


# ------------------------------------------------------------------ options


@dataclass(frozen=True)
class Options:
    """rounds: how often a figure is taken. folder: where the databases go; must be on the disk in question."""

    rounds: int
    folder: Path
    as_json: bool
    quick: bool


def options(about: str | None, rounds: int = 5) -> Options:
    """Read the command line that all benchmarks have in common."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"rounds the median is taken over (default {rounds})"
    )
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="where to put the databases")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that the script runs, not how fast")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds: expected a whole number ≥ 1, got {given.rounds}")
    if not given.dir.is_dir():
        parser.error(f"--dir: no such directory: {given.dir}")
    return Options(given.rounds, given.dir, given.json, given.quick)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new directory in `folder`, gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="executus-bench-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


# ------------------------------------------------------------------ figures


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Figure:
    """One line of the table. floor: the same thing done with the bare libraries. bound: the target, on the ratio
    to the floor when there is a floor, else on the value; at_least tells which side of it is good.
    """

    what: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    bound: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without a target."""
        if self.bound is None:
            return None
        measured = self.value if self.floor is None else self.ratio
        assert measured is not None
        return measured >= self.bound if self.at_least else measured <= self.bound

    @property
    def target(self) -> str:
        """The target in words."""
        if self.bound is None:
            return ""
        return (
            f"{'≥' if self.at_least else '≤'} {_short(self.bound)} {'× floor' if self.floor is not None else self.unit}"
        )


def against_floor(
    what: str, unit: str, pairs: Sequence[tuple[float, float]], *, bound: float | None = None, at_least: bool = False
) -> Figure:
    """The median of (measured, floor) pairs; the ratio is the median of the ratios taken round by round."""
    return Figure(
        what,
        statistics.median(measured for measured, _ in pairs),
        unit,
        statistics.median(floor for _, floor in pairs),
        statistics.median(measured / floor for measured, floor in pairs),
        bound,
        at_least,
    )


def median_of(
    what: str, unit: str, values: Sequence[float], *, bound: float | None = None, at_least: bool = False
) -> Figure:
    """The median of `values`."""
    return Figure(what, statistics.median(values), unit, bound=bound, at_least=at_least)


def _short(number: float | None) -> str:
    if number is None:
        return ""
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def report(title: str, figures: Sequence[Figure], given: Options) -> None:
    """Print the figures, as a table for people or as one JSON line."""
    if given.as_json:
        lines = [{**asdict(figure), "met": figure.met, "target": figure.target} for figure in figures]
        print(
            json.dumps(
                {
                    "benchmark": title,
                    "rounds": given.rounds,
                    "quick": given.quick,
                    "conditions": conditions(),
                    "figures": lines,
                }
            )
        )
        return
    head: tuple[str, ...] = ("figure", "measured", "floor", "ratio", "target", "met")
    met = {None: "", True: "yes", False: "NO"}
    rows: list[tuple[str, ...]] = [
        (f.what, f"{_short(f.value)} {f.unit}", _short(f.floor), _short(f.ratio), f.target, met[f.met]) for f in figures
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"\n{title}  ({'median of ' + str(given.rounds) + ' rounds' if given.rounds > 1 else 'one round'})")
    for row in (head, tuple("-" * width for width in widths), *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


# ------------------------------------------------------------------ the machine


def conditions() -> dict[str, str | int]:
    """On what the figures were taken."""
    return {
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "msgspec": version("msgspec"),
        "eventsourcing": version("eventsourcing"),
        "pykka": version("pykka"),
        "load": f"{os.getloadavg()[0]:.2f}",
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def memory_bytes() -> int:
    """Resident memory of this process, after collecting garbage and giving free heap back to the system. Linux."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        pass
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss line in /proc/self/smaps_rollup")


def thread_count() -> int:
    """Operating-system threads of this process. Linux."""
    return len(list(Path("/proc/self/task").iterdir()))
