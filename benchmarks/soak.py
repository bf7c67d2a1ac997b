"""A day of load in minutes: runs start, wait, time out, sleep and end under a clock that jumps; nothing may grow.

Ten kinds of run (quick ones, families, approvals that are answered or expire, conversations, models that never answer,
tools that time out, models that are busy, runs under a critic that fails, artifacts, runs beside the journal) start at
random, for twenty callers with budgets of which one is short; output is delivered and fails a quarter of the time;
somebody waits for results and gives up, follows and leaves, advises, cancels. After each virtual hour the host comes to
rest: every run is over and delivered. Then all tables in memory, objects by class, threads, descriptors and files are
counted. A count that grows from hour to hour, after the first ones, is a leak. What has a limit by design, SQLite's
caches too, has that limit lowered, so that it is reached. The journal itself grows, as it must.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from measure import memory_bytes
from soak_host import CALLERS, KEPT_BESIDE, KEPT_ENDED, Host

from executus.actors.address import Address
from executus.actors.observers import Observers

STEP_S = 20.0
"""Virtual seconds of one jump of the clock."""

REST_S = 60.0
"""Real seconds in which the host must come to rest."""

WARM_HOURS = 2
"""Hours after which nothing may grow any more."""

LIMITED = {
    "ended runs that budgets remember": KEPT_ENDED * len(CALLERS),
    "runs beside the journal": KEPT_BESIDE,
    "places beside the journal": KEPT_BESIDE,
    "their ends": 2 * KEPT_BESIDE,
    "log bytes": 64 << 20,
    "executus.journal.beside._Place": KEPT_BESIDE,
    "executus.journal.memory._Kept": KEPT_BESIDE,
}
"""What grows to a limit, and that limit."""

STANDING = frozenset({"budget actors", "threads that are lent", "live timers", "timers"})
"""What is there for as long as the host is."""


def tables(host: Host) -> dict[str, int]:
    """How much is in everything that the runtime keeps in memory."""
    runtime = host.runtime
    desk, courier = runtime._budgets, runtime._courier
    assert desk is not None
    assert courier is not None
    actors = list(desk._actors.values())
    beside = runtime._beside
    return {
        "directory": len(runtime._directory),
        "unanswered": len(runtime._unanswered),
        "observers": len(runtime._observers._watched),
        "routes of runs": len(runtime._router._by_run) + len(runtime._router._all),
        "routes of all": len(runtime._stored_router._by_run) + len(runtime._stored_router._all),
        "live timers": sum(timer.live for _, _, timer in runtime._scheduler._timers),
        "timers": len(runtime._scheduler._timers) // 256,
        "mailboxes that are ready": len(runtime._scheduler._ready),
        "threads that are lent": len(runtime._scheduler._lent),
        "loop calls": len(runtime._calls._loop._calls),
        "callers of runs": len(desk._callers),
        "budget actors": len(desk._actors),
        "budgets that wait": sum(len(one.waiting) for one in actors),
        "granted": sum(len(one.granted.standing()) for one in actors),
        "held back": sum(len(one.account.held.standing()) for one in actors),
        "runs in ledgers": sum(len(one.ledger._runs) for one in actors),
        "families in accounts": sum(len(one.account.families) for one in actors),
        "ended runs that budgets remember": sum(len(one.ledger._ended) for one in actors),
        "outbox": len(courier._actor.outbox),
        "errands": len(courier._actor.errands) + len(courier._actor.line) + len(courier._actor.in_hand),
        "runs beside the journal": len([one for one in beside._aside if beside.aside.run(one) is not None]),
        "their ends": len(beside._ends) + len(beside._requests),
        "places beside the journal": len(beside._aside),
    }


def objects() -> dict[str, int]:
    """Objects of our classes, and of pykka's, by class; called-off timers lie in their heap for a while."""
    gc.collect()
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        module = type(one).__module__
        if module.startswith(("executus", "pykka", "asyncio", "concurrent")) and type(one).__name__ != "Timer":
            found[f"{module}.{type(one).__name__}"] += 1
    return dict(found)


def system(folder: Path) -> dict[str, int]:
    """What the system gave: threads, descriptors, files."""
    files = [one for one in folder.rglob("*") if one.is_file()]
    wal = folder / "runs.db-wal"
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0,
        "files": len(files),
        "log bytes": wal.stat().st_size if wal.exists() else 0,
    }


def rest(host: Host) -> None:
    """Start nothing more, and let time pass until every run is over and delivered.

    Raises:
        RuntimeError: they do not end.
    """
    until = time.monotonic() + REST_S
    calm = 0
    while calm < 3:
        host.answer_people()
        host.pass_time(60.0)
        time.sleep(0.02)
        here = tables(host)
        busy = here["directory"] + here["outbox"] + here["errands"] + here["granted"] + here["unanswered"]
        calm = 0 if busy else calm + 1
        if time.monotonic() > until:
            counts = {name: n for name, n in here.items() if n}
            raise RuntimeError(f"the host does not come to rest: {counts}; still there: {host.still_there()}")


def live(host: Host, hours: float, a_minute: float) -> int:
    """Let virtual time pass under load; returns the most runs that were live at once."""
    most, due = 0, 0.0
    for step in range(round(hours * 3600 / STEP_S)):
        due += a_minute * STEP_S / 60
        while due >= 1:
            due -= 1
            host.start_one()
        host.pass_time(STEP_S)
        if step % 9 == 0:
            host.answer_people()
        most = max(most, host.runtime.live_runs)
        until = time.monotonic() + 0.05
        while not (host.runtime._scheduler._idle and not host.runtime._scheduler._ready) and time.monotonic() < until:
            time.sleep(0.0005)
    return most


def growing(hours: list[dict[str, int]], slack: int = 0) -> list[str]:
    """The names whose count in the later hours is above that of the earlier ones: smallest late > largest early."""
    after = hours[WARM_HOURS:]
    half = len(after) // 2
    early, late = after[:half], after[half:]
    if not early:
        return []
    names = sorted({name for one in after for name in one} - LIMITED.keys())
    return [
        f"{name}: {[one.get(name, 0) for one in after]}"
        for name in names
        if min(one.get(name, 0) for one in late) > max(one.get(name, 0) for one in early) + slack
    ]


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole soak; returns the figures."""
    if options.plant:
        PLANTS[options.plant]()
    host = Host(folder / "runs.db", options.seed)
    counted: list[dict[str, int]] = []
    alive: list[dict[str, int]] = []
    given: list[dict[str, int]] = []
    memory: list[int] = []
    problems: list[str] = []
    most = 0
    began = time.monotonic()
    hours = options.hours
    for hour in range(hours):
        most = max(most, live(host, 1.0, options.a_minute))
        rest(host)
        counted.append(tables(host))
        alive.append(objects())
        given.append(system(folder))
        memory.append(memory_bytes())
        if sys.stderr.isatty():
            print(f"\r{hour + 1} of {hours} hours, {host.started} runs, {memory[-1] >> 20} MB", end="", file=sys.stderr)
    # A hundred objects of a class more are a leak of one in some runs; a handful is what happens to be under way.
    problems += growing(counted, slack=8) + growing(alive, slack=8) + growing(given, slack=2)
    last = counted[-1] | alive[-1] | given[-1]
    problems += [
        f"{name}: {last[name]}, over its limit" for name, limit in LIMITED.items() if last.get(name, 0) > limit
    ]
    standing = LIMITED.keys() | STANDING
    leftover = {name: n for name, n in counted[-1].items() if n and name not in standing}
    if leftover:
        problems.append(f"left over at rest: {leftover}")
    events = host.runtime.journal.head()
    if not host.close():
        problems.append("close did not let go of everything")
    slope = _slope([one / 2**20 for one in memory[WARM_HOURS:]])
    return {
        "virtual_hours": hours,
        "seconds": round(time.monotonic() - began, 1),
        "seed": options.seed,
        "runs": host.started,
        "refused_by_budget": host.refused,
        "events": events,
        "most_live_runs": most,
        "memory_mb": [round(one / 2**20, 1) for one in memory],
        "memory_slope_mb_an_hour": round(slope, 3),
        "slope_of_the_last_quarter": round(_slope([one / 2**20 for one in memory[-max(2, hours // 4) :]]), 3),
        "last_counts": {**counted[-1], **given[-1]},
        "problems": problems,
    }


def _keep_observers() -> None:
    """Whoever watched a run watches it for ever."""
    watch = Observers.watch

    def deaf(self: Observers, run_id: str, tell: Any) -> Any:
        watch(self, run_id, tell)
        return lambda: None

    Observers.watch = deaf  # type: ignore[method-assign]


def _keep_addresses() -> None:
    """Whoever gave up waiting for a run's end is remembered."""
    Address._forget = lambda self, future: _waited.append(self)  # type: ignore[method-assign]


_waited: list[Address] = []

PLANTS = {"keep-observers": _keep_observers, "keep-addresses": _keep_addresses}


def _slope(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope


def main() -> int:
    """Run it; 1 if something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24, help="virtual hours (default 24)")
    parser.add_argument("--a-minute", type=float, default=5.0, help="runs that start each virtual minute (default 5)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of who does what when")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="plant a leak that must be found")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.hours < 1:
        parser.error("--hours: expected a whole number ≥ 1")
    with tempfile.TemporaryDirectory(prefix="executus-soak-", ignore_cleanup_errors=True) as folder:
        figures = run(Path(folder), options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "problems":
                print(f"{name.replace('_', ' '):26} {value}")
        for problem in figures["problems"]:
            print(f"GROWS: {problem}")
        print("something grows" if figures["problems"] else "nothing grows")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
