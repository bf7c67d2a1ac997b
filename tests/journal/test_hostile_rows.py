"""What stands in a row is never code: damaged rows import, run and open nothing, and stop nobody else's run (P14)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID

from journal_support import PATIENCE_S

from executus.journal import open_journal

SCRIPT = """
import os, random, sqlite3, sys
sys.path.insert(0, sys.argv[1])
from executus.errors import LogCorrupt
from executus.journal import Inspection, open_journal, verify_run
from journal_support import RunLog, finished, note, step
path = sys.argv[2]
journal = open_journal(path)
runs = [RunLog(journal).start() for _ in range(30)]
for run in runs:
    for number in range(1, 4):
        run.write(*step(number), note(number))
    run.write(finished())
for call in (journal.read, journal.load, lambda one: verify_run(journal, one)):
    call(runs[0].run_id)  # what is imported at first use is imported now
list(Inspection(journal).of_everything())
journal.close()

chance = random.Random(7)
connection = sqlite3.connect(path, isolation_level=None)
rows = connection.execute("SELECT rowid, topic, state FROM stored_events WHERE rowid % 30 <> 0").fetchall()
connection.execute("BEGIN")
for position, tag, state in rows:
    changed = bytearray(state)
    for _ in range(chance.randrange(1, 4)):
        what = chance.randrange(5)
        if what == 0:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif what == 1:
            del changed[chance.randrange(len(changed)) :]
            changed += b"x"
        elif what == 2:
            changed[32:32] = b"\\x91" * 5000  # nested deeper than anybody should follow
        elif what == 3:
            tag = chance.choice(["os:system", "evil_module:Evil", "step-started", "", "\\x00", "run-finished"])
        else:
            changed += bytes(chance.randrange(256) for _ in range(20))
    connection.execute("UPDATE stored_events SET topic = ?, state = ? WHERE rowid = ?", (tag, bytes(changed), position))
connection.execute("COMMIT")
connection.close()

journal = open_journal(path)
journal.read(runs[0].run_id, limit=0)
seen = []
def hook(event, arguments):
    if event in ("import", "exec", "compile", "os.system", "subprocess.Popen", "open", "os.posix_spawn", "os.exec"):
        if event != "open" or path not in str(arguments[0]):
            seen.append((event, arguments))
sys.addaudithook(hook)
corrupt = 0
for run in runs:
    for call in (journal.read, journal.load):
        try:
            call(run.run_id)
        except LogCorrupt:
            corrupt += 1
    assert verify_run(journal, run.run_id)
assert len(list(Inspection(journal).of_everything())) > 30
at = shown = 0
while page := journal.scan(at, 100):
    shown += len(page)
    at = page[-1].position
seen = [one for one in seen]
assert not seen, seen[:3]
assert shown == 30 * 17, shown
assert corrupt > 40, corrupt
fresh = RunLog(journal).start()
assert journal.read(fresh.run_id, verify=True) == fresh.events
journal.close()
print("nothing ran", flush=True)
"""


def test_damaged_rows_run_nothing_and_stop_nobody(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tests, str(tmp_path / "runs.db")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
    )
    assert done.stdout == "nothing ran\n", done.stderr


def test_what_is_noted_beside_a_log_may_be_anything_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_journal(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = (UUID(int=7).bytes, "os:system", "many", -1, 1 << 62, 2.5, b"\xff")
        connection.execute("INSERT INTO recoveries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    with closing(open_journal(path)) as journal:
        (read,) = journal.recoveries()
    assert (read.standing, read.attempts, read.company, read.version, read.at_us) == ("failed", 0, 0, 0, 0)
