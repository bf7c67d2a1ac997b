"""A host that is about to exit in one of many ways; `exits.py` starts it and looks how it goes.

It prints "ready" and the id of a run when it is in the state that was asked for, and then leaves as it
was asked to.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from executus import Agent, ModelRequest, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call

CLOSE_S = 1.0
"""What the host gives `close`."""

FOR_EVER_S = 1e6

entered = threading.Event()
"""A tool that will not return has begun."""


@tool
def stuck_thread() -> str:
    """Never returns."""
    entered.set()
    time.sleep(FOR_EVER_S)
    return ""


@tool
async def stuck_loop() -> str:
    """Never returns, and stops the event loop it runs on."""
    entered.set()
    time.sleep(FOR_EVER_S)
    return ""


@tool
async def stubborn() -> str:
    """Never returns, and ignores being cancelled."""
    entered.set()
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(FOR_EVER_S)


@tool
async def stuck_executor() -> str:
    """Waits for a thread of asyncio's own that never returns."""
    entered.set()
    await asyncio.to_thread(time.sleep, FOR_EVER_S)
    return ""


@tool(mode="process")
def stuck_process() -> str:
    """Never returns, in a process of its own."""
    time.sleep(FOR_EVER_S)
    return ""


@tool(effect="pure")
async def quick() -> str:
    """Returns at once."""
    return "x" * 1000


STUCK = {
    "thread": stuck_thread,
    "loop": stuck_loop,
    "stubborn": stubborn,
    "executor": stuck_executor,
    "process": stuck_process,
}


def busy_reply(request: ModelRequest) -> Any:
    """One tool call after another, without end."""
    return [call("quick"), call("quick")]


def agents(state: str) -> list[Agent]:
    """The agents that bring a host into `state`."""
    busy = Agent("busy", model=ScriptedModel(busy_reply), tools=[quick], max_steps=10**6)
    stuck = [] if state not in STUCK else [STUCK[state]]
    return [
        busy,
        Agent("stuck", model=ScriptedModel([[call(one.spec.name) for one in stuck] or "nothing"]), tools=stuck),
    ]


def enter(runtime: Runtime, state: str) -> Run | None:
    """Bring the host into `state`; return a run that is acknowledged and not over, if the state has one."""
    if state == "idle":
        return None
    runs = [runtime.start("busy" if state == "busy" else "stuck", "go") for _ in range(10 if state == "busy" else 1)]
    if state in ("busy", "process"):
        events = runtime.events()
        wanted = 100 if state == "busy" else 4  # 4: the tool's start is stored
        for _, _ in zip(range(wanted), events, strict=False):
            pass
        events.close()
    else:
        entered.wait()
    return runs[0]


def ready(run: Run | None) -> None:
    """Tell whoever started this process."""
    print("ready", run.id if run is not None else "-", flush=True)


def wait_for_ever() -> None:
    """What a main thread does that is about to be interrupted."""
    while True:
        time.sleep(0.5)  # a signal that comes just before signal.pause() would not end it


def leave(state: str, way: str, path: Path | None) -> None:
    """A host without an event loop."""
    if way == "forgotten":
        ready(enter(Runtime(path, agents(state)), state))
        return
    if way == "close":
        runtime = Runtime(path, agents(state))
        ready(enter(runtime, state))
        runtime.close(CLOSE_S)
        return
    if way == "sigterm-close":
        runtime = Runtime(path, agents(state))

        def stop(number: int, frame: object) -> None:
            runtime.close(CLOSE_S)
            sys.exit(0)

        signal.signal(signal.SIGTERM, stop)
        ready(enter(runtime, state))
        while True:  # the signal arrives in the middle of using the runtime
            with suppress(Exception):
                runtime.start("busy", "go", request_id="again")
                runtime.runs(limit=10)
    with Runtime(path, agents(state)) as runtime:
        runtime.close = lambda timeout=CLOSE_S, close=runtime.close: close(timeout)  # type: ignore[method-assign]
        run = enter(runtime, state)
        ready(run)
        if way == "exception":
            raise RuntimeError("the host's own mistake")
        if run is not None and way == "sigint":
            run.result()
        wait_for_ever()


async def leave_async(state: str, way: str, path: Path | None) -> None:
    """A host on an event loop."""
    async with Runtime(path, agents(state)) as runtime:
        runtime.close = lambda timeout=CLOSE_S, close=runtime.close: close(timeout)  # type: ignore[method-assign]
        run = await asyncio.to_thread(enter, runtime, state)
        ready(run)
        if way == "async-exception":
            raise RuntimeError("the host's own mistake")
        if way == "async-sigint":
            if run is not None:
                await run.result_async()
            while True:
                await asyncio.sleep(0.5)  # asyncio does not see a signal that comes just before it waits


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # exits.py asks so when this process hangs
    _, chosen_state, chosen_way, chosen_path = sys.argv
    where = None if chosen_path == "-" else Path(chosen_path)
    if chosen_way.startswith("async"):
        asyncio.run(leave_async(chosen_state, chosen_way, where))
    else:
        leave(chosen_state, chosen_way, where)
