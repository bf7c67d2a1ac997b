"""Kills a host with live runs again and again, and checks that nothing acknowledged is lost and nothing is done twice.

A host with 50 live runs is killed (SIGKILL) at a random moment of its first 250 ms, so that recovery itself is killed
as well, and started again on the same journal. Checked after every kill: each acknowledged event is in the log, with
the same hash. Checked every 25 kills and at the end: every log verifies; each acknowledged start, word and end is in
its run's log; a request made twice is one run; no tool ran before its intent was stored, after its result was, or twice
in one host; none that is never to be retried ran twice. At the end a last host is left alone, and every run must end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kill_bugs  # beside this file
import kill_host

from executus.events import (
    CallerSteered,
    InputReceived,
    RunResumed,
    Text,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolStarted,
)
from executus.events.facts import idempotency_key
from executus.journal import read_journal, verify_run

LAST_BOOT_S = 180.0
MOST_SHOWN = 20


@dataclass
class Told:
    """What hosts noted, read a piece at a time; a line cut off by a kill cannot be, as each is one write."""

    folder: Path
    offset: int = 0
    events: list[tuple[str, int, str]] = field(default_factory=list)
    starts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    words: list[tuple[str, str]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    total: int = 0

    def read_on(self) -> list[tuple[str, int, str]]:
        """Take in what is new; return the events among it."""
        fresh: list[tuple[str, int, str]] = []
        for line in _lines(self.folder / "acks", self.offset):
            self.offset += len(line)
            self.total += 1
            kind, run_id, *rest = line.decode().split()
            if kind == "event":
                fresh.append((run_id, int(rest[0]), rest[1]))
            elif kind == "start":
                self.starts[rest[0]].add(run_id)
            elif kind == "word":
                self.words.append((run_id, rest[0]))
            else:
                self.ends.append(run_id)
        self.events += fresh
        return fresh


def _lines(path: Path, offset: int = 0) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        return file.readlines()


class Log:
    """What is in the journal, read from outside while no host lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.db"
        self.position = 0
        self.hashes: dict[tuple[str, int], str] = {}

    def read_on(self) -> None:
        """Take in the events that are new."""
        if not self.path.exists():
            return
        with_reader = read_journal(self.path)
        try:
            while page := with_reader.scan(self.position, 5000):
                for event in page:
                    self.hashes[event.run_id, event.version] = event.hash.hex()
                self.position = page[-1].position
        finally:
            with_reader.close()


@dataclass
class Findings:
    """What a full check saw. problems: broken promises, a sentence each."""

    problems: list[str] = field(default_factory=list)
    runs: int = 0
    over: int = 0
    events: int = 0
    resumed: int = 0
    unknown: int = 0
    executions: int = 0
    repeated: int = 0


def full_check(folder: Path, told: Told) -> Findings:
    """Read everything again, and compare."""
    found = Findings()
    problems = found.problems
    reader = read_journal(folder / "runs.db")
    try:
        hashes: dict[tuple[str, int], str] = {}
        words: set[tuple[str, str]] = set()
        started: set[str] = set()
        finished: dict[str, int] = {}
        over: set[str] = set()
        for row in reader.runs():
            found.runs += 1
            problems += [f"run {row.run_id}: {problem}" for problem in verify_run(reader, row.run_id)]
            if row.over:
                over.add(row.run_id)
            for event in reader.read(row.run_id, verify=True):
                hashes[event.run_id, event.version] = event.hash.hex()
                match event.fact:
                    case ToolStarted(call=call):
                        started.add(idempotency_key(event.run_id, call))
                    case ToolFinished(call=call):
                        finished[idempotency_key(event.run_id, call)] = event.epoch
                    case ToolOutcomeUnknown():
                        found.unknown += 1
                    case RunResumed():
                        found.resumed += 1
                    case CallerSteered(text=text):
                        words.add((event.run_id, text))
                    case InputReceived(input=(Text(text=text), *_)):
                        words.add((event.run_id, text))
                    case _:
                        pass
        found.over, found.events = len(over), len(hashes)
        problems += _lost(told.events, hashes)
        problems += [
            f"run {run_id}: {word} was acknowledged and is not in its log"
            for run_id, word in told.words
            if (run_id, word) not in words
        ]
        problems += [
            f"run {run_id}: its end was acknowledged and is not in its log"
            for run_id in told.ends
            if run_id not in over
        ]
        for request, ids in told.starts.items():
            if len(ids) > 1:
                problems.append(f"request {request} started {len(ids)} runs: {sorted(ids)}")
            problems += [
                f"request {request}: run {one} was acknowledged and is not in the journal"
                for one in ids
                if (one, 1) not in hashes
            ]
            if reader.find_request(f"\n{request}") not in ids:
                problems.append(f"request {request} is not remembered as the run it started")
    finally:
        reader.close()
    _check_effects(folder, started, finished, found)
    return found


def _lost(events: list[tuple[str, int, str]], hashes: dict[tuple[str, int], str]) -> list[str]:
    return [
        f"run {run_id}, version {version}: acknowledged, and "
        + ("not in the log" if (run_id, version) not in hashes else "different in the log")
        for run_id, version, digest in events
        if hashes.get((run_id, version)) != digest
    ]


def _check_effects(folder: Path, started: set[str], finished: dict[str, int], found: Findings) -> None:
    executions: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for line in _lines(folder / "effects"):
        effect, key, epoch = line.decode().split()
        executions[key].append((effect, int(epoch)))
    for key, times in executions.items():
        found.executions += len(times)
        found.repeated += len(times) - 1
        effect = times[0][0]
        if key not in started:
            found.problems.append(f"tool call {key} ran, and that it was about to is not in the log")
        if effect == "never_retry" and len(times) > 1:
            found.problems.append(f"tool call {key} is never to be retried and ran {len(times)} times")
        if max(Counter(epoch for _, epoch in times).values()) > 1:
            found.problems.append(f"tool call {key} ran twice in one host")
        if key in finished and max(epoch for _, epoch in times) > finished[key]:
            found.problems.append(f"tool call {key} ran again after its result was stored")


# ------------------------------------------------------------------ the loop


def boot(folder: Path, options: argparse.Namespace, *, drain: bool, told: Told) -> int:
    """Fork a host; return its process id. Everything is imported already, so that it opens the journal at once."""
    first_request = max(1, max((int(one[1:]) for one in told.starts), default=0) - kill_host.REQUESTS_AGAIN)
    child = os.fork()
    if child:
        return child
    try:
        random.seed()
        kill_host.host(folder, options.runs, drain=drain, plant=options.plant, first_request=first_request)
    except BaseException as error:
        os.write(2, f"the host failed: {type(error).__name__}: {error}\n".encode())
    os._exit(5)


def last_boot(folder: Path, options: argparse.Namespace, told: Told) -> list[str]:
    """A host that is left alone: every run must end, and it must exit by itself."""
    child = boot(folder, options, drain=True, told=told)
    until = time.monotonic() + LAST_BOOT_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return [] if code == 0 else [f"the last host, left alone, ended with code {code}"]
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return [f"the last host, left alone, did not finish within {LAST_BOOT_S:g} s"]


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole loop; returns the figures."""
    rng = random.Random(options.seed)
    told, log = Told(folder), Log(folder)
    problems: list[str] = []
    early = 0
    began = time.monotonic()
    for number in range(1, options.kills + 1):
        child = boot(folder, options, drain=False, told=told)
        time.sleep(rng.uniform(0.0, options.window))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            problems.append(
                f"kill {number}: the host had ended by itself, with code {os.waitstatus_to_exitcode(status)}"
            )
        log.read_on()
        fresh = told.read_on()
        early += not fresh
        problems += _lost(fresh, log.hashes)
        if number % options.check_every == 0 and log.hashes:
            problems += full_check(folder, told).problems
        if sys.stderr.isatty():
            print(f"\r{number} of {options.kills} kills, {told.total} acknowledgements", end="", file=sys.stderr)
        if problems:
            break
    killing_s = time.monotonic() - began
    if not problems:
        problems += last_boot(folder, options, told)
    told.read_on()
    found = full_check(folder, told) if log.path.exists() else Findings(problems=["there is no journal"])
    problems += found.problems
    if found.over < found.runs and not problems:
        problems.append(f"{found.runs - found.over} runs are not over after a host that was left alone")
    return {
        "kills": number,
        "killed_before_any_acknowledgement": early,
        "live_runs": options.runs,
        "seed": options.seed,
        "acknowledged": told.total,
        "acknowledged_events": len(told.events),
        "runs": found.runs,
        "runs_over": found.over,
        "events": found.events,
        "resumed": found.resumed,
        "tool_executions": found.executions,
        "outcomes_unknown": found.unknown,
        "repeated_safe_calls": found.repeated,
        "seconds_a_kill": round(killing_s / number, 3),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:MOST_SHOWN],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--runs", type=int, default=50, help="live runs at any time (default 50)")
    parser.add_argument("--window", type=float, default=0.25, help="seconds in which a host is killed (default 0.25)")
    parser.add_argument("--check-every", type=int, default=25, help="kills between two full checks (default 25)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of the moments to kill at")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the journal (default: a temporary one)")
    parser.add_argument("--plant", choices=sorted(kill_bugs.BUGS), default="", help="plant a bug that must be found")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.kills, options.runs, options.check_every) < 1:
        parser.error("--kills, --runs and --check-every: expected whole numbers ≥ 1")
    with tempfile.TemporaryDirectory(prefix="executus-kills-", dir=options.dir, ignore_cleanup_errors=True) as folder:
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
