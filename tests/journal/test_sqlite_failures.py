"""When the disk, a neighbour or another host goes wrong: nothing acknowledged is lost, and nobody else suffers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_support import PATIENCE_S, Faults, RunLog, Sent, a_run, note, started

from executus.errors import Deposed, JournalConflict, JournalError, JournalUnavailable, Overloaded
from executus.events.codec import Stored
from executus.journal import SqliteJournal, verify_run
from executus.journal import checkpoints as checkpoints_module
from executus.journal import sqlite as sqlite_module


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults.planted(monkeypatch)


@pytest.fixture
def journal(tmp_path: Path, faults: Faults) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "runs.db")
    yield opened
    faults.due = lambda _: False
    assert opened.close(PATIENCE_S)


def taken_up(journal: SqliteJournal, run: RunLog) -> RunLog:
    """The run as an owner finds it who looks at the log again."""
    found = RunLog(journal, run.run_id)
    found.events = journal.read(run.run_id, verify=True)
    found.version, found.hash = found.events[-1].version, found.events[-1].hash
    return found


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("nth", range(1, 9))
def test_whatever_statement_fails_the_log_is_a_prefix_and_the_next_append_works(
    journal: SqliteJournal, faults: Faults, nth: int, sticky: bool
) -> None:
    runs = [a_run(journal, 2) for _ in range(3)]
    count = 0

    def due(_: str) -> bool:
        nonlocal count
        count += 1
        return count >= nth if sticky else count == nth

    faults.due = due
    sent = [run.send(note(1, "x" * 70_000), note(2)) for run in runs]
    answers = [one.answer() for one in sent]
    faults.due = lambda _: False
    assert all(answer is None or isinstance(answer, JournalUnavailable) for answer in answers)
    for run, answer in zip(runs, answers, strict=True):
        found = taken_up(journal, run)
        if answer is None:
            assert found.events == run.events
        found.write(note(3))
        assert journal.read(run.run_id, verify=True) == found.events
        assert verify_run(journal, run.run_id) == []
    positions = [event.position for event in journal.scan(limit=1000)]
    assert positions == sorted(set(positions))


def test_a_failed_commit_is_an_unknown_outcome_on_a_new_connection(journal: SqliteJournal, faults: Faults) -> None:
    run = a_run(journal)
    faults.due = lambda sql: sql == "COMMIT"
    before = faults.opened
    assert isinstance(run.send(note(1)).answer(), JournalUnavailable)
    faults.due = lambda _: False
    taken_up(journal, run).write(note(2))
    assert faults.opened == before + 1


def test_a_commit_that_worked_but_reported_failure_is_found_by_looking(journal: SqliteJournal, faults: Faults) -> None:
    run = a_run(journal)

    faults.due, faults.fault = (lambda sql: sql == "COMMIT"), faults.commit_then_fail
    sent = run.send(note(1))
    assert isinstance(sent.answer(), JournalUnavailable)
    faults.due = lambda _: False
    again = Sent(run.run_id, 1, sent.stored)
    journal.append(again)
    answer = again.answer()
    assert isinstance(answer, JournalConflict)
    assert answer.found == 2
    taken_up(journal, run).write(note(2))


def test_a_journal_that_cannot_be_reopened_says_so_until_it_can(journal: SqliteJournal, faults: Faults) -> None:
    run = a_run(journal)
    faults.due = lambda sql: True
    for _ in range(3):
        assert isinstance(run.send(note(1)).answer(), JournalUnavailable)
    faults.due = lambda _: False
    taken_up(journal, run).write(note(2))


def test_a_poison_append_never_fails_its_neighbours(journal: SqliteJournal, faults: Faults) -> None:
    hold, held = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        held.set()
        assert hold.wait(PATIENCE_S)

    runs = [a_run(journal) for _ in range(6)]
    faults.due, faults.fault = (lambda sql: sql == "BEGIN IMMEDIATE" and not held.is_set()), wait
    first = runs[0].send(note(1))
    assert held.wait(PATIENCE_S)
    good = [run.send(note(2)) for run in runs[1:3]]
    poison = Sent(runs[3].run_id, 1, [Stored(runs[3].encode(note(1))[0].event, object(), runs[3].hash)])  # type: ignore[arg-type]
    journal.append(poison)
    good += [run.send(note(3)) for run in runs[4:]]
    hold.set()  # now all of these are in one transaction
    assert first.answer() is None
    assert [one.answer() for one in good] == [None] * 4
    answer = poison.answer()
    assert isinstance(answer, JournalUnavailable)
    assert "cannot be stored" in str(answer)
    runs[3].write(note(4))


def test_a_poison_append_alone_is_refused_too(journal: SqliteJournal) -> None:
    run = a_run(journal)
    poison = Sent(run.run_id, 1, [Stored(run.encode(note(1))[0].event, object(), run.hash)])  # type: ignore[arg-type]
    journal.append(poison)
    assert isinstance(poison.answer(), JournalUnavailable)
    run.write(note(1))


def test_a_deposed_host_stores_nothing_more(journal: SqliteJournal) -> None:
    run = a_run(journal, 2)
    with sqlite3.connect(journal.path) as usurper:
        usurper.execute("UPDATE owner SET epoch = epoch + 1")
    usurper.close()
    for _ in range(3):
        sent = Sent(run.run_id, run.version, run.encode(note(1)))
        journal.append(sent)
        answer = sent.answer()
        assert isinstance(answer, Deposed)
        assert (answer.mine, answer.found) == (1, 2)
    assert len(journal.read(run.run_id)) == 3


def test_what_somebody_else_stored_is_seen_and_is_a_conflict(journal: SqliteJournal) -> None:
    run = a_run(journal)
    stored = run.encode(note(1))[0]
    with sqlite3.connect(journal.path) as other:
        other.execute("UPDATE runs SET version = 2, hash = ?", (stored.event.hash,))
        other.execute(
            "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
            " SELECT originator_id, 2, 'note-logged', ? FROM stored_events",
            (stored.state,),
        )
    other.close()
    answer = run.send(note(9)).answer()
    assert isinstance(answer, JournalConflict)
    assert answer.found == 2


def test_a_head_that_somebody_else_moved_is_noticed(journal: SqliteJournal) -> None:
    run = a_run(journal)
    with sqlite3.connect(journal.path) as other:
        other.execute("UPDATE runs SET version = 5")
    other.close()
    answer = run.send(note(1)).answer()
    assert isinstance(answer, JournalConflict)
    assert answer.found == 5
    assert journal.head() == 1


def test_positions_are_never_used_twice_even_if_rows_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    a_run(journal, 4)
    journal.close()
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM stored_events WHERE rowid > 2")
        other.execute("DELETE FROM runs")
    other.close()
    journal = SqliteJournal(path)
    assert journal.head() == 5
    assert a_run(journal).events[0].position == 6
    journal.close()


def test_a_full_disk_is_a_clear_error_and_passes(journal: SqliteJournal, faults: Faults) -> None:
    run, other = a_run(journal, 2), a_run(journal)
    connection = journal._writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    big = run.send(*(note(number, "x" * 30_000) for number in range(4)))
    answer = big.answer()
    assert isinstance(answer, JournalUnavailable)
    assert "full" in str(answer)
    assert len(journal.read(run.run_id, verify=True)) == 3  # all of an append or nothing
    other.write(note(1))  # the new connection has no such limit
    taken_up(journal, run).write(note(1))


def test_another_programs_lock_is_waited_for_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_MS", 50)
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal)
    holder = sqlite3.connect(journal.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = run.send(note(1)).answer()
    assert isinstance(answer, JournalUnavailable)
    assert "locked" in str(answer)
    assert len(journal.read(run.run_id)) == 1  # readers do not mind
    holder.execute("ROLLBACK")
    holder.close()
    taken_up(journal, run).write(note(2))
    assert journal.close()


def test_a_reader_that_finds_no_descriptor_harms_no_writer(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(path: str) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    run = a_run(journal)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_module, "open_for_reading", no_descriptors)
        with pytest.raises(JournalUnavailable, match="unable to open"):
            journal.read(run.run_id)
        run.write(note(1))
    assert journal.read(run.run_id) == run.events


# ------------------------------------------------------------------ limits and ends


@pytest.fixture
def stuck(journal: SqliteJournal, faults: Faults) -> Iterator[threading.Event]:
    """The writer waits in a commit until the event is set."""
    go, held = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        held.set()
        assert go.wait(PATIENCE_S)

    faults.due, faults.fault = (lambda sql: sql == "COMMIT"), wait
    RunLog(journal).send(started("019a0000-0000-7000-8000-000000000000"))
    assert held.wait(PATIENCE_S)
    yield go
    go.set()


def test_a_full_queue_is_refused_and_stays_bounded(
    journal: SqliteJournal, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal._writer, "_max_queued", 3)
    runs = [RunLog(journal) for _ in range(4)]
    sent = [run.send(started(run.run_id)) for run in runs[:3]]
    with pytest.raises(Overloaded, match="limit of 3"):
        runs[3].send(started(runs[3].run_id))
    stuck.set()
    assert [one.answer() for one in sent] == [None] * 3


def test_a_close_does_not_wait_longer_than_it_may(journal: SqliteJournal, stuck: threading.Event) -> None:
    run = RunLog(journal)
    queued = run.send(started(run.run_id))
    assert journal.close(timeout=0.01) is False
    with pytest.raises(JournalUnavailable, match="closed"):
        run.send(note(1))
    stuck.set()
    assert journal.close(PATIENCE_S) is True
    assert queued.answer() is None


def test_a_close_from_an_acknowledgement_does_not_wait_for_itself(journal: SqliteJournal) -> None:
    answers: list[bool] = []

    class Closing(Sent):
        def done(self, error: JournalError | None) -> None:
            answers.append(journal.close(PATIENCE_S))
            super().done(error)

    run = RunLog(journal)
    closing = Closing(run.run_id, 0, run.encode(started(run.run_id)))
    journal.append(closing)
    closing.ok()
    assert answers == [False]
    assert journal.close(PATIENCE_S)


# ------------------------------------------------------------------ the write-ahead log


def wal_bytes(journal: SqliteJournal) -> int:
    return Path(journal.path + "-wal").stat().st_size


def test_the_log_stays_short_however_much_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 400_000
    monkeypatch.setattr(checkpoints_module, "WAL_BYTES", limit)
    monkeypatch.setattr(sqlite_module, "WAL_BYTES", limit)
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal)
    largest = 0
    for number in range(200):
        run.write(*(note(number, "x" * 5_000) for _ in range(4)))
        largest = max(largest, wal_bytes(journal))
    assert Path(journal.path).stat().st_size > 5 * limit
    assert largest < 3 * limit
    assert journal.close()
    assert wal_bytes(journal) == 0


def test_the_log_is_emptied_when_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emptied = threading.Event()
    real = checkpoints_module.WalKeeper.checkpoint

    def checkpoint(
        keeper: checkpoints_module.WalKeeper, connection: sqlite3.Connection, *, empty: bool = False
    ) -> None:
        real(keeper, connection, empty=empty)
        if empty and not keeper.dirty:
            emptied.set()

    monkeypatch.setattr(checkpoints_module.WalKeeper, "checkpoint", checkpoint)
    monkeypatch.setattr("executus.journal.writer.IDLE_S", 0.01)
    journal = SqliteJournal(tmp_path / "runs.db")
    a_run(journal, 10)
    assert emptied.wait(PATIENCE_S)
    assert wal_bytes(journal) == 0
    journal.close()


def test_a_reader_that_holds_the_log_delays_no_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints_module, "WAL_BYTES", 100_000)
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal)
    holder = sqlite3.connect(journal.path, isolation_level=None)
    holder.execute("BEGIN")
    seen = holder.execute("SELECT count(*) FROM stored_events").fetchone()
    for number in range(30):
        run.write(note(number, "x" * 20_000))
    assert holder.execute("SELECT count(*) FROM stored_events").fetchone() == seen
    holder.execute("COMMIT")
    holder.close()
    assert journal.close()
    assert wal_bytes(journal) == 0


@pytest.mark.parametrize("what", ["", "-wal"])
def test_a_journal_whose_files_are_taken_away_stops_loudly(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal, 2)
    Path(journal.path + what).rename(tmp_path / "elsewhere")
    for _ in range(2):
        answer = run.send(note(1)).answer()
        assert isinstance(answer, JournalUnavailable)
        assert "while in use" in str(answer)
    assert any(record.levelname == "CRITICAL" for record in caplog.records)
    assert journal.close(PATIENCE_S)


def test_a_log_that_grows_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    keeper = checkpoints_module.WalKeeper(8192)
    for size in (60 << 20, 65 << 20, 66 << 20):
        keeper.wrote(1000, 1, size)
    assert [record.message for record in caplog.records] == [
        "the journal's write-ahead log has grown to 65 MB: a reader holds it"
    ]
