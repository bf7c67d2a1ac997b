"""What tests of compaction share: finished runs, and a compaction that must go well."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from journal_support import RunLog, started
from msgspec.structs import replace

from executus.events import Fact, RunFinished, RunStats
from executus.journal import Compactor, SqliteJournal, Terms, plan

LATER = Terms(before_us=1 << 60)
"""Every run is old enough."""


def over(journal: Any, *after: Fact, facts: tuple[Fact, ...] = (), key: str = "", **info: Any) -> RunLog:
    """A finished run; `info` are fields of its `RunInfo`, but `deliver` and `status` are their own."""
    run = RunLog(journal, info.pop("run_id", None))
    first = started(run.run_id)
    deliver, status = info.pop("deliver", False), info.pop("status", "ok")
    run.write(replace(first, info=replace(first.info, **info), deliver=deliver), *facts, request_key=key)
    run.write(RunFinished(stats=RunStats(status=status, output="done"), by="model"), *after)
    return run


def moved(journal: SqliteJournal, terms: Terms = LATER) -> list[str]:
    """The runs that a compaction moves."""
    planned = plan(journal, terms)
    done = Compactor(journal, planned, at_us=7).move()
    assert done.problems == []
    assert done.runs == len(planned.runs)
    return [run.run_id for run in planned.runs]


def kept_here(journal: SqliteJournal) -> set[str]:
    return {str(UUID(bytes=row[0])) for row in journal.ask("SELECT DISTINCT originator_id FROM stored_events")}
