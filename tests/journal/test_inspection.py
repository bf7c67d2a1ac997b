"""A check of a whole journal finds every kind of damage, says where it shows first, and survives all of it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from golden.make_golden import RUNS, encoded
from journal_support import PATIENCE_S, RunLog, Sent, a_run, finished, note
from msgspec.structs import replace

from executus.errors import JournalError
from executus.events import FACTS
from executus.journal import Finding, Inspection, SqliteJournal, read_journal, snapshots
from executus.ports import request_key_of
from executus.projections import fold


@pytest.fixture(scope="session")
def every_fact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with every fact, as the next golden log will hold it."""
    path = tmp_path_factory.mktemp("every-fact") / "runs.db"
    journal = SqliteJournal(path)
    for run_id, stored in zip(RUNS, encoded(), strict=True):
        sent = Sent(run_id, 0, stored, request_key_of("alice", f"request-{run_id[-1]}"))
        journal.append(sent)
        sent.ok()
    assert journal.close(PATIENCE_S)
    return path


def inspected(path: Path, **options: Any) -> list[Finding]:
    """Everything that is found."""
    reader = read_journal(path)
    try:
        return list(Inspection(reader, **options).of_everything())
    finally:
        reader.close()


def problems(path: Path, **options: Any) -> list[str]:
    """What is wrong, as people read it."""
    return [f"{one.run_id}: {one}" for one in inspected(path, **options) if not one.remark]


class Spot:
    """One event of that journal, and the table that it stands in."""

    def __init__(self, connection: sqlite3.Connection, position: int) -> None:
        self.connection, self.position = connection, position
        row = connection.execute("SELECT * FROM stored_events WHERE rowid = ?", (position,)).fetchone()
        _, self.key, self.version, self.tag, self.state = row
        self.run_id = str(UUID(bytes=self.key))
        sql = "SELECT max(originator_version) FROM stored_events WHERE originator_id = ?"
        self.last: int = connection.execute(sql, (self.key,)).fetchone()[0]

    def put(self, column: str, value: object, version: int | None = None) -> None:
        sql = f"UPDATE stored_events SET {column} = ? WHERE originator_id = ? AND originator_version = ?"
        self.connection.execute(sql, (value, self.key, version or self.version))

    def state_of(self, version: int) -> bytes:
        sql = "SELECT state FROM stored_events WHERE originator_id = ? AND originator_version = ?"
        found: bytes = self.connection.execute(sql, (self.key, version)).fetchone()[0]
        return found

    def neighbour(self) -> int:
        return self.version + 1 if self.version < self.last else self.version - 1


def flipped(state: bytes, at: int) -> bytes:
    return state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :]


def swap_contents(spot: Spot) -> int:
    other = spot.neighbour()
    mine, others = spot.state, spot.state_of(other)
    spot.put("state", others)
    spot.put("state", mine, other)
    return min(spot.version, other)


def swap_versions(spot: Spot) -> int:
    other = spot.neighbour()
    spot.put("originator_version", 10_000)
    spot.put("originator_version", spot.version, other)
    spot.put("originator_version", other, 10_000)
    return min(spot.version, other)


def delete_it(spot: Spot) -> int:
    spot.connection.execute("DELETE FROM stored_events WHERE rowid = ?", (spot.position,))
    return spot.version


def delete_from_here(spot: Spot) -> int:
    sql = "DELETE FROM stored_events WHERE originator_id = ? AND originator_version >= ?"
    spot.connection.execute(sql, (spot.key, spot.version))
    return spot.version


def repeat_it(spot: Spot) -> int:
    sql = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?)"
    spot.connection.execute(sql, (spot.key, spot.last + 1, spot.tag, spot.state))
    return spot.last + 1


def renumber(version: object) -> Callable[[Spot], int]:
    def change(spot: Spot) -> int:
        spot.put("originator_version", version)
        return spot.version

    return change


def replace_by(column: str, value: Callable[[Spot], object]) -> Callable[[Spot], int]:
    def change(spot: Spot) -> int:
        spot.put(column, value(spot))
        return spot.version

    return change


def displace(spot: Spot) -> int:
    spot.put("rowid", spot.position + 1000)
    return spot.version if spot.version == spot.last else spot.version + 1


MUTATIONS: dict[str, Callable[[Spot], int]] = {
    "a bit of the content flips": replace_by("state", lambda spot: flipped(spot.state, len(spot.state) - 1)),
    "a bit of the hash flips": replace_by("state", lambda spot: flipped(spot.state, 5)),
    "a bit of the envelope flips": replace_by("state", lambda spot: flipped(spot.state, 33)),
    "cut off in the content": replace_by("state", lambda spot: spot.state[:-1]),
    "cut off in the hash": replace_by("state", lambda spot: spot.state[:31]),
    "emptied": replace_by("state", lambda spot: b""),
    "text for bytes": replace_by("state", lambda spot: "text"),
    "a number for bytes": replace_by("state", lambda spot: 17),
    "an unknown tag": replace_by("topic", lambda spot: "os:system"),
    "another tag": replace_by("topic", lambda spot: "host-slept" if spot.tag != "host-slept" else "note-logged"),
    "a tag of bytes": replace_by("topic", lambda spot: b"\xff\xfe"),
    "nested without end": replace_by("state", lambda spot: spot.state[:32] + b"\x91" * 200_000),
    "a map nested without end": replace_by("state", lambda spot: spot.state[:32] + b"\x81\xa1p" * 100_000 + b"\xc0"),
    "huge": replace_by("state", lambda spot: spot.state + bytes(3 << 20)),
    "a length that is a lie": replace_by("state", lambda spot: spot.state[:32] + b"\x81\xa1p\xdb\x7f\xff\xff\xff"),
    "contents swapped": swap_contents,
    "versions swapped": swap_versions,
    "deleted": delete_it,
    "deleted with all that follows": delete_from_here,
    "stored again at the end": repeat_it,
    "renumbered": renumber(900),
    "numbered below one": renumber(-3),
    "numbered with a word": renumber("seven"),
    "put elsewhere": displace,
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_any_damage_to_any_fact_is_found_where_it_is(every_fact: Path, tmp_path: Path, mutation: str) -> None:
    before = inspected(every_fact)
    for tag in FACTS:
        damaged(every_fact, tmp_path / f"{tag}.db", tag, mutation, before)


def damaged(whole: Path, path: Path, tag: str, mutation: str, before: list[Finding]) -> None:
    shutil.copyfile(whole, path)
    connection = sqlite3.connect(path, isolation_level=None)
    sql = "SELECT max(rowid) FROM stored_events WHERE topic = ?"
    spot = Spot(connection, connection.execute(sql, (tag,)).fetchone()[0])
    bad_version = MUTATIONS[mutation](spot)
    connection.close()
    found = inspected(path)
    new = [one for one in found if one not in before and not one.remark and one.run_id == spot.run_id]
    assert new, f"{tag}: nothing was found"
    assert min(one.version or bad_version for one in new) == bad_version, [tag, *map(str, new)]
    first = next(one for one in new if one.version == bad_version)
    assert first.position > 0
    others = [one for one in before if one.run_id not in ("", spot.run_id)]
    assert [one for one in found if one.run_id not in ("", spot.run_id)] == others


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, list[RunLog]]:
    """Five finished runs, a large payload in each, whose events alternate."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    runs = [a_run(journal) for _ in range(5)]
    for number in range(4):
        for run in runs:
            run.write(note(number))
    for run in runs:
        run.write(note(9, run.run_id * 3000))
    journal.close()
    return path, runs


def change(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement, values)
    connection.close()


def test_a_whole_journal_has_nothing_to_be_found(whole: tuple[Path, list[RunLog]]) -> None:
    path, _ = whole
    assert inspected(path) == []
    assert inspected(path, deep=True) == []
    journal = SqliteJournal(path)
    assert list(Inspection(journal).of_everything()) == []
    journal.close()


def test_a_run_that_vanished_with_its_row_leaves_a_gap_in_the_positions(whole: tuple[Path, list[RunLog]]) -> None:
    path, runs = whole
    key = UUID(runs[2].run_id).bytes
    change(path, "DELETE FROM stored_events WHERE originator_id = ?", values=(key,))
    change(path, "DELETE FROM runs WHERE run_id = ?", values=(key,))
    found = [one for one in inspected(path) if not one.remark]
    assert [one.position for one in found] == [event.position for event in runs[2].events]
    assert all("missing: events were deleted" in one.why for one in found)


def test_newest_events_that_vanished_with_their_rows_are_missed(whole: tuple[Path, list[RunLog]]) -> None:
    path, runs = whole
    journal = SqliteJournal(path)
    last = a_run(journal, 3)
    journal.close()
    key = UUID(last.run_id).bytes
    change(path, "DELETE FROM stored_events WHERE originator_id = ?", values=(key,))
    change(path, "DELETE FROM runs WHERE run_id = ?", values=(key,))
    newest = runs[-1].events[-1].position
    assert problems(path) == [
        f": position {newest + 1}: positions {newest + 1} to {newest + 4} are missing: events were deleted"
    ]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("CREATE TRIGGER evil AFTER INSERT ON stored_events BEGIN DELETE FROM runs; END", "the trigger 'evil'"),
        ("CREATE VIEW more AS SELECT 1", "the view 'more'"),
        ("DROP INDEX runs_by_request", "the index 'runs_by_request' is missing"),
        ("ALTER TABLE blobs ADD COLUMN more TEXT", "the table 'blobs' is not as executus makes it"),
        ("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'stored_events'", "could be given twice"),
        ("UPDATE owner SET epoch = 0", "the owner has epoch 0, and events have epoch 1"),
        ("DELETE FROM owner", "has 0 rows"),
        ("UPDATE runs SET run_id = 'x' WHERE first_position = 1", "the id 'x', which is none"),
        ("UPDATE runs SET version = 'many' WHERE first_position = 1", "no numbers where they belong"),
        ("UPDATE runs SET hash = 'none' WHERE first_position = 1", "no numbers where they belong"),
        ("UPDATE runs SET version = 2 WHERE first_position = 1", "the index only knows 2"),
        ("INSERT INTO stored_events VALUES (500, x'01', 1, 'note-logged', x'00')", "run b'\\x01'"),
        ("UPDATE stored_events SET originator_id = zeroblob(16) WHERE rowid = 7", "no row for this run: 1 events"),
    ],
)
def test_what_is_wrong_around_the_events_is_found(whole: tuple[Path, list[RunLog]], sql: str, says: str) -> None:
    path, _ = whole
    change(path, sql)
    assert any(says in one for one in problems(path)), problems(path)


def test_payloads_that_nothing_needs_are_a_remark(whole: tuple[Path, list[RunLog]]) -> None:
    path, _ = whole
    change(path, "INSERT INTO blobs VALUES (zeroblob(32), x'00')")
    [found] = inspected(path)
    assert found.remark
    assert "needed by no event" in found.why


def test_a_snapshot_must_be_what_the_log_folds_to(whole: tuple[Path, list[RunLog]]) -> None:
    path, runs = whole
    checkpoint = fold(runs[0].events[:4])
    good = snapshots.snapshot_row(snapshots.Snapshot(runs[0].run_id, checkpoint))
    wrong = replace(checkpoint, state=replace(checkpoint.state, step=9))
    lies = snapshots.snapshot_row(snapshots.Snapshot(runs[1].run_id, replace(wrong, hash=runs[1].events[3].hash)))
    insert = "INSERT INTO snapshots VALUES (?, ?, ?, ?)"
    change(path, insert, values=good)
    assert inspected(path) == []
    change(path, insert, values=lies)
    other = snapshots.snapshot_row(snapshots.Snapshot(runs[2].run_id, checkpoint))
    change(path, insert, values=other)
    change(path, insert, values=(*good[:1], 5, good[2], b"\x00"))
    found = inspected(path)
    assert [(one.run_id, one.remark, one.version) for one in found if not one.remark] == [(runs[1].run_id, False, 4)]
    assert {one.run_id for one in found if one.remark} == {runs[0].run_id, runs[2].run_id}


def test_only_runs_that_went_on_since_a_position_are_checked(whole: tuple[Path, list[RunLog]]) -> None:
    path, runs = whole
    head = runs[-1].events[-1].position
    change(path, "UPDATE stored_events SET state = x'00' WHERE rowid = 3")
    journal = SqliteJournal(path)
    a_run(journal, 2)
    journal.close()
    reader = read_journal(path)
    inspection = Inspection(reader, since=head)
    assert list(inspection.of_everything()) == []
    assert (inspection.runs, inspection.events) == (1, 3)
    reader.close()
    assert problems(path) != []


def test_a_journal_is_checked_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    runs = [a_run(journal) for _ in range(5)]
    reader = read_journal(path)

    def goes_on(_: object) -> None:
        for run in runs:
            run.write(note(1), note(2, "x" * 70_000))
        a_run(journal, 1)

    for run in runs:
        run.write(note(3))
    assert list(Inspection(reader, tick=goes_on).of_everything()) == []
    for run in runs:
        run.write(finished())
    assert list(Inspection(reader).of_everything()) != [], "these ends do not add up to their logs"
    reader.close()
    journal.close()


@pytest.mark.parametrize("seed", range(150))
def test_random_bytes_in_the_file_never_break_the_check(whole: tuple[Path, list[RunLog]], seed: int) -> None:
    path, _ = whole
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 30, 400])):
        content[chance.randrange(100 if seed % 3 else 0, len(content))] = chance.randrange(256)
    if seed % 10 == 0:
        del content[chance.randrange(len(content)) :]
    path.write_bytes(bytes(content))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    try:
        found = inspected(path, deep=bool(seed % 2))
    except JournalError:  # no longer a journal: that is said at the opening
        return
    assert all(str(one) for one in found)
