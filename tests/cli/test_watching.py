"""What `executus top` keeps of a host: folded once whatever comes twice, and looked at without asking the host."""

from __future__ import annotations

from typing import Any, cast

import click
import pytest

from executus.cli.top import Board
from executus.cli.watching import FromHost, Watching
from executus.errors import HostUnreachable, LogCorrupt
from executus.events import (
    AgentPrint,
    Event,
    Fact,
    Limits,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    tag_of,
)
from executus.ports import RunSummary
from executus.wire.attached import Attached
from executus.wire.requests import Stands

LONG_AGO_US = 1_700_000_000_000_000


class Journal:
    """Logs of runs, and how often somebody asked for one."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Event]] = {}
        self.asked = 0
        self.broken: set[str] = set()

    def put(self, run_id: str, *facts: Fact) -> list[Event]:
        log = self.logs.setdefault(run_id, [])
        made = [
            Event(
                run_id=run_id,
                version=len(log) + number,
                tag=tag_of(fact),
                fact=fact,
                at_us=LONG_AGO_US + len(self.logs),
                elapsed_ms=0,
            )
            for number, fact in enumerate(facts, 1)
        ]
        log += made
        return made

    def begin(self, run_id: str) -> list[Event]:
        agent = AgentPrint(name="desk", model="scripted")
        info = RunInfo(run_id=run_id, name=run_id, caller_id="alice")
        call = ToolCall(id="c", name="hold")
        return self.put(
            run_id,
            RunStarted(info=info, agent=agent, limits=Limits(), input=(Text("Go."),)),
            StepStarted(step=1),
            StepCompleted(step=1, reply=(call,)),
            ToolStarted(call="1.0", name="hold"),
        )

    def end(self, run_id: str) -> list[Event]:
        return self.put(run_id, RunFinished(stats=RunStats(status="ok"), by="model"))

    def head(self) -> int:
        self.asked += 1
        return 0

    def runs(self, *, unfinished: bool = False) -> list[RunSummary]:
        self.asked += 1
        assert unfinished
        return [
            RunSummary(run_id=one, version=len(log), first_position=1, position=1, over=False, hash=b"")
            for one, log in self.logs.items()
            if log[-1].tag != "run-finished"
        ]

    def read(self, run_id: str) -> list[Event]:
        self.asked += 1
        if run_id in self.broken:
            raise LogCorrupt(run_id, 1, "a hole")
        return list(self.logs[run_id])


class Line:
    """Says how runs stand."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Stands | Exception = Stands(status="running")

    def ask(self, request: Any, kind: type[Stands], timeout: float) -> Stands:
        self.asked.append(request.run)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Host:
    """As much of `Attached` as is used."""

    live = connected = True

    def __init__(self, journal: Journal) -> None:
        self.journal, self.line = journal, Line()

    def live_line(self) -> Line:
        return self.line


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def host(journal: Journal) -> Host:
    return Host(journal)


def watching(host: Host) -> Watching:
    return Watching(cast(Attached, host))


def test_an_event_that_was_read_already_changes_nothing(journal: Journal, host: Host) -> None:
    events = journal.begin("r1")
    kept = watching(host)
    for event in events:
        kept.take(event)
    [row] = kept.rows()
    assert (row.row.version, row.row.state.tool_calls) == (4, 1)
    assert journal.asked == 3  # head, rows, and the log, once


def test_runs_come_and_go(journal: Journal, host: Host) -> None:
    journal.begin("r1")
    kept = watching(host)
    for event in journal.begin("r2"):
        kept.take(event)
    assert [one.row.run_id for one in kept.rows()] == ["r1", "r2"]
    assert kept.rows("bob") == []
    for event in journal.end("r1"):
        kept.take(event)
    assert [one.row.run_id for one in kept.rows()] == ["r2"]
    assert kept.ended == {"ok": 1}
    for event in journal.put("r1", RunFinished(stats=RunStats(status="ok"), by="model")):
        kept.take(event)  # whatever comes after the end
    assert kept.ended == {"ok": 1}
    assert journal.asked == 3


def test_what_was_missed_is_read_again(journal: Journal, host: Host) -> None:
    journal.begin("r1")
    kept = watching(host)
    _, late = journal.put("r1", ToolFinished(call="1.0", result="held"), StepStarted(step=2))
    kept.take(late)
    [row] = kept.rows()
    assert (row.row.version, [one.kind for one in row.waits]) == (6, ["model"])


def test_a_log_that_cannot_be_read_is_told_of_and_hides_no_other(journal: Journal, host: Host) -> None:
    journal.begin("r1")
    journal.begin("r2")
    journal.broken = {"r1"}
    kept = watching(host)
    assert [one.row.run_id for one in kept.rows()] == ["r2"]
    board = Board(cast(Attached, host), kept, "runs.db", "", None, "newest")
    assert "1 log cannot be read" in board.lines(200, None)[1]
    assert board.document()["unreadable"] == ["r1"]


def test_of_thousands_of_runs_what_fits_is_shown_and_looking_again_asks_nobody(journal: Journal, host: Host) -> None:
    for number in range(3000):
        journal.begin(f"{number:08}")
    board = Board(cast(Attached, host), watching(host), "runs.db", "", None, "newest")
    before = journal.asked
    for _ in range(3):
        lines = [click.unstyle(line) for line in board.lines(80, 19)]
        assert len(lines) == 24
        assert lines[-1] == "… and 2,981 more runs"
        assert lines[4].startswith("00002999")
    assert journal.asked == before
    assert len(host.line.asked) == 19  # silent runs that are shown, once


def test_a_silent_run_that_nobody_works_on_says_why(journal: Journal, host: Host) -> None:
    journal.begin("r1")
    host.line.answer = Stands(status="quarantined", reason="it failed 3 times")
    board = Board(cast(Attached, host), watching(host), "runs.db", "", None, "newest")
    assert "quarantined: it failed 3 times" in click.unstyle(board.lines(200, None)[-1])
    host.line.answer = Stands(status="waiting")
    journal.begin("r2")
    row = Board(cast(Attached, host), watching(host), "runs.db", "", None, "newest").document()["runs"][0]
    assert (row["status"], row["why"]) == ("waiting", "there is no room on the disk")


def test_a_host_that_does_not_answer_is_not_asked_for_every_run(journal: Journal, host: Host) -> None:
    for number in range(20):
        journal.begin(f"{number:08}")
    host.line.answer = HostUnreachable("away")
    knows = FromHost(cast(Attached, host))
    assert {knows.of(one) for one in watching(host).rows()} == {("running", "")}
    assert len(host.line.asked) == 1
