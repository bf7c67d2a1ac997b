"""From the start of a process to the first and the last of 1,000 unfinished runs at work again, each 200 events long.

The journal is left behind by a process that was killed (SIGKILL), so that the next one finds a log to be replayed and
nothing tidied up. Time counts from just before the new process is started, with everything that it imports; a run is
at work again when its `run-resumed` is durable. The model of the runs never answers. Targets: the first run within 1 s,
the last within 5 s. Also: one run alone, and 1,000 runs of which one cannot be read.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

RUNS = 1_000
EVENTS = 200
PATIENCE_S = 120.0


def write(path: Path, runs: int, events: int) -> None:
    """Write the journal, and be killed."""
    from measure import text

    from executus.actors.printing import print_of
    from executus.events import (
        GENESIS,
        Limits,
        RunInfo,
        RunStarted,
        StepCompleted,
        StepStarted,
        Text,
        ToolCall,
        ToolFinished,
        ToolStarted,
    )
    from executus.events.codec import encode_event
    from executus.journal import open_journal

    journal = open_journal(path)
    agent = print_of(make_agent())
    done = 0

    class Sent:
        request_key = ""

        def __init__(self, run_id: str, stored: Any) -> None:
            self.run_id, self.expected, self.stored = run_id, 0, stored

        def done(self, error: Any) -> None:
            nonlocal done
            assert error is None
            done += 1

    for number in range(runs):
        run_id = str(UUID(int=(0x01890000_0000_7000_8000 << 48) + number))
        facts: list[Any] = [
            RunStarted(info=RunInfo(run_id=run_id, name="sleeper"), agent=agent, limits=Limits(), input=(Text("go"),))
        ]
        step = 0
        while len(facts) < events:
            step += 1
            facts.append(StepStarted(step=step))
            if len(facts) + 3 >= events:
                break
            reply = (Text(text(number, step)), ToolCall(f"c{step}", "look", "{}"))
            facts.append(StepCompleted(step=step, reply=reply, stop="tool_calls"))
            facts.append(ToolStarted(call=f"{step}.0", name="look", effect="pure"))
            facts.append(ToolFinished(call=f"{step}.0", result=text(number, step + 7)))
        stored: list[Any] = []
        for version, fact in enumerate(facts, 1):
            stored.append(
                encode_event(
                    fact,
                    run_id=run_id,
                    version=version,
                    previous=stored[-1].event.hash if stored else GENESIS,
                    at_us=time.time_ns() // 1000,
                    elapsed_ms=version * 10,
                    cause="",
                    epoch=journal.epoch,
                )
            )
        journal.append(Sent(run_id, stored))
        while done < number - 20:
            time.sleep(0.001)
    while done < runs:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


class Silent:
    """A model that never answers."""

    name = "silent"

    async def reply(self, request: Any) -> Any:
        """See `Model`."""
        await asyncio.get_running_loop().create_future()


def make_agent() -> Any:
    """The agent of every run."""
    from executus import Agent, tool

    @tool(effect="pure")
    def look() -> str:
        """Look."""
        return ""

    return Agent("sleeper", model=Silent(), tools=[look], max_steps=1_000, timeout_s=None)


def host(path: Path, wanted: int) -> None:
    """Open the journal, and print when the runs were at work again."""
    import executus.wiring

    moments: list[float] = []
    opened = executus.wiring.open_journal

    def follow(events: Any) -> None:
        now = time.time()
        moments.extend([now for event in events if event.tag == "run-resumed"])

    def open_and_follow(*given: Any, **more: Any) -> Any:
        journal = opened(*given, **more)
        journal.follow(follow)
        return journal

    executus.wiring.open_journal = open_and_follow
    imported = time.time()
    from executus import Runtime

    runtime = Runtime(path, [make_agent()])
    constructed = time.time()
    until = time.monotonic() + PATIENCE_S
    while len(moments) < wanted and time.monotonic() < until:
        time.sleep(0.005)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "imported": imported,
        "constructed": constructed,
        "first": moments[0] if moments else None,
        "last": moments[-1] if len(moments) >= wanted else None,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
    }
    print(json.dumps(told), flush=True)
    os._exit(0 if runtime is not None else 1)


def measured(folder: Path, runs: int, events: int, *, bent: bool = False) -> dict[str, float]:
    """One round: make the journal, kill, start the next host; seconds since its start."""
    path = folder / f"runs-{time.monotonic_ns()}.db"
    me = [sys.executable, str(Path(__file__).resolve())]
    subprocess.run([*me, "--write", str(path), str(runs), str(events)], check=False)
    # The host that was killed had kept the stored views; this one did not live long enough.
    audit = "from executus.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", audit, "audit", "--limit", "1", "--db", str(path)], capture_output=True, check=True
    )
    if bent:
        import sqlite3

        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE stored_events SET state = x'00' WHERE rowid IN (SELECT first_position + 5 FROM runs LIMIT 1)"
            )
        connection.close()
    began = time.time()
    done = subprocess.run(
        [*me, "--host", str(path), str(runs - bent)], capture_output=True, text=True, timeout=PATIENCE_S * 2, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    for name in ("imported", "constructed", "first", "last"):
        if told[name] is None:
            raise RuntimeError(f"not all runs were at work again within {PATIENCE_S:g} s: {done.stderr[-2000:]}")
        told[name] -= began
    for left in folder.glob(f"{path.name}*"):
        left.unlink()
    return told


def main() -> None:
    from measure import Figure, median_of, options, report, scratch

    given = options(__doc__, rounds=3)
    runs, events = (20, 20) if given.quick else (RUNS, EVENTS)
    figures: list[Figure] = []
    with scratch(given.folder) as folder:
        one = [measured(folder, 1, events) for _ in range(given.rounds)]
        many = [measured(folder, runs, events) for _ in range(given.rounds)]
        bent = [measured(folder, runs, events, bent=True) for _ in range(given.rounds)]
    many_runs = f"{runs:,} runs of {events} events"
    figures += [
        median_of(f"one run of {events} events", "s", [one_round["last"] for one_round in one], bound=0.3),
        median_of(f"{many_runs}, the first", "s", [one_round["first"] for one_round in many], bound=1.0),
        median_of(f"{many_runs}, the last", "s", [one_round["last"] for one_round in many], bound=5.0),
        median_of("  the constructor has returned", "s", [one_round["constructed"] for one_round in many]),
        median_of("  CPU of the process", "s", [one_round["cpu_s"] for one_round in many]),
        median_of("  its memory at most", "MB", [one_round["rss_mb"] for one_round in many]),
        median_of("the same, one of which cannot be read, the last", "s", [one_round["last"] for one_round in bent]),
    ]
    report("recovery", figures, given)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--write", path, runs, events]:
            write(Path(path), int(runs), int(events))
        case ["--host", path, wanted]:
            host(Path(path), int(wanted))
        case _:
            main()
