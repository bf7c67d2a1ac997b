"""100 concurrent runs: durable steps per second and CPU per step, beside the raw group-commit floor.

Each round measures floor, executus, floor in this process and on the same disk; the ratio is to the mean of the two.
Targets: ≥ 0.25 × the floor's steps/s, ≤ 0.4 CPU-ms a step in all threads together. The second pair of lines is the
same with plain functions for model and tool, each call of which crosses to a thread and back.
"""

from __future__ import annotations

from pathlib import Path

import floor
from agents import Style, agent, measure_drive
from measure import Figure, against_floor, options, report, scratch

from executus import Runtime


def one_round(folder: Path, style: Style, runs: int, steps: int) -> tuple[floor.Speed, floor.Speed]:
    """(executus, floor) of one round."""
    before = floor.many_runs(folder, runs, steps)
    with scratch(folder) as place, Runtime(place / "runs.db", [agent(steps, style)]) as runtime:
        measured = measure_drive(runtime, runs, steps)
    after = floor.many_runs(folder, runs, steps)
    return measured, floor.Speed((before.steps_s + after.steps_s) / 2, (before.cpu_ms + after.cpu_ms) / 2)


def main() -> None:
    given = options(__doc__)
    runs, steps = (10, 5) if given.quick else (100, 50)
    figures: list[Figure] = []
    styles: tuple[Style, ...] = ("async", "sync")
    for style in styles:
        one_round(given.folder, style, runs, 3)  # imports and first calls stay outside
        pairs = [one_round(given.folder, style, runs, steps) for _ in range(given.rounds)]
        speeds = [(measured.steps_s, raw.steps_s) for measured, raw in pairs]
        cpu = [measured.cpu_ms for measured, _ in pairs]
        main_style = style == "async"
        figures.append(
            against_floor(
                f"{runs} runs, {style} calls", "steps/s", speeds, bound=0.25 if main_style else None, at_least=True
            )
        )
        figures.append(
            Figure(
                f"{runs} runs, {style} calls, CPU a step",
                sorted(cpu)[len(cpu) // 2],
                "ms",
                bound=0.4 if main_style else None,
            )
        )
        figures.append(
            against_floor(
                "  the same beside the floor's CPU", "ms", [(measured.cpu_ms, raw.cpu_ms) for measured, raw in pairs]
            )
        )
    report("throughput", figures, given)


if __name__ == "__main__":
    main()
