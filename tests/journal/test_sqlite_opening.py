"""Opening a journal file: private, owned once, and never harmful to what is not a journal."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import eventsourcing.persistence
import eventsourcing.popo
import eventsourcing.sqlite
import pytest
from journal_support import PATIENCE_S, a_run, note

from executus.errors import JournalError, JournalInUse, JournalTooNew, JournalUnreadable
from executus.journal import SqliteJournal, open_journal, read_journal
from executus.journal.layout import APPLICATION_ID, LAYOUT, check_sqlite, has_wal_reset_bug


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def a_directory(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("dear diary\n" * 100)


def a_short_text(path: Path) -> None:
    path.write_text("hi")


def a_foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()


def a_broken_header(path: Path) -> None:
    a_foreign_database(path)
    path.write_bytes(path.read_bytes()[:80])


def a_newer_layout(path: Path) -> None:
    SqliteJournal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def a_damaged_journal(path: Path) -> None:
    SqliteJournal(path).close()
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\xff" * 3900
    path.write_bytes(content)


def a_truncated_journal(path: Path) -> None:
    journal = SqliteJournal(path)
    a_run(journal, 200)
    journal.close()
    path.write_bytes(path.read_bytes()[:20_000])


def a_journal_without_its_tables(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE stored_events (a)")
    connection.close()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (a_directory, JournalUnreadable, "it is a directory"),
        (a_pipe, JournalUnreadable, "no regular file"),
        (a_text, JournalUnreadable, "not an SQLite database|not a database"),
        (a_short_text, JournalUnreadable, "not an SQLite database|not a database"),
        (a_broken_header, JournalUnreadable, "not an SQLite database|not a database"),
        (a_foreign_database, JournalUnreadable, "of another program"),
        (a_newer_layout, JournalTooNew, f"layout {LAYOUT + 1}.*upgrade"),
        (a_damaged_journal, JournalUnreadable, "damaged|malformed"),
        (a_truncated_journal, JournalUnreadable, "damaged|malformed"),
        (a_journal_without_its_tables, JournalUnreadable, "damaged: no table"),
    ],
)
@pytest.mark.parametrize("opening", [open_journal, read_journal])
def test_what_is_no_journal_is_refused_in_one_sentence_and_left_as_it_is(
    tmp_path: Path,
    opening: Callable[[Path], object],
    make: Callable[[Path], None],
    error: type[JournalError],
    says: str,
) -> None:
    path = tmp_path / "place" / "runs.db"
    path.parent.mkdir()
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=says) as caught:
        opening(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    if make in (a_directory, a_pipe, a_text, a_short_text, a_broken_header, a_foreign_database):
        assert sorted(one.name for one in path.parent.iterdir()) == ["runs.db"]


def test_a_refused_file_can_be_opened_when_it_is_right_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    a_text(path)
    with pytest.raises(JournalUnreadable):
        SqliteJournal(path)
    path.unlink()
    assert SqliteJournal(path).close()


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalUnreadable):
        SqliteJournal(tmp_path / "file" / "runs.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalUnreadable):
        SqliteJournal(tmp_path / "runs.db")


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b"])
def test_a_path_that_names_no_file_is_a_plain_value_error(path: str) -> None:
    with pytest.raises(ValueError, match="journal path"):
        open_journal(path)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_files_are_private_from_the_start_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        journal = SqliteJournal(tmp_path / "new" / "deep" / "runs.db")
        a_run(journal, 3)
        files = {path.name: mode_of(path) for path in (tmp_path / "new" / "deep").iterdir()}
    finally:
        os.umask(before)
    assert files == dict.fromkeys(["runs.db", "runs.db-wal", "runs.db-shm", "runs.db.lock"], 0o600)
    assert mode_of(tmp_path / "new") & 0o077 == 0
    assert mode_of(tmp_path / "new" / "deep") & 0o077 == 0
    journal.close()


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    journal = SqliteJournal(path)
    run = a_run(journal)
    journal.close()
    again = SqliteJournal(path)
    assert again.read(run.run_id) == run.events
    again.close()


def test_a_creation_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "runs.db.new").write_bytes(b"half a journal")
    journal = SqliteJournal(tmp_path / "runs.db")
    a_run(journal)
    journal.close()
    assert not (tmp_path / "runs.db.new").exists()


@pytest.mark.parametrize("how", ["vacuum", "backup"])
def test_a_backup_is_a_journal_with_the_same_positions(tmp_path: Path, how: str) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal, 5)
    source = sqlite3.connect(journal.path, isolation_level=None)
    source.execute("DELETE FROM stored_events WHERE rowid = 3")  # a hole must stay where it is
    if how == "vacuum":
        source.execute(f"VACUUM INTO '{tmp_path / 'copy.db'}'")
    else:
        copy = sqlite3.connect(tmp_path / "copy.db")
        source.backup(copy)
        copy.close()
    source.close()
    journal.close()
    reader = read_journal(tmp_path / "copy.db")
    expected = [event for event in run.events if event.position != 3]
    assert reader.scan() == expected
    reader.close()
    restored = SqliteJournal(tmp_path / "copy.db")
    assert restored.scan() == expected
    assert a_run(restored).events[0].position == 7
    restored.close()


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    SqliteJournal(path).close()
    connection = sqlite3.connect(path)
    answers = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    connection.close()
    assert answers == [APPLICATION_ID, LAYOUT]


def test_each_opening_has_a_higher_epoch(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        journal = SqliteJournal(tmp_path / "runs.db")
        epochs.append(journal.epoch)
        journal.close()
    assert epochs == [1, 2, 3]


# ------------------------------------------------------------------ one owner


def test_a_journal_has_one_host_even_within_a_process(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    run = a_run(journal)
    (tmp_path / "other").symlink_to("runs.db")
    for name in ("runs.db", "other"):
        with pytest.raises(JournalInUse, match=f"process {os.getpid()} since 20"):
            SqliteJournal(tmp_path / name)
    run.write(note(1))
    assert journal.close()
    SqliteJournal(tmp_path / "other").close()


def test_a_host_in_another_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    code = (
        "import sys; from executus.journal import open_journal; journal = open_journal(sys.argv[1]);"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        assert host.stdin is not None
        assert host.stdout.readline() == "open\n"
        with pytest.raises(JournalInUse, match=f"process {host.pid} since"):
            SqliteJournal(path)
        host.kill()
        host.wait(PATIENCE_S)
    SqliteJournal(path).close()  # a dead host holds nothing


# ------------------------------------------------------------------ the SQLite it stands on


@pytest.mark.parametrize(
    ("version", "bug"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_with_the_wal_reset_bug_are_known(version: tuple[int, ...], bug: bool) -> None:
    assert has_wal_reset_bug(version) is bug


def test_an_old_sqlite_is_refused_and_this_one_is_not() -> None:
    check_sqlite()
    with pytest.raises(JournalError, match=r"SQLite 3\.30\.1; a journal needs 3\.31\.0"):
        check_sqlite((3, 30, 1))


def test_only_the_write_connection_can_checkpoint(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    a_run(journal)
    for pragma, allowed in (("wal_autocheckpoint", 0), ("query_only", 1)):
        assert journal._connections.query(f"PRAGMA {pragma}") == [(allowed,)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        journal._connections.query("DELETE FROM owner")
    writer = journal._writer._connection
    assert writer is not None
    settings = {
        name: writer.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "mmap_size": 0}
    journal.close()


def test_the_library_never_imports_what_a_row_or_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("resolve_topic was called")

    for module in (eventsourcing.persistence, eventsourcing.sqlite, eventsourcing.popo):
        monkeypatch.setattr(module, "resolve_topic", never)
    for name in (
        "PERSISTENCE_MODULE",
        "APPLICATION_RECORDER_TOPIC",
        "COMPRESSOR_TOPIC",
        "SQLITE_DBNAME",
        "CREATE_TABLE",
    ):
        monkeypatch.setenv(name, "no_such_module:Nothing")
    for place in (None, tmp_path / "runs.db"):
        journal = open_journal(place)
        run = a_run(journal, 3)
        assert journal.load(run.run_id).version == 4
        assert len(journal.recorder.select_events(run.run_id)) == 4
        assert [row.id for row in journal.recorder.select_notifications(2, 10)] == [2, 3, 4]
        journal.close()
