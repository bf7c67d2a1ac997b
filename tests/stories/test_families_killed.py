"""A host full of families is killed again and again: nobody acts twice, nobody is lost, nobody outlives a parent."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from executus.events import ChildFinished, ChildStarted, Event, RunFinished, RunResumed, RunStarted
from executus.journal import read_journal, verify_run

HOST = Path(__file__).resolve().parents[1] / "family_host.py"
KILLS = 6

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="hosts are killed")


def hosted(folder: Path, seed: int, new: int, commits: int | None) -> None:
    """Run one host; kill it after so many commits, or let it finish."""
    command = [sys.executable, str(HOST), str(folder / "runs.db"), str(folder / "marks"), str(seed), str(new)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        if commits is None:
            said, complaints = host.communicate(timeout=120)
            assert "done\n" in said, complaints  # the last dots may come after it
            assert host.returncode == 0
            return
        for line in host.stdout:
            commits -= line == ".\n"
            if commits <= 0 or line == "done\n":
                break
        host.kill()
        host.communicate(timeout=30)


def test_families_survive_the_kills_of_their_hosts(tmp_path: Path) -> None:
    chance = random.Random(20)
    for number in range(KILLS):
        hosted(tmp_path, number, 3, chance.randrange(10, 80))
    hosted(tmp_path, KILLS, 1, None)
    logs = logs_of(tmp_path / "runs.db")
    ends = {run_id: end_of(events) for run_id, events in logs.items()}
    assert sum(type(event.fact) is RunResumed for events in logs.values() for event in events) >= KILLS
    marks = Counter((tmp_path / "marks").read_text().split())
    assert marks
    assert set(marks.values()) == {1}
    born = [fact for events in logs.values() for event in events if isinstance(fact := event.fact, ChildStarted)]
    assert len({child.run_id for child in born}) == len(born)
    for run_id, events in logs.items():
        start = events[0].fact
        assert isinstance(start, RunStarted)
        status = ends[run_id].status
        parent = start.info.parent_run_id
        assert status == "ok" or (status == "killed" and (not parent or ends[parent].status == "killed"))
        check_children(events, status, ends)


def check_children(events: list[Event], status: str, ends: dict[str, RunFinished]) -> None:
    """Each child answered once, with its own end; what never answered was stopped with its parent, or never born."""
    started = [event.fact.run_id for event in events if isinstance(event.fact, ChildStarted)]
    answered = [event.fact for event in events if isinstance(event.fact, ChildFinished)]
    assert len({over.run_id for over in answered}) == len(answered)
    for over in answered:
        assert over.run_id in started
        assert (over.status, over.output) == (ends[over.run_id].status, ends[over.run_id].stats.output)
    silent = set(started) - {over.run_id for over in answered}
    assert not silent or status == "killed"


def logs_of(path: Path) -> dict[str, list[Event]]:
    """Every run's log, proved."""
    with closing(read_journal(path)) as journal:
        rows = journal.runs()
        assert all(row.over for row in rows)
        assert [problem for row in rows for problem in verify_run(journal, row.run_id)] == []
        return {row.run_id: journal.read(row.run_id) for row in rows}


def end_of(events: list[Event]) -> RunFinished:
    """The run's one end."""
    (end,) = [event.fact for event in events if isinstance(event.fact, RunFinished)]
    return end
