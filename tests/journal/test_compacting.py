"""Moving runs to the archive: which may move, what readers see then, and what stands in the way."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from compaction_support import LATER, kept_here, moved, over
from journal_support import PATIENCE_S, RunLog, a_run, finished, note, started

from executus.errors import ArchiveMissing, Deposed, JournalError, JournalInUse, JournalUnavailable, RequestRepeated
from executus.events import (
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    Fact,
    NoteLogged,
)
from executus.journal import (
    Compacted,
    Compactor,
    Inspection,
    SqliteJournal,
    Subscription,
    Terms,
    plan,
    read_journal,
    verify_run,
)
from executus.projections import fold


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path)
    yield opened
    assert opened.close(PATIENCE_S)


def shows(journal: Any, *runs: RunLog) -> bool:
    return all(
        journal.read(run.run_id, verify=True) == run.events
        and journal.load(run.run_id) == fold(run.events)
        and verify_run(journal, run.run_id) == []
        for run in runs
    )


class TestWhatMoves:
    def test_finished_runs_move_and_are_read_as_before(self, journal: SqliteJournal, path: Path) -> None:
        runs = [over(journal, facts=(note(1), note(2))) for _ in range(3)]
        live = a_run(journal, 2)
        before = journal.scan()
        assert moved(journal) == [run.run_id for run in runs]
        assert kept_here(journal) == {live.run_id}
        assert journal.scan() == before
        assert shows(journal, *runs, live)
        archive = path.with_name("runs.db.archive")
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600

    def test_moving_twice_moves_nothing_more(self, journal: SqliteJournal) -> None:
        over(journal)
        a_run(journal)
        assert len(moved(journal)) == 1
        assert moved(journal) == []

    def test_the_run_with_the_newest_event_stays(self, journal: SqliteJournal) -> None:
        old, newest = over(journal), over(journal)
        planned = plan(journal, LATER)
        assert [run.run_id for run in planned.runs] == [old.run_id]
        assert planned.staying == {"newest": 1}
        over(journal)
        assert moved(journal) == [old.run_id, newest.run_id]

    def test_a_family_moves_only_when_all_of_it_is_over(self, journal: SqliteJournal) -> None:
        root = str(uuid4())
        child = over(journal, root_run_id=root, parent_run_id=root)
        parent = RunLog(journal, root).start()
        over(journal)
        planned = plan(journal, LATER)
        assert root not in [run.run_id for run in planned.runs]
        assert planned.staying == {"unfinished": 2, "newest": 1}
        parent.write(finished())
        a_run(journal)
        assert {root, child.run_id} <= set(moved(journal))
        assert shows(journal, parent, child)

    def test_age_is_that_of_the_newest_event_of_the_family(self, journal: SqliteJournal) -> None:
        run = over(journal, note(1))
        a_run(journal)
        newest_us = run.events[-1].at_us
        assert plan(journal, Terms(before_us=newest_us)).staying == {"young": 1, "unfinished": 1}
        assert moved(journal, Terms(before_us=newest_us + 1)) == [run.run_id]

    def test_caller_status_and_the_newest_can_be_chosen(self, journal: SqliteJournal) -> None:
        alice = over(journal, caller_id="alice")
        bob = over(journal, note(1), caller_id="bob", status="error")
        last = over(journal, caller_id="alice")
        a_run(journal)

        def would(**terms: Any) -> list[str]:
            return [run.run_id for run in plan(journal, Terms(before_us=1 << 60, **terms)).runs]

        assert would(caller="alice") == [alice.run_id, last.run_id]
        assert would(statuses=("error", "killed")) == [bob.run_id]
        assert would(keep=2) == [alice.run_id, bob.run_id]
        assert would(keep=4) == []
        assert would(caller="bob", statuses=("ok",)) == []

    @pytest.mark.parametrize(
        ("after", "moves"),
        [
            ((), False),
            ((DeliveryAttempted(attempt=1, key="k"),), False),
            ((DeliveryAttempted(attempt=1, key="k"), DeliveryFailed(attempt=1, error="no", retry_at_us=9)), False),
            ((DeliveryAttempted(attempt=1, key="k"), DeliveryFailed(attempt=1, error="no", retry_at_us=None)), True),
            ((DeliveryAttempted(attempt=1, key="k"), Delivered(attempt=1), note(1)), True),
        ],
    )
    def test_an_output_that_is_still_to_be_delivered_keeps_its_run(
        self, journal: SqliteJournal, after: tuple[Fact, ...], moves: bool
    ) -> None:
        over(journal, *after, deliver=True)
        a_run(journal)
        planned = plan(journal, LATER)
        assert bool(planned.runs) is moves
        assert ("delivery" in planned.staying) is not moves

    def test_a_damaged_run_stays_and_says_why(self, journal: SqliteJournal, path: Path) -> None:
        bad, good = over(journal, facts=(note(1),)), over(journal)
        a_run(journal)
        connection = sqlite3.connect(path, isolation_level=None)
        sql = "UPDATE stored_events SET state = substr(state, 1, 60) WHERE rowid = ?"
        connection.execute(sql, (bad.events[1].position,))
        connection.close()
        done = Compactor(journal, plan(journal, LATER), at_us=1).move()
        assert [problem.run_id for problem in done.problems] == [bad.run_id]
        assert "it stays" in str(done.problems[0])
        assert bad.run_id in kept_here(journal)
        assert good.run_id not in kept_here(journal)


class TestWhatIsLeft:
    def test_a_request_is_remembered_for_ever(self, journal: SqliteJournal) -> None:
        run = over(journal, key="alice\n1")
        a_run(journal)
        moved(journal)
        error = RunLog(journal).send(started(str(uuid4())), request_key="alice\n1").answer()
        assert isinstance(error, RequestRepeated)
        assert error.run_id == run.run_id == journal.find_request("alice\n1")

    def test_what_comes_after_the_move_is_read_with_the_rest_and_moves_later(self, journal: SqliteJournal) -> None:
        run = over(journal, facts=(note(1),))
        a_run(journal)
        moved(journal)
        run.write(note(2), NoteLogged(type="later", payload={"text": "x" * 100_000}))
        assert shows(journal, run)
        a_run(journal)
        assert moved(journal) == [run.run_id]
        assert run.run_id not in kept_here(journal)
        assert shows(journal, run)
        assert [one for one in Inspection(journal).of_everything() if "stats" not in one.why] == []

    def test_a_subscription_from_the_beginning_sees_what_was_moved(self, journal: SqliteJournal) -> None:
        runs = [over(journal) for _ in range(3)]
        everything = [event for run in runs for event in run.events] + a_run(journal).events
        moved(journal)
        with Subscription(journal) as following:
            assert following.take(PATIENCE_S) == everything
        with Subscription(journal, run_id=runs[1].run_id) as following:
            assert list(following) == runs[1].events

    def test_payloads_go_with_their_runs_unless_others_need_them(self, journal: SqliteJournal, path: Path) -> None:
        shared, own = note(1, "s" * 70_000), note(2, "o" * 70_000)
        gone = over(journal, facts=(shared, own))
        live = RunLog(journal).start()
        live.write(shared)
        moved(journal)
        assert len(journal.ask("SELECT 1 FROM blobs")) == 1
        path.with_name("runs.db.archive").rename(path.with_name("away"))
        assert journal.read(live.run_id) == live.events
        with pytest.raises(ArchiveMissing):
            journal.read(gone.run_id)

    def test_the_archive_is_a_journal_that_can_be_read_by_itself(self, journal: SqliteJournal, path: Path) -> None:
        runs = [over(journal, facts=(note(n, "x" * 70_000),)) for n in range(3)]
        a_run(journal)
        moved(journal)
        reader = read_journal(path.with_name("runs.db.archive"))
        assert [row.run_id for row in reader.runs()] == [run.run_id for run in runs]
        assert reader.scan() == [event for run in runs for event in run.events]
        assert [one for one in Inspection(reader).of_everything() if "stats" not in one.why] == []
        reader.close()
        archive = SqliteJournal(path.with_name("runs.db.archive"))
        with pytest.raises(JournalError, match="an archive itself"):
            Compactor(archive, plan(archive, LATER), at_us=1).move()
        assert archive.close(PATIENCE_S)

    def test_runs_that_are_live_go_on_while_others_move(self, journal: SqliteJournal) -> None:
        finished_runs = [over(journal, facts=tuple(note(n) for n in range(30))) for _ in range(30)]
        live = [a_run(journal) for _ in range(4)]
        stop = threading.Event()

        def work(run: RunLog) -> None:
            while not stop.is_set():
                run.write(note(1))

        threads = [threading.Thread(target=work, args=(run,)) for run in live]
        for thread in threads:
            thread.start()
        try:
            assert len(moved(journal)) == 30
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        assert shows(journal, *live, *finished_runs)
        positions = [event.position for event in journal.scan(0, 100_000)]
        assert positions == list(range(1, journal.head() + 1))


class TestWhatStandsInTheWay:
    def test_a_run_that_went_on_since_the_plan_stays(self, journal: SqliteJournal) -> None:
        run = over(journal)
        a_run(journal)
        planned = plan(journal, LATER)
        run.write(note(1))
        assert Compactor(journal, planned, at_us=1).move() == Compacted()
        assert kept_here(journal) >= {run.run_id}

    def test_a_run_that_goes_on_while_it_is_copied_stays(
        self, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = over(journal)
        a_run(journal)
        real = Compactor._mark

        def late(self: Compactor, runs: Any) -> set[str]:
            run.write(note(1))
            return real(self, runs)

        monkeypatch.setattr(Compactor, "_mark", late)
        done = Compactor(journal, plan(journal, LATER), at_us=1).move()
        assert (done.runs, done.problems) == (0, [])
        assert shows(journal, run)
        monkeypatch.undo()
        a_run(journal)
        assert moved(journal) == [run.run_id]
        assert shows(journal, run)

    def test_the_archive_of_another_journal_is_left_alone(self, journal: SqliteJournal, path: Path) -> None:
        other_path = path.with_name("other.db")
        other = SqliteJournal(other_path)
        theirs = over(other)
        a_run(other)
        moved(other)
        assert other.close(PATIENCE_S)
        for ending in ("", "-wal", "-shm"):
            file = other_path.with_name(f"other.db.archive{ending}")
            if file.exists():
                file.rename(path.with_name(f"runs.db.archive{ending}"))
        mine = over(journal)
        a_run(journal)
        with pytest.raises(JournalError, match="archive of another journal; nothing was deleted"):
            Compactor(journal, plan(journal, LATER), at_us=1).move()
        assert shows(journal, mine)
        archive = read_journal(path.with_name("runs.db.archive"))
        assert archive.read(theirs.run_id) == theirs.events
        archive.close()
        found = [str(one) for one in Inspection(journal).of_everything() if not one.remark]
        assert any("another event at this position" in one for one in found)

    def test_an_archive_in_use_is_not_touched(self, journal: SqliteJournal, path: Path) -> None:
        mine = over(journal)
        a_run(journal)
        moved(journal)
        over(journal)
        a_run(journal)
        owner = SqliteJournal(path.with_name("runs.db.archive"))
        with pytest.raises(JournalInUse):
            Compactor(journal, plan(journal, LATER), at_us=1).move()
        assert owner.close(PATIENCE_S)
        assert shows(journal, mine)

    def test_a_copy_that_is_not_whole_deletes_nothing(
        self, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = over(journal, facts=(note(1),))
        a_run(journal)
        real = Compactor._put
        monkeypatch.setattr(
            Compactor, "_put", lambda self, archive, clear, rows, runs: real(self, archive, clear, rows[1:], runs)
        )
        with pytest.raises(JournalError, match=r"is not whole .* nothing was deleted"):
            Compactor(journal, plan(journal, LATER), at_us=1).move()
        assert run.run_id in kept_here(journal)
        monkeypatch.undo()
        assert moved(journal) == [run.run_id]
        assert shows(journal, run)

    def test_a_missing_archive_is_named_for_its_runs_only(self, journal: SqliteJournal, path: Path) -> None:
        gone, live = over(journal), a_run(journal)
        moved(journal)
        archive = path.with_name("runs.db.archive")
        aside = archive.rename(path.with_name("aside"))
        with pytest.raises(ArchiveMissing) as caught:
            journal.read(gone.run_id)
        assert caught.value.path == str(archive)
        assert caught.value.run_id == gone.run_id
        assert journal.load(gone.run_id) == fold(gone.events), "what it came to is still here"
        assert shows(journal, live)
        assert journal.scan() == live.events
        found = [one for one in Inspection(journal).of_everything() if not one.remark]
        assert [str(archive) in one.why for one in found] == [True]
        aside.rename(archive)
        assert shows(journal, gone)


class TestChores:
    def test_what_a_chore_raises_goes_to_who_asked_and_hurts_no_append(self, journal: SqliteJournal) -> None:
        def fails(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM owner")
            raise ValueError("no")

        run = a_run(journal)
        with pytest.raises(ValueError, match="no"):
            journal.maintain(fails)
        run.write(note(1))
        assert journal.epoch == 1

    def test_a_chore_of_a_deposed_host_does_nothing(self, journal: SqliteJournal, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("UPDATE owner SET epoch = epoch + 1")
        connection.close()
        done: list[object] = []
        with pytest.raises(Deposed):
            journal.maintain(lambda connection: done.append(connection))
        assert done == []

    @pytest.mark.parametrize("calls", [1, 3])
    def test_a_closed_journal_does_no_chores(self, path: Path, calls: int) -> None:
        journal = SqliteJournal(path)
        assert journal.close(PATIENCE_S)
        work: Callable[[sqlite3.Connection], None] = lambda connection: None  # noqa: E731
        for _ in range(calls):
            with pytest.raises(JournalUnavailable):
                journal.maintain(work)
