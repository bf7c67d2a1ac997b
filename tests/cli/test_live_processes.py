"""A host in a process of its own, and commands that follow it through what becomes of it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executus.journal import read_journal

from .conftest import Run
from .live_host import DEADLINE_S

Start = Callable[..., "subprocess.Popen[str]"]
Host = Callable[..., "subprocess.Popen[str]"]
HOST = Path(__file__).parent / "live_host.py"


@pytest.fixture
def host(db: Path, sockets: Path) -> Iterator[Host]:
    """Starts a host of the test's journal, and waits until it is ready."""
    started: list[subprocess.Popen[str]] = []
    db.parent.mkdir(parents=True, exist_ok=True)

    def begin(*wishes: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HOST), str(db), *wishes]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Lines:
    """What a command prints, a JSON line at a time. Bytes are read here: what `readline` has read ahead, `select` does
    not see.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._out = process.stdout.fileno()
        self._read = b""

    def next(self) -> dict[str, Any]:
        """The next one."""
        while b"\n" not in self._read:
            assert select.select([self._out], [], [], DEADLINE_S)[0], "nothing was printed"
            more = os.read(self._out, 65_536)
            assert more, "it ended"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found


def ended(process: subprocess.Popen[str]) -> None:
    """The host ends as its user wants it to."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None  # `communicate` would write to it
    assert process.wait(DEADLINE_S) == 0


def only_run(db: Path) -> str:
    journal = read_journal(db)
    try:
        [row] = journal.runs()
        return row.run_id
    finally:
        journal.close()


def test_tail_follows_a_host_through_its_restarts_and_misses_nothing(
    cli: Run, start: Start, host: Host, db: Path
) -> None:
    first = host("hello")
    tail = start("tail", "--follow", "--after", 0, "--json")
    lines, seen = Lines(tail), list[dict[str, Any]]()

    def follow_to_the_end_of(runs: int) -> None:
        while sum(one["tag"] == "run-finished" for one in seen) < runs:
            seen.append(lines.next())

    follow_to_the_end_of(1)
    first.kill()  # without a word
    first.wait(DEADLINE_S)
    second = host("say more")
    follow_to_the_end_of(2)
    ended(second)
    host("say still more")
    follow_to_the_end_of(3)
    tail.send_signal(signal.SIGINT)
    _, errors = tail.communicate(timeout=DEADLINE_S)
    assert (tail.returncode, errors) == (130, "")
    journal = read_journal(db)
    try:
        assert [one["position"] for one in seen] == [event.position for event in journal.scan(0, 10_000)][: len(seen)]
    finally:
        journal.close()


def test_top_goes_on_as_runs_begin_and_end_and_says_when_the_host_is_gone(
    cli: Run, start: Start, host: Host, db: Path
) -> None:
    life = host("hold")
    run = only_run(db)
    top = start("top", "--json", "--interval", 0.1)
    lines = Lines(top)

    def until(rule: Callable[[dict[str, Any]], bool]) -> None:
        while not rule(lines.next()):
            pass

    until(lambda one: [row["run"] for row in one["runs"] if row["waits"]] == [run])
    assert cli("kill", run).exit_code == 0
    until(lambda one: one["runs"] == [] and one["totals"]["ended"] == {"killed": 1})
    started = cli("start", "desk", "hold").stdout.strip()
    until(lambda one: [row["run"] for row in one["runs"]] == [started])
    life.kill()
    life.wait(DEADLINE_S)
    until(lambda one: one["note"] == "the host does not answer now; this is how it stood")
    top.send_signal(signal.SIGINT)
    _, errors = top.communicate(timeout=DEADLINE_S)
    assert (top.returncode, errors) == (130, "")
    told = cli("ps", "--hosts").stdout
    assert "  gone  " in told
    assert f"process {life.pid} is gone without closing" in told
    assert json.loads(cli("top", "--once", "--json").stdout)["runs"][0]["status"] == "suspended"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_live_table_takes_the_size_of_its_terminal_and_leaves_it_whole(
    host: Host, db: Path, how: signal.Signals
) -> None:
    host(*["hold"] * 12)
    screen, terminal = pty.openpty()

    def resize(lines: int, columns: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    resize(12, 40)
    command = [sys.executable, "-c", "from executus.cli import main; main()", "top", "--interval", "0.1"]
    environment = {**os.environ, "EXECUTUS_DB": str(db), "TERM": "xterm"}
    for name in ("LINES", "COLUMNS", "NO_COLOR"):
        environment.pop(name, None)
    top = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    shown = b""

    def read_until(words: bytes) -> None:
        nonlocal shown
        until = time.monotonic() + DEADLINE_S
        while words not in shown:
            assert time.monotonic() < until, shown
            if select.select([screen], [], [], 1)[0]:
                shown += os.read(screen, 65_536)

    try:
        read_until(b"more runs")
        assert b"and 5 more runs" in shown  # 12 lines: five are no rows
        assert b"CALLER" not in shown
        resize(40, 140)
        shown = b""
        read_until(b"CALLER")
        top.send_signal(how)
        read_until(b"\x1b[?1049l")
        assert top.wait(DEADLINE_S) == 130
        while select.select([screen], [], [], 0)[0]:
            shown += os.read(screen, 65_536)
        assert b"\x1b[?25h" in shown
        assert b"Traceback" not in shown
        assert b"hold" in shown.rpartition(b"\x1b[?1049l")[2]  # the last picture stays
    finally:
        if top.poll() is None:
            top.kill()
        top.wait()
        os.close(terminal)
        os.close(screen)
