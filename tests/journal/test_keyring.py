"""The keys of sealed runs: durable before anything they sealed, bound to their run, and gone when destroyed."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from journal_support import PATIENCE_S, FaultyConnection, RunLog, disk_error, finished, note, started, step
from sealing_support import KEY, OTHER_KEY, encryption

from executus.adapters.keys.aes import AesGcm
from executus.errors import JournalUnavailable, KeyRefused, LogCorrupt
from executus.events import GENESIS, NoteLogged, Seal, ToolFinished, Withheld
from executus.events.codec import BLOB_BYTES, HASH_BYTES, encode_event, run_id_bytes
from executus.events.envelope import chain_hash
from executus.journal import SqliteJournal, open_journal, read_journal, remains, verify_run
from executus.journal import sqlite as journal_sqlite
from executus.journal.keyring import Keyring
from executus.journal.keys_file import KeysFile, Ring, create
from executus.ports import Journal, Recovery
from executus.projections import fold

SECRET = "nobody may read this sentence"


class SealedRun(RunLog):
    """A run as its actor writes it in a sealed journal."""

    key: Seal | Withheld | None = None

    def encode(self, *facts: Any) -> Any:
        if self.version == 0:
            self.key = self.journal.seal(self.run_id, new=True)
        out: list[Any] = []
        version, previous = self.version, self.hash
        for fact in facts:
            version += 1
            stored = encode_event(
                fact,
                run_id=self.run_id,
                version=version,
                previous=previous,
                at_us=1_700_000_000_000_000 + version,
                elapsed_ms=version * 10,
                cause="test",
                epoch=self.journal.epoch,
                seal=self.key,
            )
            previous = stored.event.hash
            out.append(stored)
        return out


def sealed_run(journal: Journal, *facts: Any) -> SealedRun:
    run = SealedRun(journal)
    run.write(started(run.run_id), *facts)
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "runs.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    opened = open_journal(path, encryption=encryption())
    assert isinstance(opened, SqliteJournal)
    yield opened
    opened.close(PATIENCE_S)


def keys_of(journal: SqliteJournal) -> KeysFile:
    assert journal.keyring is not None
    assert isinstance(journal.keyring.file, KeysFile)
    return journal.keyring.file


def in_files(path: Path, phrase: bytes) -> bool:
    names = ("", "-wal", ".keys", ".keys-wal")
    files = [path.with_name(path.name + name) for name in names]
    return any(phrase in file.read_bytes() for file in files if file.exists())


# ------------------------------------------------------------------ storing


def test_what_is_sealed_is_read_back_by_the_host_and_from_outside_with_the_key(
    journal: SqliteJournal, path: Path
) -> None:
    run = sealed_run(journal, *step(1, SECRET), note(1, SECRET * 5_000))
    assert journal.read(run.run_id, verify=True) == run.events
    assert journal.scan() == run.events
    assert journal.load(run.run_id) == fold(run.events)
    outside = read_journal(path, encryption=encryption())
    try:
        assert outside.read(run.run_id) == run.events
        later = sealed_run(journal, note(2, SECRET))
        assert outside.read(later.run_id) == later.events
    finally:
        outside.close()
    assert not in_files(path, SECRET.encode())


def test_a_key_is_stored_before_the_commit_of_its_first_event(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    add = KeysFile.add

    def told(self: KeysFile, rows: Any) -> None:
        add(self, rows)
        order.append("key")

    monkeypatch.setattr(KeysFile, "add", told)
    connect = journal._writer._connect
    faulty = lambda: FaultyConnection(connect(), lambda sql: sql == "COMMIT", lambda _: order.append("commit"))  # noqa: E731
    monkeypatch.setattr(journal._writer, "_connect", faulty)
    monkeypatch.setattr(journal._writer, "_connection", None)
    sealed_run(journal).write(note(1))
    assert order == ["key", "commit", "commit"]


def test_no_event_is_stored_whose_key_could_not_be(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: KeysFile, rows: Any) -> None:
        raise JournalUnavailable("the disk of the keys is full")

    other = sealed_run(journal)
    with monkeypatch.context() as broken:
        broken.setattr(KeysFile, "add", fails)
        run = SealedRun(journal)
        sent = [run.send(started(run.run_id)), other.send(note(1))]
        error = sent[0].answer()
        assert isinstance(error, JournalUnavailable)
        assert "keys is full" in str(error)
        assert sent[1].answer() is None, "runs that are at work go on"
        assert journal.run(run.run_id) is None
    again = SealedRun(journal, run.run_id)
    again.write(started(run.run_id))
    assert journal.read(run.run_id) == again.events


def test_a_start_that_failed_after_its_key_was_stored_goes_on_with_that_key(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SealedRun(journal)
    faults = iter([disk_error])

    def once(sql: str) -> None:
        for fault in faults:
            fault(sql)

    connect = journal._writer._connect
    monkeypatch.setattr(
        journal._writer, "_connect", lambda: FaultyConnection(connect(), lambda sql: sql == "COMMIT", once)
    )
    monkeypatch.setattr(journal._writer, "_connection", None)
    assert isinstance(run.send(started(run.run_id)).answer(), JournalUnavailable)
    assert keys_of(journal).row(run.run_id) is not None
    assert journal.keyring is not None
    journal.keyring._ready.clear()  # so long ago that it is not at hand any more
    again = SealedRun(journal, run.run_id)
    error = again.send(started(run.run_id)).answer()
    assert isinstance(error, JournalUnavailable), "it was sealed with another key than is stored"
    third = SealedRun(journal, run.run_id)
    third.write(started(run.run_id), note(1, SECRET))
    assert journal.read(run.run_id) == third.events
    assert journal.read(run.run_id)[0].content == "sealed"


def test_a_refused_start_leaves_no_key(journal: SqliteJournal) -> None:
    first = SealedRun(journal)
    first.write(started(first.run_id), request_key="alice\n1")
    second = SealedRun(journal)
    assert second.send(started(second.run_id), request_key="alice\n1").answer() is not None
    assert keys_of(journal).row(second.run_id) is None
    assert journal.keyring is not None
    assert second.run_id not in journal.keyring._fresh


def test_no_snapshot_is_left_of_a_sealed_run(journal: SqliteJournal) -> None:
    sealed, plain = sealed_run(journal, *(note(number) for number in range(2_100))), RunLog(journal)
    plain.write(started(plain.run_id), *(note(number) for number in range(2_100)))
    for run in (sealed, plain):
        assert journal.load(run.run_id).version == 2_101
    sealed.write(note(0))
    assert wait_until(lambda: journal.has_snapshot(plain.run_id))
    assert not journal.has_snapshot(sealed.run_id)


def wait_until(true: Any) -> bool:
    """Look until it is so."""
    until = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


# ------------------------------------------------------------------ tampering


def rechained(journal_path: Path, run_id: str) -> None:
    """Make the hash chain of a run fit whatever its rows are now, as somebody would who wants not to be noticed."""
    connection = sqlite3.connect(journal_path)
    key, previous = run_id_bytes(run_id), GENESIS
    sql = "SELECT originator_version, topic, state FROM stored_events WHERE originator_id = ? ORDER BY 1"
    for version, tag, state in connection.execute(sql, (key,)).fetchall():
        body = state[HASH_BYTES:]
        previous = chain_hash(previous, key, version, tag, body)
        where = "WHERE originator_id = ? AND originator_version = ?"
        connection.execute(f"UPDATE stored_events SET state = ? {where}", (previous + body, key, version))
    connection.execute("UPDATE runs SET hash = ? WHERE run_id = ?", (previous, key))
    connection.commit()
    connection.close()


def swap(path: Path, one: tuple[str, int], other: tuple[str, int], *, part: str | None) -> None:
    """Exchange two events' bodies, or a part of them."""
    connection = sqlite3.connect(path)
    where = "WHERE originator_id = ? AND originator_version = ?"
    places = [(run_id_bytes(run_id), version) for run_id, version in (one, other)]
    states = [connection.execute(f"SELECT state FROM stored_events {where}", place).fetchone()[0] for place in places]
    if part is None:
        bodies = [states[1][HASH_BYTES:], states[0][HASH_BYTES:]]
    else:
        maps = [msgspec.msgpack.decode(state[HASH_BYTES:]) for state in states]
        maps[0][part], maps[1][part] = maps[1][part], maps[0][part]
        bodies = [msgspec.msgpack.encode(one) for one in maps]
    for place, state, body in zip(places, states, bodies, strict=True):
        connection.execute(f"UPDATE stored_events SET state = ? {where}", (state[:HASH_BYTES] + body, *place))
    connection.commit()
    connection.close()


def answers(number: int) -> list[ToolFinished]:
    return [ToolFinished(call="1.0", result=f"answer {took}", took_ms=took) for took in (number, number + 1)]


@pytest.mark.parametrize("part", [None, "x", "z"])
@pytest.mark.parametrize("between", ["versions", "runs"])
def test_content_that_was_exchanged_between_rows_is_corrupt_even_with_a_chain_that_fits(
    path: Path, part: str | None, between: str
) -> None:
    journal = open_journal(path, encryption=encryption())
    first, second = (sealed_run(journal, *answers(number)) for number in (1, 3))
    healthy = sealed_run(journal, note(1))
    assert journal.close(PATIENCE_S)
    other = (first.run_id, 3) if between == "versions" else (second.run_id, 2)
    swap(path, (first.run_id, 2), other, part=part)
    for run in (first, second):
        rechained(path, run.run_id)
    with_key, without = read_journal(path, encryption=encryption()), read_journal(path)
    try:
        assert verify_run(without, first.run_id) == [], "without the key nobody can tell"
        for read in (with_key.read, with_key.load):
            with pytest.raises(LogCorrupt, match="does not open"):
                read(first.run_id)
        assert any("does not open" in problem for problem in verify_run(with_key, first.run_id))
        assert with_key.read(healthy.run_id) == healthy.events
        assert len(with_key.scan()) == 8, "and a reader goes on past it"
    finally:
        with_key.close()
        without.close()


def test_a_key_that_was_altered_or_given_to_another_run_opens_nothing_and_hurts_nobody_else(path: Path) -> None:
    journal = open_journal(path, encryption=encryption())
    runs = [sealed_run(journal, note(1, SECRET)) for _ in range(3)]
    assert journal.close(PATIENCE_S)
    connection = sqlite3.connect(f"{path}.keys")
    ids = [run_id_bytes(run.run_id) for run in runs]
    rows = [connection.execute("SELECT key_id, wrapped FROM keys WHERE run_id = ?", (one,)).fetchone() for one in ids]
    for row, one in ((rows[1], ids[0]), (rows[0], ids[1])):
        connection.execute("UPDATE keys SET key_id = ?, wrapped = ? WHERE run_id = ?", (*row, one))
    connection.commit()
    connection.close()
    with pytest.raises(LogCorrupt, match="was altered or moved"):
        read_journal(path, encryption=encryption()).read(runs[0].run_id)
    journal = open_journal(path, encryption=encryption())
    try:
        assert journal.read(runs[2].run_id) == runs[2].events
        assert len(journal.scan()) == 6
        assert journal.runs()
    finally:
        assert journal.close(PATIENCE_S)


def test_the_ciphertext_of_a_run_does_not_open_with_the_key_of_another(journal: SqliteJournal) -> None:
    first, second = sealed_run(journal), sealed_run(journal)
    assert not isinstance(first.key, str)
    assert not isinstance(second.key, str)
    assert first.key is not None
    assert second.key is not None
    assert first.key.key != second.key.key
    with pytest.raises(ValueError, match="does not open"):
        second.key.unseal(first.key.seal(b"x", b"place"), b"place")


# ------------------------------------------------------------------ destroying

REMNANTS = (53, 86, 101, 103)
"""Seeds, of the first 120, with which SQLite 3.40 leaves a part of a deleted key in a file that is not written anew."""


@pytest.mark.parametrize("seed", REMNANTS)
def test_no_part_of_a_destroyed_key_is_left_in_the_file_or_its_log(tmp_path: Path, seed: int) -> None:
    path = str(tmp_path / "runs.db")
    create(path, Ring(b"ring", "test", b"master"))
    file, rng = KeysFile(path), random.Random(seed)
    kept: dict[str, bytes] = {}
    gone: list[bytes] = []
    for _ in range(12):  # many pages, and rows that move between them
        rows = [(str(UUID(bytes=rng.randbytes(16))), rng.randbytes(8), rng.randbytes(60)) for _ in range(100)]
        file.add(rows)
        kept |= {run_id: wrapped for run_id, _, wrapped in rows}
        chosen = rng.sample(sorted(kept), 50)
        gone += [kept.pop(run_id) for run_id in chosen]
        file.destroy(chosen, 1)
    assert file.count() == (600, 600)
    content = Path(file.path).read_bytes() + Path(file.path + "-wal").read_bytes()
    assert not [one for one in gone for at in range(0, 45, 4) if one[at : at + 16] in content]
    assert all(one in content for one in kept.values())
    file.close()


def test_a_destroyed_key_is_destroyed_for_every_reader_and_host(path: Path) -> None:
    journal = open_journal(path, encryption=encryption())
    assert isinstance(journal, SqliteJournal)
    run, other = sealed_run(journal, note(1, SECRET), finished()), sealed_run(journal, note(1, SECRET))
    assert journal.keyring is not None
    journal.keyring.destroy([run.run_id], 1)
    assert {event.content for event in journal.read(run.run_id)} == {"erased"}
    assert journal.read(other.run_id) == other.events
    assert verify_run(journal, run.run_id) == ["its key was destroyed, and its log does not say so"]
    assert journal.close(PATIENCE_S)
    for reopen in (
        lambda: open_journal(path, encryption=encryption()),
        lambda: read_journal(path),
        lambda: open_journal(path),
    ):
        reopened = reopen()
        assert {event.content for event in reopened.read(run.run_id)} == {"erased"}
        assert reopened.close(PATIENCE_S)


def test_keys_can_be_destroyed_without_the_hosts_key(path: Path) -> None:
    journal = open_journal(path, encryption=encryption())
    run = sealed_run(journal, note(1, SECRET), finished())
    assert journal.close(PATIENCE_S)
    closed = open_journal(path)
    assert isinstance(closed, SqliteJournal)
    assert closed.keyring is not None
    assert closed.seal(run.run_id) == "locked"
    closed.keyring.destroy([run.run_id], 1)
    assert closed.seal(run.run_id) == "erased"
    assert closed.close(PATIENCE_S)


@pytest.mark.parametrize("lost", ["the file", "the row"])
def test_to_a_sealed_run_whose_key_is_lost_nothing_is_added_in_the_clear(path: Path, lost: str) -> None:
    journal = open_journal(path, encryption=encryption())
    run, plain = sealed_run(journal, finished()), RunLog(journal).start()
    assert journal.close(PATIENCE_S)
    if lost == "the file":
        Path(f"{path}.keys").unlink()
    else:
        connection = sqlite3.connect(f"{path}.keys")
        connection.execute("DELETE FROM keys")
        connection.commit()
        connection.close()
    journal = open_journal(path, encryption=None if lost == "the file" else encryption())
    try:
        assert journal.seal(run.run_id) == "locked"
        assert journal.seal(plain.run_id) is None
        run.journal, run.key = journal, journal.seal(run.run_id)
        [event] = run.write(note(1, SECRET))
        assert event.fact == NoteLogged(type="test")
        assert not in_files(path, SECRET.encode())
        problems = verify_run(journal, run.run_id)
        assert problems == (
            [] if lost == "the file" else ["its content is sealed, and its key is not in the keys file"]
        )
    finally:
        assert journal.close(PATIENCE_S)


def test_deleted_blobs_are_overwritten_in_the_database(journal: SqliteJournal, path: Path) -> None:
    run, other = (sealed_run(journal, note(1, "x" * 3 * BLOB_BYTES)) for _ in (1, 2))
    stored = {one: sqlite3.connect(path).execute("SELECT content FROM blobs").fetchall() for one in (1,)}[1]
    assert len(stored) == 2
    assert journal.delete_content([run.run_id]) == 1
    assert journal.empty_log()
    content = path.read_bytes()
    there = [blob[1_000:1_100] in content for (blob,) in stored]
    assert sorted(there) == [False, True]
    assert journal.read(other.run_id) == other.events
    with pytest.raises(LogCorrupt, match="missing"):
        journal.read(run.run_id)
    assert journal.delete_content([run.run_id]) == 0


def test_what_is_left_of_a_run_is_told(journal: SqliteJournal) -> None:
    run = sealed_run(journal, note(1, SECRET * 5_000))
    plain = RunLog(journal).start()
    told = remains(journal, [run.run_id, plain.run_id])
    assert [one for one in told if "its key is there" in one and run.run_id in one]
    assert [one for one in told if "its blob" in one and run.run_id in one]
    assert [one for one in told if "run-started has content in the clear" in one and plain.run_id in one]


# ------------------------------------------------------------------ the host's key


def test_after_a_rotation_only_the_new_key_opens_and_old_wrappings_are_gone(path: Path) -> None:
    journal = open_journal(path, encryption=encryption(KEY))
    assert isinstance(journal, SqliteJournal)
    runs = [sealed_run(journal, note(1, SECRET)) for _ in range(50)]
    old = [wrapped for _, _, wrapped in keys_of(journal).every()]
    assert journal.keyring is not None
    assert journal.keyring.rotate(encryption(OTHER_KEY)) == 50
    assert not keys_of(journal).holds(old)
    live = sealed_run(journal, note(1, SECRET))
    assert journal.read(live.run_id) == live.events
    assert journal.close(PATIENCE_S)
    with pytest.raises(KeyRefused):
        open_journal(path, encryption=encryption(KEY))
    journal = open_journal(path, encryption=encryption(OTHER_KEY))
    for run in (*runs, live):
        assert journal.read(run.run_id, verify=True) == run.events
    assert journal.close(PATIENCE_S)


def test_a_rotation_needs_the_present_key(path: Path) -> None:
    journal = open_journal(path, encryption=encryption())
    sealed_run(journal)
    assert journal.close(PATIENCE_S)
    closed = open_journal(path)
    assert isinstance(closed, SqliteJournal)
    assert closed.keyring is not None
    with pytest.raises(KeyRefused, match="its present key is needed"):
        closed.keyring.rotate(encryption(OTHER_KEY))
    assert closed.close(PATIENCE_S)


def test_a_fresh_key_that_was_pushed_out_makes_its_start_fail_and_nothing_else(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executus.journal import keyring

    monkeypatch.setattr(keyring, "FRESH", 1)
    first, second = SealedRun(journal), SealedRun(journal)
    stored = first.encode(started(first.run_id))
    second.write(started(second.run_id))
    error = first.send_stored(stored).answer()
    assert isinstance(error, JournalUnavailable)
    assert journal.run(first.run_id) is None


def test_a_journal_without_encryption_has_no_keys_file(path: Path) -> None:
    journal = open_journal(path)
    assert isinstance(journal, SqliteJournal)
    run = RunLog(journal).start()
    assert journal.seal(run.run_id) is None
    assert journal.seal("01890000-0000-7000-8000-00000000abcd", new=True) is None
    assert journal.close(PATIENCE_S)
    assert not Path(f"{path}.keys").exists()


def test_without_a_file_everything_sealed_is_locked() -> None:
    ring = Keyring(None, None)
    assert ring.opening("01890000-0000-7000-8000-00000000abcd", b"k") == "locked"
    assert ring.opening("no id at all", b"k") == "locked"


def test_the_cipher_wants_a_key_of_its_size() -> None:
    with pytest.raises(ValueError, match="expected 32 bytes"):
        AesGcm(b"short")


def test_opening_for_writing_overwrites_what_it_deletes(path: Path) -> None:
    journal = open_journal(path)
    assert journal.close(PATIENCE_S)
    connection = journal_sqlite.open_for_writing(str(path))
    assert connection.execute("PRAGMA secure_delete").fetchone()[0] == 1
    connection.close()


def test_what_an_error_said_is_not_kept_beside_a_sealed_run(journal: SqliteJournal, path: Path) -> None:
    sealed, plain = sealed_run(journal), RunLog(journal).start()
    told: list[Any] = []
    failed = [
        Recovery(run_id=run.run_id, standing="failed", attempts=1, why=f"its actor failed: ValueError({SECRET!r})")
        for run in (sealed, plain)
    ]
    journal.keep_recoveries(failed[:1], [], told.append)
    assert wait_until(lambda: told == [None])
    assert journal.recoveries() == [msgspec.structs.replace(failed[0], why="its actor failed: [erased]")]
    assert not in_files(path, SECRET.encode())
    journal.keep_recoveries(failed[1:], [], told.append)
    assert wait_until(lambda: len(told) == 2)
    assert failed[1] in journal.recoveries()
    journal.delete_content([sealed.run_id])
    assert journal.recoveries() == failed[1:]
