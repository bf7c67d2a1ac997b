"""A commit that fails to report: followers learn what was stored, in order, once, and as soon as it can be seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from journal_support import PATIENCE_S, Faults, RunLog, Sent, a_run, disk_error, finished, note, started

from executus.errors import JournalConflict, JournalUnavailable
from executus.events import Event
from executus.events.codec import Stored
from executus.journal import SqliteJournal, Subscription


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults.planted(monkeypatch)


@pytest.fixture
def journal(tmp_path: Path, faults: Faults) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "runs.db")
    yield opened
    faults.due = lambda _: False
    assert opened.close(PATIENCE_S)


class Told:
    """A follower that can be waited for."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.positions: list[int] = []
        self._more = threading.Condition()
        journal.follow(self)

    def __call__(self, events: Sequence[Event], /) -> None:
        with self._more:
            self.positions += [event.position for event in events]
            self._more.notify_all()

    def up_to(self, count: int) -> list[int]:
        """Wait until so many were told."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.positions) >= count, PATIENCE_S), self.positions
            return list(self.positions)


class Once:
    """Due at the first COMMIT only, or at the first so many of any statement after it."""

    def __init__(self, then: int = 0) -> None:
        self.commits, self.then = 0, then

    def __call__(self, sql: str) -> bool:
        if self.commits == 0:
            self.commits += sql == "COMMIT"
            return self.commits == 1
        self.then -= 1
        return self.then >= 0


def test_what_a_failed_commit_has_stored_is_told_without_another_one(journal: SqliteJournal, faults: Faults) -> None:
    run = a_run(journal)
    told = Told(journal)
    faults.due, faults.fault = Once(), faults.commit_then_fail
    assert isinstance(run.send(note(1), note(2)).answer(), JournalUnavailable)
    assert told.up_to(2) == [2, 3]


def test_a_subscription_ends_though_the_commit_of_the_end_reported_a_failure(
    journal: SqliteJournal, faults: Faults
) -> None:
    run = a_run(journal)
    subscription = Subscription(journal, run_id=run.run_id, timeout=PATIENCE_S)
    assert next(subscription).version == 1  # from here on it lives on what it is told
    assert subscription.poll() == []
    faults.due, faults.fault = Once(), faults.commit_then_fail
    assert isinstance(run.send(finished()).answer(), JournalUnavailable)
    assert [event.tag for event in subscription] == ["run-finished"]


def test_what_a_failed_commit_has_not_stored_is_never_told(journal: SqliteJournal, faults: Faults) -> None:
    lost, run = a_run(journal), a_run(journal)
    told = Told(journal)
    faults.due = Once()
    assert isinstance(lost.send(note(1)).answer(), JournalUnavailable)
    run.write(note(2))
    assert told.up_to(1) == [3]
    assert [event.run_id for event in journal.scan(2)] == [run.run_id]


def test_what_is_stored_later_is_told_later(journal: SqliteJournal, faults: Faults) -> None:
    """The look at the log fails too, again and again: until it works, nothing is stored and nothing is told."""
    first, second = a_run(journal), a_run(journal)
    told = Told(journal)

    def first_stores(sql: str) -> None:
        if sql == "COMMIT":
            faults.commit_then_fail(sql)
        disk_error(sql)

    faults.due, faults.fault = Once(then=5), first_stores
    sent = first.send(note(1))
    assert isinstance(sent.answer(), JournalUnavailable)
    while sent.answer() is not None:
        assert isinstance(sent.answer(), JournalUnavailable)
        sent = Sent(second.run_id, 1, second.encode(note(2)))
        journal.append(sent)
    assert told.up_to(2) == [3, 4]
    assert [event.run_id for event in journal.scan(2)] == [first.run_id, second.run_id]


def test_what_a_failed_commit_has_stored_is_told_before_the_journal_ends(
    journal: SqliteJournal, faults: Faults
) -> None:
    run = a_run(journal)
    ends: list[list[int]] = []

    class Ending(Told):
        def ended(self) -> None:
            ends.append(self.positions)

    Ending(journal)
    go = threading.Event()

    def wait_and_fail(sql: str) -> None:
        assert go.wait(PATIENCE_S)
        faults.commit_then_fail(sql)

    faults.due, faults.fault = Once(), wait_and_fail
    sent = run.send(note(1))
    journal.close(0.0)
    go.set()
    assert isinstance(sent.answer(), JournalUnavailable)
    assert journal.close(PATIENCE_S)
    assert ends == [[2]]


def test_a_commit_that_fails_among_poison_keeps_the_order(journal: SqliteJournal, faults: Faults) -> None:
    """Appends that are stored one by one, since one of them is poison: one of these commits fails to report."""
    runs = [a_run(journal) for _ in range(4)]
    told = Told(journal)
    go, held, commits = threading.Event(), threading.Event(), 0

    def due(sql: str) -> bool:
        nonlocal commits
        if sql == "BEGIN IMMEDIATE" and not held.is_set():
            held.set()
            assert go.wait(PATIENCE_S)
        commits += sql == "COMMIT"
        return sql == "COMMIT" and commits == 3  # of the first alone, of the second, and of this one

    faults.due, faults.fault = due, faults.commit_then_fail
    sent = [runs[0].send(note(0))]
    assert held.wait(PATIENCE_S)
    sent += [runs[1].send(note(1)), runs[2].send(note(2))]
    poison = Sent(runs[3].run_id, 1, [Stored(runs[3].encode(note(3))[0].event, object(), runs[3].hash)])  # type: ignore[arg-type]
    journal.append(poison)
    sent.append(runs[3].send(note(4)))
    go.set()
    answers = [one.answer() for one in sent]
    assert [answer is None for answer in answers] == [True, True, False, True]
    assert poison.answer() is not None
    assert told.up_to(4) == [5, 6, 7, 8]
    assert [event.run_id for event in journal.scan(4)] == [run.run_id for run in runs]


def test_a_start_that_was_stored_after_all_is_found_by_its_request(journal: SqliteJournal, faults: Faults) -> None:
    told = Told(journal)
    faults.due, faults.fault = Once(), faults.commit_then_fail
    run = RunLog(journal)
    assert isinstance(run.send(started(run.run_id), request_key="me\nr1").answer(), JournalUnavailable)
    again = RunLog(journal, run.run_id)
    answer = again.send(started(run.run_id), request_key="me\nr1").answer()
    assert answer is not None
    assert not isinstance(answer, (JournalUnavailable, JournalConflict))
    assert told.up_to(1) == [1]
