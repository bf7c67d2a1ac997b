"""What the journal of two adds to the contract: which runs are kept aside, with whom, and how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from journal_support import PATIENCE_S, RunLog, Sent, a_run, finished, note, started
from msgspec.structs import replace

from executus.errors import JournalConflict, RequestRepeated, UnknownRun
from executus.events import Event, RunFinished, RunStarted
from executus.journal import BesideJournal, OutsideReader, SqliteJournal, beside, verify_run


@pytest.fixture
def both(tmp_path: Path) -> Iterator[BesideJournal]:
    journal = BesideJournal(SqliteJournal(tmp_path / "runs.db"))
    yield journal
    assert journal.close(PATIENCE_S)


def an_aside(both: BesideJournal, notes: int = 0, *, recorded: bool = True) -> RunLog:
    """A run in memory."""
    run = RunLog(both)
    both.keep_aside(run.run_id, recorded=recorded)
    run.write(started(run.run_id), *(note(number) for number in range(notes)))
    return run


def child_fact(run: RunLog, parent: RunLog, root: RunLog, depth: int) -> RunStarted:
    fact = started(run.run_id)
    return replace(fact, info=replace(fact.info, parent_run_id=parent.run_id, root_run_id=root.run_id, depth=depth))


def a_child(parent: RunLog, root: RunLog | None = None, depth: int = 1) -> RunLog:
    """A child as its actor starts it: nobody names it to the journal."""
    run = RunLog(parent.journal)
    run.write(child_fact(run, parent, root or parent, depth))
    return run


def in_file(both: BesideJournal) -> list[str]:
    """Ids of the runs that somebody else finds in the file."""
    reader = OutsideReader(both.stored.path)  # type: ignore[union-attr]
    try:
        return [row.run_id for row in reader.runs()]
    finally:
        reader.close()


def unknown(both: BesideJournal, run: RunLog) -> bool:
    """Whether nothing of the run is left."""
    for reading in (both.read, both.load):
        try:
            reading(run.run_id)
        except UnknownRun:
            continue
        return False
    return both.run(run.run_id) is None and both.rows(run.run_id) == []


# ------------------------------------------------------------------ where a run is


def test_what_is_kept_aside_is_read_like_any_run_and_never_in_the_file(both: BesideJournal) -> None:
    stored, aside = a_run(both, 2), an_aside(both, 2)
    for run in (stored, aside):
        assert both.read(run.run_id, verify=True) == run.events
        assert both.load(run.run_id).version == 3
        assert verify_run(both, run.run_id) == []
    assert (both.is_aside(stored.run_id), both.is_aside(aside.run_id)) == (False, True)
    assert in_file(both) == [stored.run_id]


def test_what_goes_by_position_is_of_stored_runs_alone(both: BesideJournal) -> None:
    runs = [an_aside(both, 1), a_run(both, 1), an_aside(both, 1)]
    assert both.scan() == runs[1].events
    assert both.head() == 2
    assert [row.run_id for row in both.runs()] == [row.run_id for row in both.runs(unfinished=True)] == [runs[1].run_id]


def test_children_of_every_generation_follow_their_root(both: BesideJournal) -> None:
    homes = [(a_run(both), False), (an_aside(both), True)]
    for root, aside in homes:
        child = a_child(root)
        grandchild = a_child(child, root, 2)
        grandchild.write(note(1), finished())
        assert [both.is_aside(run.run_id) for run in (child, grandchild)] == [aside, aside]
    root = homes[0][0]
    assert len(in_file(both)) == 3
    assert in_file(both)[0] == root.run_id


# ------------------------------------------------------------------ runs that are not recorded


def test_an_unrecorded_run_leaves_only_its_end(both: BesideJournal) -> None:
    run = an_aside(both, 2, recorded=False)
    assert both.read(run.run_id) == run.events
    assert both.end_of(run.run_id) is None
    run.write(finished())
    assert both.end_of(run.run_id) == finished()
    assert unknown(both, run)
    assert both.is_aside(run.run_id), "a late append must not go to the file"
    assert isinstance(run.send(note(9)).answer(), JournalConflict)
    assert in_file(both) == []


def test_a_recorded_run_in_memory_outlives_its_end_and_takes_notes(both: BesideJournal) -> None:
    run = an_aside(both)
    run.write(finished())
    run.write(note(1))
    assert both.read(run.run_id, verify=True) == run.events
    assert both.end_of(run.run_id) is None
    assert (both.is_recorded(run.run_id), both.is_recorded(an_aside(both, recorded=False).run_id)) == (True, False)


def test_an_end_that_is_refused_is_none(both: BesideJournal) -> None:
    run = an_aside(both, 1, recorded=False)
    stale = Sent(run.run_id, 1, run.encode(finished()))
    both.append(stale)
    assert isinstance(stale.answer(), JournalConflict)
    assert both.end_of(run.run_id) is None
    assert both.read(run.run_id) == run.events


def test_a_child_that_is_over_is_kept_until_its_unrecorded_root_is(both: BesideJournal) -> None:
    root = an_aside(both, recorded=False)
    early, late = a_child(root), a_child(root)
    below = a_child(early, root, 2)
    early.write(finished())
    below.write(finished())
    assert both.read(early.run_id) == early.events
    root.write(finished())
    assert [unknown(both, run) for run in (root, early, below)] == [True] * 3
    assert both.read(late.run_id) == late.events, "it is not over"
    late.write(finished())
    assert unknown(both, late)
    assert [both.end_of(run.run_id) for run in (root, early, below, late)] == [finished()] * 4


def test_only_the_last_runs_that_ended_are_remembered_and_nothing_grows(
    both: BesideJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "KEPT", 3)
    small = BesideJournal(both.stored)
    live = an_aside(small)
    runs: list[RunLog] = []
    for number in range(10):
        run = RunLog(small)
        small.keep_aside(run.run_id, recorded=number % 2 == 0)
        run.write(started(run.run_id), request_key=f"alice:{number}")
        run.write(finished())
        runs.append(run)
    assert [unknown(small, run) for run in runs] == [True] * 8 + [False, True]
    assert [small.end_of(run.run_id) is not None for run in runs] == [False] * 7 + [True, False, True]
    assert [small.find_request(f"alice:{number}") is not None for number in range(10)] == [False] * 7 + [True] * 3
    assert [small.is_aside(run.run_id) for run in (live, *runs)] == [True] + [False] * 7 + [True] * 3
    assert small.read(live.run_id) == live.events
    assert [len(kept) for kept in (small._aside, small._ends, small._requests, small._order)] == [4, 2, 2, 3]
    assert len(small.aside.runs()) == 2


# ------------------------------------------------------------------ requests


def test_a_request_is_one_run_wherever_it_is_kept(both: BesideJournal) -> None:
    stored, aside = RunLog(both), RunLog(both)
    both.keep_aside(aside.run_id, recorded=True)
    stored.write(started(stored.run_id), request_key="alice:stored")
    aside.write(started(aside.run_id), request_key="alice:aside")
    again_aside, again_stored = RunLog(both), RunLog(both)
    both.keep_aside(again_aside.run_id, recorded=True)
    first = again_aside.send(started(again_aside.run_id), request_key="alice:stored").answer()
    second = again_stored.send(started(again_stored.run_id), request_key="alice:aside").answer()
    assert isinstance(first, RequestRepeated)
    assert isinstance(second, RequestRepeated)
    assert (first.run_id, second.run_id) == (stored.run_id, aside.run_id)
    assert not both.is_aside(again_aside.run_id)
    found = both.find_request("alice:stored"), both.find_request("alice:aside"), both.find_request("alice:none")
    assert found == (stored.run_id, aside.run_id, None)
    assert in_file(both) == [stored.run_id]


def test_the_request_of_an_unrecorded_run_outlives_its_log(both: BesideJournal) -> None:
    run = RunLog(both)
    both.keep_aside(run.run_id, recorded=False)
    run.write(started(run.run_id), request_key="alice:1")
    run.write(finished())
    assert both.find_request("alice:1") == run.run_id
    for aside in (True, False):
        again = RunLog(both)
        if aside:
            both.keep_aside(again.run_id, recorded=False)
        error = again.send(started(again.run_id), request_key="alice:1").answer()
        assert isinstance(error, RequestRepeated)
        assert error.run_id == run.run_id


def test_a_run_that_was_refused_at_its_start_leaves_nothing(both: BesideJournal) -> None:
    first = RunLog(both)
    both.keep_aside(first.run_id, recorded=True)
    first.write(started(first.run_id), request_key="alice:1")
    repeated = RunLog(both)
    both.keep_aside(repeated.run_id, recorded=True)
    assert isinstance(repeated.send(started(repeated.run_id), request_key="alice:1").answer(), RequestRepeated)
    stale = RunLog(both)
    orphan = Sent(stale.run_id, 0, RunLog(both, stale.run_id).encode(note(1), child_fact(stale, first, first, 1))[1:])
    both.append(orphan)
    assert isinstance(orphan.answer(), JournalConflict)
    assert (both.is_aside(repeated.run_id), both.is_aside(stale.run_id)) == (False, False)
    assert both.is_aside(first.run_id)


# ------------------------------------------------------------------ followers, and the end


class Heard:
    """A follower that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.told_at_the_end: list[int] = []

    def __call__(self, events: Sequence[Event], /) -> None:
        self.told += events

    def ended(self) -> None:
        self.told_at_the_end.append(len(self.told))

    def of(self, run: RunLog) -> list[Event]:
        return [event for event in self.told if event.run_id == run.run_id]


def test_a_follower_is_told_of_both_and_each_run_comes_in_order(both: BesideJournal) -> None:
    heard = Heard()
    leave = both.follow(heard)
    runs = [a_run(both, 5), an_aside(both, 5), an_aside(both, 5, recorded=False), a_run(both, 5)]
    for run in runs:
        run.write(finished())
    a_run(both)  # the batch before this one was told completely
    assert [heard.of(run) for run in runs] == [run.events for run in runs]
    leave()
    silent = [an_aside(both), a_run(both)]
    a_run(both)
    assert [heard.of(run) for run in silent] == [[], []]


def test_a_follower_hears_of_everything_queued_before_it_is_told_of_the_end(tmp_path: Path) -> None:
    both = BesideJournal(SqliteJournal(tmp_path / "runs.db"))
    heard = Heard()
    both.follow(heard)
    run, aside = a_run(both), an_aside(both)
    for number in range(200):
        run.send(note(number))
        aside.send(note(number))
    assert both.close(PATIENCE_S)
    assert heard.told_at_the_end
    assert set(heard.told_at_the_end) == {402}


def test_what_is_no_append_fails_alone(both: BesideJournal) -> None:
    run = an_aside(both)
    nonsense: list[Any] = [None, [object()], 7]
    for number, stored in enumerate(nonsense):
        sent = Sent(run.run_id, 1, stored)
        both.append(sent)
        assert sent.answer() is not None, number
    run.write(note(1), RunFinished(stats=finished().stats, by="model"))
    assert both.read(run.run_id, verify=True) == run.events
