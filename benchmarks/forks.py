"""Forks a host with live runs at random moments; the child ends in every way, the parent must lose nothing.

Children end by `os._exit`, by `sys.exit` (with atexit and destructors), by `exec`, after they have tried everything
that they inherited, inside a `multiprocessing` pool, or with a runtime of their own. Checked: each child ends within
two seconds, every call on what belongs to the parent raises `ForkedProcess`, and all that `faults.py` checks of the
parent.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults  # beside this file

from executus import Runtime
from executus.errors import ExecutusError, ForkedProcess

WITHIN_S = 2.0
STEPS = 40


class Child:
    """What a child of the host does; `host` is its parent's."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.runtime, self.folder = runtime, folder

    def exit_at_once(self) -> int:
        """`os._exit`."""
        os._exit(0)

    def exit(self) -> int:
        """`sys.exit`, with all that the interpreter does then."""
        gc.collect()
        sys.exit(0)

    def execute(self) -> int:
        """Another program."""
        os.execv(sys.executable, [sys.executable, "-S", "-c", "pass"])

    def use(self) -> int:
        """Everything there is to call; then the interpreter's exit."""
        runtime = self.runtime
        run_id = "00000000-0000-7000-8000-000000000000"
        calls: list[Callable[[], object]] = [
            lambda: runtime.start("worker", "go"),
            lambda: runtime.run(run_id),
            runtime.runs,
            runtime.events,
            runtime.waiting,
            lambda: runtime.journal.read(run_id),
            runtime.journal.head,
            lambda: runtime.journal.confirm(print),
            lambda: runtime.journal.follow(print),
        ]
        for number, call in enumerate(calls):
            try:
                call()
            except ForkedProcess:
                continue
            except ExecutusError:
                os._exit(10 + number)
            os._exit(40 + number)
        if runtime.close() is not True:
            os._exit(9)
        sys.exit(0)

    def begin_anew(self) -> int:
        """A runtime of the child's own: refused with a journal, not in memory."""
        with tempfile.TemporaryDirectory(dir=self.folder) as own:
            try:
                Runtime(Path(own) / "runs.db", faults.agents(faults.Seen()))
                os._exit(7)
            except ForkedProcess:
                pass
        runtime = Runtime(agents=faults.agents(faults.Seen()))
        status = runtime.start("worker", "go").result(WITHIN_S).status
        let_go = runtime.close(1.0)
        os._exit(0 if status == "ok" and let_go else 8)


WAYS = ("exit_at_once", "exit", "execute", "use", "begin_anew")


def fork(child: Child, way: str) -> str:
    """Fork once; what was wrong with that, or ""."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 7
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = getattr(child, way)()
        except SystemExit:
            raise
        except BaseException:
            os._exit(code)
        os._exit(code)
    while time.monotonic() < began + 5 * WITHIN_S:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            took = time.monotonic() - began
            if code:
                return f"{way}: the child ended with code {code}"
            return f"{way}: the child took {took:.1f} s" if took > WITHIN_S else ""
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return f"{way}: the child never ended"


def square(number: int) -> int:
    """What a pool does."""
    return number * number


def pool(within_s: float) -> str:
    """A `multiprocessing` pool of forked children."""
    began = time.monotonic()
    with multiprocessing.get_context("fork").Pool(2) as workers:
        found = workers.map_async(square, range(20)).get(timeout=PATIENCE_S)
    took = time.monotonic() - began
    if found != [number * number for number in range(20)]:
        return "pool: a wrong answer"
    return f"pool: took {took:.1f} s" if took > within_s else ""


PATIENCE_S = 30.0


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    rng, seen, problems, ways = random.Random(options.seed), faults.Seen(), list[str](), Counter[str]()
    runtime = Runtime(folder / "runs.db", faults.agents(seen, STEPS))
    follower = faults.listen(runtime, seen, 0)
    stop = threading.Event()

    def keep_busy(name: str) -> None:
        for number in range(1_000_000):
            if stop.is_set():
                return
            faults.start(runtime, seen, f"{name}-{number}", time.monotonic() + PATIENCE_S)
            run_id = seen.starts.get(f"{name}-{number}")
            if run_id is not None:
                runtime.run(run_id).result(timeout=PATIENCE_S)

    workers = [threading.Thread(target=keep_busy, args=(f"w{number}",), daemon=True) for number in range(options.runs)]
    for worker in workers:
        worker.start()
    began = time.monotonic()
    child = Child(runtime, folder)
    for count in range(options.forks):
        time.sleep(rng.random() * 0.01)
        way = rng.choice((*WAYS, "pool"))
        ways[way] += 1
        problem = pool(WITHIN_S) if way == "pool" else fork(child, way)
        if problem:
            problems.append(problem)
        if sys.stderr.isatty():
            print(f"\r{count + 1} of {options.forks} forks", end="", file=sys.stderr)
    stop.set()
    faults._join(workers, seen, "a worker")
    faults.settle(runtime, seen)
    if not runtime.close():
        problems.append("the parent did not let go at its end")
    faults._join([follower], seen, "a follower")
    faults.judge(folder / "runs.db", seen)
    problems += seen.problems
    return {
        "forks": options.forks,
        "ways": dict(sorted(ways.items())),
        "live_runs": options.runs,
        "seed": options.seed,
        "runs": len(seen.starts),
        "events": len(seen.events),
        "seconds": round(time.monotonic() - began, 1),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:20],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forks", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5, help="live runs at any time (default 5)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--dir", type=Path, default=None, help="where to put the journal (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.forks, options.runs) < 1:
        parser.error("--forks, --runs: expected whole numbers ≥ 1")
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forking with threads: that is the point
    home, folder = os.getpid(), Path(tempfile.mkdtemp(prefix="executus-forks-", dir=options.dir))
    try:
        figures = run(folder, options)
    finally:
        if os.getpid() == home:  # not a child on its way out
            shutil.rmtree(folder, ignore_errors=True)
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
