"""Hands a host what no program expects: replies, results, errors and orders drawn at random, floods and gigabytes.

Models answer with lone surrogates, NUL, text of megabytes, calls of tools that do not exist, arguments nested 100,000
deep, usage that is no number, things that are no reply; tools return and raise anything, also what ends an interpreter
when it is asked for its text; hosts give orders with arguments of every type. Each run must end, each call that was
started must have an outcome in the log, each log must verify, each order be taken or refused with a `TypeError`,
`ValueError` or `ExecutusError`, and the runs beside must not notice.

Then a tool in a process reads what `yes` says for a gigabyte and returns it, a tool on a thread returns 64 MB, and a
host writes notes, a thousand at a time: memory may grow by 64 MB (T7).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import hostile_values as hostile
from measure import memory_bytes

from executus import Agent, Allowance, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError, Overloaded
from executus.events import ToolFinished, ToolOutcomeUnknown, ToolStarted
from executus.journal import verify_run
from executus.ports import InputFile

GIVE_UP_S = 60.0
MOST_GROWN_MB = 64
AT_ONCE = 1_000
"""Notes that the host waits for at the same time; its own tasks take 7 KB each."""
MOST_SHOWN = 20
TOOLS = ("odd_async", "odd_thread", "look")

_rng = random.Random()


# ------------------------------------------------------------------ tools


@tool(effect="pure")
async def odd_async(number: int = 0) -> Any:
    """Return or raise anything."""
    if _rng.random() < 0.3:
        raise hostile.error(_rng)
    return hostile.value(_rng)


@tool(effect="pure")
def odd_thread(number: int = 0) -> Any:
    """Return or raise anything."""
    if _rng.random() < 0.3:
        raise hostile.error(_rng)
    return hostile.value(_rng)


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


@tool(effect="pure", mode="process")
def loud(size: int) -> str:
    """What a program says that says very much."""
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        assert yes.stdout is not None
        said = yes.stdout.read(size).decode()
        yes.kill()
    return said


@tool(effect="pure")
def long(size: int) -> str:
    """Long text from a thread."""
    return "x" * size


# ------------------------------------------------------------------ the parts


class Host:
    """A runtime with hostile models and tools, and runs beside that must not notice."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("executus").setLevel(logging.CRITICAL)
        tools = [odd_async, odd_thread, look]

        async def odd(request: Any) -> Any:
            if request.step > 1:
                return "Done."
            if _rng.random() < 0.1:
                raise hostile.error(_rng)
            return hostile.reply(_rng, TOOLS)

        class Odd:
            """Answers anything."""

            name = "odd"

            async def reply(self, request: Any) -> Any:
                """See `Model`."""
                answer = await odd(request)
                return await ScriptedModel(["Done."] * request.step).reply(request) if answer == "Done." else answer

        def loud_once(request: Any) -> Any:
            return [call(request.settings["tool"], size=request.settings["size"])] if request.step == 1 else "Done."

        def calm(request: Any) -> Any:
            return [call("look")] if request.step == 1 else "Done."

        self.agents = [
            Agent("odd", model=Odd(), tools=tools, max_steps=5, max_attempts=2, timeout_s=GIVE_UP_S / 2),
            Agent("calm", model=ScriptedModel(calm), tools=tools),
            Agent("held", model=ScriptedModel(self._hold)),
        ]
        for name, size in (("loud", 0), ("long", 64 << 20)):
            settings = {"tool": name, "size": size}
            self.agents.append(Agent(name, model=ScriptedModel(loud_once), tools=[loud, long], settings=settings))
        self.runtime = Runtime(folder / "runs.db", self.agents, budget=[Allowance(window="total", cost_usd=1e9)])
        self.problems: list[str] = []
        self.ends: Counter[str] = Counter()

    async def _hold(self, request: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    def look_at(self, run: Any, what: str) -> None:
        """A run that must end, with an outcome for each call and a sound log."""
        try:
            self.ends[run.result(GIVE_UP_S).status] += 1
        except Exception as error:
            self.problems.append(f"{what}: the run did not end: {type(error).__name__}: {error}")
            return
        events = self.runtime.journal.read(run.id, verify=True)
        started = {event.fact.call for event in events if isinstance(event.fact, ToolStarted)}
        known = {event.fact.call for event in events if isinstance(event.fact, (ToolFinished, ToolOutcomeUnknown))}
        if started - known and run.result().status == "ok":
            self.problems.append(f"{what}: calls without an outcome: {sorted(started - known)}")
        self.problems += [f"{what}: its log: {problem}" for problem in verify_run(self.runtime.journal, run.id)]

    def replies(self, count: int) -> None:
        """Runs whose model and tools answer anything."""
        for at in range(0, count, 20):
            runs = [self.runtime.start("odd", "go") for _ in range(min(20, count - at))]
            beside = self.runtime.start("calm", "go")
            for run in runs:
                self.look_at(run, "a reply")
            if beside.result(GIVE_UP_S).status != "ok":
                self.problems.append("a run beside noticed")

    def orders(self, count: int) -> None:
        """Orders with arguments of every type, to a run that is held and to one that is over."""
        over = self.runtime.start("calm", "go")
        over.result(GIVE_UP_S)
        held = self.runtime.start("held", "go", interactive=True)
        for _ in range(count):
            name, order = _order(held if _rng.random() < 0.8 else over, self.runtime)
            began = time.monotonic()
            try:
                order()
            except (TypeError, ValueError, ExecutusError):
                pass
            except BaseException as error:
                self.problems.append(f"{name} raised {type(error).__name__}: {str(error)[:200]}")
            if time.monotonic() - began > GIVE_UP_S / 2:
                self.problems.append(f"{name} took {time.monotonic() - began:.0f} s")
            if held.status not in ("running", "waiting"):
                self.look_at(held, f"after {name}")
                held = self.runtime.start("held", "go", interactive=True)
        held.kill()
        self.look_at(held, "after all orders")

    # -------------------------------------------------------------- much of it

    def grown_mb(self, what: str, doing: Any) -> float:
        """How much memory grows while something is done, at most and by the system's count."""
        before = memory_bytes()
        _forget_the_most()
        doing()
        grown = (_most_memory() - before) / 2**20
        if grown > MOST_GROWN_MB:
            self.problems.append(f"{what}: memory grew by {grown:.0f} MB")
        return round(grown, 1)

    def run_tool(self, name: str, size: int) -> None:
        """A run with one call of a tool that returns so many characters."""
        agent = next(agent for agent in self.agents if agent.name == name)
        dict.__setitem__(agent.settings, "size", size)  # type: ignore[arg-type]
        run = self.runtime.start(name, "go")
        self.look_at(run, f"{name}, {size} characters")
        finished = [one.fact for one in self.runtime.journal.read(run.id) if isinstance(one.fact, ToolFinished)]
        if len(finished) != 1 or "sha256" not in finished[0].result or finished[0].is_error:
            self.problems.append(f"{name}: what it said was not kept as head and tail: {finished[0].result[:200]!r}")

    def notes(self, run: Any, count: int) -> int:
        """A host that writes notes, a thousand at a time; how many were refused, which it was told."""
        refused = 0

        async def flood() -> None:
            nonlocal refused
            for at in range(0, count, AT_ONCE):
                each = [run.note_async("progress", {"done": at + n}) for n in range(min(AT_ONCE, count - at))]
                for outcome in await asyncio.gather(*each, return_exceptions=True):
                    if isinstance(outcome, Overloaded):
                        refused += 1
                    elif outcome is not None:
                        self.problems.append(f"a note: {outcome!r}")

        asyncio.run(flood())
        return refused


def _order(run: Any, runtime: Runtime) -> tuple[str, Any]:
    rng = _rng

    def anything() -> Any:
        return hostile.plain(rng) if rng.random() < 0.5 else hostile.text(rng)

    some: list[tuple[str, Any]] = [
        ("steer", lambda: run.steer(anything(), by=anything())),
        ("send", lambda: run.send(anything(), by=hostile.text(rng))),
        ("end", lambda: run.end(anything())),
        ("note", lambda: run.note(hostile.text(rng), {hostile.text(rng): anything()})),
        ("note of anything", lambda: run.note(anything(), anything())),
        ("log_error", lambda: run.log_error(anything())),
        ("extend", lambda: run.extend(anything(), reason=hostile.text(rng))),
        ("raise_ceiling", lambda: run.raise_ceiling(anything(), anything())),
        ("approve", lambda: run.approve(anything())),
        ("deny", lambda: run.deny(anything(), reason=anything())),
        ("cancel", lambda: run.cancel(anything(), by=anything())),
        ("kill", lambda: run.kill(anything(), by=anything())),
        ("start", lambda: runtime.start("calm", anything(), caller=anything(), request_id=anything())),
        ("start by name", lambda: runtime.start(anything(), "go")),
        ("start with inputs", lambda: runtime.start("calm", "go", inputs=anything(), name=anything())),
        ("start with limits", lambda: runtime.start("calm", "go", limits={hostile.text(rng): anything()})),
        ("start with a file", lambda: runtime.start("calm", "go", files=[InputFile(anything(), anything())])),
        ("run", lambda: runtime.run(anything())),
        ("runs", lambda: runtime.runs(after=anything(), limit=anything())),
        ("artifact", lambda: runtime.artifact(anything())),
        ("spending", lambda: runtime.spending(anything())),
        ("resume", lambda: runtime.resume(run, anything(), limits={"max_steps": anything()})),
        ("redeliver", lambda: runtime.redeliver(anything())),
    ]
    return rng.choice(some)


def _forget_the_most() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _most_memory() -> int:
    """The most memory this process had since it was told to forget; Linux."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    _rng.seed(options.seed)
    host = Host(folder)
    began = time.monotonic()
    host.replies(options.replies)
    host.orders(options.orders)
    figures: dict[str, Any] = {"seed": options.seed, "replies": options.replies, "orders": options.orders}
    if options.megabytes:
        host.run_tool("loud", 4 << 20)  # what is loaded at first use is loaded now
        size = options.megabytes << 20
        figures["megabytes"] = options.megabytes
        figures["grown_mb_loud_process"] = host.grown_mb("a loud process", lambda: host.run_tool("loud", size))
    if options.notes:
        refused = 0
        noted = host.runtime.start("held", "go")

        def flood() -> None:
            nonlocal refused
            refused = host.notes(noted, options.notes)

        figures["notes"] = options.notes
        figures["grown_mb_notes"] = host.grown_mb("notes", flood)
        noted.kill()
        host.look_at(noted, "after a flood of notes")  # reads all of them, which takes memory of its own
        figures["notes_refused"] = refused
    host.run_tool("long", 64 << 20)
    if not host.runtime.close():
        host.problems.append("close did not let go of everything")
    return figures | {
        "ends": dict(host.ends.most_common()),
        "seconds": round(time.monotonic() - began, 1),
        "violations": len(host.problems),
        "problems": list(dict.fromkeys(host.problems))[:MOST_SHOWN],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=5_000, help="runs with hostile models and tools (default 5,000)")
    parser.add_argument("--orders", type=int, default=5_000, help="hostile orders (default 5,000)")
    parser.add_argument("--megabytes", type=int, default=1024, help="said by a tool in a process (default 1,024)")
    parser.add_argument("--notes", type=int, default=100_000, help="notes of one run (default 100,000)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of what is handed over")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="executus-hostile-", ignore_cleanup_errors=True) as folder:
        figures = run(Path(folder), options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "problems":
                print(f"{name.replace('_', ' '):24} {value}")
        for problem in figures["problems"]:
            print(f"BROKEN: {problem}")
        print("a promise was broken" if figures["problems"] else "no promise was broken")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
