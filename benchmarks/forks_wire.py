"""Forks a host that listens, and a client that is attached, at random moments; children end in every way, and their
parents must go on as if nothing had happened.

Threads of the parent are inside the sockets' library meanwhile: the host's answer questions and orders, the client's
ask, follow and steer. Children end by `os._exit`, by `sys.exit` (with atexit and destructors), by `exec`, after they
have tried everything that they inherited, in a `multiprocessing` pool, or as a `subprocess` with Python to run between
fork and exec. Checked: each child ends within five seconds, every call on what belongs to the parent raises
`ForkedProcess`, the parent's sockets, files and threads work on, its follower has every event, and it ends cleanly.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wire_hosts import PATIENCE_S, Nursery, Pipe, agents, born, home, host, report, serve  # beside this file

from executus import Runtime, attach
from executus.errors import ExecutusError, ForkedProcess
from executus.journal import read_journal

WITHIN_S: Final = 5.0
WAYS: Final = ("exit_at_once", "exit", "execute", "use", "pool", "program")


class Party:
    """A process that forks: attached to the host of `path`, with threads that never pause."""

    def __init__(self, path: Path, runtime: Runtime | None) -> None:
        self.path, self.runtime = path, runtime
        self.attached = attach(path, host=True, timeout=PATIENCE_S)
        self.run = self.attached.run(self.attached.runs(unfinished=True)[0].run_id)
        self.following = self.attached.follow()
        self.idle = self.attached.follow(since=10**12)
        self.positions: list[int] = []
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self.stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(name, what), daemon=True)
            for name, what in (
                ("runs", self.attached.runs),
                ("head", self.attached.journal.head),
                ("steer", lambda: self.run.steer("on")),
            )
        ]
        self._reader = threading.Thread(target=self._read, daemon=True)
        for one in (*self._threads, self._reader):
            one.start()

    def _again(self, name: str, what: Callable[[], object]) -> None:
        while not self.stop.is_set():
            try:
                what()
                self.done[name] += 1
            except ExecutusError as error:
                if "too many" not in str(error):
                    self.problems.append(f"{name} failed in the parent: {error!r}")
                time.sleep(0.05)

    def _read(self) -> None:
        for event in self.following:
            self.positions.append(event.position)

    # -------------------------------------------------------------- what a child does

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
        attached, run = self.attached, self.run
        calls: list[Callable[[], object]] = [
            attached.runs,
            lambda: attached.run(run.id),
            attached.follow,
            attached.orders,
            lambda: attached.start("patient", "go"),
            lambda: attached.serve_critic(object()),
            attached.journal.head,
            lambda: attached.journal.read(run.id),
            lambda: attached.journal.follow(print),
            lambda: run.steer("no"),
            lambda: run.kill("no"),
            lambda: run.status,
            lambda: run.wait(0.1),
            lambda: next(self.idle),
            lambda: list(self.idle.within(time.monotonic() + 60)),
            lambda: asyncio.run(anext_of(self.idle)),
            lambda: asyncio.run(attached.runs_async()),
            lambda: attach(self.path, host=True),
        ]
        runtime = self.runtime
        if runtime is not None:
            calls += [runtime.runs, lambda: runtime.start("patient", "go"), runtime.events]
        for number, call in enumerate(calls):
            try:
                call()
            except ForkedProcess:
                continue
            except BaseException as error:
                os.write(1, f"call {number}: {error!r}\n".encode())
                os._exit(100 + number)
            os._exit(50 + number)
        self.idle.close()
        attached.close()
        if runtime is not None:
            runtime.close()
        sys.exit(0)

    # -------------------------------------------------------------- forking

    def fork(self, way: str) -> str:
        """Fork once; what was wrong with that, or ""."""
        began = time.monotonic()
        if way == "pool":
            with multiprocessing.get_context("fork").Pool(2) as workers:
                if workers.map_async(abs, range(-20, 0)).get(timeout=PATIENCE_S) != list(range(20, 0, -1)):
                    return "pool: a wrong answer"
            return self._in_time(way, began)
        if way == "program":
            subprocess.run([sys.executable, "-S", "-c", "pass"], check=True, timeout=PATIENCE_S, preexec_fn=gc.collect)
            return self._in_time(way, began)
        pid = os.fork()
        if pid == 0:
            code = 7
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                code = getattr(self, way)()
            except SystemExit:
                raise
            except BaseException:
                os._exit(code)
            os._exit(code)
        while time.monotonic() < began + 2 * WITHIN_S:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return f"{way}: the child ended with code {code}" if code else self._in_time(way, began)
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return f"{way}: the child never ended"

    def _in_time(self, way: str, began: float) -> str:
        took = time.monotonic() - began
        return f"{way}: it took {took:.1f} s" if took > WITHIN_S else ""

    def settle(self) -> int:
        """Whether everything still works, and the follower has everything; the position up to which it has."""
        before = Counter(self.done)
        until = time.monotonic() + PATIENCE_S
        while any(self.done[name] == before[name] for name in before) and time.monotonic() < until:
            time.sleep(0.05)
        self.problems += [f"{name} stands still in the parent" for name in before if self.done[name] == before[name]]
        self.stop.set()
        for one in self._threads:
            one.join(PATIENCE_S)
        head = self.attached.journal.head()
        while (not self.positions or self.positions[-1] < head) and time.monotonic() < until:
            time.sleep(0.05)
        self.following.close()
        self._reader.join(PATIENCE_S)
        if not self.positions or self.positions[-1] < head:
            self.problems.append(f"the parent's follower stands still, {head - (self.positions or [0])[-1]} behind")
        return head


async def anext_of(events: Any) -> object:
    """The next one."""
    return await anext(events)


def party(pipe: Pipe, which: str, path: str, forks: str, seed: str) -> None:
    """Be the one who forks; says what was wrong."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forking with threads: that is the point
    rng = random.Random(int(seed))
    runtime = None
    if which == "host":
        runtime = Runtime(path, agents(), listen="ipc")
        for name in ("patient", "pacer", "pacer"):
            runtime.start(name, "go")
    one = Party(Path(path), runtime)
    ways, problems = Counter[str](), list[str]()
    for _ in range(int(forks)):
        time.sleep(rng.random() * 0.01)
        way = rng.choice(WAYS)
        ways[way] += 1
        problem = one.fork(way)
        if problem:
            problems.append(f"{which}, {problem}")
    head = one.settle()
    if runtime is not None:
        sockets = Path(runtime.listening.removeprefix("ipc://"))
        if not sockets.is_socket() or not list(sockets.parent.glob("host.json")):
            problems.append("host, a child has removed the socket or the card")
        beside = attach(path, host=True)
        beside.runs()
        beside.close()
    one.idle.close()
    one.attached.close()
    if runtime is not None and not runtime.close():
        problems.append("the host did not let go at its end")
    found = {"ways": ways, "done": one.done, "problems": problems + one.problems, "head": head, "had": one.positions}
    pipe.tell(json.dumps(found))


ROLES: Final = {"serve": serve, "party": party}


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    nursery = Nursery(__file__, folder)
    problems: list[str] = []
    ways, done = Counter[str](), Counter[str]()
    began = time.monotonic()
    for number, which in enumerate(("host", "client")):
        path = folder / f"{which}.db"
        other = host(nursery, path, "patient", "pacer", "pacer") if which == "client" else None
        one = nursery.begin("party", which, str(path), str(options.forks // 2), str(options.seed + number))
        try:
            said = one.hear(60 + options.forks)
            if not said:
                problems.append(f"{which}: it said nothing in the end: {one.said[-3000:]}")
                continue
            found = json.loads(said)
            if not one.ended() or one.code or one.said:
                problems.append(f"{which}: it ended with {one.code}: {one.said[-3000:]}")
        finally:
            one.end()
            if other is not None:
                other.end()
        ways.update(found["ways"])
        done.update(found["done"])
        problems += found["problems"]
        reader = read_journal(path)
        stored: list[int] = []
        while page := reader.scan(stored[-1] if stored else 0, 5000):
            stored += [event.position for event in page]
        reader.close()
        expected = [position for position in stored if position <= found["head"]]
        if [position for position in found["had"] if position <= found["head"]] != expected:
            problems.append(f"{which}: its follower has {len(found['had'])} of {len(expected)} events")
    nursery.close()
    return {
        "forks": ways.total(),
        "ways": dict(sorted(ways.items())),
        "answered_meanwhile": dict(sorted(done.items())),
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:20],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    found = born()
    if found is not None:
        pipe, (role, *words) = found
        ROLES[role](pipe, *words)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forks", type=int, default=500, help="half of them of the host (default 500)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the journals (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.forks < 2:
        parser.error("--forks: expected a whole number ≥ 2")
    with home(options.dir) as folder:
        figures = run(folder, options)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
