"""The room on the journal's disk: what is little, that a write found none, and that there is room again."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from journal_support import PATIENCE_S, Faults, RunLog, a_run, note

from executus.errors import DiskFull, JournalError
from executus.journal import SqliteJournal, open_journal, read_journal, space, sqlite
from executus.journal.space import Space

MB = 1 << 20


class Disk:
    """A disk whose free space is set by hand."""

    def __init__(self) -> None:
        self.total, self.free = 10_000 * MB, 5_000 * MB
        self.looks = 0

    def statvfs(self, path: str) -> Any:
        self.looks += 1
        return SimpleNamespace(f_frsize=1, f_bavail=self.free, f_blocks=self.total)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    monkeypatch.setattr(space, "LOOK_S", 0.0)
    monkeypatch.setattr(space, "PROBE_S", 0.0)
    return made


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults.planted(monkeypatch)


def full(sql: str) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


@pytest.mark.parametrize(
    ("total", "keep", "start_at", "pause_at"),
    [
        (10_000 * MB, None, 64 * MB, 16 * MB),
        (200 * MB, None, 10 * MB, 2.5 * MB),
        (10_000 * MB, 500 * MB, 500 * MB, 125 * MB),
    ],
)
def test_the_marks_follow_the_disk_or_the_host(
    disk: Disk, total: int, keep: int | None, start_at: float, pause_at: float
) -> None:
    disk.total = total
    room = Space("/place/runs.db", keep)
    for free, refuses, pauses in (
        (start_at, False, False),
        (start_at - 1, True, False),
        (pause_at, True, False),
        (pause_at - 1, True, True),
    ):
        disk.free = round(free)
        room.look()
        assert (bool(room.refuses), bool(room.pauses)) == (refuses, pauses), free


def test_a_host_that_wants_no_marks_has_none(disk: Disk) -> None:
    disk.free = 0
    room = Space("/place/runs.db", 0)
    assert (room.refuses, room.pauses) == ("", "")
    with pytest.raises(sqlite3.OperationalError) as caught:
        full("COMMIT")
    assert room.failed(caught.value)  # a write that finds no room is no matter of marks
    assert "the disk is full" in room.pauses


def test_the_disk_is_not_looked_at_all_the_time(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "LOOK_S", 1e9)
    room = Space("/place/runs.db")
    for _ in range(100):
        room.look()
    assert disk.looks == 1


def test_a_disk_that_is_gone_is_no_reason_to_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "statvfs", gone)
    assert Space("/place/runs.db").pauses == ""


def test_it_is_said_once_what_is_wrong_and_that_it_is_over(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "executus.journal")
    room = Space("/place/runs.db")
    for free in (63 * MB, 62 * MB, 3 * MB, 2 * MB, 500 * MB, 501 * MB):
        disk.free = free
        room.look()
    assert [record.message for record in caplog.records] == [
        "the disk is nearly full: 63 MB left in /place, under 64 MB; no new run is started",
        "the disk is nearly full: 3 MB left in /place, under 16 MB; runs pause until there is room",
        "there is room on the disk again: 500 MB left in /place",
    ]


# ------------------------------------------------------------------ in a journal


@pytest.fixture
def journal(tmp_path: Path, disk: Disk, faults: Faults) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "runs.db")
    yield opened
    faults.due = lambda _: False
    assert opened.close(PATIENCE_S)


def wait_for(journal: SqliteJournal, pauses: bool) -> None:
    until = threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if bool(journal.short("")) is pauses:
            return
        until.wait(0.005)
    raise AssertionError(f"short: {journal.short('')!r}")


@pytest.mark.parametrize("where", ["INSERT INTO stored_events", "COMMIT"])
def test_an_append_that_finds_no_room_is_told_so_and_the_journal_notices_when_there_is(
    journal: SqliteJournal, faults: Faults, where: str
) -> None:
    run = a_run(journal)
    full_now = True
    faults.due, faults.fault = (lambda sql: full_now and sql.startswith((where, "UPDATE owner"))), full
    answer = run.send(note(1)).answer()
    assert isinstance(answer, DiskFull)
    assert "free some space" in str(answer)
    wait_for(journal, True)
    refused = journal.no_room()
    assert isinstance(refused, DiskFull)
    full_now = False
    wait_for(journal, False)  # without any append
    assert journal.no_room() is None
    RunLog(journal).start()


def test_an_idle_journal_notices_that_the_disk_fills_and_empties(journal: SqliteJournal, disk: Disk) -> None:
    disk.free = MB
    a_run(journal)
    wait_for(journal, True)
    disk.free = 5_000 * MB
    wait_for(journal, False)


def test_a_small_disk_has_a_short_log(tmp_path: Path, disk: Disk) -> None:
    disk.total = disk.free = 4 * MB
    journal = SqliteJournal(tmp_path / "runs.db", keep_free_bytes=0)
    run = a_run(journal)
    largest = 0
    for number in range(100):
        run.write(*(note(number, "x" * 5_000) for _ in range(4)))
        largest = max(largest, Path(journal.path + "-wal").stat().st_size)
    assert journal.close()
    assert largest < MB


def test_with_little_room_the_log_is_emptied_at_once(journal: SqliteJournal, disk: Disk) -> None:
    disk.free = 60 * MB
    run = a_run(journal)
    run.write(*(note(number, "x" * 5_000) for number in range(20)))
    log, until = Path(journal.path + "-wal"), threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if log.stat().st_size == 0:
            return
        until.wait(0.005)
    raise AssertionError(f"the log has {log.stat().st_size} bytes")


# ------------------------------------------------------------------ opening


def test_a_host_that_finds_no_room_to_begin_says_so_and_readers_are_welcome(
    tmp_path: Path, disk: Disk, faults: Faults
) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    run = a_run(journal, 3)
    assert journal.close()
    faults.due, faults.fault = (lambda sql: sql == "COMMIT"), full
    with pytest.raises(DiskFull, match="no host can begin here, but it can be read"):
        open_journal(path)
    reader = read_journal(path)
    assert reader.read(run.run_id, verify=True) == run.events
    reader.close()
    faults.due = lambda _: False
    again = SqliteJournal(path)
    assert again.read(run.run_id) == run.events
    assert again.close()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), None])
def test_a_new_journal_that_finds_no_room_says_so(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    def create_file(path: str) -> None:
        if error is not None:
            raise error
        full("CREATE")

    monkeypatch.setattr(sqlite, "create_file", create_file)
    with pytest.raises(DiskFull, match="it cannot be set up"):
        SqliteJournal(tmp_path / "runs.db")
    assert issubclass(DiskFull, JournalError)
