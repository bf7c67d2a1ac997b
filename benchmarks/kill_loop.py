"""Kills a host with live runs again and again, and checks that nothing acknowledged is lost and nothing is done twice.

A host with 50 live runs is killed at a random moment of its first 250 ms, so that recovery itself is killed as well,
and started again on the same journal; every other one at a random moment of the 250 ms after its first acknowledgement,
so that work is done on any machine. Nine of ten kills are SIGKILL; the others are SIGQUIT, and SIGTERM to a
host that then closes. Before one of eight, a tool's own process is killed first. The runs have tools of every class, on
the loop, on threads and in processes, children, approvals that wait over kills, artifacts, a critic that advises and
fails; their callers have budgets, and their output is delivered.

Checked after every kill: each acknowledged event is in the log, with the same hash. Checked every 25 kills and at the
end: every log verifies; each acknowledged start, word, answer and end is in its run's log; a request made twice is one
run; no tool ran before its intent was stored, after its result was, twice in one host, or without the yes it needs;
none that is never to be retried ran twice; a child answered once, with its own end; every artifact in a log is on the
disk; no parcel has two keys. Every tenth kill SQLite checks its files, and stored views are compared with ones built
anew. At the end a last host is left alone: every run must end, every output be delivered, and the budget's ledger equal
a recount of the log.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import kill_agents  # beside this file
import kill_bugs
import kill_host
from kill_checks import Findings, Log, Told, file_check, full_check, lost, shown, views_check

LAST_BOOT_S = 180.0
LONGEST_SILENCE_S = 10.0
MOST_SHOWN = 20
SIGNALS = (signal.SIGKILL,) * 18 + (signal.SIGTERM, signal.SIGQUIT)
CLOSING_S = 5.0
"""What a host may take that is told to end: it gives `close` two seconds."""


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


def wait_for_news(acks: Path, size: int) -> None:
    """Wait until the host has acknowledged something, or for long enough."""
    until = time.monotonic() + LONGEST_SILENCE_S
    while time.monotonic() < until and (not acks.exists() or acks.stat().st_size <= size):
        time.sleep(0.005)


def kill_a_tool(host: int, rng: random.Random) -> bool:
    """Kill one of the host's own children, a tool in a process; False if there is none."""
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{host}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    if not children:
        return False
    with suppress(ProcessLookupError):
        os.kill(rng.choice(children), signal.SIGKILL)
    return True


def end(host: int, number: int, sent: signal.Signals) -> str | None:
    """Send the host a signal and wait for its end; return what was wrong with that."""
    with suppress(ProcessLookupError):
        os.kill(host, sent)
    until = time.monotonic() + CLOSING_S
    while True:
        done, status = os.waitpid(host, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(host, signal.SIGKILL)
            os.waitpid(host, 0)
            return f"kill {number}: the host did not end within {CLOSING_S:g} s of {sent.name}"
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    if code in (-sent, 0 if sent == signal.SIGTERM else -sent):
        return None
    return f"kill {number}: the host ended with code {code} at {sent.name}"


def last_boot(folder: Path, options: argparse.Namespace, told: Told) -> list[str]:
    """A host that is left alone: every run must end, and it must exit by itself."""
    child = boot(folder, options, drain=True, told=told)
    until = time.monotonic() + LAST_BOOT_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            why = {0: "", 6: "found its budget's ledger to differ from a recount"}
            said = why.get(code, f"ended with code {code}")
            return [f"the last host, left alone, {said}"] if said else []
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return [f"the last host, left alone, did not finish within {LAST_BOOT_S:g} s"]


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole loop; returns the figures."""
    rng = random.Random(options.seed)
    told, log = Told(folder), Log(folder)
    problems: list[str] = []
    sent: Counter[str] = Counter()
    early = tools = 0
    began = time.monotonic()
    for number in range(1, options.kills + 1):
        child = boot(folder, options, drain=False, told=told)
        if number % 2 == 0:
            wait_for_news(folder / "acks", told.offset)
        time.sleep(rng.uniform(0.0, options.window))
        if rng.random() < 0.125:
            tools += kill_a_tool(child, rng)
        number_of = rng.choice(SIGNALS)
        sent[number_of.name] += 1
        wrong = end(child, number, number_of)
        if wrong is not None:
            problems.append(wrong)
        log.read_on()
        fresh = told.read_on()
        early += not fresh
        problems += lost(fresh, log.hashes)
        if number % 10 == 0 and log.path.exists():
            problems += file_check(log.path) + views_check(log.path)
        if number % options.check_every == 0 and log.hashes:
            problems += full_check(folder, told).problems
        if sys.stderr.isatty():
            print(f"\r{number} of {options.kills} kills, {told.total} acknowledgements", end="", file=sys.stderr)
        if problems:
            break
    killing_s = time.monotonic() - began
    clean = not problems
    if clean:
        problems += last_boot(folder, options, told)
    told.read_on()
    if log.path.exists():
        found = full_check(folder, told, at_rest=clean)
        problems += file_check(log.path) + views_check(log.path, must_be_there=clean)
    else:
        found = Findings(problems=["there is no journal"])
    problems += found.problems
    return {
        "kills": number,
        **dict(sorted(sent.items())),
        "tool_processes_killed": tools,
        "killed_before_any_acknowledgement": early,
        "live_runs": options.runs,
        "seed": options.seed,
        "acknowledged": told.total,
        "acknowledged_events": len(told.events),
        **shown(found),
        "seconds_a_kill": round(killing_s / number, 3),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:MOST_SHOWN],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="default 300; the long form is 1,000 or more")
    parser.add_argument("--runs", type=int, default=50, help="live runs at any time (default 50)")
    parser.add_argument("--window", type=float, default=0.25, help="seconds in which a host is killed (default 0.25)")
    parser.add_argument("--check-every", type=int, default=25, help="kills between two full checks (default 25)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of the moments to kill at")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the journal (default: a temporary one)")
    parser.add_argument("--plant", choices=sorted(kill_bugs.BUGS), default="", help="plant a bug that must be found")
    parser.add_argument("--sealed", action="store_true", help="seal what is said in runs, and sign the log's heads")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.sealed:
        os.environ[kill_agents.SEALED] = "1"
    if min(options.kills, options.runs, options.check_every) < 1:
        parser.error("--kills, --runs and --check-every: expected whole numbers ≥ 1")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # SIGQUIT would leave one
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
