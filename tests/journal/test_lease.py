"""One host at a time may write, by a lease it renews: who is kept out, until when, and who need not wait."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from journal_support import PATIENCE_S, Faults, RunLog, Sent, a_run, note

from executus.errors import Deposed, JournalError, JournalInUse, JournalUnavailable
from executus.journal import SqliteJournal, lease, place, read_journal
from executus.journal.place import Boot, this_boot

LEASE_S = 1000.0


class Time:
    """The clocks that leases are judged by, set by hand."""

    def __init__(self) -> None:
        self.wall, self.boot = 1_800_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(lease, "LEASE_S", LEASE_S)
    monkeypatch.setattr(lease, "wall_us", lambda: round(made.wall * 1e6))
    monkeypatch.setattr(lease, "since_boot", lambda: made.boot)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def owner_row(path: Path, **changed: object) -> None:
    """Write over what the journal says of its owner."""
    with sqlite3.connect(path) as connection:
        for column, value in changed.items():
            connection.execute(f"UPDATE owner SET {column} = ?", (value,))
    connection.close()


def until(path: Path) -> float:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT lease_until_us FROM owner").fetchone()[0]
    connection.close()
    return float(found) / 1e6


Change = Callable[[Boot], Boot]


def left_by(path: Path, time: Time, change: Change, pid: int | None = None, lease_s: float = LEASE_S) -> None:
    """The journal as a host leaves it that died, and ran somewhere that `change` describes."""
    SqliteJournal(path).close()
    boot = Boot(**msgspec.structs.asdict(this_boot(0, path.stat().st_ino)))
    lock = path.with_name(path.name + ".lock").stat().st_ino
    boot = change(msgspec.structs.replace(boot, lock=lock))
    owner_row(
        path,
        pid=os.getpid() if pid is None else pid,
        boot=msgspec.json.encode(boot).decode(),
        lease_until_us=round((time.wall + lease_s) * 1e6),
    )


def other(**fields: object) -> Change:
    return lambda boot: msgspec.structs.replace(boot, **fields)


def a_dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


ELSEWHERE = {"machine": "another", "namespace": "pid:[1]"}


# ------------------------------------------------------------------ who may begin


def test_a_host_that_may_live_elsewhere_keeps_others_out_while_its_lease_lasts(
    path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "ONE_MACHINES_OWN", frozenset[str]())  # a file system that several machines may share
    left_by(path, time, other(**ELSEWHERE), pid=4711)
    with pytest.raises(JournalInUse, match=r"process 4711 since .* whose lease ends at 2027-01-15T08:16:4") as caught:
        SqliteJournal(path)
    assert caught.value.until.startswith("2027-01-15T08:16:4")
    time.pass_by(LEASE_S - 1)
    with pytest.raises(JournalInUse):
        SqliteJournal(path)
    time.pass_by(1.001)
    assert SqliteJournal(path).close()


def test_a_host_of_this_machine_before_it_was_switched_off_is_gone(path: Path, time: Time) -> None:
    assert place._is_one_machines(str(path)), "this test needs a file system of one machine"
    left_by(path, time, other(machine="this machine, booted before"))
    assert SqliteJournal(path).close()


def test_a_host_whose_process_is_gone_is_gone(path: Path, time: Time) -> None:
    left_by(path, time, other(began="1"), pid=a_dead_process())
    assert SqliteJournal(path).close()


def test_a_later_process_of_the_same_number_is_not_the_host(path: Path, time: Time) -> None:
    left_by(path, time, other(began="1"), pid=os.getppid())
    assert SqliteJournal(path).close()


def test_a_host_that_lives_keeps_others_out_though_they_got_the_lock(path: Path, time: Time) -> None:
    left_by(path, time, other(began=place._began(os.getppid())), pid=os.getppid())
    with pytest.raises(JournalInUse):
        SqliteJournal(path)


def test_an_earlier_opening_by_this_process_is_over(path: Path, time: Time) -> None:
    left_by(path, time, other(id="an opening that ended without giving up"))
    assert SqliteJournal(path).close()


def test_in_another_container_the_lock_file_is_the_proof(path: Path, time: Time) -> None:
    left_by(path, time, other(namespace="pid:[1]"))
    assert SqliteJournal(path).close()
    left_by(path, time, other(namespace="pid:[1]", lock=1))  # it holds another file of that name, which was deleted
    with pytest.raises(JournalInUse):
        SqliteJournal(path)


def test_where_locks_keep_nobody_out_they_prove_nothing(
    path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(path, time, other(namespace="pid:[1]"))
    monkeypatch.setattr("executus.journal.files.HostLock.holds", lambda lock: False)
    with pytest.raises(JournalInUse):
        SqliteJournal(path)


def test_a_lease_from_before_the_clock_was_set_back_keeps_nobody_out(
    path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "ONE_MACHINES_OWN", frozenset[str]())
    left_by(path, time, other(**ELSEWHERE), lease_s=LEASE_S * 20)
    assert SqliteJournal(path).close()


def test_what_a_copy_says_of_its_host_is_of_the_file_it_was_made_of(path: Path, time: Time, tmp_path: Path) -> None:
    journal = SqliteJournal(path)
    a_run(journal)
    source = sqlite3.connect(path)
    source.execute(f"VACUUM INTO '{tmp_path / 'copy.db'}'")
    source.close()
    copy = SqliteJournal(tmp_path / "copy.db")
    assert len(copy.runs()) == 1
    assert copy.close()
    assert journal.close()


def test_a_damaged_word_on_the_owner_keeps_nobody_out_for_ever(path: Path, time: Time) -> None:
    left_by(path, time, other())
    owner_row(path, boot="{not json", lease_until_us=round((time.wall + 5) * 1e6))
    with pytest.raises(JournalInUse):
        SqliteJournal(path)
    time.pass_by(6)
    assert SqliteJournal(path).close()


def test_a_journal_that_was_closed_is_free_at_once(path: Path, time: Time) -> None:
    journal = SqliteJournal(path)
    assert until(path) == pytest.approx(time.wall + LEASE_S)
    assert journal.close()
    assert until(path) == 0
    reader = read_journal(path)
    assert (reader.standing(), reader.owner().epoch) == ("none", 1)


def test_an_opening_that_is_refused_leaves_the_first_one_as_it_was(path: Path, time: Time) -> None:
    journal = SqliteJournal(path)
    run = a_run(journal)
    path.with_name("runs.db.lock").unlink()
    for _ in range(3):
        with pytest.raises(JournalInUse, match=f"process {os.getpid()} since"):
            SqliteJournal(path)
    run.write(note(1))
    assert journal.close()
    assert SqliteJournal(path).close()


# ------------------------------------------------------------------ what readers see


def test_readers_see_whether_somebody_has_the_journal(path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = SqliteJournal(path)
    reader = read_journal(path)
    assert reader.standing() == "live"
    assert reader.owner().pid == os.getpid()
    time.pass_by(LEASE_S + 1)
    assert reader.standing() == "late"
    assert journal.close()
    assert reader.standing() == "none"
    left_by(path, time, other(began="1"), pid=a_dead_process())
    assert reader.standing() == "gone"
    monkeypatch.setattr(place, "ONE_MACHINES_OWN", frozenset[str]())
    left_by(path, time, other(**ELSEWHERE))
    assert reader.standing() == "live"
    with pytest.raises(JournalError, match="reading only"):
        reader.confirm(print)
    assert not reader.held
    reader.close()


# ------------------------------------------------------------------ renewing


@pytest.fixture
def journal(path: Path, time: Time) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path)
    yield opened
    assert opened.close(PATIENCE_S)


def test_the_lease_is_renewed_with_a_commit_and_not_with_each(
    journal: SqliteJournal, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal._writer, "_patience_s", lambda: None)  # so that no idle moment comes before the commit
    run = a_run(journal)
    first = until(Path(journal.path))
    time.pass_by(LEASE_S / 2 - 1)
    run.write(note(1))
    assert until(Path(journal.path)) == first
    time.pass_by(1)
    run.write(note(2))
    assert until(Path(journal.path)) == pytest.approx(time.wall + LEASE_S)


def renewals(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released after each renewal without a commit."""
    done = threading.Semaphore(0)
    real = lease.Tenure.renew_alone

    def renew_alone(tenure: lease.Tenure, connection: sqlite3.Connection) -> None:
        try:
            real(tenure, connection)
        finally:
            done.release()

    monkeypatch.setattr(lease.Tenure, "renew_alone", renew_alone)
    return done


def nudge(journal: SqliteJournal) -> None:
    """Have the idle writer look around, as it does when its patience ends."""
    with journal._writer._wake:
        journal._writer._idle = False
        journal._writer._wake.notify()


def test_an_idle_host_renews_its_lease_too(journal: SqliteJournal, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    done = renewals(journal, monkeypatch)
    for _ in range(3):
        time.pass_by(LEASE_S / 2)
        nudge(journal)
        assert done.acquire(timeout=PATIENCE_S)
        assert until(Path(journal.path)) == pytest.approx(time.wall + LEASE_S)
    assert journal.held
    a_run(journal)
    connection = journal._writer._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # what is acknowledged is still durable


def test_the_idle_writer_looks_up_when_its_lease_is_due(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 0.2)
    journal = SqliteJournal(path)
    done = renewals(journal, monkeypatch)
    for _ in range(5):
        assert done.acquire(timeout=PATIENCE_S)
    assert journal.close(PATIENCE_S)


# ------------------------------------------------------------------ standing still


def test_a_host_that_slept_holds_nothing_until_it_has_looked(
    journal: SqliteJournal, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(journal)
    time.boot += LEASE_S + 1  # the wall clock may be set meanwhile: what counts is the time that has passed
    assert not journal.held
    answers: list[JournalError | None] = []
    told = threading.Event()
    journal.confirm(lambda error: (answers.append(error), told.set()))  # type: ignore[func-returns-value]
    assert told.wait(PATIENCE_S)
    assert answers == [None]
    assert journal.held
    run.write(note(1))


def test_a_commit_after_a_sleep_renews_first(journal: SqliteJournal, time: Time) -> None:
    run = a_run(journal)
    time.pass_by(LEASE_S * 3)
    assert not journal.held
    run.write(note(1))
    assert journal.held


def successor_of(journal: SqliteJournal, time: Time) -> SqliteJournal:
    """Another host takes over: the first one slept past its lease, and its lock file is gone."""
    time.pass_by(LEASE_S + 1)
    Path(journal.path + ".lock").unlink()
    return SqliteJournal(journal.path)


def test_a_deposed_host_learns_it_from_any_append_and_is_told_once(journal: SqliteJournal, time: Time) -> None:
    run = a_run(journal)
    stopped: list[JournalError] = []
    journal.when_stopped(stopped.append)
    heir = successor_of(journal, time)
    for _ in range(3):
        answer = run.send(note(1)).answer()
        assert isinstance(answer, Deposed)
        assert (answer.mine, answer.found) == (1, 2)
    assert [type(error) for error in stopped] == [Deposed]
    late: list[JournalError] = []
    journal.when_stopped(late.append)
    assert len(late) == 1
    taken = RunLog(heir, run.run_id)
    taken.events = heir.read(run.run_id, verify=True)
    taken.version, taken.hash = taken.events[-1].version, taken.events[-1].hash
    taken.write(note(2))
    assert heir.close()
    assert not journal.held


def test_a_deposed_host_that_has_nothing_to_store_learns_it_too(journal: SqliteJournal, time: Time) -> None:
    stopped = threading.Event()
    journal.when_stopped(lambda _: stopped.set())
    heir = successor_of(journal, time)
    nudge(journal)
    assert stopped.wait(PATIENCE_S)
    assert heir.close()


def test_a_deposed_host_neither_checkpoints_nor_gives_up_what_is_anothers(journal: SqliteJournal, time: Time) -> None:
    heir = successor_of(journal, time)
    run = a_run(heir)
    log = Path(journal.path + "-wal")
    before = log.stat().st_size
    assert journal.close(PATIENCE_S)  # it never noticed before
    assert until(Path(journal.path)) == pytest.approx(time.wall + LEASE_S)
    assert log.stat().st_size == before > 0
    run.write(note(1))
    assert heir.close()


def test_a_restored_file_of_the_same_epoch_is_not_taken_for_ours(journal: SqliteJournal, time: Time) -> None:
    run = a_run(journal)
    owner_row(Path(journal.path), boot='{"id": "another"}')
    answer = run.send(note(1)).answer()
    assert isinstance(answer, Deposed)


def test_a_host_that_stands_still_in_a_commit_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can take over from it: SQLite's own lock is held."""
    monkeypatch.setattr("executus.journal.sqlite.BUSY_MS", 50)
    faults = Faults.planted(monkeypatch)
    journal = SqliteJournal(path)
    run = a_run(journal)
    held, go = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        held.set()
        assert go.wait(PATIENCE_S)

    faults.due, faults.fault = (lambda sql: sql == "COMMIT" and not held.is_set()), wait
    sent = run.send(note(1))
    assert held.wait(PATIENCE_S)
    Path(journal.path + ".lock").unlink()
    with pytest.raises(JournalInUse, match="stands still in the middle of a commit"):
        SqliteJournal(path)
    go.set()
    assert sent.answer() is None
    assert journal.close(PATIENCE_S)


def test_a_renewal_that_fails_is_tried_again(path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults.planted(monkeypatch)
    journal = SqliteJournal(path)
    done = renewals(journal, monkeypatch)
    failing = True
    faults.due = lambda sql: failing and sql.startswith("UPDATE owner")
    time.pass_by(LEASE_S)
    nudge(journal)
    assert done.acquire(timeout=PATIENCE_S)
    assert not journal.held
    failing = False
    assert done.acquire(timeout=PATIENCE_S)
    a_run(journal)
    assert journal.held
    assert journal.close(PATIENCE_S)


def test_confirming_says_when_the_journal_is_closed(path: Path) -> None:
    journal = SqliteJournal(path)
    assert journal.close(PATIENCE_S)
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.confirm(print)
    answered = Sent("", 0, [])
    assert answered.answers == []
