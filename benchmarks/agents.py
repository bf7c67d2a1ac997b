"""The agent that is measured: a step is 1,000 characters of reply with one tool call, and 1,000 characters of result.

Model and tool are local functions that answer at once, so that what remains is the runtime. The last reply has no tool
call and ends the run: a run of N steps makes N + 1 model calls, and counts as N steps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from floor import Meter, Speed
from measure import text

from executus import Agent, Runtime, Text, tool
from executus.events import ToolCall, Usage
from executus.ports import Model, ModelRequest, Reply, Tool

Style = Literal["async", "sync"]
"""async: coroutine functions on the runtime's event loop. sync: plain functions on the runtime's threads."""

_DONE = Reply((Text("done"),), Usage(input=10, output=1))


def _reply(request: ModelRequest, steps: int) -> Reply:
    step = request.step
    if step > steps:
        return _DONE
    run = int(request.run_id[-6:], 16)
    call = ToolCall(f"call_{run}_{step}", "lookup", f'{{"q":"q{run}-{step}"}}')
    return Reply((Text(text(run, step)), call), Usage(input=1000, output=300), "tool_calls")


def _result(q: str) -> str:
    run, _, step = q[1:].partition("-")
    return text(int(run) + 1, int(step))


class AsyncModel:
    """Answers at once, as a coroutine. `marks`, when given, gets the time of every call."""

    name = "instant"

    def __init__(self, steps: int, marks: list[float] | None = None) -> None:
        self.steps, self.marks = steps, marks

    async def reply(self, request: ModelRequest) -> Reply:
        """Answer at once."""
        if self.marks is not None:
            self.marks.append(time.perf_counter())
        return _reply(request, self.steps)


class SyncModel:
    """Answers at once, as a plain function."""

    name = "instant"

    def __init__(self, steps: int, marks: list[float] | None = None) -> None:
        self.steps, self.marks = steps, marks

    def reply(self, request: ModelRequest) -> Reply:
        """Answer at once."""
        if self.marks is not None:
            self.marks.append(time.perf_counter())
        return _reply(request, self.steps)


def agent(steps: int, style: Style = "async", *, marks: list[float] | None = None) -> Agent:
    """The agent "bench" whose runs have `steps` steps."""
    model: Model = AsyncModel(steps, marks) if style == "async" else SyncModel(steps, marks)
    return Agent("bench", model=model, tools=[_tool(style)], max_steps=steps + 1, timeout_s=None)


def _tool(style: Style) -> Tool:
    if style == "async":

        @tool(effect="pure")
        async def lookup(q: str) -> str:
            """Look something up."""
            return _result(q)

        return lookup

    @tool(effect="pure")
    def lookup(q: str) -> str:
        """Look something up."""
        return _result(q)

    return lookup


async def drive(runtime: Runtime, runs: int) -> None:
    """Start `runs` runs at once and wait for the end of them all, which must be good."""
    started = await asyncio.gather(*(runtime.start_async("bench", "go") for _ in range(runs)))
    results = await asyncio.gather(*(run.result_async() for run in started))
    for result in results:
        if result.status != "ok":
            raise RuntimeError(f"run {result.run_id} ended {result.status}: {result.error}")


def measure_drive(runtime: Runtime, runs: int, steps: int) -> Speed:
    """Durable steps per second from the first start to the last result, and the CPU of all threads."""

    async def measured() -> Speed:
        meter = Meter()
        await drive(runtime, runs)
        return meter.speed(runs * steps)

    return asyncio.run(measured())


def wait_until(true: Callable[[], bool], deadline_s: float) -> Awaitable[None]:
    """Look every few milliseconds until `true()` holds.

    Raises:
        TimeoutError: it did not within `deadline_s` seconds.
    """

    async def looking() -> None:
        while not true():
            await asyncio.sleep(0.005)

    return asyncio.wait_for(looking(), deadline_s)
