"""Watching runs live, from threads and from event loops, quickly and slowly."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, everywhere, stored

from executus import Agent, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.events import Event

SHORT = ["run-started", "step-started", "step-completed", "run-finished"]


def gated(gate: AsyncGate) -> Agent:
    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "done"

    return Agent("gated", model=ScriptedModel(answer))


def chatty(steps: int) -> Agent:
    @tool(effect="pure")
    async def act() -> str:
        return "x" * 100

    def answer(request: Any) -> Any:
        return [call("act")] if request.step <= steps else "done"

    return Agent("chatty", model=ScriptedModel(answer), tools=[act], max_steps=steps + 1)


def test_events_come_while_the_run_lives_and_end_after_its_end(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [gated(gate)]).start("gated", "x")
    seen: list[str] = []
    for event in run.events():
        seen.append(event.tag)
        if event.tag == "step-started":
            gate.open()
    assert seen == SHORT


def test_a_coroutine_sees_the_same_events(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [gated(gate)]).start("gated", "x")

    async def watch() -> list[str]:
        seen: list[str] = []
        async for event in run.events():
            seen.append(event.tag)
            if event.tag == "step-started":
                gate.open()
        return seen

    assert asyncio.run(watch()) == SHORT
    assert [event.tag for event in run.events(after=2)] == SHORT[2:]


def test_many_watchers_of_many_runs_miss_nothing(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [chatty(10)])
    everything = runtime.events()
    runs = [runtime.start("chatty", "x") for _ in range(8)]
    watched = everywhere(16, lambda number: list(runs[number % 8].events()))
    for number, events in enumerate(watched):
        assert events == stored(runs[number % 8])
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        assert events[-1].tag == "run-finished"
    total = sum(len(stored(run)) for run in runs)
    seen = [event for _, event in zip(range(total), everything, strict=False)]
    assert [event.position for event in seen] == sorted(event.position for event in seen)
    assert len({(event.run_id, event.version) for event in seen}) == total


def test_a_watcher_that_stops_reading_delays_nobody_and_catches_up(opened: Any) -> None:
    runtime = opened(None, [chatty(400)])
    run = runtime.start("chatty", "x")
    slow = run.events()
    first = next(slow)
    assert run.result(DEADLINE_S).status == "ok"
    rest = list(slow)
    last = runtime.load(run.id).version
    assert last > 1_600
    assert [event.version for event in [first, *rest]] == list(range(1, last + 1))


def test_a_coroutine_that_stops_watching_leaves_the_run_alone(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [gated(gate)]).start("gated", "x")

    async def watch() -> Event:
        events = run.events()
        async for event in events:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    while True:
                        await anext(events)
            return event
        raise AssertionError

    assert asyncio.run(watch()).tag == "run-started"
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"


def test_a_result_that_is_late_raises_and_nothing_happens_to_the_run(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [gated(gate)]).start("gated", "x")
    with pytest.raises(TimeoutError, match=f"run {run.id} goes on after 0.01 s"):
        run.result(0.01)
    with pytest.raises(TimeoutError, match=f"run {run.id} goes on after 0.01 s"):
        asyncio.run(run.result_async(0.01))
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"


def test_a_cancelled_waiter_leaves_the_run_and_the_other_waiters_alone(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [gated(gate)]).start("gated", "x")

    async def host() -> str:
        stays = asyncio.create_task(run.result_async(DEADLINE_S))
        goes = asyncio.create_task(run.result_async())
        await asyncio.sleep(0)
        goes.cancel()
        gate.open()
        assert (await asyncio.gather(goes, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        return (await stays).status

    assert asyncio.run(host()) == "ok"


def test_a_waiter_that_is_gone_when_the_runtime_closes_is_no_complaint(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = opened(None, [gated(AsyncGate())])
    run = runtime.start("gated", "x")

    async def host() -> None:
        goes = asyncio.create_task(run.result_async())
        await asyncio.sleep(0)
        goes.cancel()
        await asyncio.gather(goes, return_exceptions=True)
        assert await asyncio.to_thread(runtime.close)
        await asyncio.sleep(0)  # the loop takes the error in

    asyncio.run(host())
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_watchers_end_when_the_runtime_closes(opened: Any) -> None:
    gate = AsyncGate()
    runtime = opened(None, [gated(gate)])
    run = runtime.start("gated", "x")
    events, everything = run.events(), runtime.events()
    for watcher in (events, everything):
        assert [next(watcher).tag, next(watcher).tag] == SHORT[:2]

    def one(number: int) -> Any:
        return (lambda: list(events), lambda: list(everything), runtime.close)[number]()

    assert everywhere(3, one) == [[], [], True]


def pending_futures() -> int:
    gc.collect()
    return sum(type(one) is Future and not one.done() for one in gc.get_objects())


def test_asking_for_a_result_again_and_again_leaves_nothing_behind(opened: Any) -> None:
    gate = AsyncGate()
    runtime = opened(None, [gated(gate)])
    run = runtime.start("gated", "x")
    before = pending_futures()

    async def ask() -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await run.result_async(0)

    for _ in range(20):
        with pytest.raises(TimeoutError):
            run.result(0)
    asyncio.run(ask())
    assert pending_futures() <= before
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"
