"""Fails every call to the store in turn, once, for a while and for ever, while runs work; then takes the fault away.

A call is anything that reaches SQLite from the journal: opening a connection, and every statement on it, for writing
and for reading. What SQLite would say is said: busy, I/O error, disk full, cannot open; at COMMIT also an I/O error
after it worked. Checked in each case: nobody is stuck, callers get our errors, what was acknowledged is in the log, no
hole and no event twice, followers are told everything in order, tools that must not are not run twice, `close` returns
in time, and everything ends well once the fault is gone. Then the same for descriptors that run out, for a program that
holds the write lock, and for one that sits in a read transaction.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import resource
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executus import Agent, Runtime, ScriptedModel, ToolContext, tool
from executus.actors import supervisor
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError
from executus.events import ToolStarted
from executus.journal import aftermath, checkpoints, read_journal, verify_run, writer
from executus.journal import sqlite as store

PATIENCE_S = 30.0
CLOSE_S = 2.0
RUNS = 3
WHILE_CALLS = 25
"""How many calls fail "for a while"."""

KINDS = {
    "busy": (sqlite3.SQLITE_BUSY, "database is locked"),
    "ioerr": (sqlite3.SQLITE_IOERR, "disk I/O error"),
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "cantopen": (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
    "after": (sqlite3.SQLITE_IOERR, "disk I/O error after the commit"),
}
MODES = ("once", "while", "ever")


def never_there(unsure: aftermath.Unsure, connection: sqlite3.Connection) -> bool:
    """What a commit has stored that failed to report is not looked for."""
    return False


PLANTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "never-looks": lambda: setattr(aftermath.Unsure, "was_stored", never_there),
}
"""Bugs that must be found."""


class Fault:
    """Counts calls to the store, and fails those that are due."""

    def __init__(self, nth: int, kind: str, mode: str) -> None:
        self.nth, self.kind, self.mode = nth, kind, mode
        self.on = False
        self.calls = self.failed = 0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """One more call: whether it is to fail."""
        with self._lock:
            if not self.on:
                return False
            self.calls += 1
            past = self.calls - self.nth
            fails = past == 0 if self.mode == "once" else 0 <= past < (WHILE_CALLS if self.mode == "while" else 1 << 60)
            self.failed += fails
            return fails

    def error(self) -> sqlite3.OperationalError:
        """What SQLite would raise."""
        code, text = KINDS[self.kind]
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        return error


class Faulty:
    """A connection whose statements fail when they are due."""

    def __init__(self, real: sqlite3.Connection, fault: Fault) -> None:
        self.__dict__.update(_real=real, _fault=fault)

    def _meet(self, sql: str) -> None:
        if self._fault.due():
            if self._fault.kind == "after" and sql == "COMMIT":
                self._real.execute(sql)
            raise self._fault.error()

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection`."""
        self._meet(sql)
        return self._real.execute(sql, *parameters)  # type: ignore[no-any-return]

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection`."""
        self._meet(sql)
        return self._real.executemany(sql, *parameters)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Every connection of a journal that is opened meanwhile meets `fault`; pauses are short."""
    real = store.open_for_writing, store.open_for_reading
    kept = supervisor.FIRST_PAUSE_S, supervisor.LAST_PAUSE_S, writer.LOOK_AGAIN_S, writer.LAST_LOOK_S

    def opener(open_real: Callable[[str], sqlite3.Connection]) -> Callable[[str], Any]:
        def open_faulty(path: str) -> Any:
            if fault.due():
                raise fault.error()
            return Faulty(open_real(path), fault)

        return open_faulty

    store.open_for_writing, store.open_for_reading = opener(real[0]), opener(real[1])
    supervisor.FIRST_PAUSE_S, supervisor.LAST_PAUSE_S = 0.001, 0.02
    writer.LOOK_AGAIN_S, writer.LAST_LOOK_S = 0.001, 0.02
    try:
        yield
    finally:
        store.open_for_writing, store.open_for_reading = real
        supervisor.FIRST_PAUSE_S, supervisor.LAST_PAUSE_S, writer.LOOK_AGAIN_S, writer.LAST_LOOK_S = kept


# ------------------------------------------------------------------ the work


@dataclass
class Seen:
    """What callers, followers and tools saw. problems: what they should not have."""

    events: dict[int, bytes] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    executed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    ours: int = 0
    """Errors of ours that callers got."""


def agents(seen: Seen, steps: int = 4) -> list[Agent]:
    """One whose runs call a tool that must not be retried, and one that may, at each step but the last."""

    @tool(effect="never_retry")
    def pay(context: ToolContext) -> str:
        seen.executed[context.key] += 1
        return "paid"

    @tool(effect="pure")
    async def look() -> str:
        return "x" * 100

    def reply(request: Any) -> Any:
        return "done" if request.step == steps else [call("pay"), call("look")]

    return [Agent("worker", model=ScriptedModel(reply), tools=[pay, look], max_steps=steps + 2)]


def listen(runtime: Runtime, seen: Seen, after: int) -> threading.Thread:
    """Follow everything; what comes must come in order, once."""
    events = runtime.events(after=after)

    def run() -> None:
        last = after
        while not events.ended:
            try:
                found = events.take()
            except ExecutusError:
                seen.ours += 1
                time.sleep(0.001)
                continue
            for event in found:
                if event.position != last + 1:
                    seen.problems.append(f"a follower was told of position {event.position} after {last}")
                last = event.position
                seen.events[event.position] = event.hash

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def start(runtime: Runtime, seen: Seen, request: str, until: float) -> None:
    """Start a run, asking again until it is known; the request id makes that safe."""
    while time.monotonic() < until:
        try:
            run = runtime.start("worker", "go", request_id=request, timeout=PATIENCE_S)
        except (ExecutusError, TimeoutError) as error:
            seen.ours += 1
            if type(error).__name__ == "RuntimeClosed":
                return
            time.sleep(0.001)
        else:
            if seen.starts.setdefault(request, run.id) != run.id:
                seen.problems.append(f"request {request} was answered with two runs")
            return
    seen.problems.append(f"{request}: a start was never answered")


def settle(runtime: Runtime, seen: Seen) -> None:
    """Wait until every run that was started is over."""
    for run_id in [*seen.starts.values()]:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                result = runtime.run(run_id).result(timeout=PATIENCE_S)
            except ExecutusError:
                seen.ours += 1
                time.sleep(0.001)
                continue
            if result.status != "ok":
                seen.problems.append(f"run {run_id} ended {result.status}: {result.error}")
            break
        else:
            seen.problems.append(f"run {run_id} did not end")


def close(runtime: Runtime, seen: Seen) -> None:
    """Close, in time."""
    began = time.monotonic()
    runtime.close(CLOSE_S)
    took = time.monotonic() - began
    if took > CLOSE_S + 1:
        seen.problems.append(f"close({CLOSE_S:g}) took {took:.1f} s")


def work(path: Path, fault: Fault) -> Seen:
    """Work while `fault` is met, take it away, and see that everything ends."""
    seen = Seen()
    with planted(fault):
        runtime = Runtime(path, agents(seen))
        follower = listen(runtime, seen, 0)
        fault.on = True
        until = time.monotonic() + PATIENCE_S
        starters = [
            threading.Thread(target=start, args=(runtime, seen, f"r{number}", until), daemon=True)
            for number in range(RUNS)
        ]
        for thread in starters:
            thread.start()
        if fault.mode == "ever":
            while fault.failed < 60 and any(thread.is_alive() for thread in starters):
                time.sleep(0.001)
            close(runtime, seen)  # the disk is still broken
            _join([*starters, follower], seen, "after the close")
            fault.on = False
            wait_for_the_end(runtime)
            runtime = Runtime(path, agents(seen))
            follower = listen(runtime, seen, 0)
            until = time.monotonic() + PATIENCE_S
            for number in range(RUNS):
                start(runtime, seen, f"r{number}", until)
        _join(starters, seen, "a start")
        settle(runtime, seen)
        fault.on = False
        start(runtime, seen, "afterwards", time.monotonic() + PATIENCE_S)
        settle(runtime, seen)
        close(runtime, seen)
        _join([follower], seen, "a follower")
    judge(path, seen)
    return seen


def wait_for_the_end(runtime: Runtime) -> None:
    """A close may have left the writer behind, which holds the journal until it is done."""
    stored: Any = runtime._stored
    if not stored._writer.finished.wait(PATIENCE_S):
        raise TimeoutError("the writer never ended")


def _join(threads: list[threading.Thread], seen: Seen, what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            seen.problems.append(f"{what} never came to an end")


def judge(path: Path, seen: Seen) -> None:
    """Read the journal from outside, and compare it with what was seen."""
    problems = seen.problems
    reader = read_journal(path)
    try:
        there = {event.position: event.hash for event in reader.scan(limit=1_000_000)}
        if [*there] != [*range(1, len(there) + 1)]:
            problems.append("positions have a hole")
        for row in reader.runs():
            problems += [f"run {row.run_id}: {problem}" for problem in verify_run(reader, row.run_id)]
            started = Counter(event.fact.call for event in reader.read(row.run_id) if type(event.fact) is ToolStarted)
            problems += [f"call {one} was started {times} times" for one, times in started.items() if times > 1]
            if not row.over:
                problems.append(f"run {row.run_id} is not over")
        for request, run_id in seen.starts.items():
            if reader.find_request(f"\n{request}") != run_id:
                problems.append(f"request {request} is not the run that was acknowledged")
        if len(reader.runs()) != len(seen.starts):
            problems.append(f"{len(reader.runs())} runs for {len(seen.starts)} requests")
    finally:
        reader.close()
    for position, digest in seen.events.items():
        if there.get(position) != digest:
            problems.append(f"position {position} was told and is not in the log")
    if set(there) != set(seen.events):
        problems.append(f"followers were told of {len(seen.events)} of {len(there)} events")
    problems += [f"{key} was executed {times} times" for key, times in seen.executed.items() if times > 1]


# ------------------------------------------------------------------ other troubles


def no_descriptors(path: Path, seconds: float) -> Seen:
    """No file can be opened for a while."""
    seen = Seen()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with planted(Fault(0, "busy", "once")):
        runtime = Runtime(path, agents(seen))
        follower = listen(runtime, seen, 0)
        start(runtime, seen, "before", time.monotonic() + PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            threads = [
                threading.Thread(target=start, args=(runtime, seen, f"r{number}", until), daemon=True)
                for number in range(RUNS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        _join(threads, seen, "a start")
        settle(runtime, seen)
        close(runtime, seen)
        _join([follower], seen, "a follower")
    judge(path, seen)
    return seen


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT count(*) FROM stored_events").fetchone()
print("held", flush=True)
sys.stdin.read()
"""


def held(path: Path, begin: str, seconds: float, *, busy_ms: int) -> tuple[Seen, int]:
    """Another program sits in a transaction for a while; returns also the largest size of the write-ahead log."""
    import subprocess

    seen, kept, largest = Seen(), checkpoints.BUSY_MS, 0
    checkpoints.BUSY_MS = store.BUSY_MS = busy_ms
    log = Path(f"{path}-wal")
    try:
        with planted(Fault(0, "busy", "once")):
            runtime = Runtime(path, agents(seen))
            follower = listen(runtime, seen, 0)
            start(runtime, seen, "before", time.monotonic() + PATIENCE_S)
            settle(runtime, seen)
            until = time.monotonic() + seconds
            command = [sys.executable, "-c", HOLDER, str(path), begin]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
                assert other.stdout is not None
                other.stdout.readline()
                threads: list[threading.Thread] = []
                for number in itertools.count():
                    if time.monotonic() > until:
                        break
                    if len(threads) < 200:
                        one = (runtime, seen, f"r{number}", until + PATIENCE_S)
                        threads.append(threading.Thread(target=start, args=one, daemon=True))
                        threads[-1].start()
                    time.sleep(0.02)
                    largest = max(largest, log.stat().st_size)
                other.send_signal(signal.SIGKILL)
            _join(threads, seen, "a start")
            settle(runtime, seen)
            close(runtime, seen)
            _join([follower], seen, "a follower")
        judge(path, seen)
        if log.stat().st_size:
            seen.problems.append("the write-ahead log was not emptied at the end")
    finally:
        checkpoints.BUSY_MS = store.BUSY_MS = kept
    return seen, largest


# ------------------------------------------------------------------ all of it


def cases(folder: Path, options: argparse.Namespace) -> Iterator[tuple[int, str, str]]:
    """Every call that a run without faults makes, and a few more, with every kind and mode; `--every` takes some."""
    fault = Fault(0, "busy", "once")
    work(folder / "counted.db", fault)
    numbers = itertools.count()
    for nth in range(1, fault.calls + 10):
        for kind, mode in itertools.product(KINDS, MODES):
            if (kind != "after" or mode == "once") and next(numbers) % options.every == options.offset % options.every:
                yield nth, kind, mode


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    problems: list[str] = []
    count = failed = ours = slowest = 0.0
    began = time.monotonic()
    for nth, kind, mode in cases(folder, options):
        fault, at = Fault(nth, kind, mode), time.monotonic()
        path = folder / f"{count:.0f}.db"
        seen = work(path, fault)
        problems += [f"call {nth}, {kind}, {mode}: {problem}" for problem in seen.problems]
        count, failed, ours = count + 1, failed + fault.failed, ours + seen.ours
        slowest = max(slowest, time.monotonic() - at)
        for one in folder.glob(f"{path.name}*"):
            one.unlink()
        if sys.stderr.isatty():
            print(f"\r{count:.0f} cases, {len(problems)} problems", end="", file=sys.stderr)
        if len(problems) > 20:
            break
    figures: dict[str, Any] = {
        "cases": round(count),
        "calls_failed": round(failed),
        "errors_that_callers_got": round(ours),
        "slowest_case_s": round(slowest, 2),
        "seconds": round(time.monotonic() - began, 1),
    }
    seen = no_descriptors(folder / "descriptors.db", options.hold)
    problems += [f"no descriptors: {problem}" for problem in seen.problems]
    seen, _ = held(folder / "locked.db", "BEGIN IMMEDIATE", options.hold, busy_ms=round(options.hold * 200))
    problems += [f"locked: {problem}" for problem in seen.problems]
    seen, largest = held(folder / "read.db", "BEGIN", options.hold, busy_ms=5000)
    problems += [f"a stuck reader: {problem}" for problem in seen.problems]
    figures |= {
        "held_s": options.hold,
        "log_with_a_stuck_reader_kb": largest >> 10,
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:20],
    }
    return figures


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every so many cases (default 1: all)")
    parser.add_argument("--offset", type=int, default=int.from_bytes(os.urandom(4)), help="of these")
    parser.add_argument("--hold", type=float, default=30.0, help="seconds of the other troubles (default 30)")
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the journals (default: a temporary folder)"
    )
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a bug to be found")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.every < 1 or not options.hold > 0:
        parser.error("--every: expected a whole number ≥ 1; --hold: seconds > 0")
    logging.disable(logging.CRITICAL)
    PLANTS[options.plant]()
    with tempfile.TemporaryDirectory(prefix="executus-faults-", dir=options.dir, ignore_cleanup_errors=True) as folder:
        figures = run(Path(folder), options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "problems":
                print(f"{name.replace('_', ' '):28} {value}")
        for problem in figures["problems"]:
            print(f"BROKEN: {problem}")
        print("no promise was broken" if not figures["violations"] else "a promise was broken")
    return 1 if figures["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
