"""Fills the disk of a journal under live runs, and frees it, again and again.

The journal lies on a small file system of its own (a tmpfs, which needs the right to mount). Runs work on it; at random
moments somebody else fills it to the last byte, or leaves a little, and later frees it. Checked: starts are answered or
refused with `DiskFull`, runs pause and go on by themselves within two seconds, nothing acknowledged is lost, no log has
a hole, no tool that must not runs twice, and now and then a host that is closed or killed on the full disk is followed
by one that says what is wrong, and by one that finishes the runs once there is room.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import faults  # beside this file

from executus import Run, Runtime
from executus.errors import DiskFull, ExecutusError
from executus.journal import read_journal

PATIENCE_S = 30.0
RESUMES_WITHIN_S = 2.0
STEPS = 150
"""Model calls of a run, so that it lives through a few cycles."""


@contextmanager
def small_disk(megabytes: int, where: Path | None = None) -> Iterator[Path]:
    """A file system of that size.

    Raises:
        OSError: it cannot be mounted here.
    """
    folder = Path(tempfile.mkdtemp(prefix="executus-disk-", dir=where))
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr.strip() or "cannot be mounted")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=False)
    finally:
        with suppress(OSError):
            folder.rmdir()


class Filler:
    """Somebody else who uses the disk."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "somebody-elses"

    def fill(self, leave: int = 0) -> None:
        """Take everything but so many bytes."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for size in (1 << 18, 4096, 1):
                block = b"\0" * size
                while True:
                    found = os.fstatvfs(descriptor)
                    if found.f_bavail * found.f_frsize <= leave:
                        break
                    if os.write(descriptor, block) < size:
                        break
        except OSError:
            return
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give it all back."""
        self.file.unlink(missing_ok=True)


class Host:
    """A runtime on the small disk, with work that never ends."""

    def __init__(self, path: Path, seen: faults.Seen, runs: int) -> None:
        self.path, self.seen, self.runs = path, seen, runs
        self.live: dict[str, Run] = {}
        self.refused = 0
        self.open()

    def open(self) -> None:
        """Begin, or begin again."""
        self.runtime = Runtime(self.path, faults.agents(self.seen, STEPS))
        self.live = {row.run_id: self.runtime.run(row.run_id) for row in self.runtime.runs(unfinished=True)}

    def keep_busy(self, number: int) -> int:
        """Start what is missing; returns the next request's number."""
        for run_id, run in [*self.live.items()]:
            address = self.runtime.address(run_id)
            if address is None or address.end is not None:
                result = run.result(PATIENCE_S)
                if result.status != "ok":
                    self.seen.problems.append(f"run {run_id} ended {result.status}: {result.error}")
                del self.live[run_id]
        while len(self.live) < self.runs:
            number += 1
            try:
                run = self.runtime.start("worker", "go", request_id=f"r{number}", timeout=0.2)
            except (DiskFull, TimeoutError):
                self.refused += 1  # it may be there all the same: the request id tells
                return number - 1
            self.seen.starts[f"r{number}"] = run.id
            self.live[run.id] = run
        return number


def resumed(host: Host, after: int) -> float:
    """Wait until something new is stored; returns the seconds."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        with suppress(ExecutusError):
            if host.runtime.journal.head() > after:
                return time.monotonic() - began
        time.sleep(0.005)
    return PATIENCE_S


def cycle(host: Host, filler: Filler, rng: random.Random, number: int) -> tuple[int, float]:
    """Work, fill, look, free; returns the next request's number, and how long it took to go on."""
    runtime, problems = host.runtime, host.seen.problems
    began = time.monotonic()
    while runtime._stored.no_room() is not None and time.monotonic() < began + PATIENCE_S:
        time.sleep(0.005)
    if time.monotonic() - began > RESUMES_WITHIN_S:
        problems.append(f"runs can be started {time.monotonic() - began:.1f} s after there was room")
    until = time.monotonic() + rng.uniform(0.01, 0.15)
    while time.monotonic() < until:
        number = host.keep_busy(number)
        time.sleep(0.002)
    filler.fill(rng.choice((0, 0, 0, 4096, 20_000, 200_000)))
    until = time.monotonic() + rng.uniform(0.05, 0.4)
    while time.monotonic() < until:
        with suppress(DiskFull, TimeoutError):
            number = host.keep_busy(number)
        time.sleep(0.01)
    wait = time.monotonic() + 5.0
    while not runtime.no_room and time.monotonic() < wait:
        with suppress(ExecutusError, TimeoutError):
            number = host.keep_busy(number)  # there was just enough left to go on with
        filler.fill()
        time.sleep(0.02)
    if not runtime.no_room:
        problems.append("the disk is full and the runtime does not say so")
    try:
        runtime.start("worker", "go", request_id="never", timeout=1.0)
        problems.append("a run was started on a full disk")
    except DiskFull:
        pass
    statuses = {run.status for run in host.live.values()}
    if runtime.no_room and not statuses <= {"waiting", "ok"}:
        problems.append(f"runs on a full disk are {statuses}")
    head = runtime.journal.head()
    filler.free()
    return number, resumed(host, head) if host.live else 0.0


def reopen_full(host: Host, filler: Filler, rng: random.Random) -> None:
    """Close on a full disk; a new host must say what is wrong, a reader must be welcome."""
    problems = host.seen.problems
    filler.fill()
    began = time.monotonic()
    host.runtime.close(2.0)
    if time.monotonic() - began > 3.0:
        problems.append("a close on a full disk took too long")
    faults.wait_for_the_end(host.runtime)
    filler.fill()
    reader = read_journal(host.path)
    reader.scan(limit=10)
    reader.close()
    try:
        second = Runtime(host.path, faults.agents(host.seen, STEPS))  # now and then there is just enough for a while
        if not second.close():
            problems.append("a host that began on a full disk did not end in time")
        faults.wait_for_the_end(second)
    except DiskFull as error:
        if "free some space" not in str(error):
            problems.append(f"a host on a full disk says: {error}")
    filler.free()
    host.open()


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    rng, filler, times, problems = random.Random(options.seed), Filler(folder), list[float](), list[str]()
    began = time.monotonic()
    journals = runs = refused = 0
    while len(times) < options.cycles and len(problems) <= 20:
        seen = faults.Seen()
        host = Host(folder / f"{journals}.db", seen, options.runs)
        times += one_journal(host, filler, rng, options.cycles - len(times), options.megabytes << 18)
        journals, runs, refused = journals + 1, runs + len(seen.starts), refused + host.refused
        problems += [f"journal {journals}: {problem}" for problem in seen.problems]
        for file in folder.iterdir():
            file.unlink()
        if sys.stderr.isatty():
            print(f"\r{len(times)} of {options.cycles} cycles", end="", file=sys.stderr)
    times.sort()
    return {
        "cycles": len(times),
        "disk_mb": options.megabytes,
        "live_runs": options.runs,
        "seed": options.seed,
        "journals": journals,
        "runs": runs,
        "starts_refused": refused,
        "resumed_p50_s": round(times[len(times) // 2], 3),
        "resumed_max_s": round(times[-1], 3),
        "seconds": round(time.monotonic() - began, 1),
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:20],
    }


def one_journal(host: Host, filler: Filler, rng: random.Random, most: int, size: int) -> list[float]:
    """Cycles on one journal until it has its size; then everything must come to an end."""
    times: list[float] = []
    seen, number = host.seen, 0
    while len(times) < most and host.path.stat().st_size < size:
        number, took = cycle(host, filler, rng, number)
        times.append(took)
        if took > RESUMES_WITHIN_S:
            seen.problems.append(f"runs went on {took:.1f} s after there was room")
        if rng.random() < 0.1:
            reopen_full(host, filler, rng)
    for row in host.runtime.runs(unfinished=True):  # also a start that was given up on
        if (status := host.runtime.run(row.run_id).result(PATIENCE_S).status) != "ok":
            seen.problems.append(f"run {row.run_id} ended {status}")
    host.runtime.close()
    check(host.path, seen)
    return times


def check(path: Path, seen: faults.Seen) -> None:
    """Compare the journal with what was seen; a start that was given up on may be there all the same."""
    reader = read_journal(path)
    requests = {f"r{number}": reader.find_request(f"\nr{number}") for number in range(1, len(seen.starts) + 2)}
    seen.starts |= {request: run_id for request, run_id in requests.items() if run_id and request not in seen.starts}
    seen.events = {event.position: event.hash for event in reader.scan(limit=10_000_000)}  # nobody followed
    reader.close()
    faults.judge(path, seen)


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--runs", type=int, default=10, help="live runs at any time (default 10)")
    parser.add_argument("--megabytes", type=int, default=64, help="size of the disk (default 64)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--dir", type=Path, default=None, help="where to mount the disk (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.cycles, options.runs, options.megabytes) < 1:
        parser.error("--cycles, --runs, --megabytes: expected whole numbers ≥ 1")
    logging.disable(logging.CRITICAL)
    try:
        with small_disk(options.megabytes, options.dir) as folder:
            figures = run(folder, options)
    except OSError as error:
        print(f"no small disk can be made here: {error}", file=sys.stderr)
        return 77
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
