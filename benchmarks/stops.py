"""Stops a host for longer than every deadline in it, and lets it go on: nothing may end by that (P13).

A host has runs at work (one step after the other), runs whose model or tool has not answered yet, each with a time
limit, runs with a critic, and runs that wait for a person. It is sent SIGSTOP at a random moment and SIGCONT when every
deadline would be over if the sleep counted. Then what the runs wait for is given to them: all of them must end well,
those at work with one `HostSlept` each, and those that waited for a person with none.

Another host has tools in processes of their own, and only these are stopped. One that goes on in time gives its result.
One that does not is a tool that hangs: it is ended at its time limit, no process is left, and the run goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from executus import Agent, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.events import HostSlept, ToolFinished
from executus.journal import read_journal, verify_run
from executus.ports import Continue

EACH = 5
"""Runs of each kind."""
GIVE_UP_S = 60.0
TOOL_LIMIT_S = 6.0

go = threading.Event()


@tool(effect="pure")
async def rest() -> str:
    """Takes a moment."""
    await asyncio.sleep(0.01)
    return "rested"


@tool(effect="pure", mode="process", timeout_s=TOOL_LIMIT_S)
def wait_for_file(path: str) -> str:
    """Waits in a process of its own."""
    while not Path(path).exists():
        time.sleep(0.02)
    return "it is there"


class Calm:
    """A critic that lets everything go on."""

    every_s = 0.2

    def review(self, trace: Any, now: float) -> Continue:
        """See `Critic`."""
        return Continue()


def agents(limit_s: float) -> list[Agent]:
    """One of each kind; everything in them is over after `limit_s` awake seconds."""

    @tool(effect="pure", timeout_s=limit_s)
    def slow() -> str:
        """Waits."""
        go.wait(GIVE_UP_S)
        return "at last"

    async def until_go(request: Any) -> Any:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return "at last"

    def stepping(request: Any) -> Any:
        return "done" if go.is_set() else [call("rest")]

    limits: dict[str, Any] = {"timeout_s": limit_s, "model_timeout_s": limit_s, "max_steps": 100_000}
    return [
        Agent("stepping", model=ScriptedModel(stepping), tools=[rest], critic=Calm(), **limits),
        Agent("model", model=ScriptedModel(until_go), **limits),
        Agent("tool", model=ScriptedModel([[call("slow")], "done"]), tools=[slow], **limits),
        Agent("asking", model=ScriptedModel(["yes?"]), **limits),
    ]


def host(path: Path, limit_s: float) -> None:
    """The host's process: starts the runs, says "ready", and after a line on its standard input lets them end."""
    with Runtime(path, agents(limit_s)) as runtime:
        asking = [runtime.start("asking", "go", interactive=True) for _ in range(EACH)]
        for run in asking:
            _wait_for(run, "input-awaited")
        working = [runtime.start(name, "go") for name in ("stepping", "model", "tool") for _ in range(EACH)]
        print("ready", flush=True)
        sys.stdin.readline()
        for run in working:
            _wait_for(run, "host-slept")
        go.set()
        ends = {run.id: run.result(GIVE_UP_S).status for run in working}
        waiting = {run.id: run.status for run in asking}
        print(json.dumps({"working": ends, "asking": waiting}), flush=True)


def _wait_for(run: Run, tag: str) -> None:
    """Wait for a fact, or for the run's end."""
    with run.events() as events:
        while more := events.take(GIVE_UP_S):
            if any(event.tag == tag for event in more):
                return


def stop(stop_s: float, limit_s: float, seed: int, folder: Path) -> list[str]:
    """Play one stop; what was wrong is returned."""
    path = folder / "runs.db"
    command = [sys.executable, __file__, "--host", str(path), "--limit", str(limit_s)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            return [f"the host did not get ready: {process.communicate()[1][-500:]}"]
        time.sleep(random.Random(seed).uniform(0, 0.6))
        process.send_signal(signal.SIGSTOP)
        time.sleep(stop_s)
        process.send_signal(signal.SIGCONT)
        said, errors = process.communicate("go\n", timeout=GIVE_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ["the host hung"]
    if process.returncode != 0 or not said:
        return [f"the host failed: {errors[-500:]}"]
    ends = json.loads(said)
    problems = [f"a run at work ended with {status}" for status in ends["working"].values() if status != "ok"]
    problems += [f"a run that waited is {status}" for status in ends["asking"].values() if status != "waiting"]
    reader = read_journal(path)
    try:
        for run_id in (*ends["working"], *ends["asking"]):
            problems += [f"its log: {problem}" for problem in verify_run(reader, run_id)]
            events = reader.read(run_id)
            tags = Counter(event.tag for event in events)
            expected = 1 if run_id in ends["working"] else 0
            if tags["host-slept"] != expected:
                problems.append(f"{tags['host-slept']} facts host-slept, expected {expected}")
            clock = [event.elapsed_ms for event in events]
            if clock != sorted(clock):
                problems.append("its own clock went back")
            if clock[-1] > limit_s * 1000:
                problems.append(f"its own clock says {clock[-1]} ms")
    finally:
        reader.close()
    return problems


def host_of_tools(path: Path) -> None:
    """The other host: tools in processes, which wait for a file beside the journal."""
    asked = call("wait_for_file", path=str(path) + ".go")
    agent = Agent("tools", model=ScriptedModel([[asked], "done"]), tools=[wait_for_file])
    with Runtime(path, [agent]) as runtime:
        runs = [runtime.start("tools", "go") for _ in range(EACH)]
        for run in runs:
            _wait_for(run, "tool-started")
        print("ready", flush=True)
        print(json.dumps({run.id: run.result(GIVE_UP_S).status for run in runs}), flush=True)


def stop_tools(folder: Path) -> list[str]:
    """Stop each tool's process, let all but two go on; what was wrong is returned."""
    path = folder / "runs.db"
    process = subprocess.Popen([sys.executable, __file__, "--tools", str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            return ["the host did not get ready"]
        tools = _children(process.pid)
        until = time.monotonic() + GIVE_UP_S
        while len(tools) < EACH and time.monotonic() < until:
            time.sleep(0.02)
            tools = _children(process.pid)
        for one in tools:
            os.kill(one, signal.SIGSTOP)
        Path(f"{path}.go").touch()
        time.sleep(0.5)
        for one in tools[2:]:
            os.kill(one, signal.SIGCONT)
        said, _ = process.communicate(timeout=GIVE_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ["the host of stopped tools hung"]
    if process.returncode != 0 or not said:
        return [f"the host of stopped tools failed with {process.returncode}"]
    problems = [f"a run with a stopped tool ended with {one}" for one in json.loads(said).values() if one != "ok"]
    problems += [f"process {one} of a tool outlived its host" for one in tools if Path(f"/proc/{one}").exists()]
    with closing(read_journal(path)) as reader:
        facts = [event.fact for row in reader.runs() for event in reader.read(row.run_id)]
    late = [fact for fact in facts if isinstance(fact, ToolFinished) and fact.is_error]
    well = [fact for fact in facts if isinstance(fact, ToolFinished) and fact.result == "it is there"]
    if (len(late), len(well)) != (2, EACH - 2):
        problems.append(f"{len(late)} stopped tools timed out and {len(well)} gave a result, expected 2 and {EACH - 2}")
    if any(isinstance(fact, HostSlept) for fact in facts):
        problems.append("a stopped tool was taken for a host that slept")
    return problems


def _children(process: int) -> list[int]:
    """The processes that a process started; Linux."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def main() -> int:
    """Play the stops; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--stop", type=float, default=7.0, help="seconds that the host is stopped")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of every deadline and time limit")
    parser.add_argument("--at-once", type=int, default=4, help="hosts at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tools", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host is not None:
        host(options.host, options.limit)
        return 0
    if options.tools is not None:
        host_of_tools(options.tools)
        return 0

    def one(number: int) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            return stop(options.stop, options.limit, options.seed + number, Path(folder))

    with ThreadPoolExecutor(options.at_once) as pool:
        problems = [problem for found in pool.map(one, range(options.stops)) for problem in found]
    if sys.platform == "linux":  # where a process can be asked for its children
        with tempfile.TemporaryDirectory() as folder:
            problems += stop_tools(Path(folder))
    figures = {
        "stops": options.stops,
        "stop_s": options.stop,
        "limit_s": options.limit,
        "runs": options.stops * EACH * 4,
        "problems": problems,
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{options.stops} stops of {options.stop:g} s, every limit {options.limit:g} s, {figures['runs']} runs")
        for problem, count in Counter(problems).most_common():
            print(f"  {count} x {problem}")
        print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    if not hasattr(signal, "SIGSTOP") or os.name != "posix":
        sys.exit("processes cannot be stopped here")
    sys.exit(main())
