"""Lives through many seeds of the simulation and says which promises broke, and what never happened.

    python benchmarks/seeds.py --seeds 100000 --jobs 2 --state seeds.json
    python benchmarks/seeds.py --seed 4711

Progress goes to stderr. With `--state`, what was done is kept in a file, and the same command goes on from there. Every
50th seed is lived twice and must be the same world. The exit code is 1 if a promise broke, if a seed was two worlds,
or if a fact or a fault of the simulated world never came up in 2,000 seeds or more. `--seed` shows one world's log.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "simulation"), str(TESTS)]

from sim_episode import episode  # noqa: E402
from sim_moods import FAULTS, NEVER_HERE  # noqa: E402
from sim_world import World  # noqa: E402

from executus.events import FACTS  # noqa: E402

CHUNK = 250
"""Seeds that a process lives through before it reports."""
TWICE = 50
"""Each seed that this divides is lived twice."""
ENOUGH = 2_000
"""Seeds in which everything must have happened."""
MOST_SHOWN = 20


@dataclass
class Tally:
    """What came of some seeds."""

    seeds: int = 0
    busy_s: float = 0.0
    steps: int = 0
    crashes: int = 0
    virtual_s: float = 0.0
    broken: dict[int, list[str]] = field(default_factory=dict)
    two_worlds: list[int] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count `other` too."""
        self.seeds += other.seeds
        self.busy_s += other.busy_s
        self.steps += other.steps
        self.crashes += other.crashes
        self.virtual_s += other.virtual_s
        self.broken |= other.broken
        self.two_worlds += other.two_worlds
        self.facts.update(other.facts)
        self.faults.update(other.faults)

    @property
    def never(self) -> list[str]:
        """Facts and faults that are simulated and did not come up."""
        facts = sorted(set(FACTS) - NEVER_HERE - set(self.facts))
        return [*facts, *sorted(FAULTS - set(self.faults))]

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.broken or self.two_worlds or (self.seeds >= ENOUGH and self.never))

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "seeds": self.seeds,
            "seeds_per_s_and_core": round(self.seeds / self.busy_s, 1) if self.busy_s else 0.0,
            "steps": self.steps,
            "crashes": self.crashes,
            "virtual_s": round(self.virtual_s),
            "broken": {str(seed): why for seed, why in sorted(self.broken.items())},
            "two_worlds": sorted(self.two_worlds),
            "never": self.never,
            "facts": dict(sorted(self.facts.items())),
            "faults": dict(sorted(self.faults.items())),
        }


def lived(first: int) -> tuple[int, Tally]:
    """Live through one chunk."""
    logging.disable(logging.CRITICAL)
    gc.collect()  # or the worlds of the last chunk would be frozen too, and never go
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # worlds are full of cycles; looking for them less often saves a tenth
    tally = Tally()
    began = time.process_time()
    for seed in range(first, first + CHUNK):
        life = episode(seed)
        tally.seeds += 1
        tally.steps += life.steps
        tally.crashes += life.crashes
        tally.virtual_s += life.virtual_s
        tally.facts.update(life.facts)
        tally.faults.update(life.faults)
        if life.problems:
            tally.broken[seed] = life.problems
        if seed % TWICE == 0 and episode(seed) != life:
            tally.two_worlds.append(seed)
    tally.busy_s = time.process_time() - began
    return first, tally


class State:
    """What was done, kept in a file if there is one: chunk by chunk, so that nothing is counted twice."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.done: set[int] = set()
        self.tally = Tally()
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.done = set(kept["done"])
            told = kept["tally"]
            self.tally = Tally(
                **{name: told[name] for name in ("seeds", "busy_s", "steps", "crashes", "virtual_s", "two_worlds")},
                broken={int(seed): why for seed, why in told["broken"].items()},
                facts=Counter(told["facts"]),
                faults=Counter(told["faults"]),
            )

    def add(self, first: int, tally: Tally) -> None:
        """A chunk is done."""
        self.done.add(first)
        self.tally.add(tally)
        if self.path is not None:
            kept = {"done": sorted(self.done), "tally": vars(self.tally)}
            beside = self.path.with_name(self.path.name + ".new")
            beside.write_text(json.dumps(kept))
            beside.replace(self.path)


def show(seed: int) -> int:
    """Print the log of one world, as it became durable, and what is wrong with it."""
    logging.disable(logging.CRITICAL)
    worlds: list[World] = []
    life = episode(seed, made=worlds.append)
    (world,) = worlds
    print(world.personality, world.governance, sep="\n")
    for event, at_s in zip(world.disk.decoded, world.times, strict=True):
        fields = {name: getattr(event.fact, name) for name in event.fact.__struct_fields__}
        words = " ".join(f"{name}={value!r:.60}" for name, value in fields.items() if name not in LONG)
        print(f"{event.position:5} {at_s:9.2f} s  {event.run_id[:8]} {event.version:3} {event.tag:20} {words}")
    print(f"{life.steps} steps, {life.crashes} crashes; faults: {life.faults}")
    for problem in life.problems:
        print(f"BROKEN  {problem}")
    return 1 if life.problems else 0


LONG = ("info", "agent", "limits", "input", "reply", "messages", "stats", "usage")


def main() -> int:
    """Returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--state", type=Path, help="keep what was done here, and go on from there")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--seed", type=int, help="show one world, and nothing else")
    given = parser.parse_args()
    if given.seed is not None:
        return show(given.seed)
    state = State(given.state)
    chunks = [first for first in range(given.start, given.start + given.seeds, CHUNK) if first not in state.done]
    began, shown = time.monotonic(), 0
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for number, (first, tally) in enumerate(pool.imap_unordered(lived, chunks), 1):
            state.add(first, tally)
            for seed, why in tally.broken.items():
                shown += 1
                if shown <= MOST_SHOWN:
                    again = f"python benchmarks/seeds.py --seed {seed}"
                    print(f"seed {seed}: {'; '.join(why[:3])}   (again: {again})", file=sys.stderr, flush=True)
            if number % 8 == 0 or number == len(chunks):
                pace = number * CHUNK / (time.monotonic() - began)
                left_s = (len(chunks) - number) * CHUNK / pace
                print(
                    f"{state.tally.seeds:,} seeds, {len(state.tally.broken)} broken, {pace:.0f}/s, {left_s:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
    total = state.tally
    if given.json:
        print(json.dumps(total.told()))
        return 1 if total.failed else 0
    print(f"{total.seeds:,} seeds: {len(total.broken)} broken, {len(total.two_worlds)} not the same world twice")
    print(f"{total.seeds / max(total.busy_s, 1e-9):.0f} seeds a second and core, {total.crashes:,} crashes of hosts")
    for name, count in sorted({**total.facts, **total.faults}.items(), key=lambda one: one[1]):
        print(f"{count:>10,}  {name}")
    if total.never:
        print(f"never happened: {', '.join(total.never)}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
