"""Whatever a journal holds, and wherever a compaction is cut off: every event stays readable, and a repeat finishes.

While a generated journal is compacted, its files are copied before every statement that writes: each copy is what the
disk holds after a crash there. Planted mistakes show that the oracle would notice.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from any_life import Life, lives
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from journal_support import PATIENCE_S, RunLog, note, started
from msgspec.structs import replace

from executus.errors import ArchiveMissing, JournalError
from executus.events import Event, Fact, RunFinished, RunStarted
from executus.journal import (
    Compactor,
    Inspection,
    OutsideReader,
    SqliteJournal,
    Terms,
    compacting,
    plan,
    read_journal,
    reading,
    sqlite,
    vacuum,
)
from executus.journal.reading import LogReader
from executus.projections import fold, stats

LARGE = ["a" * 70_000, "b" * 70_000]
"""Payloads out of line, which runs share."""

ALL = Terms(before_us=1 << 60)


Written = tuple[Life, int | None, list[int], bool]
"""A life, the number of its root if it is a child, its large payloads, and whether somebody ends it."""


class Told:
    """What was stored: the oracle."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.requests: dict[str, str] = {}
        self.over: set[str] = set()

    def of(self, run_id: str) -> list[Event]:
        return [event for event in self.events if event.run_id == run_id]

    @property
    def runs(self) -> list[str]:
        return list(dict.fromkeys(event.run_id for event in self.events))


def facts_of(life: Life, run_id: str, root: str, ends: bool) -> list[Fact]:
    """The life as a run of its own, or a child of `root`. ends: somebody cancels it, if nothing else ended it."""
    first, *rest = life.facts
    assert isinstance(first, RunStarted)
    if ends and not life.state.over:
        rest.append(RunFinished(stats=stats(life.state, "cancelled", "", 0), by="alice"))
    info = replace(first.info, run_id=run_id, root_run_id=root, parent_run_id=root, request_id="")
    return [replace(first, info=info), *rest]


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[Written], list[int]]:
    """Lives with the number of their root, if they are children, and large payloads; and whose turn it is to append."""
    runs = [
        (
            draw(lives(8)),
            draw(st.sampled_from([None, 0])) if number else None,
            draw(st.sampled_from([[0], [0], [1], []])),
            draw(st.sampled_from([True, True, False])),
        )
        for number in range(draw(st.integers(2, 4)))
    ]
    return runs, draw(st.lists(st.integers(0, len(runs) - 1), min_size=5, max_size=25))


def written(path: Path, runs: list[Written], turns: list[int]) -> Told:
    """Write the lives to a new journal, a few events at a time."""
    journal = SqliteJournal(path)
    told = Told()
    logs = [RunLog(journal, str(UUID(int=number + 1))) for number in range(len(runs))]
    left: list[list[Fact]] = []
    for (life, root, large, ends), log in zip(runs, logs, strict=True):
        facts = facts_of(life, log.run_id, "" if root is None else logs[root].run_id, ends)
        left.append([*facts[:1], *(note(1, LARGE[one]) for one in large), *facts[1:]])
    for turn in [*turns, *range(len(logs)), *range(len(logs))]:
        some, left[turn] = left[turn][:3], left[turn][3:]
        key = f"anybody\n{turn}" if logs[turn].version == 0 else ""
        if some:
            told.events += logs[turn].write(*some, request_key=key)
        if key:
            told.requests[key] = logs[turn].run_id
    for log, rest in zip(logs, left, strict=True):
        if rest:
            told.events += log.write(*rest)
    told.over = {event.run_id for event in told.events if type(event.fact) is RunFinished}
    last = RunLog(journal, str(UUID(int=99)))
    told.events += last.write(started(last.run_id))
    told.events.sort(key=lambda event: event.position)
    assert journal.close(PATIENCE_S)
    return told


def scanned(journal: LogReader, page: int) -> list[Event]:
    found: list[Event] = []
    while some := journal.scan(found[-1].position if found else 0, page):
        found += some
    return found


def shows_everything(journal: LogReader, told: Told) -> None:
    """What readers see is what was stored, wherever it is kept."""
    assert journal.head() == told.events[-1].position
    for page in (1000, 3):
        assert scanned(journal, page) == told.events
    assert [row.run_id for row in journal.runs()] == told.runs
    for run_id in told.runs:
        log = told.of(run_id)
        assert journal.read(run_id, verify=True) == log
        half = len(log) // 2
        assert journal.read(run_id, after=half, limit=2, verify=True) == log[half : half + 2]
        assert journal.load(run_id) == fold(log)
        assert [row[:2] for row in journal.rows(run_id)] == [(event.version, event.position) for event in log]
    for key, run_id in told.requests.items():
        assert journal.find_request(key) == run_id
    found = [one for one in Inspection(journal).of_everything() if not one.remark]
    assert found == []


def compacted(path: Path) -> None:
    """Compact it as a new host."""
    journal = SqliteJournal(path)
    try:
        done = Compactor(journal, plan(journal, ALL), at_us=1).move()
        assert done.problems == []
    finally:
        assert journal.close(PATIENCE_S)


def needs_no_archive_for_the_rest(path: Path, told: Told) -> None:
    """Without the archive, the runs that were moved say where they are, and nobody else is hurt."""
    archive = Path(f"{path}.archive")
    if not archive.exists():
        return
    aside = archive.rename(archive.with_name("elsewhere"))
    reader = read_journal(path)
    try:
        moved = {str(UUID(bytes=row[0])) for row in reader.ask("SELECT run_id FROM archived")}
        assert moved <= told.over
        for run_id in told.runs:
            if run_id in moved:
                with pytest.raises(ArchiveMissing, match=r"runs\.db\.archive"):
                    reader.read(run_id)
                assert reader.load(run_id) == fold(told.of(run_id)), "its fold stayed"
            else:
                assert reader.read(run_id, verify=True) == told.of(run_id)
        assert [event for event in scanned(reader, 3) if event.run_id not in moved] == [
            event for event in told.events if event.run_id not in moved
        ]
    finally:
        reader.close()
        aside.rename(archive)


Images = list[Path]


class Alone:
    """A connection that does one thing at a time with all others of its kind, `before` each that writes.

    The journal and its archive have a writer's thread each: what one of them copies into its file (a checkpoint, say)
    while the other's thread copies the files would be half in that copy, and nothing like what a crash leaves.
    """

    def __init__(self, real: sqlite3.Connection, turn: threading.RLock, before: Callable[[], None]) -> None:
        self._real, self._turn, self._before = real, turn, before

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._alone(self._real.execute, sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._alone(self._real.executemany, sql, *parameters)

    def _alone(self, do: Callable[..., sqlite3.Cursor], sql: str, *parameters: Any) -> sqlite3.Cursor:
        with self._turn:
            if sql.startswith(("INSERT", "DELETE", "COMMIT", "BEGIN")):
                self._before()
            return do(sql, *parameters)

    def close(self) -> None:
        with self._turn:
            self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def compacted_with_images(path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    """Compact, and copy the files before each statement that writes."""
    images: Images = []
    real, turn = sqlite.open_for_writing, threading.RLock()

    def copy() -> None:
        image = path.parent / f"crash-{len(images)}"
        image.mkdir()
        for one in path.parent.iterdir():
            if one.is_file() and not one.name.endswith(("-shm", ".lock")):
                shutil.copyfile(one, image / one.name)
        images.append(image)

    def watched(name: str) -> Any:
        with turn:
            return Alone(real(name), turn, copy)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "open_for_writing", watched)
        compacted(path)
    return images


def check(
    directory: Path, runs: Sequence[Any], turns: list[int], monkeypatch: pytest.MonkeyPatch, *, cut_off: bool = True
) -> int:
    """One generated journal: compacted, cut off everywhere, finished again; returns how often it was cut off."""
    path = directory / "runs.db"
    told = written(path, list(runs), turns)
    images = compacted_with_images(path, monkeypatch) if cut_off else []
    if not cut_off:
        compacted(path)
    for image in [*images, directory]:
        copy = image / "runs.db"
        reader = read_journal(copy)
        shows_everything(reader, told)
        reader.close()
    for image in images[:: max(1, len(images) // 6)]:
        copy = image / "runs.db"
        compacted(copy)
        finished_everywhere(copy, told)
    finished_everywhere(path, told)
    journal = SqliteJournal(path)
    vacuum(journal)
    shows_everything(journal, told)
    after = RunLog(journal, str(UUID(int=1000)))
    told.events += after.write(started(after.run_id))
    assert told.events[-1].position == told.events[-2].position + 1, "a position is never used twice"
    shows_everything(journal, told)
    assert journal.close(PATIENCE_S)
    return len(images)


def finished_everywhere(path: Path, told: Told) -> None:
    reader: OutsideReader = read_journal(path)
    shows_everything(reader, told)
    unfinished = {event.run_id for event in told.events} - told.over
    roots = {
        event.fact.info.run_id: event.fact.info.root_run_id or event.fact.info.run_id
        for event in told.events
        if isinstance(event.fact, RunStarted)
    }
    stay = {run_id for run_id in told.runs if any(roots[one] == roots[run_id] for one in unfinished)}
    moved = {str(UUID(bytes=row[0])) for row in reader.ask("SELECT run_id FROM archived")}
    assert moved == told.over - stay
    left = {str(UUID(bytes=row[0])) for row in reader.ask("SELECT originator_id FROM stored_events")}
    assert left == set(told.runs) - moved
    assert not plan(reader, ALL).families
    reader.close()
    needs_no_archive_for_the_rest(path, told)


def for_any_journal(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda test: settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(journals())(test))


def test_a_compaction_cut_off_anywhere_loses_nothing_and_is_finished_by_the_next() -> None:
    cut_off = 0

    @for_any_journal(12)
    def lived(journal: Any) -> None:
        nonlocal cut_off
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            cut_off += check(Path(directory), *journal, patch)

    lived()
    assert cut_off > 60


# ------------------------------------------------------------------ planted mistakes


def deletes_before_it_copies(patch: pytest.MonkeyPatch) -> None:
    def move(self: Compactor, archive: SqliteJournal, group: list[Any]) -> None:
        rows = {run.run_id: list(self._pages(run.run_id, 0)) for run in group}
        for run in group:
            self._delete([(UUID(run.run_id).bytes, run.version)])
        patch.setattr(Compactor, "_pages", lambda self, run_id, after: iter(rows[run_id]))
        runs = [(run, self._checked(self._journal, run.run_id)[0]) for run in group]
        self._copy(archive, runs)

    patch.setattr(Compactor, "_move", move)


def believes_its_copy(patch: pytest.MonkeyPatch) -> None:
    real = Compactor._put
    patch.setattr(
        Compactor, "_put", lambda self, archive, clear, rows, runs: real(self, archive, clear, rows[1:], runs)
    )
    patch.setattr(Compactor, "_compare", lambda *_: None)


def scans_past_what_was_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "_SCAN_MOVED", reading._SCAN_MOVED.replace("rowid > ?", "rowid > 1000 + ?"))


def deletes_payloads_that_live_runs_need(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compacting, "_MENTIONS", compacting._MENTIONS.replace("rowid > ?", "rowid > 1000 + ?"))


def forgets_to_mark(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Compactor, "_mark", lambda self, runs: {run.run_id for run, _, _ in runs})


def moves_half_of_a_family(patch: pytest.MonkeyPatch) -> None:
    real = compacting._groups
    patch.setattr(compacting, "_groups", lambda families: real([family[:1] for family in families]))


def leaves_no_fold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compacting, "shape", lambda: "")


def deletes_what_came_after(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compacting, "_DELETE", compacting._DELETE.replace("originator_id = ?", "originator_id >= ?"))


@pytest.mark.parametrize(
    "mistake",
    [
        deletes_before_it_copies,
        believes_its_copy,
        scans_past_what_was_moved,
        deletes_payloads_that_live_runs_need,
        forgets_to_mark,
        moves_half_of_a_family,
        leaves_no_fold,
        deletes_what_came_after,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_a_planted_mistake_is_found(mistake: Callable[[pytest.MonkeyPatch], None]) -> None:
    found: list[Exception] = []

    @for_any_journal(200)
    def lived(journal: Any) -> None:
        if found:
            return
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            mistake(patch)
            try:
                check(Path(directory), *journal, patch, cut_off=mistake is deletes_before_it_copies)
            except (AssertionError, JournalError, OSError) as error:
                found.append(error)

    lived()
    assert found, "nobody noticed"
