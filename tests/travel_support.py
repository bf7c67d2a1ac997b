"""What tests of time travel share: journals that can only be read, runs written by hand, every look there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from journal_support import RunLog
from sealing_support import files_under
from sim_disk import Disk

from executus.events import Event, Fact
from executus.journal import MemoryJournal
from executus.ports import RunSummary
from executus.projections import Checkpoint
from executus.travel import (
    Kin,
    Recording,
    blame,
    diff,
    diff_runs,
    family_at,
    history,
    lineage,
    search,
    shown,
    state_at,
)

READS = {"read", "load", "scan", "head", "runs", "run"}


class ReadOnly:
    """Passes reads of a journal on, and fails the test at anything else."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        assert name in READS, f"a look asked the journal for {name}"
        return getattr(self._journal, name)


class DiskLog:
    """Reads what is on the disk of a simulated world."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        return [self._disk.decoded[index] for index in self._disk.logs[run_id][after:][:limit]]

    def run(self, run_id: str) -> RunSummary | None:
        head = self._disk.heads.get(run_id)
        return None if head is None or not head.version else head.summary(run_id)

    def runs(self) -> list[RunSummary]:
        return [head.summary(run_id) for run_id, head in self._disk.heads.items() if head.version]

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return self._disk.decoded[after : after + limit]

    def head(self) -> int:
        return len(self._disk.rows)

    def load(self, run_id: str) -> Checkpoint:
        return self._disk.folded(run_id)


def written(*runs: tuple[str, Sequence[Fact]]) -> ReadOnly:
    """A journal in memory with these runs, one after the other."""
    journal = MemoryJournal()
    for run_id, facts in runs:
        RunLog(journal, run_id).write(*facts)
    return ReadOnly(journal)


def look_at_everything(journal: Any) -> int:
    """Call every function of the room on every run of the journal; returns how many runs it looked at."""
    ids = [row.run_id for row in journal.runs()]
    for run_id in ids:
        recording = Recording(journal, run_id)
        head = recording.refresh()
        assert len(history(journal, run_id)) == len(recording.moments()) == head
        for version in range(0, head + 1, max(1, head // 7)):
            assert shown(state_at(journal, run_id, version)) == shown(recording.at(version))
            assert diff(journal, run_id, version, head).n == head
        for path in ("status", "transcript/messages", "/state/governed/deadline_ms", ""):
            blame(journal, run_id, path)
        for position in (0, journal.head() // 2, journal.head()):
            assert list(family_at(journal, run_id, position).members())
        assert Kin(journal, run_id).at(journal.head()).position == journal.head()
        assert run_id in {branch.run_id for branch in lineage(journal, run_id).branches()}
        assert diff_runs(journal, run_id, run_id).same
        diff_runs(journal, run_id, ids[0])
    for what in ({"text": "e"}, {"errors": True}, {"tool": "look"}, {"tag": "run-started"}, {"run_ids": ids}):
        list(search(journal, **what))  # type: ignore[arg-type]
    return len(ids)


def bytes_of(folder: Any) -> dict[str, bytes]:
    """Every file below `folder`, by its path."""
    return {str(path): path.read_bytes() for path in files_under(folder)}
