"""A forked child cannot use its parent's journal, ends in peace, and holds nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from journal_support import PATIENCE_S

from executus.journal import SqliteJournal

SCRIPT = """
import gc, os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forking with threads: that is the point
sys.path.insert(0, sys.argv[1])
from executus.errors import ForkedProcess
from executus.journal import Subscription, open_journal, read_journal
from journal_support import RunLog, Sent, note
how = sys.argv[3]
def descriptors():
    try:
        return sorted(os.listdir("/proc/self/fd"))
    except OSError:
        return []
journal = open_journal(sys.argv[2] if sys.argv[2] != "-" else None)
run = RunLog(journal).start()
opened = [journal]
if sys.argv[2] != "-":
    opened.append(read_journal(sys.argv[2]))
    opened[1].head()
stop = threading.Event()
def busy():
    other = RunLog(journal).start()
    while not stop.is_set() and other.version < 3000:
        other.write(note(1, "x" * 5000))
thread = threading.Thread(target=busy)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        refused = 0
        calls = [call for one in opened for call in (one.head, one.runs, one.scan, one.close,
                 lambda one=one: one.read(run.run_id), lambda one=one: one.load(run.run_id),
                 lambda one=one: one.follow(print))]
        calls.append(lambda: journal.append(Sent(run.run_id, 1, run.encode(note(2)))))
        for call in calls:
            try:
                call()
            except ForkedProcess:
                refused += 1
        code = 0 if refused == len(calls) else 1
        if how == "plain":
            os._exit(code)
        held = descriptors()
        del journal, run, opened, calls, call
        gc.collect()
        sys.exit(code if descriptors() == held else 2)  # a destructor here could wait for a thread that is not here
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
stop.set()
thread.join()
run.write(note(3))
assert journal.read(run.run_id, verify=True) == run.events
assert journal.close()
print("parent fine", flush=True)
"""


@pytest.mark.parametrize("how", ["plain", "exit"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_every_call_in_a_forked_child_is_refused_and_the_parent_goes_on(tmp_path: Path, kind: str, how: str) -> None:
    tests = str(Path(__file__).parent.parent)
    path = "-" if kind == "memory" else str(tmp_path / "runs.db")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tests, path, how], capture_output=True, text=True, timeout=PATIENCE_S * 3
    )
    assert done.stdout == "parent fine\n", done.stderr


ORPHAN = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, sys.argv[1])
from executus.journal import open_journal
from journal_support import RunLog
journal = open_journal(sys.argv[2])
RunLog(journal).start()
let_go, told = os.pipe()
child = os.fork()
if child == 0:
    os.write(told, b"!")  # it runs, so what it must do at its birth is done
    sys.stdin.read()
    os._exit(0)
os.read(let_go, 1)
print(child, flush=True)
os._exit(1)
"""


def test_a_child_that_outlives_its_parent_does_not_hold_the_journal(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent.parent)
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", ORPHAN, tests, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait(PATIENCE_S)
        os.kill(child, 0)  # it lives
        journal = SqliteJournal(path)
        assert len(journal.runs()) == 1
        journal.close()
