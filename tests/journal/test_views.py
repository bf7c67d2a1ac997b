"""Stored views: kept while a host writes, thrown away and had back, and never in anybody's way."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from journal_support import PATIENCE_S, RunLog, a_run, finished, note, step
from view_support import Said, SaidView, built, no_progress, rows_of

from executus.errors import JournalUnavailable
from executus.events import Event, NoteLogged, StepCompleted
from executus.journal import MemoryJournal, SqliteJournal, read_journal
from executus.journal.views import StoredViews
from executus.journal.views import file as views_file
from executus.journal.views.building import ViewStopped, check, rebuild
from executus.journal.views.builtin import audit_view
from executus.journal.views.definition import Definition, defined
from executus.journal.views.feed import MOST_PUSHED, PAGE, Pages
from executus.journal.views.file import ForeignViews, ViewsFile, views_path
from executus.journal.views.keeper import ViewsKeeper
from executus.journal.views.reading import ViewsReader
from executus.ports import ViewStanding
from executus.projections.rows import Rows, Table

OTHER_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*), sum(events) FROM runs").fetchone(), flush=True)
connection.close()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def keep(journal: SqliteJournal) -> Iterator[Callable[..., StoredViews]]:
    """Keeps views of the journal; they are closed after the test."""
    kept: list[StoredViews] = []

    def begin(*own: Any, **more: Any) -> StoredViews:
        kept.append(StoredViews(journal, journal.path, own, **more))
        return kept[-1]

    yield begin
    for one in kept:
        assert one.close(PATIENCE_S)


def file_of(journal: SqliteJournal) -> Path:
    return Path(views_path(journal.path))


def everything(journal: Any) -> list[Event]:
    return journal.scan(0, 100_000)  # type: ignore[no-any-return]


def agrees(journal: SqliteJournal, *definitions: Definition) -> None:
    """What is stored is what the log gives, built from nothing."""
    for definition in definitions:
        assert rows_of(file_of(journal), definition) == built(definition, everything(journal))


def stood(views: StoredViews) -> list[ViewStanding]:
    """How the audit and the host's own view stand."""
    return [one for one in views.standing() if one.name in ("audit", "said")]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ------------------------------------------------------------------ keeping


def test_what_was_stored_before_and_what_is_committed_now_is_in_the_tables(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    before = a_run(journal)
    before.write(*step(1))
    views = keep(SaidView())
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view(), defined(SaidView()))
    before.write(*step(2), finished())
    a_run(journal, notes=3)
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view(), defined(SaidView()))
    assert [(one.name, one.behind, one.status) for one in views.standing()] == [
        ("audit", 0, "kept"),
        ("budget", 0, "kept"),
        ("outbox", 0, "kept"),
        ("said", 0, "kept"),
    ]


def test_the_file_is_private_and_says_what_it_is(journal: SqliteJournal, keep: Callable[..., StoredViews]) -> None:
    assert keep().wait(timeout=PATIENCE_S)
    assert stat.S_IMODE(file_of(journal).stat().st_mode) == 0o600
    connection = sqlite3.connect(file_of(journal))
    assert connection.execute("PRAGMA application_id").fetchone() == (views_file.APPLICATION_ID,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_two_that_make_the_file_at_once_meet_in_a_whole_one(tmp_path: Path) -> None:
    """A host with views of its own has two connections, and a program may read at that moment."""
    switching, making = sys.getswitchinterval(), threading.Lock()
    problems: list[BaseException] = []

    def make(path: Path) -> None:
        file = ViewsFile(str(path), guarded=True, making=making)
        try:
            file.open()
            file.connection.execute("BEGIN IMMEDIATE")
            file.connection.execute("COMMIT")
        except BaseException as error:
            problems.append(error)
        finally:
            file.close()

    def read(path: Path) -> None:
        with suppress(JournalUnavailable), ViewsReader(str(path)) as reader:
            reader.standing()

    sys.setswitchinterval(1e-6)
    try:
        for number in range(30):
            path = tmp_path / f"{number}.views"
            threads = [threading.Thread(target=do, args=(path,)) for do in (make, read, make)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switching)
    assert not problems
    assert {path.suffix for path in tmp_path.iterdir()} <= {".views", ".views-wal", ".views-shm"}, "nothing else stays"


def test_another_program_reads_and_closes_the_file_while_a_host_goes_on(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    views = keep()
    run = a_run(journal)
    for number in range(3):
        run.write(note(number))
        assert views.wait(timeout=PATIENCE_S)
        file_of(journal).read_bytes()  # a careless tool in this process: it drops SQLite's locks
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROGRAM, str(file_of(journal))], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"(1, {number + 2})\n"
    agrees(journal, audit_view())


def test_a_slow_reader_of_pushed_events_falls_back_to_the_log_and_loses_nothing(journal: SqliteJournal) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow(SaidView):
        def apply(self, event: Event, rows: Rows) -> None:
            entered.set()
            assert gate.wait(PATIENCE_S)
            super().apply(event, rows)

    keeper = ViewsKeeper(journal, [defined(Slow())], views_path(journal.path))
    run = a_run(journal)
    assert entered.wait(PATIENCE_S)
    for number in range(MOST_PUSHED // 500 + 2):
        run.send(*(note(number) for _ in range(500)))
    run.write(*step(1))
    assert len(keeper._feed._pushed) <= MOST_PUSHED
    assert keeper._feed.behind
    gate.set()
    assert keeper.wait(journal.head(), PATIENCE_S)
    agrees(journal, defined(SaidView()))
    assert keeper.close(PATIENCE_S)


def test_a_commit_that_was_told_to_nobody_is_read_from_the_log(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    views = keep()
    run = a_run(journal)
    assert views.wait(timeout=PATIENCE_S)
    everybody, journal._followers._all = journal._followers._all, ()
    run.write(*step(1))  # as after a COMMIT that failed and was stored all the same
    journal._followers._all = everybody
    run.write(note())
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view())


def test_events_are_reduced_in_one_place_pushed_or_read(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    import msgspec

    def erased(event: Event) -> Event:
        if isinstance(event.fact, NoteLogged):
            return msgspec.structs.replace(event, fact=NoteLogged(type="erased"))
        return event

    run = a_run(journal, notes=2)
    views = keep(reduce=erased)
    assert views.wait(timeout=PATIENCE_S)
    run.write(note(7, "secret"))
    assert views.wait(timeout=PATIENCE_S)
    rows = rows_of(file_of(journal), audit_view())["notes"]
    assert [row[3][1] for row in rows] == ["erased"] * 3


def test_a_journal_in_memory_can_be_followed_too_but_a_runtime_stores_no_views_of_it(tmp_path: Path) -> None:
    journal = MemoryJournal()
    views = StoredViews(journal, str(tmp_path / "elsewhere.db"))
    a_run(journal, notes=2)
    assert views.wait(timeout=PATIENCE_S)
    journal.close()
    assert views.close(PATIENCE_S)


def test_at_the_end_what_was_committed_last_is_taken_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    views = StoredViews(journal, journal.path)
    run = a_run(journal)
    assert views.wait(timeout=PATIENCE_S)
    run.send(*step(1), finished())
    assert journal.close()
    assert views.close(PATIENCE_S)
    reader = read_journal(journal.path)
    assert rows_of(file_of(journal), audit_view()) == built(audit_view(), everything(reader))
    assert reader.head() == 6
    reader.close()


def test_an_opening_goes_on_where_the_last_host_stopped(
    journal: SqliteJournal, keep: Callable[..., StoredViews], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(journal)
    run.write(*step(1))
    assert keep().wait(timeout=PATIENCE_S)
    assert keep().close(PATIENCE_S)
    run.write(*step(2))
    asked: list[int] = []
    scan = journal.scan

    def counted(after: int = 0, limit: int = 1000) -> list[Event]:
        asked.append(after)
        return scan(after, limit)

    monkeypatch.setattr(journal, "scan", counted)
    assert keep().wait(timeout=PATIENCE_S)
    assert min(asked) >= 4, "the events before are not read again, but for the one that says which journal it is"
    monkeypatch.undo()
    agrees(journal, audit_view())


# ------------------------------------------------------------------ thrown away and had back


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: 3 * 4096] + os.urandom(4096) + path.read_bytes()[4 * 4096 :]),
        lambda path: path.write_bytes(path.read_bytes()[: 2 * 4096]),
        lambda path: executed(path, "DROP TABLE tools"),
        lambda path: executed(path, "DROP TABLE views"),
        lambda path: executed(path, "DELETE FROM tracking"),
        lambda path: executed(path, "PRAGMA user_version = 99"),
    ],
    ids=["gone", "garbage", "empty", "torn", "short", "table dropped", "no index", "no position", "other layout"],
)
def test_whatever_happened_to_the_file_it_is_made_again(
    harm: Callable[[Path], Any], journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    for _ in range(3):
        a_run(journal, notes=40).write(*step(1), finished())
    first = keep()
    assert first.wait(timeout=PATIENCE_S)
    assert first.close(PATIENCE_S)
    harm(file_of(journal))
    a_run(journal, notes=2)
    assert keep().wait(timeout=PATIENCE_S)
    agrees(journal, audit_view())


def executed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_file_that_is_deleted_under_a_live_host_comes_back_with_the_next_event(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    views = keep()
    run = a_run(journal, notes=3)
    assert views.wait(timeout=PATIENCE_S)
    for ending in ("", "-wal", "-shm"):
        Path(f"{file_of(journal)}{ending}").unlink()
    run.write(*step(1))
    until(lambda: file_of(journal).exists())
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view())


def test_the_views_of_another_journal_are_not_taken_for_ours(
    journal: SqliteJournal, keep: Callable[..., StoredViews], tmp_path: Path
) -> None:
    a_run(journal, notes=5)
    assert keep().wait(timeout=PATIENCE_S)
    assert keep().close(PATIENCE_S)
    (tmp_path / "other").mkdir()
    other = SqliteJournal(tmp_path / "other" / "runs.db")
    a_run(other, notes=9)
    file_of(other).write_bytes(file_of(journal).read_bytes())
    views = StoredViews(other, other.path)
    assert views.wait(timeout=PATIENCE_S)
    agrees(other, audit_view())
    other.close()
    assert views.close(PATIENCE_S)


def test_a_journal_that_was_put_back_to_an_older_copy_has_its_views_made_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    run = a_run(journal, notes=2)
    journal.close()
    backup = path.read_bytes()
    for text, notes in (("one future", 3), ("another", 5)):
        path.write_bytes(backup)
        Path(f"{path}-wal").unlink(missing_ok=True)
        Path(f"{path}-shm").unlink(missing_ok=True)
        journal = SqliteJournal(path)
        views = StoredViews(journal, journal.path)
        going_on = RunLog(journal, run.run_id)
        going_on.version, going_on.hash = run.version, journal.read(run.run_id)[-1].hash
        going_on.write(*(note(number, text) for number in range(notes)))
        assert views.wait(timeout=PATIENCE_S)
        agrees(journal, audit_view())
        journal.close()
        assert views.close(PATIENCE_S)


def test_a_database_of_another_program_is_left_alone(
    journal: SqliteJournal, keep: Callable[..., StoredViews], caplog: pytest.LogCaptureFixture
) -> None:
    executed(file_of(journal), "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
    before = file_of(journal).read_bytes()
    views = keep()
    a_run(journal)
    assert views.wait(timeout=PATIENCE_S), "nobody waits for what never comes"
    for standing in views.standing():
        assert standing.status == "stopped"
        assert "another program" in standing.error
    assert file_of(journal).read_bytes() == before
    assert len(caplog.records) == 1
    with pytest.raises(ForeignViews):
        ViewsFile(str(file_of(journal))).open()


def test_a_full_disk_is_said_once_and_waited_for(
    journal: SqliteJournal,
    keep: Callable[..., StoredViews],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from executus.journal.views import keeper, store

    monkeypatch.setattr(keeper, "FIRST_PAUSE_S", 0.01)
    full = True
    real = store.ViewStore._move

    def move(self: Any, *arguments: Any) -> None:
        if full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        real(self, *arguments)

    monkeypatch.setattr(store.ViewStore, "_move", move)
    views = keep()
    run = a_run(journal)
    until(lambda: bool(caplog.records))
    run.write(*step(1))
    assert not views.wait(timeout=0.1)
    full = False
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view())
    assert [record.getMessage() for record in caplog.records] == [
        "the stored views wait: OperationalError: database or disk is full"
    ]


# ------------------------------------------------------------------ views that fail


class Poisoned(SaidView):
    """Raises at some notes."""

    def apply(self, event: Event, rows: Rows) -> None:
        if isinstance(event.fact, NoteLogged) and event.fact.payload.get("text") == "poison":
            raise KeyError("no such thing")
        super().apply(event, rows)


def test_a_view_that_raises_is_stopped_visibly_and_stops_nothing_else(
    journal: SqliteJournal, keep: Callable[..., StoredViews], caplog: pytest.LogCaptureFixture
) -> None:
    views = keep(Poisoned())
    run = a_run(journal)
    run.write(*step(1))
    assert views.wait(timeout=PATIENCE_S)
    good = journal.head()
    run.write(note(1, "poison"))
    run.write(*step(2))
    assert views.wait(timeout=PATIENCE_S)
    audit, said = stood(views)
    assert (audit.status, audit.behind) == ("kept", 0)
    assert (said.status, said.position) == ("stopped", good)
    assert said.error.startswith(f"at event {good + 1} (note-logged, run {run.run_id}): KeyError")
    assert len(caplog.records) == 1
    assert "`executus rebuild said`" in caplog.records[0].getMessage()
    agrees(journal, audit_view())
    assert views.close(PATIENCE_S)
    again = keep(Poisoned())
    run.write(*step(3))
    assert again.wait(timeout=PATIENCE_S)
    assert stood(again)[1] == said.__class__("said", good, journal.head() - good, "stopped", said.error)
    assert again.close(PATIENCE_S)
    file = ViewsFile(str(file_of(journal)))
    file.open()
    with pytest.raises(ViewStopped, match="no such thing"):
        rebuild(file, defined(Poisoned()), Pages(journal.scan), journal.head(), no_progress)
    rebuild(file, defined(SaidView()), Pages(journal.scan), journal.head(), no_progress)
    file.close()
    agrees(journal, defined(SaidView()))


class Greedy(SaidView):
    """Puts into a column what no column can hold."""

    def apply(self, event: Event, rows: Rows) -> None:
        if isinstance(event.fact, StepCompleted):
            rows.of(Said).change(event.run_id).longest = ["a", "list"]  # type: ignore[assignment]


def test_a_row_that_cannot_be_stored_stops_its_view_alone(
    journal: SqliteJournal, keep: Callable[..., StoredViews], caplog: pytest.LogCaptureFixture
) -> None:
    keeper = ViewsKeeper(journal, [audit_view(), defined(Greedy())], views_path(journal.path))
    run = a_run(journal)
    run.write(*step(1))
    assert keeper.wait(journal.head(), PATIENCE_S)
    audit, said = keeper.standing(journal.head())
    assert (audit.status, audit.behind) == ("kept", 0)
    assert said.status == "stopped"
    assert "list" in said.error
    agrees(journal, audit_view())
    assert keeper.close(PATIENCE_S)
    assert caplog.records


class Hung(SaidView):
    """Never comes back."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def apply(self, event: Event, rows: Rows) -> None:
        self.gate.wait(PATIENCE_S)


def test_a_view_of_the_host_that_hangs_delays_no_run_and_no_other_view_and_no_end(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "runs.db")
    hung = Hung()
    views = StoredViews(journal, journal.path, (hung,))
    run = a_run(journal)
    run.write(*step(1), finished())
    builtin, _ = views._keepers
    assert builtin.wait(journal.head(), PATIENCE_S)
    agrees(journal, audit_view())
    assert not views.wait(timeout=0.05)
    assert journal.close(PATIENCE_S)
    assert not views.close(0.05)
    hung.gate.set()
    assert views.close(PATIENCE_S)


class LeavesTheBuilding(SaidView):
    """Thinks that the process is over."""

    def apply(self, event: Event, rows: Rows) -> None:
        sys.exit("goodbye")


def test_a_view_that_exits_ends_itself_only(
    journal: SqliteJournal, keep: Callable[..., StoredViews], caplog: pytest.LogCaptureFixture
) -> None:
    views = keep(LeavesTheBuilding())
    a_run(journal)
    assert views.wait(timeout=PATIENCE_S)
    assert [one.status for one in stood(views)] == ["kept", "stopped"]
    assert caplog.records


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([object()], "expected a View"),
        ([SaidView(), SaidView()], "two views are named 'said'"),
        ("said", "expected a sequence of View"),
        ([type("Other", (SaidView,), {"name": "other", "tables": (Table("runs", Said),)})()], "is that of audit"),
        ([type("Bad", (SaidView,), {"version": 0})()], "expected a whole number"),
        ([type("Bad", (SaidView,), {"tables": ()})()], "expected one Table or more"),
        ([type("Bad", (SaidView,), {"name": "no good"})()], "expected a name of a-z"),
    ],
)
def test_what_is_no_view_is_refused_before_anything_is_opened(own: Any, expected: str, tmp_path: Path) -> None:
    journal = MemoryJournal()
    with pytest.raises((TypeError, ValueError), match=expected):
        StoredViews(journal, str(tmp_path / "runs.db"), own)
    assert list(tmp_path.iterdir()) == []
    journal.close()


# ------------------------------------------------------------------ another shape


class SaidAnew(SaidView):
    """The same, meant otherwise."""

    version = 2

    def apply(self, event: Event, rows: Rows) -> None:
        if isinstance(event.fact, StepCompleted):
            rows.of(Said).change(event.run_id).replies += 100


def test_a_view_of_another_shape_is_built_beside_the_old_one_which_stays_readable_until_then(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    run = a_run(journal)
    run.write(*step(1))
    first = keep(SaidView())
    assert first.wait(timeout=PATIENCE_S)
    assert first.close(PATIENCE_S)
    old = rows_of(file_of(journal), defined(SaidView()))
    gate, building = threading.Event(), threading.Event()

    class Held(SaidAnew):
        def apply(self, event: Event, rows: Rows) -> None:
            building.set()
            assert gate.wait(PATIENCE_S)
            super().apply(event, rows)

    views = keep(Held())
    assert building.wait(PATIENCE_S)
    run.write(*step(2))
    assert rows_of(file_of(journal), defined(SaidView())) == old
    _, said = stood(views)
    assert said.status == "building"
    gate.set()
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, defined(SaidAnew()), audit_view())
    names = {row[0] for row in sqlite3.connect(file_of(journal)).execute("SELECT name FROM sqlite_master")}
    assert not [name for name in names if name.startswith("new_")], "nothing is left of the building"


def test_a_building_that_was_cut_off_goes_on_at_the_next_opening(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    run = a_run(journal)
    run.write(*(note(number) for number in range(3 * PAGE)), *step(1))
    file = ViewsFile(str(file_of(journal)))
    file.open()
    from executus.journal.views.advancing import advance
    from executus.journal.views.store import ViewStore

    store = ViewStore(file)
    advance(store, [store.begin(defined(SaidView()))], [journal.scan(0, 2 * PAGE)])
    file.close()
    views = keep(SaidView())
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, defined(SaidView()))


# ------------------------------------------------------------------ rebuild and check


def test_a_rebuild_gives_the_same_rows_and_one_that_is_cut_off_leaves_the_old_ones(
    journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    for _ in range(3):
        a_run(journal, notes=2).write(*step(1), finished())
    views = keep()
    assert views.wait(timeout=PATIENCE_S)
    assert views.close(PATIENCE_S)
    before = rows_of(file_of(journal), audit_view())
    file = ViewsFile(str(file_of(journal)))
    file.open()
    rebuild(file, audit_view(), Pages(journal.scan), journal.head(), no_progress)
    assert rows_of(file_of(journal), audit_view()) == before

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(file, audit_view(), Pages(journal.scan), journal.head(), interrupt)
    assert file.ask("SELECT count(*) FROM sqlite_master WHERE name LIKE 'new_%'") == [(0,)]
    file.close()
    assert rows_of(file_of(journal), audit_view()) == before
    assert check(str(file_of(journal)), audit_view(), Pages(journal.scan), no_progress).difference == ""


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("UPDATE runs SET cost_usd = 0.5", "runs: run_id '{run}', cost_usd: 0.5 is stored, 0.0 is built"),
        ("UPDATE runs SET steps = '1'", ""),
        ("UPDATE steps SET model = x'61'", "steps: run_id '{run}', step 1, model: b'a' is stored, 'scripted' is built"),
        ("DELETE FROM tools", "tools: run_id '{run}', call '1.0' is built, and there is no such row stored"),
        (
            "INSERT INTO notes VALUES ('{run}', 99, 0, '', '')",
            "notes: run_id '{run}', version 99 is stored, and there is no such row when it is built",
        ),
    ],
)
def test_a_check_names_the_first_row_that_differs(
    harm: str, told: str, journal: SqliteJournal, keep: Callable[..., StoredViews]
) -> None:
    run = a_run(journal)
    run.write(*step(1), finished())
    views = keep()
    assert views.wait(timeout=PATIENCE_S)
    executed(file_of(journal), harm.format(run=run.run_id))
    found = check(str(file_of(journal)), audit_view(), Pages(journal.scan), no_progress)
    assert found.difference == told.format(run=run.run_id)
    assert found.position == journal.head()


def test_a_check_works_while_a_host_moves_the_view(journal: SqliteJournal, keep: Callable[..., StoredViews]) -> None:
    views = keep()
    run = a_run(journal)
    assert views.wait(timeout=PATIENCE_S)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            run.write(*step(number))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        reader = read_journal(journal.path)
        for _ in range(5):
            found = check(str(file_of(journal)), audit_view(), Pages(reader.scan), no_progress)
            assert found.difference == ""
        reader.close()
    finally:
        stop.set()
        writing.join()


def test_two_processes_that_move_one_view_count_no_event_twice(journal: SqliteJournal) -> None:
    """Two writers of one file, as a command and a host that starts meanwhile: the loser of each step looks again."""
    run = a_run(journal)
    run.write(*(fact for number in range(1, 300) for fact in step(number)))
    keepers = [ViewsKeeper(journal, [audit_view()], views_path(journal.path)) for _ in range(2)]
    run.write(*(fact for number in range(300, 400) for fact in step(number)))
    for keeper in keepers:
        assert keeper.wait(journal.head(), PATIENCE_S)
        assert keeper.close(PATIENCE_S)
    agrees(journal, audit_view())


def test_a_reader_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db.views"
    with pytest.raises(JournalUnavailable, match="`executus rebuild`"):
        ViewsReader(str(path))
    path.write_bytes(b"x" * 5000)
    with pytest.raises(JournalUnavailable, match="`executus rebuild`"):
        ViewsReader(str(path))


def test_a_forked_child_touches_nothing(journal: SqliteJournal, keep: Callable[..., StoredViews]) -> None:
    views = keep()
    run = a_run(journal)
    assert views.wait(timeout=PATIENCE_S)
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    run.write(*step(1))
    assert views.wait(timeout=PATIENCE_S)
    agrees(journal, audit_view())


def test_the_log_of_the_package_is_quiet_about_what_is_normal(
    journal: SqliteJournal, keep: Callable[..., StoredViews], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    a_run(journal)
    assert keep(SaidView()).wait(timeout=PATIENCE_S)
    assert caplog.records == []
