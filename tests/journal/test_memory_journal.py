"""The journal in memory is bounded: it forgets the oldest finished runs, and really lets go of them."""

from __future__ import annotations

import gc
import weakref

import pytest
from journal_support import RunLog, a_run, finished, note, started

from executus.errors import UnknownRun
from executus.journal import MemoryJournal


def finish(journal: MemoryJournal, notes: int = 0, key: str = "") -> RunLog:
    run = RunLog(journal)
    run.write(started(run.run_id), *(note(number) for number in range(notes)), finished(), request_key=key)
    return run


def test_the_oldest_finished_runs_are_forgotten() -> None:
    journal = MemoryJournal(keep_finished=2)
    runs = [finish(journal, key=f"key-{number}") for number in range(5)]
    assert [row.run_id for row in journal.runs()] == [runs[3].run_id, runs[4].run_id]
    with pytest.raises(UnknownRun):
        journal.read(runs[2].run_id)
    assert journal.find_request("key-2") is None
    assert journal.find_request("key-3") == runs[3].run_id


def test_an_unfinished_run_is_never_forgotten() -> None:
    journal = MemoryJournal(keep_finished=1)
    old = a_run(journal, 3)
    for _ in range(50):
        finish(journal)
    assert journal.read(old.run_id, verify=True) == old.events
    old.write(note(9))


def test_a_reader_of_forgotten_positions_gets_what_is_left_and_none_is_reused() -> None:
    journal = MemoryJournal(keep_finished=1)
    first = a_run(journal)
    for _ in range(20):
        finish(journal, notes=3)
    assert journal.head() == 1 + 20 * 5
    left = journal.scan(0, 1000)
    assert [event.position for event in left] == [1, *range(97, 102)]
    assert journal.scan(1, 2) == left[1:3]
    first.write(note(1))
    assert first.events[-1].position == 102


def test_what_is_forgotten_is_freed() -> None:
    journal = MemoryJournal(keep_finished=1)
    gone = finish(journal, notes=50)
    rows = [weakref.ref(row) for row in journal.recorder.select_events(gone.run_id)]
    del gone
    for _ in range(3):
        finish(journal, notes=50)
    gc.collect()
    assert len(rows) == 52
    assert [row for row in rows if row() is not None] == []


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_finished"):
        MemoryJournal(keep_finished=-1)
