"""Hypothesis strategies for what runs spend, in any order, over days."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from run_facts import FactRun

from executus.events import Event, StepStarted, Usage

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
START_US = 1_800_000_000_000_000

usages = st.builds(
    Usage,
    input=st.integers(0, 5000),
    output=st.integers(0, 5000),
    cost_usd=st.none() | st.integers(0, 10**9).map(lambda nanos: nanos / 10**9),
)
milliseconds = st.integers(0, 100_000)


@st.composite
def lives(draw: st.DrawFn, callers: tuple[str, ...] = ("alice", "bob")) -> list[FactRun]:
    """A few runs, some of them children of others, some not over."""
    runs: list[FactRun] = []
    for _ in range(draw(st.integers(1, 4))):
        parent = draw(st.none() | st.sampled_from(runs)) if runs else None
        caller = parent.caller if parent else draw(st.sampled_from(callers))
        run = FactRun(caller, root=(parent.root or parent.run_id) if parent else "")
        for _ in range(draw(st.integers(0, 5))):
            reserved = draw(st.integers(0, 9000))
            run.begin_step(reserved, reserved / 1000)
            run.work(draw(milliseconds))
            if draw(st.booleans()):
                run.fail_step(reserved, 0.5)
                run.work(draw(milliseconds))
            run.complete_step(draw(usages))
            match draw(st.sampled_from(["tool", "approval", "input", "review", "nothing"])):
                case "tool":
                    run.use_tool(draw(milliseconds))
                case "approval":
                    run.ask_approval(draw(milliseconds))
                case "input":
                    run.ask_input(draw(milliseconds))
                case "review":
                    run.review(draw(usages))
                case _:
                    pass
            run.work(draw(milliseconds))
        if draw(st.booleans()):
            run.finish()
        elif run.events:
            run.add(StepStarted(step=run.step + 1))
        runs.append(run)
    return runs


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[FactRun], list[Event]]:
    """The runs, and all their events in one order; the wall clock goes on by up to ten hours between two of them."""
    runs = draw(lives())
    queues = [list(run.events) for run in runs]
    log: list[Event] = []
    at_us = START_US
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        at_us += draw(st.sampled_from([0, 0, 1, 59_000_000, HOUR_US, 10 * HOUR_US]))
        log.append(msgspec.structs.replace(queue.pop(0), at_us=at_us, position=len(log) + 1))
    return runs, log
