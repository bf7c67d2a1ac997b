"""Reading a journal from outside: beside a live host, after a crash, from a copy; never a trace left behind."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from journal_support import PATIENCE_S, RunLog, Sent, a_run, finished, note

from executus.errors import JournalError, JournalUnavailable, JournalUnreadable
from executus.events import Event
from executus.journal import SqliteJournal, Subscription, read_journal, verify_run
from executus.journal.outside import Found

CRASH = """
import os, sys
sys.path.insert(0, sys.argv[1])
from executus.journal import open_journal
from journal_support import RunLog, note
journal = open_journal(sys.argv[2])
run = RunLog(journal).start()
for number in range(20):
    run.write(note(number, "x" * 100_000))
print(run.run_id, flush=True)
if sys.argv[3] == "crash":
    os._exit(9)
for line in sys.stdin:
    run.write(note(99))
    print("more", flush=True)
"""


def listing(directory: Path) -> dict[str, bytes]:
    """Names and content, but for the index of the write-ahead log, which every reader writes its marks into."""
    return {path.name: b"" if path.name.endswith("-shm") else path.read_bytes() for path in sorted(directory.iterdir())}


def command(path: Path, how: str) -> list[str]:
    return [sys.executable, "-c", CRASH, str(Path(__file__).parent.parent), str(path), how]


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, str]:
    """A journal whose host died with everything still in the write-ahead log."""
    path = tmp_path / "place" / "runs.db"
    done = subprocess.run(command(path, "crash"), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 9, done.stderr
    return path, done.stdout.strip()


def test_a_crashed_hosts_journal_is_read_whole_and_left_as_it_is(crashed: tuple[Path, str]) -> None:
    path, run_id = crashed
    before = listing(path.parent)
    assert len(before["runs.db-wal"]) > 0
    reader = read_journal(path)
    assert len(reader.read(run_id, verify=True)) == 21
    assert verify_run(reader, run_id) == []
    assert reader.close()
    assert listing(path.parent) == before


@pytest.mark.parametrize("wal", [True, False])
def test_a_closed_journal_is_read_without_creating_anything(tmp_path: Path, wal: bool) -> None:
    path = tmp_path / "place" / "runs.db"
    journal = SqliteJournal(path)
    run = a_run(journal, 5)
    journal.close()
    if not wal:
        for ending in ("-wal", "-shm", ".lock"):
            Path(str(path) + ending).unlink()
    before = listing(path.parent)
    reader = read_journal(path)
    assert reader.read(run.run_id) == run.events
    assert [row.run_id for row in reader.runs()] == [run.run_id]
    reader.close()
    assert listing(path.parent) == before


def test_a_copy_without_the_logs_index_is_read_whole(crashed: tuple[Path, str], tmp_path: Path) -> None:
    path, run_id = crashed
    copy = tmp_path / "copy"
    copy.mkdir()
    for ending in ("", "-wal"):
        shutil.copyfile(str(path) + ending, str(copy / "runs.db") + ending)
    before = listing(copy)
    reader = read_journal(copy / "runs.db")
    assert len(reader.read(run_id, verify=True)) == 21
    reader.close()
    assert listing(copy) == before


def test_a_live_hosts_journal_is_read_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with subprocess.Popen(command(path, "live"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        run_id = host.stdout.readline().strip()
        reader = read_journal(path)
        for number in range(10):
            assert len(reader.read(run_id)) == 21 + number
            host.stdin.write("more\n")
            host.stdin.flush()
            host.stdout.readline()
        assert reader.head() == 31
        reader.close()
        host.stdin.close()
        assert host.wait(PATIENCE_S) == 0


def test_a_reader_lives_on_while_hosts_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    SqliteJournal(path).close()
    for ending in ("-wal", "-shm"):
        Path(str(path) + ending).unlink()
    reader = read_journal(path)  # nobody has it open: the file is complete by itself
    runs: list[RunLog] = []
    for _ in range(3):
        assert [row.run_id for row in reader.runs()] == [run.run_id for run in runs]
        journal = SqliteJournal(path)
        runs.append(a_run(journal, 3))
        assert reader.read(runs[-1].run_id) == runs[-1].events
        journal.close()
        assert reader.read(runs[-1].run_id) == runs[-1].events
    assert reader.epoch == 4
    reader.close()


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    runs = [a_run(journal)]
    journal.close()
    for ending in ("-wal", "-shm"):
        Path(str(path) + ending).unlink()
    reader = read_journal(path)
    assert [row.run_id for row in reader.runs()] == [runs[0].run_id]
    real = reader._lend

    def lend(found: Found) -> sqlite3.Connection:
        connection = real(found)
        if len(runs) == 1:  # a host comes and goes between the look at the files and the reading
            journal = SqliteJournal(path)
            runs.append(a_run(journal, 3))
            journal.close()
        return connection

    monkeypatch.setattr(reader, "_lend", lend)
    assert [row.run_id for row in reader.runs()] == [run.run_id for run in runs]
    reader.close()


def test_a_reader_does_not_keep_the_host_from_opening(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    run = a_run(journal)
    journal.close()
    reader = read_journal(path)
    assert reader.read(run.run_id)
    journal = SqliteJournal(path)
    other = a_run(journal, 3)
    assert reader.read(other.run_id) == other.events
    reader.close()
    other.write(note(1))
    journal.close()


def test_a_reader_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    run = a_run(journal)
    reader = read_journal(path)
    with pytest.raises(JournalError, match="reading only"):
        reader.append(Sent(run.run_id, 1, run.encode(note(1))))
    reader.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        reader.head()
    journal.close()


def test_there_is_nothing_to_read_where_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="No such file"):
        read_journal(tmp_path / "runs.db")
    assert list(tmp_path.iterdir()) == []


def test_an_outside_follower_hears_of_every_commit_once(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    before = a_run(journal, 3)
    reader = read_journal(tmp_path / "runs.db")
    told: list[Event] = []
    enough = threading.Event()

    def follower(events: object) -> None:
        told.extend(events)  # type: ignore[arg-type]
        if told[-1].tag == "run-finished":
            enough.set()

    reader.follow(follower)
    runs = [a_run(journal, 4) for _ in range(5)]
    runs[-1].write(finished())
    assert enough.wait(PATIENCE_S)
    assert told == [event for run in runs for event in run.events]
    assert told[0].position == before.events[-1].position + 1
    reader.close()
    journal.close()


def test_a_run_can_be_followed_to_its_end_from_outside(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal, 3)
    reader = read_journal(tmp_path / "runs.db")
    subscription = Subscription(reader, run_id=run.run_id, timeout=PATIENCE_S)
    seen = [next(subscription) for _ in range(4)]
    run.write(note(1))
    run.write(finished())
    seen += list(subscription)
    assert seen == run.events
    reader.close()
    journal.close()
