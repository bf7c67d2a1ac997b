"""Two hosts fight for one journal: one that has it is stopped past its lease, the other takes over, again and again.

Each round: a second host is refused while the first one works, and a reader sees whole logs meanwhile. The first host
is stopped (SIGSTOP) at a random moment and its lock file removed, so that only its lease keeps the other out. The
second one takes over and works; the first one is woken and must find out by itself that it is deposed, refuse
everything and end. Checked: takeovers within a lease and a second; no event of an old host behind one of its
successor's; no effect that an old host begins after its successor has begun; and all that `kill_loop.py` checks.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import kill_agents  # beside this file
import kill_checks
import kill_host
import kill_loop

import executus.wiring
from executus.errors import Deposed, ExecutusError, JournalInUse, MessageRefused
from executus.journal import checkpoints, lease, read_journal
from executus.journal import sqlite as sqlite_module

PATIENCE_S = 30.0
MOST_SHOWN = 20
DEPOSED = 7
"""Exit code of a host that found out."""

WITHOUT_CHECK = "no-check"
"""A planted bug: the owner is not looked at inside the append."""
WITHOUT_CONFIRMING = "no-confirming"
"""A planted bug: what was stored before a sleep is acted on after it."""


looked = threading.local()
"""When the calling thread last looked whether the journal is still its host's."""


def note_looks() -> None:
    """Have `looked` filled in."""
    real = lease.Tenure.held.fget

    def held(tenure: lease.Tenure) -> bool:
        looked.at = time.monotonic()
        return bool(real(tenure))  # type: ignore[misc]

    lease.Tenure.held = property(held)  # type: ignore[assignment, method-assign]


class TimedNotes(kill_agents.Notes):
    """Also writes down when, and when its thread last looked: the clock is the machine's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._times = kill_agents.Notes(path.with_suffix(".times"))

    def line(self, *words: object) -> None:
        """Write one line, at once."""
        self._times.line(*words, looked.at, time.monotonic())
        super().line(*words)


# ------------------------------------------------------------------ a host


def plant(bug: str) -> None:
    """Make the mistake `bug`."""
    if bug == WITHOUT_CHECK:
        lease.Tenure.compare = lambda tenure, epoch, same: None  # type: ignore[method-assign]
    elif bug == WITHOUT_CONFIRMING:
        lease.Tenure.held = property(lambda tenure: True)  # type: ignore[assignment, method-assign]


def host(folder: Path, options: argparse.Namespace, first_request: int) -> int:
    """Wait for the journal, work on it until deposed; returns the exit code."""
    if options.plant:
        plant(options.plant)
    note_looks()
    lease.LEASE_S = options.lease
    checkpoints.BUSY_MS = sqlite_module.BUSY_MS = 100
    logging.disable(logging.CRITICAL)
    faulthandler.enable()  # a host that does not end is made to say where it is
    says, acks = kill_agents.Notes(folder / "says"), kill_agents.Notes(folder / "acks")
    kill_agents._effects[str(folder / "effects")] = TimedNotes(folder / "effects")
    real = executus.wiring.open_journal

    def open_and_say(path: Any, **options: Any) -> Any:
        journal = real(path, **options)
        says.line("took", os.getpid(), time.monotonic(), journal.epoch)
        return journal

    while True:
        executus.wiring.open_journal = open_and_say
        try:
            runtime = kill_host.opened(folder, "")
            break
        except JournalInUse as error:
            stuck = "stuck" if "stands still" in error.owner else "refused"
            says.line(stuck, os.getpid(), time.monotonic())
            time.sleep(0.01)
    threading.excepthook = lambda args: None  # the callers' threads: they are told too, and have nothing left to do
    callers = kill_host.Callers(runtime, acks, options.runs, first_request)
    try:
        callers.begin(drain=False)
    except ExecutusError:
        if runtime.deposed is None:
            raise
    while runtime.deposed is None:
        time.sleep(0.005)
    says.line("deposed", os.getpid(), time.monotonic())
    code = DEPOSED
    try:
        runtime.start(kill_agents.chosen(0), "one more")
        code = 8
    except Deposed:
        pass
    for run in list(callers.live.values()):
        try:
            run.result(timeout=PATIENCE_S)
        except (Deposed, MessageRefused):
            continue
        except ExecutusError:
            code = 9
    return code if runtime.close() else 10


def boot(folder: Path, options: argparse.Namespace, told: kill_checks.Told) -> int:
    """Fork a host; return its process id."""
    told.read_on()
    first_request = max(1, max((int(one[1:]) for one in told.starts), default=0) - kill_host.REQUESTS_AGAIN)
    child = os.fork()
    if child:
        return child
    code = 5
    try:
        random.seed()
        code = host(folder, options, first_request)
    except Deposed:  # in the middle of beginning
        code = DEPOSED
    except BaseException as error:
        os.write(2, f"the host failed: {type(error).__name__}: {error}\n".encode())
    os._exit(code)


# ------------------------------------------------------------------ the driver


class Trouble(Exception):
    """Something that must not happen."""


def said(folder: Path, pid: int, word: str, count: int = 1) -> list[list[str]]:
    """What that host said with that word."""
    lines = [line.decode().split() for line in kill_checks.lines_of(folder / "says")]
    return [line for line in lines if line[0] == word and int(line[1]) == pid][:count]


def wait_for(what: str, check: Any, patience_s: float = PATIENCE_S) -> Any:
    """Wait until `check` gives something."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        found = check()
        if found:
            return found
        time.sleep(0.002)
    raise Trouble(f"{what} did not come within {patience_s:g} s")


def look(folder: Path, rng: random.Random) -> None:
    """Read beside the host: what is there must be whole."""
    reader = read_journal(folder / "runs.db")
    try:
        rows = reader.runs()
        for row in rng.sample(rows, min(3, len(rows))):
            found = reader.read(row.run_id, verify=True)
            if len(found) < row.version:
                raise Trouble(f"a reader saw {len(found)} of {row.version} events of run {row.run_id}")
        if reader.standing() != "live":
            raise Trouble(f"a reader took a working host for one that is {reader.standing()}")
    finally:
        reader.close()


def take_over(folder: Path, first: int, second: int, options: argparse.Namespace, rng: random.Random) -> float:
    """Stop `first`, until `second` has the journal; returns the seconds that took."""
    lock = folder / "runs.db.lock"
    while True:
        os.kill(first, signal.SIGSTOP)
        stopped = time.monotonic()
        lock.unlink(missing_ok=True)
        stuck_before = len(said(folder, second, "stuck", 1_000_000))

        def outcome(stuck_before: int = stuck_before) -> str:
            if said(folder, second, "took"):
                return "took"
            return "stuck" if len(said(folder, second, "stuck", 1_000_000)) > stuck_before else ""

        if wait_for("the takeover", outcome) == "took":
            return float(said(folder, second, "took")[0][2]) - stopped
        os.kill(first, signal.SIGCONT)  # it stood still in the middle of a commit, and SQLite's own lock was held
        time.sleep(rng.uniform(0.001, 0.02))


def rounds(folder: Path, options: argparse.Namespace, rng: random.Random, told: kill_checks.Told) -> list[float]:
    """The whole fight; returns how long each takeover took."""
    took: list[float] = []
    first = boot(folder, options, told)
    living = {first}
    try:
        wait_for("the first host", lambda: said(folder, first, "took"))
        for number in range(options.takeovers):
            second = boot(folder, options, told)
            living.add(second)
            wait_for("a refusal", lambda pid=second: said(folder, pid, "refused"))
            look(folder, rng)
            time.sleep(rng.uniform(0.0, options.window))
            took.append(take_over(folder, first, second, options, rng))
            time.sleep(rng.uniform(0.0, options.window))
            os.kill(first, signal.SIGCONT)
            try:
                code = wait_for("the deposed host's end", lambda pid=first: _ended(pid))
            except Trouble:
                os.kill(first, signal.SIGABRT)
                time.sleep(1.0)
                raise
            living.discard(first)
            if code != f"code {DEPOSED}":
                raise Trouble(f"round {number}: the deposed host ended with {code}")
            first = second
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {options.takeovers} takeovers", end="", file=sys.stderr)
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return took


def _ended(pid: int) -> str:
    done, status = os.waitpid(pid, os.WNOHANG)
    return f"code {os.waitstatus_to_exitcode(status)}" if done else ""


def interleaved(folder: Path) -> list[str]:
    """Events of an old host behind one of its successor's, by position and in each run."""
    problems: list[str] = []
    reader = read_journal(folder / "runs.db")
    try:
        newest = position = 0
        while page := reader.scan(position, 5000):
            for event in page:
                if event.epoch < newest:
                    problems.append(f"position {event.position}: epoch {event.epoch} after epoch {newest}")
                newest = max(newest, event.epoch)
            position = page[-1].position
    finally:
        reader.close()
    return problems


def begun_late(folder: Path) -> tuple[list[str], int]:
    """Effects that a host let begin after its successor had begun; and how many began then because the host was stopped
    between its last look and the act. No host can do anything about those: a tool that must not be late compares the
    `epoch` it is given.
    """
    heirs = {int(line[3]) - 1: float(line[2]) for line in _words(folder / "says") if line[0] == "took"}
    late: list[str] = []
    between = 0
    for effect, key, epoch, looked_at, at in _words(folder / "effects.times"):
        heir = heirs.get(int(epoch), float("inf"))
        if float(looked_at) > heir:
            late.append(f"tool call {key} ({effect}) was begun by a deposed host, {float(at) - heir:.3f} s too late")
        elif float(at) > heir:
            between += 1
    return late, between


def _words(path: Path) -> list[list[str]]:
    return [line.decode().split() for line in kill_checks.lines_of(path)]


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    rng, told = random.Random(options.seed), kill_checks.Told(folder)
    problems: list[str] = []
    took: list[float] = []
    began = time.monotonic()
    try:
        took = rounds(folder, options, rng, told)
    except Trouble as trouble:
        problems.append(str(trouble))
    fighting_s = time.monotonic() - began
    if not problems:
        options.plant = ""
        problems += kill_loop.last_boot(folder, options, told)
    told.read_on()
    found = kill_checks.full_check(folder, told, at_rest=not problems)
    late, between = begun_late(folder)
    problems += found.problems + interleaved(folder) + late
    problems += [f"a takeover took {one:.2f} s" for one in took if one > options.lease + 1]
    took.sort()
    return {
        "takeovers": len(took),
        "lease_s": options.lease,
        "takeover_p50_s": round(took[len(took) // 2], 3) if took else None,
        "takeover_max_s": round(took[-1], 3) if took else None,
        "live_runs": options.runs,
        "seed": options.seed,
        "acknowledged": told.total,
        **kill_checks.shown(found),
        "effects_begun_late": len(late),
        "stopped_between_look_and_act": between,
        "seconds_a_takeover": round(fighting_s / max(1, len(took)), 3),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:MOST_SHOWN],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takeovers", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20, help="live runs at any time (default 20)")
    parser.add_argument("--lease", type=float, default=0.5, help="seconds of a lease (default 0.5)")
    parser.add_argument("--window", type=float, default=0.2, help="longest pause between two acts (default 0.2)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--dir", type=Path, default=None, help="where to put the journal (default: a temporary one)")
    parser.add_argument("--plant", choices=(WITHOUT_CHECK, WITHOUT_CONFIRMING), default="", help="a bug to be found")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.takeovers, options.runs) < 1 or not options.lease > 0:
        parser.error("--takeovers, --runs: expected whole numbers ≥ 1; --lease: seconds > 0")
    with tempfile.TemporaryDirectory(prefix="executus-takeovers-", dir=options.dir, ignore_cleanup_errors=True) as one:
        figures = run(Path(one), options)
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
