"""How fast recorded runs go through a critic: events read, decoded, folded and reviewed by `StuckCritic`, a second.

The runs are live ones of 25 steps, and long ones of 500 (`--quick`: fewer). "reading" is the same journal without a
critic: what it costs to read and fold. Target: at least 10,000 events/s with `StuckCritic` and its defaults.
"""

from __future__ import annotations

import time
from pathlib import Path

from agents import agent, measure_drive
from measure import Figure, median_of, options, report, scratch

from executus import Runtime, StuckCritic, backtest


def speed(path: Path, critic: StuckCritic | None) -> float:
    """Events a second."""
    start = time.perf_counter()
    events = backtest(path, critic=critic).totals.events
    return events / (time.perf_counter() - start)


def main() -> None:
    given = options(__doc__)
    figures: list[Figure] = []
    with scratch(given.folder) as place:
        for runs, steps in ((4, 25), (1, 50)) if given.quick else ((100, 25), (5, 500)):
            path = place / f"runs-{steps}.db"
            with Runtime(path, [agent(steps)]) as runtime:
                measure_drive(runtime, runs, steps)
            plain = [speed(path, None) for _ in range(given.rounds)]
            reviewed = [speed(path, StuckCritic()) for _ in range(given.rounds)]
            what = f"{runs} run{'s' * (runs > 1)} of {steps} steps"
            figures.append(median_of(f"{what}, StuckCritic", "events/s", reviewed, bound=10_000, at_least=True))
            figures.append(median_of("  reading", "events/s", plain))
    report("backtest", figures, given)


if __name__ == "__main__":
    main()
