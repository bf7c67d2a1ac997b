"""10,000 runs that wait for a slow model: memory of each, threads, and how long starting them takes.

All are started at once with `start_async`, so each has its RunStarted and StepStarted on disk, and then sits in a
coroutine of its model. Memory is the growth of the resident set, after collecting garbage, with the `Run` handles kept.
Targets: ≤ 15 KB each, < 100 threads, < 10 s.
"""

from __future__ import annotations

import asyncio
import time

from agents import wait_until
from measure import Figure, memory_bytes, options, report, scratch, thread_count

from executus import Agent, Runtime, Text
from executus.ports import ModelRequest, Reply


class SlowModel:
    """Counts who came, and answers nobody until it is told to."""

    name = "slow"

    def __init__(self) -> None:
        self.waiting = 0
        self.answers = asyncio.Event()

    async def reply(self, request: ModelRequest) -> Reply:
        """Wait for `answers`."""
        self.waiting += 1
        await self.answers.wait()
        return Reply((Text("done"),))


async def measure(runtime: Runtime, model: SlowModel, runs: int) -> list[Figure]:
    await runtime.start_async("slow", "warm up")
    await wait_until(lambda: model.waiting == 1, 10)
    memory, start, cpu = memory_bytes(), time.perf_counter(), time.process_time()
    started = await asyncio.gather(*(runtime.start_async("slow", "go") for _ in range(runs)))
    acknowledged = time.perf_counter() - start
    await wait_until(lambda: model.waiting == runs + 1, 120)
    waiting = time.perf_counter() - start
    spent = time.process_time() - cpu
    each = (memory_bytes() - memory) / runs / 1000
    threads = thread_count()
    cpu = time.process_time()
    await asyncio.sleep(2)
    at_rest = (time.process_time() - cpu) / 2 * 100
    assert len({run.id for run in started}) == runs
    return [
        Figure(f"memory of each of {runs:,} waiting runs", each, "KB", bound=15),
        Figure("threads", threads, "threads", bound=99),
        Figure(f"start of {runs:,} runs, until durable", acknowledged, "s", bound=10),
        Figure("  until the model has them all", waiting, "s"),
        Figure("  CPU for it, each", spent / runs * 1000, "ms"),
        Figure("CPU while all wait", at_rest, "% of a core"),
    ]


def main() -> None:
    given = options(__doc__, rounds=1)
    runs = 200 if given.quick else 10_000
    model = SlowModel()
    with scratch(given.folder) as place:
        runtime = Runtime(place / "runs.db", [Agent("slow", model=model, timeout_s=3600.0, model_timeout_s=3600.0)])
        figures = asyncio.run(measure(runtime, model, runs))
        start = time.perf_counter()
        stopped = runtime.close(timeout=10.0)
        figures.append(
            Figure(
                f"close with all of them waiting ({'in time' if stopped else 'NOT IN TIME'})",
                time.perf_counter() - start,
                "s",
            )
        )
        report("idle", figures, given)


if __name__ == "__main__":
    main()
