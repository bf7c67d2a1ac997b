"""Bytes on disk per step, after a checkpoint, beside the content: reply text, tool call and tool result.

The size of an opened, empty journal is subtracted. The same number of steps is stored as many short runs and as one
long run: what a step costs must not grow with its place in the run. Target: ≤ 1.5 × content.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agents import agent, measure_drive
from measure import CONTENT, Figure, options, report, scratch

from executus import Runtime


def stored_bytes(folder: Path, runs: int, steps: int) -> int:
    """Bytes of the database's files after `runs` runs of `steps` steps; of an empty one for no runs."""
    with scratch(folder) as place:
        path = place / "runs.db"
        with Runtime(path, [agent(steps)]) as runtime:
            if runs:
                measure_drive(runtime, runs, max(steps, 1))
        connection = sqlite3.connect(path)  # the journal is closed: nobody else has it open
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        return sum(file.stat().st_size for file in place.iterdir())


def main() -> None:
    given = options(__doc__, rounds=1)
    total = 100 if given.quick else 1000
    call = len("call_12345678_500") + len("lookup") + len('{"q":"q12345678-500"}')
    content = 2 * CONTENT + call
    empty = stored_bytes(given.folder, 0, 1)
    figures = [Figure("an empty journal", empty, "bytes")]
    for steps in (10, 100, 1000):
        if steps > total:
            continue
        each = (stored_bytes(given.folder, total // steps, steps) - empty) / total
        what = f"a step, {total // steps} runs of {steps}" if steps < total else f"a step, 1 run of {steps}"
        figures.append(Figure(what, each, "bytes", content, each / content, 1.5))
    report("disk", figures, given)


if __name__ == "__main__":
    main()
