"""One run alone: how long a step takes, beside two commits made in the calling thread.

A step is timed from one call of the model to the next, so the runtime's hops between threads are all in it. Each round
measures floor, executus, floor; the ratio is to the mean of the two. Rounds are short and many, since what a disk takes
for a commit changes within seconds. The last line is the floor again, but through an event loop and a writer's thread.
Target: p50 ≤ 1.5 × the floor.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import floor
from agents import Style, agent, measure_drive
from measure import Figure, against_floor, options, percentile, report, scratch

from executus import Runtime


def step_times(folder: Path, style: Style, steps: int) -> list[float]:
    """Milliseconds from each model call to the next."""
    marks: list[float] = []
    with scratch(folder) as place, Runtime(place / "runs.db", [agent(steps, style, marks=marks)]) as runtime:
        measure_drive(runtime, 1, steps)
    return [(later - earlier) * 1000 for earlier, later in pairwise(marks)]


def main() -> None:
    given = options(__doc__, rounds=15)
    steps = 20 if given.quick else 100
    figures: list[Figure] = []
    styles: tuple[Style, ...] = ("async", "sync")
    for style in styles:
        step_times(given.folder, style, 3)
        rounds = []
        for _ in range(given.rounds):
            before = floor.one_run(given.folder, steps)
            measured = step_times(given.folder, style, steps)
            rounds.append((measured, before, floor.one_run(given.folder, steps)))
        for share, bound in ((0.5, 1.5 if style == "async" else None), (0.99, None)):
            pairs = [
                (percentile(measured, share), (percentile(before, share) + percentile(after, share)) / 2)
                for measured, before, after in rounds
            ]
            figures.append(
                against_floor(f"a step of one run, {style} calls, p{share * 100:.0f}", "ms", pairs, bound=bound)
            )
    handed = []
    for _ in range(given.rounds):
        before = floor.one_run(given.folder, steps)
        handed.append((percentile(floor.one_run_through_threads(given.folder, steps), 0.5), percentile(before, 0.5)))
    figures.append(against_floor("bare commits on a writer's thread, p50", "ms", handed))
    report("latency", figures, given)


if __name__ == "__main__":
    main()
