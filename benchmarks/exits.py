"""Ends a host in every way there is, from every state, and looks how it goes (P12).

States: idle, busy, and a tool that never returns: on a thread, on the event loop, ignoring its cancellation, in the
loop's executor, in a process of its own. Ways: close, a forgotten close, an exception in main, SIGTERM with the default
action and with a handler that calls close, SIGINT once and twice; hosts with and without an event loop of their own.
Each must end within close's timeout + 1 s of being told to, with the return code of its way, and with nothing on
standard error but the traceback of what the host itself raised. A stored journal must verify and be free afterwards.
A host that hangs is asked for the stacks of its threads, and whoever else still holds its standard error is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executus import Runtime
from executus.journal import read_journal, verify_run
from executus.runtime import EXIT_S

HOST = Path(__file__).resolve().parent / "exit_host.py"
STATES = ("idle", "busy", "thread", "loop", "stubborn", "executor", "process")
CODES = {
    "close": 0,
    "forgotten": 0,
    "exception": 1,
    "sigterm": -signal.SIGTERM,
    "sigterm-close": 0,
    "sigint": -signal.SIGINT,
    "sigint-twice": -signal.SIGINT,
    "async-close": 0,
    "async-exception": 1,
    "async-sigint": -signal.SIGINT,
}
"""Way of leaving -> return code; a negative one is the signal that ended it."""

CLOSE_S = 1.0
"""What the host gives `close`; the same as there."""

INTERPRETER_S = 0.5
"""What an interpreter may take to wind itself up on a busy machine."""

GIVE_UP_S = 30.0
MAY_BE_SAID = {"exception": "RuntimeError: the host's own mistake", "sigint": "KeyboardInterrupt"}


@dataclass(frozen=True)
class Exit:
    """One exit. seconds: from the moment it was told to go. problems: what was wrong, a sentence each."""

    state: str
    way: str
    stored: bool
    seconds: float
    problems: tuple[str, ...]


def leave(state: str, way: str, folder: Path | None, rng: random.Random) -> Exit:
    """Start a host, have it leave, look."""
    path = "-" if folder is None else str(folder / "runs.db")
    host = subprocess.Popen(
        [sys.executable, "-W", "default", str(HOST), state, way, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert host.stdout is not None
    try:
        word, _, run_id = host.stdout.readline().strip().partition(" ")
        told_at = time.monotonic()
        if word == "ready":
            _signal(host, way, rng)
        _, said = host.communicate(timeout=GIVE_UP_S)
        seconds = time.monotonic() - told_at
        problems = [] if word == "ready" else ["it did not get ready"]
        problems += _judge(way, seconds, host.returncode, said)
    except subprocess.TimeoutExpired:
        seconds, problems = GIVE_UP_S, [_autopsy(host)]
    if folder is not None and run_id != "-":
        problems += _look(folder / "runs.db", run_id)
    return Exit(state, way, folder is not None, seconds, tuple(problems))


def _autopsy(host: subprocess.Popen[str]) -> str:
    """End a host that hangs; return what its threads were doing, or who outlived it and keeps its output open."""
    alive = host.poll() is None
    others = _holders_of_output(host)
    if alive:
        host.send_signal(signal.SIGUSR1)  # exit_host has faulthandler answer to that
        time.sleep(1.0)
        host.kill()
    for process, _ in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    _, said = host.communicate()
    what = "it hung" if alive else f"it ended with code {host.returncode}, and left processes behind"
    return f"{what}; others: {others}; it said: {said[-20_000:]}"


def _holders_of_output(host: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """(process id, what is known of it) of the others that have the host's standard error open. Linux."""
    assert host.stderr is not None
    pipe = os.fstat(host.stderr.fileno()).st_ino
    found: list[tuple[int, str]] = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) in (host.pid, os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if any(one.stat().st_ino == pipe for one in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                tasks = [
                    (one.joinpath("comm").read_text().strip(), one.joinpath("wchan").read_text())
                    for one in (process / "task").iterdir()
                ]
                found.append((int(process.name), f"{words[:200]} {tasks}"))
    return found


def _signal(host: subprocess.Popen[str], way: str, rng: random.Random) -> None:
    if way.startswith("sigterm"):
        time.sleep(rng.uniform(0, 0.1))
        host.send_signal(signal.SIGTERM)
    elif "sigint" in way:
        host.send_signal(signal.SIGINT)
        if way == "sigint-twice":
            time.sleep(rng.uniform(0.001, 0.4))
            host.send_signal(signal.SIGINT)


def _judge(way: str, seconds: float, code: int, said: str) -> Iterator[str]:
    timeout = EXIT_S if way == "forgotten" else CLOSE_S
    if seconds > timeout + 1 + INTERPRETER_S:
        yield f"it took {seconds:.1f} s, with a timeout of {timeout:g} s"
    if code != CODES[way]:
        yield f"it ended with code {code}, expected {CODES[way]}"
    allowed = next((words for name, words in MAY_BE_SAID.items() if name in way), "")
    if allowed:
        if said.count("Traceback") > (2 if way == "sigint-twice" or way.startswith("async") else 1):
            yield f"it said too much: {said[-800:]!r}"
        last = said.strip().splitlines()[-1] if said.strip() else ""
        if not last.startswith(allowed):
            yield f"it did not end with {allowed!r}: {said[-800:]!r}"
    elif said:
        yield f"it said: {said[-800:]!r}"
    for bad in ("Fatal Python error", "Exception ignored", "Task was destroyed", "never awaited", "ResourceWarning"):
        if bad in said:
            yield f"it said {bad!r}"


def _look(path: Path, run_id: str) -> list[str]:
    if not path.exists():
        return ["it has no journal"]
    reader = read_journal(path)
    try:
        problems = [f"its log: {problem}" for row in reader.runs() for problem in verify_run(reader, row.run_id)]
        if reader.run(run_id) is None:
            problems.append("an acknowledged run is not in its journal")
    finally:
        reader.close()
    Runtime(path, resume=False).close()  # raises when it is still locked
    return problems


def every_exit(count: int, seed: int, state: str | None, way: str | None) -> list[tuple[str, str, bool]]:
    """`count` exits: the ways in turn, each from its states, in memory and stored, in random order."""
    rng = random.Random(seed)
    ways = [way] if way else list(CODES)
    states = [state] if state else list(STATES)
    places = {one: [(state, one, stored) for state in states for stored in (False, True)] for one in ways}
    for some in places.values():
        rng.shuffle(some)
    return [places[way := ways[n % len(ways)]][n // len(ways) % len(places[way])] for n in range(count)]


@contextlib.contextmanager
def _load(processes: int) -> Iterator[None]:
    """Burn the processor meanwhile."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def main() -> int:
    """Run it; 1 if an exit was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--at-once", type=int, default=2, help="hosts at the same time (default 2)")
    parser.add_argument("--state", choices=STATES, help="only from this state")
    parser.add_argument("--way", choices=sorted(CODES), help="only this way")
    parser.add_argument("--load", type=int, default=0, help="processes that burn the processor meanwhile (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    rng = random.Random(options.seed)

    def one(what: tuple[str, str, bool]) -> Exit:
        state, way, stored = what
        with tempfile.TemporaryDirectory(prefix="executus-exit-") as folder:
            return leave(state, way, Path(folder) if stored else None, rng)

    with ThreadPoolExecutor(options.at_once) as pool, _load(options.load):
        exits = list(pool.map(one, every_exit(options.exits, options.seed, options.state, options.way)))
    bad = [one for one in exits if one.problems]
    seconds = sorted(one.seconds for one in exits)
    figures: dict[str, Any] = {
        "exits": len(exits),
        "seed": options.seed,
        "bad": len(bad),
        "median_s": round(statistics.median(seconds), 3),
        "slowest_s": round(seconds[-1], 3),
        "problems": [
            f"{one.state}, {one.way}, {'stored' if one.stored else 'memory'}: {'; '.join(one.problems)}" for one in bad
        ],
    }
    if options.json:
        print(json.dumps(figures))
    else:
        for way in CODES:
            some = [one.seconds for one in exits if one.way == way]
            if some:
                print(
                    f"{way:16} {len(some):4} exits   median {statistics.median(some):.2f} s   slowest {max(some):.2f} s"
                )
        for problem in figures["problems"]:
            print(f"BAD: {problem}")
        print(f"{len(exits)} exits, {len(bad)} bad, median {figures['median_s']} s, slowest {figures['slowest_s']} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
