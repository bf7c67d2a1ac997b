"""An open and close of the database file by anybody in the host's process must not cost one acknowledged event.

Closing any descriptor of a file drops all of the process's POSIX locks on it, SQLite's too. The next program that opens
and closes the database then believes it is alone and deletes the write-ahead log under the host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from journal_support import PATIENCE_S

from executus.errors import JournalUnreadable
from executus.journal import SqliteJournal, verify_run

HOST = """
import sys, shutil
sys.path.insert(0, sys.argv[1])
from executus.errors import JournalUnavailable
from executus.journal import files, SqliteJournal
if "guard" not in sys.argv[3:]:
    files.hold_shared_range = lambda descriptor, path: None
if "watch" not in sys.argv[3:]:
    files.FileWatch.check = lambda self: 0
from journal_support import RunLog, note
journal = SqliteJournal(sys.argv[2])
run = RunLog(journal).start()
shutil.copyfile(sys.argv[2], sys.argv[2] + ".copy")  # what a backup, a grep or a hash of the file does
print(run.run_id, flush=True)
sys.stdin.readline()
acknowledged = 1
for number in range(100):
    try:
        run.write(note(number))
        acknowledged += 1
    except JournalUnavailable:
        break
print(acknowledged, flush=True)
sys.stdin.readline()
"""

OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM runs").fetchone()
connection.close()
"""


def crash_after_a_rogue_close(path: Path, *protections: str) -> tuple[int, int]:
    """Events that the host acknowledged before it was killed, and those that are there when it is opened again."""
    tests = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", HOST, tests, str(path), *protections]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        run_id = host.stdout.readline().strip()
        subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True, timeout=PATIENCE_S)
        host.stdin.write("go on\n")
        host.stdin.flush()
        acknowledged = int(host.stdout.readline())
        subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True, timeout=PATIENCE_S)
        host.send_signal(signal.SIGKILL)
        host.wait(PATIENCE_S)
    journal = SqliteJournal(path)
    assert verify_run(journal, run_id) == []
    found = len(journal.read(run_id, verify=True))
    journal.close()
    return acknowledged, found


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="locks of open file descriptions are Linux's")


@linux
def test_with_the_guard_nothing_is_lost_and_the_host_goes_on(tmp_path: Path) -> None:
    acknowledged, found = crash_after_a_rogue_close(tmp_path / "runs.db", "guard", "watch")
    assert acknowledged == 101
    assert found == 101


@linux
def test_the_guard_alone_is_enough(tmp_path: Path) -> None:
    acknowledged, found = crash_after_a_rogue_close(tmp_path / "runs.db", "guard")
    assert acknowledged == found == 101


def test_without_the_guard_the_host_notices_and_stops(tmp_path: Path) -> None:
    acknowledged, found = crash_after_a_rogue_close(tmp_path / "runs.db", "watch")
    assert found >= acknowledged
    if acknowledged == 101:
        pytest.skip("this platform keeps the locks")
    assert acknowledged == 1


def test_without_both_events_are_lost_so_these_tests_can_fail(tmp_path: Path) -> None:
    acknowledged, found = crash_after_a_rogue_close(tmp_path / "runs.db")
    if found == acknowledged:
        pytest.skip("this platform keeps the locks")
    assert found < acknowledged


# ------------------------------------------------------------------ under a runtime

RUMMAGING_HOST = """
import os, sys, threading
from pathlib import Path
from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError
from executus.journal import files
path, *protections = sys.argv[1:]
if "guard" not in protections:
    files.hold_shared_range = lambda descriptor, path: None
    files.FileWatch.check = lambda self: 0
acks = os.open(path + "-acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@tool(effect="pure")
def rummage() -> str:
    for found in sorted(Path(path).parent.rglob("*")):
        if found.is_file():
            found.read_bytes()[:100]
    return "x" * 1000

agent = Agent("worker", model=ScriptedModel(lambda request: "done" if request.step == 20 else call("rummage")),
              tools=[rummage])
runtime = Runtime(path, [agent], views=None)

def work():
    while True:
        try:
            runtime.start("worker", "go").result()
        except ExecutusError:
            os._exit(3)

for _ in range(5):
    threading.Thread(target=work, daemon=True).start()
print("open", flush=True)
for event in runtime.events():
    os.write(acks, f"{event.run_id} {event.version} {event.hash.hex()}\\n".encode())
"""

COMING_AND_GOING = """
import os, sqlite3, sys
visits = 0
while visits < int(sys.argv[2]) or os.stat(sys.argv[1] + "-acks").st_size < 50_000:
    visits += 1
    connection = sqlite3.connect(sys.argv[1])
    connection.execute("SELECT count(*) FROM runs").fetchone()
    connection.close()
"""


def killed_while_it_rummages(path: Path, visits: int, *protections: str) -> tuple[int, int]:
    """How many events were acknowledged by a host whose tools open and close every file of it, and how many of these
    are missing after it was killed, while another program came and went.
    """
    command = [sys.executable, "-c", RUMMAGING_HOST, str(path), *protections]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "open\n"
        visitor = [sys.executable, "-c", COMING_AND_GOING, str(path), str(visits)]
        subprocess.run(visitor, check=True, timeout=PATIENCE_S * 4)
        host.send_signal(signal.SIGKILL)
        host.wait(PATIENCE_S)
    acked = {tuple(line.split()) for line in Path(str(path) + "-acks").read_text().splitlines()}
    journal = SqliteJournal(path)
    there = {
        (event.run_id, str(event.version), event.hash.hex())
        for row in journal.runs()
        for event in journal.read(row.run_id, verify=True)
    }
    journal.close()
    return len(acked), len(acked - there)


VISITS = int(os.environ.get("EXECUTUS_VISITS", "200"))


@linux
def test_tools_that_open_every_file_of_their_host_cost_no_event(tmp_path: Path) -> None:
    acknowledged, lost = killed_while_it_rummages(tmp_path / "runs.db", VISITS, "guard")
    assert acknowledged > 100
    assert lost == 0


@linux
def test_without_protection_such_tools_cost_events_so_this_test_can_fail(tmp_path: Path) -> None:
    for number in range(5):  # each time it may be lucky
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            _, lost = killed_while_it_rummages(folder / "runs.db", VISITS)
        except JournalUnreadable:  # worse luck than most: all of it is lost
            return
        if lost:
            return
    raise AssertionError("nothing was ever lost")
