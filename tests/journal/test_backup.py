"""A backup is the journal at one moment, made while it is written, and opens like any other."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from compaction_support import moved, over
from journal_support import PATIENCE_S, RunLog, a_run, note

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.signing import PrivateKey
from executus.errors import JournalError
from executus.journal import (
    Anchors,
    AnchorTerms,
    HeadsCheck,
    Inspection,
    OutsideReader,
    SqliteJournal,
    Terms,
    back_up,
    backup,
    read_journal,
)


def is_whole(path: Path, heads: HeadsCheck | None = None) -> bool:
    reader = read_journal(path)
    found = [one for one in Inspection(reader, heads=heads, deep=True).of_everything() if "stats" not in one.why]
    reader.close()
    return [one for one in found if not one.remark] == []


def test_a_backup_under_load_is_one_moment_and_goes_on_from_there(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    key = PrivateKey(bytes(range(32)))
    anchors = Anchors(journal, key, AnchorTerms(20, 0.02), wall_us=lambda: 1)
    old = [over(journal, facts=(note(1, "x" * 90_000),)) for _ in range(5)]
    a_run(journal)
    moved(journal)
    runs = [a_run(journal) for _ in range(6)]
    stop = threading.Event()
    written = threading.Semaphore(0)

    def work(run: RunLog) -> None:
        number = 0
        while not stop.is_set():
            run.write(note(number, "y" * (70_000 if number % 50 == 0 else 200)), note(number))
            number += 1
            written.release()

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            for _ in range(100):
                assert written.acquire(timeout=PATIENCE_S)
            reader = read_journal(path)
            before = journal.head()
            done = back_up(reader, tmp_path / f"copy-{number}" / "saved.db")
            reader.close()
            assert done.position >= before
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    everything = journal.scan(0, 1_000_000)
    assert journal.close(PATIENCE_S)
    assert anchors.close(PATIENCE_S)
    for number in range(3):
        copy = tmp_path / f"copy-{number}" / "saved.db"
        assert {one.name for one in copy.parent.iterdir()} == {"saved.db", "saved.db.archive", "saved.db.heads"}
        assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in copy.parent.iterdir())
        assert is_whole(copy, HeadsCheck(copy.with_name("saved.db.heads"), [key]))
        again = SqliteJournal(copy)
        head = again.head()
        assert again.scan(0, 1_000_000) == everything[:head]
        assert again.read(old[0].run_id) == old[0].events
        assert again.epoch == 2
        new = a_run(again, 2)
        assert [event.position for event in new.events] == [head + 1, head + 2, head + 3]
        assert again.close(PATIENCE_S)
        assert is_whole(copy)


def test_a_run_that_was_under_way_resumes_from_the_backup(tmp_path: Path) -> None:
    gate = threading.Event()

    def thinks(request: object) -> str:
        assert gate.wait(PATIENCE_S)
        return "thought"

    path, copy = tmp_path / "runs.db", tmp_path / "copy.db"
    with Runtime(path, agents=[Agent("a", model=ScriptedModel(thinks))]) as runtime:  # type: ignore[arg-type]
        run = runtime.start("a", "hm", request_id="once", caller="alice")
        reader = read_journal(path)
        back_up(reader, copy)
        reader.close()
        gate.set()
        assert run.result(PATIENCE_S).output == "thought"
    with Runtime(copy, agents=[Agent("a", model=ScriptedModel(["again"]))]) as runtime:
        assert runtime.run(run.id).result(PATIENCE_S).output == "again"
        assert runtime.start("a", "hm", request_id="once", caller="alice").id == run.id
    assert is_whole(copy)


@pytest.mark.parametrize("how", ["closed", "without its log", "crashed"])
def test_a_journal_that_nobody_has_open_is_backed_up_as_well(tmp_path: Path, how: str) -> None:
    path, copy = tmp_path / "runs.db", tmp_path / "copy.db"
    journal = SqliteJournal(path)
    run = a_run(journal, 30)
    if how == "crashed":
        crashed = tmp_path / "crashed.db"
        for ending in ("", "-wal"):
            crashed.with_name(crashed.name + ending).write_bytes(path.with_name(path.name + ending).read_bytes())
        path = crashed
    assert journal.close(PATIENCE_S)
    if how == "without its log":
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink()
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir() if not one.name.endswith("-shm")}
    reader = read_journal(path)
    assert back_up(reader, copy).position == 31
    reader.close()
    after = {one.name: one.read_bytes() for one in tmp_path.iterdir() if not one.name.endswith("-shm")}
    assert after.pop("copy.db")
    assert after == before
    saved = read_journal(copy)
    assert saved.read(run.run_id, verify=True) == run.events
    saved.close()


def test_a_backup_is_never_put_over_another_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    SqliteJournal(path).close(PATIENCE_S)
    reader = read_journal(path)
    for ending in ("", ".archive", ".heads"):
        taken = tmp_path / f"copy.db{ending}"
        taken.write_text("mine")
        with pytest.raises(JournalError, match="exists"):
            back_up(reader, tmp_path / "copy.db")
        assert taken.read_text() == "mine"
        taken.unlink()
    with pytest.raises(JournalError, match="exists"):
        back_up(reader, path)
    reader.close()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    SqliteJournal(path).close(PATIENCE_S)
    tmp_path.joinpath("closed").mkdir(mode=0o500)
    reader = read_journal(path)
    with pytest.raises(JournalError, match="could not be made"):
        back_up(reader, tmp_path / "closed" / "copy.db")
    reader.close()


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    a_run(journal, 9)
    journal.close(PATIENCE_S)
    path.with_name("runs.db.heads").write_text("{}\n")
    reader = read_journal(path)

    def full(done: int, pages: int) -> None:
        raise OSError("no space left")

    before = sorted(one.name for one in tmp_path.iterdir())
    with pytest.raises(JournalError, match="no space left"):
        back_up(reader, tmp_path / "copy.db", tick=full)
    assert sorted(one.name for one in tmp_path.iterdir()) == before
    reader.close()


def test_what_moves_and_is_signed_for_meanwhile_leaves_the_copy_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy = tmp_path / "runs.db", tmp_path / "copy.db"
    key = PrivateKey(bytes(range(32)))
    journal = SqliteJournal(path)
    signed = threading.Semaphore(0)
    anchors = Anchors(journal, key, AnchorTerms(1, 3600.0), lambda line: signed.release(), wall_us=lambda: 1)
    runs = [over(journal, facts=(note(1),)) for _ in range(4)]
    a_run(journal)
    moved(journal, Terms(before_us=1 << 60, keep=3))
    real = backup._backed_up

    def slowly(source: OutsideReader, to: str, tick: object) -> Path:
        if source.path == str(path):
            while signed.acquire(blocking=False):
                pass
            a_run(journal, 3)  # after the anchors were copied
            assert signed.acquire(timeout=PATIENCE_S)
        done = real(source, to, tick)  # type: ignore[arg-type]
        if source.path == str(path):
            assert len(moved(journal)) == 2  # before the archive is copied
        return done

    monkeypatch.setattr(backup, "_backed_up", slowly)
    reader = read_journal(path)
    back_up(reader, copy)
    reader.close()
    assert journal.close(PATIENCE_S)
    assert anchors.close(PATIENCE_S)
    assert is_whole(copy, HeadsCheck(copy.with_name("copy.db.heads"), [key]))
    saved = read_journal(copy)
    assert all(saved.read(run.run_id, verify=True) == run.events for run in runs)
    saved.close()
