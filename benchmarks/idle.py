"""10,000 runs that wait for a slow model: memory of each, threads, and how long starting them takes.

Each has its RunStarted and StepStarted on disk and sits in a coroutine of its model. They are started in one
`asyncio.gather`, and, in another process, 100 at a time: 10,000 calls of `start_async` under way at once need memory of
their own, which the process then keeps although it is free. Memory is the growth of the resident set after collecting
garbage, with the `Run` handles kept. Targets: ≤ 15 KB each, < 100 threads, < 10 s.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

from agents import wait_until
from measure import Figure, median_of, memory_bytes, options, report, scratch, thread_count

from executus import Agent, Run, Runtime, Text
from executus.ports import ModelRequest, Reply


class SlowModel:
    """Counts who came, and answers nobody."""

    name = "slow"

    def __init__(self) -> None:
        self.waiting = 0
        self.answers = asyncio.Event()

    async def reply(self, request: ModelRequest) -> Reply:
        """Wait for `answers`."""
        self.waiting += 1
        await self.answers.wait()
        return Reply((Text("done"),))


@dataclass(frozen=True)
class Waiting:
    """What was seen. Seconds, but for each_kb (KB a run), cpu_ms (a run), threads and rest (% of a core)."""

    each_kb: float
    threads: int
    durable_s: float
    waiting_s: float
    cpu_ms: float
    rest: float
    close_s: float


def measure(folder: Path, runs: int, at_once: int) -> Waiting:
    """Start `runs` runs, `at_once` at a time, and look."""
    with scratch(folder) as place:
        model = SlowModel()
        runtime = Runtime(place / "runs.db", [Agent("slow", model=model, timeout_s=3600.0, model_timeout_s=3600.0)])
        seen = asyncio.run(_measure(runtime, model, runs, at_once))
        start = time.perf_counter()
        if not runtime.close(timeout=10.0):
            raise RuntimeError("close(timeout=10) took longer")
        return Waiting(*seen, close_s=time.perf_counter() - start)


async def _measure(
    runtime: Runtime, model: SlowModel, runs: int, at_once: int
) -> tuple[float, int, float, float, float, float]:
    await runtime.start_async("slow", "warm up")
    await wait_until(lambda: model.waiting == 1, 10)
    memory, start, cpu = memory_bytes(), time.perf_counter(), time.process_time()
    started: list[Run] = []
    while len(started) < runs:
        started += await asyncio.gather(*(runtime.start_async("slow", "go") for _ in range(at_once)))
    durable = time.perf_counter() - start
    await wait_until(lambda: model.waiting == len(started) + 1, 120)
    waiting = time.perf_counter() - start
    spent = time.process_time() - cpu
    each = (memory_bytes() - memory) / len(started)
    threads = thread_count()
    cpu = time.process_time()
    await asyncio.sleep(2)
    rest = (time.process_time() - cpu) / 2
    return each / 1000, threads, durable, waiting, spent / len(started) * 1000, rest * 100


def main() -> None:
    given = options(__doc__, rounds=3)
    runs = 200 if given.quick else 10_000
    figures: list[Figure] = []
    fresh = multiprocessing.get_context("spawn")
    for how, at_once in ((f"all {runs:,} at once", runs), ("100 at a time", 100)):
        seen: list[Waiting] = []
        for _ in range(given.rounds):
            with fresh.Pool(1) as pool:
                seen.append(pool.apply(measure, (given.folder, runs, at_once)))
        figures += [
            median_of(f"memory of a waiting run, started {how}", "KB", [one.each_kb for one in seen], bound=15),
            median_of("  threads", "threads", [one.threads for one in seen], bound=99),
            median_of(f"  start of {runs:,} runs, until durable", "s", [one.durable_s for one in seen], bound=10),
            median_of("  until the model has them all", "s", [one.waiting_s for one in seen]),
            median_of("  CPU of starting one", "ms", [one.cpu_ms for one in seen]),
            median_of("  CPU while all wait", "% of a core", [one.rest for one in seen]),
            median_of("  close with all of them waiting", "s", [one.close_s for one in seen]),
        ]
    report("idle", figures, given)


if __name__ == "__main__":
    main()
