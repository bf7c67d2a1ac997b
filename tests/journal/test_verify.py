"""Whatever is altered in a stored log is found, named, and stays within its run."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from journal_support import RunLog, a_run, finished, note

from executus.errors import LogCorrupt
from executus.events.codec import run_id_bytes
from executus.journal import SqliteJournal, verify_run


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, RunLog, RunLog]:
    """Two runs of ten events in a closed journal, with a large payload each."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    runs = [a_run(journal, 7) for _ in range(2)]
    for number, run in enumerate(runs):
        run.write(note(number, str(number) * 70_000))
        run.write(finished())
    journal.close()
    return path, runs[0], runs[1]


STATE = "UPDATE stored_events SET state = {} WHERE originator_id = ? AND originator_version = 5"

DAMAGES = {
    "a flipped byte": (
        STATE.format("CAST(replace(CAST(state AS TEXT), 'number', 'numbex') AS BLOB)"),
        "version 5, position .*: .*chain",
    ),
    "a damaged envelope": (STATE.format("substr(state, 1, 40)"), "version 5, position .*: .*does not decode"),
    "text": (STATE.format("'text'"), "version 5, position .*: its content is stored as str"),
    "nothing": (STATE.format("x''"), "version 5, position .*: .*does not decode"),
    "another event's content": (
        STATE.format("(SELECT state FROM stored_events e WHERE e.originator_version = 4 LIMIT 1)"),
        "version 5, position .*: .*chain",
    ),
    "another tag": (
        "UPDATE stored_events SET topic = 'moon-landed' WHERE originator_id = ? AND originator_version = 5",
        "version 5, position .*: .*chain",
    ),
    "a tag that is no text": (
        "UPDATE stored_events SET topic = CAST(x'ff' AS TEXT) WHERE originator_id = ? AND originator_version = 5",
        "version 5, position .*: .*chain",
    ),
    "a hole": (
        "DELETE FROM stored_events WHERE originator_id = ? AND originator_version = 5",
        "version 5, position .*: .*missing",
    ),
    "a cut tail": ("DELETE FROM stored_events WHERE originator_id = ? AND originator_version > 8", "ends at version 8"),
    "no events": ("DELETE FROM stored_events WHERE originator_id = ?", "ends at version 0"),
    "no row in the index": ("DELETE FROM runs WHERE run_id = ?", "no row"),
    "a wrong hash in the index": ("UPDATE runs SET hash = zeroblob(32) WHERE run_id = ?", "hash"),
    "a wrong version in the index": ("UPDATE runs SET version = 9 WHERE run_id = ?", "index"),
    "a wrong end in the index": ("UPDATE runs SET over = 0 WHERE run_id = ?", "over"),
    "a wrong position in the index": ("UPDATE runs SET position = 1 WHERE run_id = ?", "positions"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found_and_stays_within_its_run(written: tuple[Path, RunLog, RunLog], damage: str) -> None:
    path, run, other = written
    sql, says = DAMAGES[damage]
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute(sql, (run_id_bytes(run.run_id),)).rowcount > 0
    connection.close()
    journal = SqliteJournal(path)
    problems = verify_run(journal, run.run_id)
    assert problems != []
    assert any(re.search(says, problem) for problem in problems), problems
    assert verify_run(journal, other.run_id) == []
    assert journal.read(other.run_id, verify=True) == other.events
    assert {event.run_id for event in journal.scan()} >= {other.run_id}
    if "version 5" in says or "ends at" in says:
        with pytest.raises(LogCorrupt):
            journal.read(run.run_id, verify=True)
    journal.close()


@pytest.mark.parametrize(
    ("sql", "says"),
    [("DELETE FROM blobs", "missing"), ("UPDATE blobs SET content = 'x' || content", "altered")],
)
def test_a_payload_out_of_line_is_checked_too(written: tuple[Path, RunLog, RunLog], sql: str, says: str) -> None:
    path, run, _ = written
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(sql)
    connection.close()
    journal = SqliteJournal(path)
    problems = verify_run(journal, run.run_id)
    assert len(problems) == 1
    assert says in problems[0]
    with pytest.raises(LogCorrupt, match=says):
        journal.read(run.run_id)
    assert journal.read(run.run_id, limit=8) == run.events[:8]
    journal.close()


def test_events_after_the_end_are_found(written: tuple[Path, RunLog, RunLog]) -> None:
    path, run, _ = written
    stored = run.encode(finished())[0]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?)",
        (run_id_bytes(run.run_id), stored.event.version, stored.event.tag, stored.state),
    )
    connection.close()
    journal = SqliteJournal(path)
    assert any("after the run's end at version 10" in problem for problem in verify_run(journal, run.run_id))
    journal.close()


def test_a_damaged_run_does_not_keep_others_from_being_written(written: tuple[Path, RunLog, RunLog]) -> None:
    path, run, other = written
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE stored_events SET state = x'00' WHERE originator_id = ?", (run_id_bytes(run.run_id),))
    connection.close()
    journal = SqliteJournal(path)
    other.journal = journal
    other.write(note(1))
    assert a_run(journal, 2).version == 3
    assert len(journal.scan(limit=1000)) == 24
    journal.close()
