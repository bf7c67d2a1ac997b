"""Snapshots make loading fast and are worth nothing: whatever happens to them, a load is the fold of the log."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from journal_support import PATIENCE_S, RunLog, a_run, note, step

from executus.journal import SqliteJournal
from executus.journal import snapshots as snapshots_module
from executus.journal.snapshots import Snapshot
from executus.journal.writer import Writer
from executus.projections import fold


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a snapshot was stored; ten events are enough for one here."""
    stored = threading.Event()
    real = Writer._keep_snapshot

    def keep(writer: Writer, snapshot: Snapshot) -> None:
        real(writer, snapshot)
        stored.set()

    monkeypatch.setattr(Writer, "_keep_snapshot", keep)
    monkeypatch.setattr("executus.journal.sqlite.WORTH_IT", 10)
    return stored


def with_snapshot(path: Path, kept: threading.Event) -> RunLog:
    """A closed journal with a run and its snapshot at version 21, and three more events."""
    journal = SqliteJournal(path)
    run = a_run(journal)
    for number in range(1, 6):
        run.write(*step(number))
    assert journal.load(run.run_id) == fold(run.events)
    assert kept.wait(PATIENCE_S)
    run.write(note(1), *step(6)[:2])
    assert journal.load(run.run_id) == fold(run.events)
    journal.close()
    return run


def alter(path: Path, sql: str, *parameters: object) -> int:
    connection = sqlite3.connect(path, isolation_level=None)
    changed = connection.execute(sql, parameters).rowcount
    connection.close()
    return changed


def replace_output(path: Path) -> None:
    """Make the snapshot recognisable: a valid one that says something else."""
    connection = sqlite3.connect(path, isolation_level=None)
    body = msgspec.msgpack.decode(connection.execute("SELECT state FROM snapshots").fetchone()[0])
    body["state"]["output"] = "from the snapshot"
    connection.execute("UPDATE snapshots SET state = ?", (msgspec.msgpack.encode(body),))
    connection.close()


def test_a_long_fold_leaves_a_snapshot_that_the_next_load_starts_from(tmp_path: Path, kept: threading.Event) -> None:
    path = tmp_path / "runs.db"
    run = with_snapshot(path, kept)
    replace_output(path)
    journal = SqliteJournal(path)
    loaded = journal.load(run.run_id)
    assert loaded.version == run.version
    # what is asked of the model in step 6 came after the snapshot, the output before it was the snapshot's
    assert journal._snapshot(run.run_id) is not None
    assert journal._snapshot(run.run_id).checkpoint.state.output == "from the snapshot"  # type: ignore[union-attr]
    journal.close()


def test_a_short_fold_leaves_none(tmp_path: Path, kept: threading.Event) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal, 3)
    journal.load(run.run_id)
    journal.close()
    assert alter(tmp_path / "runs.db", "DELETE FROM snapshots") == 0
    assert not kept.is_set()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM snapshots",
        "DROP TABLE snapshots; CREATE TABLE snapshots (a)",
        "UPDATE snapshots SET state = x'93'",
        "UPDATE snapshots SET state = 'text'",
        "UPDATE snapshots SET state = substr(state, 1, length(state) / 2)",
        "UPDATE snapshots SET originator_version = originator_version - 1",
        "UPDATE snapshots SET originator_version = 10000",
        "UPDATE snapshots SET topic = 'another shape'",
    ],
)
def test_whatever_happens_to_snapshots_changes_nothing(tmp_path: Path, kept: threading.Event, damage: str) -> None:
    path = tmp_path / "runs.db"
    run = with_snapshot(path, kept)
    for sql in damage.split(";"):
        assert alter(path, sql) != 0
    journal = SqliteJournal(path)
    kept.clear()
    assert journal.load(run.run_id) == fold(run.events)
    run.journal = journal
    run.write(note(2))
    assert journal.load(run.run_id) == fold(run.events)
    journal.close()


def test_a_snapshot_of_another_history_is_not_used(tmp_path: Path, kept: threading.Event) -> None:
    path = tmp_path / "runs.db"
    run = with_snapshot(path, kept)
    connection = sqlite3.connect(path, isolation_level=None)
    body = msgspec.msgpack.decode(connection.execute("SELECT state FROM snapshots").fetchone()[0])
    body["hash"] = bytes(32)
    connection.execute("UPDATE snapshots SET state = ?", (msgspec.msgpack.encode(body),))
    connection.close()
    journal = SqliteJournal(path)
    assert journal._snapshot(run.run_id) is None
    assert journal.load(run.run_id) == fold(run.events)
    journal.close()


def test_a_snapshot_made_by_other_code_is_not_used(
    tmp_path: Path, kept: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_snapshot(tmp_path / "runs.db", kept)
    replace_output(tmp_path / "runs.db")
    other: Callable[[], str] = lambda: "0" * 32  # noqa: E731
    monkeypatch.setattr(snapshots_module, "shape", other)
    journal = SqliteJournal(tmp_path / "runs.db")
    assert journal.load(run.run_id) == fold(run.events)
    journal.close()
