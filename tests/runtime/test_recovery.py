"""Taking up unfinished runs when that goes wrong: only the guilty are quarantined, and nothing is dropped."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journal_support import RunLog, started
from msgspec import structs
from runtime_support import DEADLINE_S, AsyncGate, tags, wait_for

from executus import Agent, Delegate, Runtime, ScriptedModel, tool
from executus.actors import recoverer, recovering, supervisor
from executus.actors.run.actor import RunActor
from executus.actors.run.messages import LogNote
from executus.adapters.models.scripted import call
from executus.errors import JournalUnavailable, LogCorrupt, MessageRefused, RunQuarantined, UnknownRun
from executus.events import (
    AgentPrint,
    ChildFinished,
    ChildStarted,
    InputAwaited,
    Limits,
    RunInfo,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
)
from executus.journal import SqliteJournal, read_journal
from executus.journal.reading import LogReader
from executus.ports import Recovery

HOST = Path(__file__).with_name("recovery_host.py")


def host(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(HOST), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_with(path: Path, runs: int) -> list[str]:
    """A host with so many runs at work, and killed: their ids."""
    first = host(path, "start", "-", runs)
    assert first.stdout is not None
    ids: list[str] = []
    acting = 0
    while acting < runs:
        word, what = first.stdout.readline().split()
        if word == "run":
            ids.append(what)
        acting += word == "acting"
    first.kill()
    first.wait()
    first.stdout.close()
    return ids


def boot(path: Path, killers: str) -> int:
    """Open the journal in a process of its own; its exit code."""
    child = host(path, "go", killers)
    assert child.stdout is not None
    child.stdout.close()
    return child.wait(60)


def recoveries(path: Path) -> dict[str, Recovery]:
    with closing(read_journal(path)) as journal:
        return {one.run_id: one for one in journal.recoveries()}


def test_a_run_that_kills_its_host_is_quarantined_and_the_others_end(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ids = killed_with(path, 14)
    boots = 0
    while boot(path, "run5"):
        boots += 1
        assert boots < 12, "the guilty run is never found"
    assert recoveries(path)[ids[5]].quarantined
    assert list(recoveries(path)) == [ids[5]], "nothing is held against the others"
    with closing(read_journal(path)) as journal:
        assert {row.run_id for row in journal.runs(unfinished=True)} == {ids[5]}
    assert boots == 5, "in company of 14, of 2, and three times alone"
    for _ in range(2):
        assert boot(path, "run5") == 0, "it is not tried again"
    assert recoveries(path)[ids[5]].quarantined


def test_a_quarantined_run_is_seen_as_such_and_goes_on_when_somebody_says_so(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    [run_id] = killed_with(path, 1)
    for _ in range(4):
        assert boot(path, "run0") == 9
    assert boot(path, "run0") == 0

    @tool(effect="pure")
    async def act(name: str) -> str:
        return "acted"

    runtime = opened(path, [Agent("a", model=ScriptedModel([[call("act", name="run0")], "done"]), tools=[act])])
    run = runtime.run(run_id)
    assert run.status == "quarantined"
    assert "3 attempts to take it up failed" in run.reason
    assert [one.id for one, _ in runtime.suspended()] == [run_id]
    with pytest.raises(RunQuarantined, match=r"Runtime\.retry\(run\)"):
        run.result(1)
    runtime.retry(run)
    assert run.result(DEADLINE_S).output == "done"
    assert runtime.suspended() == []
    runtime.close()
    assert recoveries(path) == {}


def test_two_runs_that_kill_are_both_found(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ids = killed_with(path, 4)
    boots = 0
    while boot(path, "run1,run3"):
        boots += 1
        assert boots < 15
    assert {run_id for run_id, one in recoveries(path).items() if one.quarantined} == {ids[1], ids[3]}
    assert len(recoveries(path)) == 2


# ------------------------------------------------------------------ failures that a host survives


class Waiting:
    """Agents whose runs wait for a person."""

    def __init__(self) -> None:
        self.agent = Agent("a", model=ScriptedModel(["Hello.", "Bye."]))

    def runs(self, opened: Any, path: Path, number: int) -> list[str]:
        runtime = opened(path, [self.agent])
        ids = [runtime.start("a", "x", interactive=True).id for _ in range(number)]
        for run_id in ids:
            wait_for(runtime.run(run_id), "input-awaited")
        runtime.close()
        return ids


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`broken(run_id, error)`: loading that run raises."""

    def break_it(run_id: str, error: BaseException) -> None:
        real = SqliteJournal.load

        def load(self: SqliteJournal, wanted: str) -> Any:
            if wanted == run_id:
                raise error
            return real(self, wanted)

        monkeypatch.setattr(SqliteJournal, "load", load)

    return break_it


@pytest.mark.parametrize("error", [LogCorrupt("r", 7, "bent"), ValueError("bent"), MemoryError(), SystemExit(2)])
def test_a_run_whose_recovery_raises_three_times_is_not_tried_again(
    opened: Any, tmp_path: Path, broken: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting()
    path = tmp_path / "runs.db"
    ids = waiting.runs(opened, path, 3)
    with monkeypatch.context():
        broken(ids[1], error)
        for attempts in (1, 2, 3):
            runtime = opened(path, [waiting.agent])
            with pytest.raises(RunQuarantined):
                runtime.finished(ids[1]).result(DEADLINE_S)
            for well in (ids[0], ids[2]):
                assert runtime.run(well).status == "waiting"
            runtime.close()
            assert recoveries(path)[ids[1]].attempts == attempts
            assert recoveries(path)[ids[1]].quarantined
    monkeypatch.undo()
    again = opened(path, [waiting.agent])
    assert tags(again.run(ids[1])).count("run-resumed") == 0
    assert again.run(ids[1]).reason.startswith("3 attempts to take it up failed, the last time:")
    again.retry(ids[1])
    run = again.run(ids[1])
    run.send("go on")
    wait_for(run, "input-awaited", 2)
    run.end()
    assert run.result(DEADLINE_S).output == "Bye."


def test_a_run_that_recovers_is_forgiven(opened: Any, tmp_path: Path, broken: Any, monkeypatch: Any) -> None:
    waiting = Waiting()
    path = tmp_path / "runs.db"
    [run_id] = waiting.runs(opened, path, 1)
    broken(run_id, ValueError("bent"))
    for _ in range(2):
        runtime = opened(path, [waiting.agent])
        with pytest.raises(RunQuarantined):
            runtime.finished(run_id).result(DEADLINE_S)
        runtime.close()
    monkeypatch.undo()
    runtime = opened(path, [waiting.agent])
    run = runtime.run(run_id)
    wait_for(run, "run-resumed")
    run.send("go on")
    wait_for(run, "input-awaited", 2)
    runtime.close()
    assert recoveries(path) == {}


def test_a_close_while_runs_are_taken_up_holds_nothing_against_them(opened: Any, tmp_path: Path) -> None:
    gate = AsyncGate()

    @tool(effect="pure")
    async def hang() -> str:
        await gate.pass_through()
        return ""

    agent = Agent("a", model=ScriptedModel([[call("hang")], "done"]), tools=[hang])
    path = tmp_path / "runs.db"
    runtime = opened(path, [agent])
    runtime.start("a", "x")
    gate.wait_entered()
    for _ in range(5):
        runtime.close()
        assert recoveries(path) == {}
        gate.entered.clear()
        runtime = opened(path, [agent])
        gate.wait_entered()
    gate.open()


# ------------------------------------------------------------------ a sweep that is not one shot


def test_a_journal_that_cannot_be_read_at_opening_is_read_later(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting()
    ids = waiting.runs(opened, tmp_path / "runs.db", 2)
    failures = 3
    real = LogReader.unfinished

    def unfinished(self: LogReader, *given: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise JournalUnavailable("not now")
        return real(self, *given)

    monkeypatch.setattr(LogReader, "unfinished", unfinished)
    runtime = opened(tmp_path / "runs.db", [waiting.agent])
    new = runtime.start("a", "x", interactive=True)
    for run_id in ids:
        wait_for(runtime.run(run_id), "run-resumed")
    assert tags(new).count("run-resumed") == 0, "a run of this very host is not adopted"
    assert failures == -1


def test_attempts_that_cannot_be_stored_are_not_made_until_they_can(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting()
    [run_id] = waiting.runs(opened, tmp_path / "runs.db", 1)
    real = SqliteJournal.keep_recoveries
    tried: list[int] = []

    def keep(self: SqliteJournal, kept: Any, dropped: Any, done: Any) -> None:
        if any(one.standing == "trying" for one in kept):
            tried.append(self.run(run_id).version)  # type: ignore[union-attr]
            if len(tried) < 4:
                done(JournalUnavailable("not now"))
                return
        real(self, kept, dropped, done)

    monkeypatch.setattr(SqliteJournal, "keep_recoveries", keep)
    runtime = opened(tmp_path / "runs.db", [waiting.agent])
    wait_for(runtime.run(run_id), "run-resumed")
    assert len(tried) == 4
    assert len(set(tried)) == 1, "nothing had been done before"


def test_runs_that_are_started_during_the_sweep_are_not_adopted_twice(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is read while the host starts runs: it sees them unfinished, and leaves them alone."""
    waiting = Waiting()
    path = tmp_path / "runs.db"
    old = waiting.runs(opened, path, 20)
    reading = threading.Event()
    real = LogReader.unfinished
    calls = 0

    def unfinished(self: LogReader, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise JournalUnavailable("not now")  # so that it is read again while runs are started
        reading.wait(DEADLINE_S)
        return real(self, *given)

    monkeypatch.setattr(LogReader, "unfinished", unfinished)
    monkeypatch.setattr(recoverer, "FIRST_PAUSE_S", 0.001)
    runtime = opened(path, [waiting.agent])
    new = [runtime.start("a", "x", interactive=True) for _ in range(200)]
    reading.set()
    for run_id in old:
        wait_for(runtime.run(run_id), "run-resumed")
    for run in new:
        wait_for(run, "input-awaited")
        assert "run-resumed" not in tags(run)


# ------------------------------------------------------------------ families


def family() -> tuple[list[Agent], AsyncGate]:
    gate = AsyncGate()

    @tool(effect="pure")
    async def hang() -> str:
        await gate.pass_through()
        return "hung"

    child = Agent("child", model=ScriptedModel([[call("hang")], "child done"]), tools=[hang])
    parent = Agent(
        "parent", model=ScriptedModel([[call("agent__child", prompt="go")], "done"]), agents=[Delegate("child")]
    )
    return [parent, child], gate


def test_the_children_of_a_quarantined_run_wait_for_it(
    opened: Any, tmp_path: Path, broken: Any, monkeypatch: Any
) -> None:
    agents, gate = family()
    path = tmp_path / "runs.db"
    runtime = opened(path, agents)
    top = runtime.start("parent", "x")
    gate.wait_entered()
    [child] = runtime.run(top.id).children()
    runtime.close()
    broken(top.id, ValueError("bent"))
    for _ in range(4):
        runtime = opened(path, agents)
        with pytest.raises(RunQuarantined):
            runtime.finished(top.id).result(DEADLINE_S)
        waits = runtime.run(child.id)
        assert waits.status == "waiting"
        assert waits.reason.startswith(f"it waits for its parent {top.id}: ")
        assert {one.id for one, _ in runtime.suspended()} == {top.id, child.id}
        with pytest.raises(MessageRefused, match="it is taken up by its parent"):
            runtime.retry(child.id)
        assert tags(waits).count("run-resumed") == 0
        if _ < 3:
            runtime.close()
    monkeypatch.undo()
    gate.open()
    runtime.retry(top.id)
    assert runtime.run(top.id).result(DEADLINE_S).output == "done"
    assert runtime.run(child.id).result(DEADLINE_S).output == "child done"
    assert runtime.suspended() == []


def test_children_at_work_rest_when_their_parent_is_set_aside_and_go_on_with_it(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents, gate = family()
    runtime = opened(tmp_path / "runs.db", agents)
    top = runtime.start("parent", "x")
    gate.wait_entered()
    [child] = top.children()
    real = RunActor.decide

    def decide(self: Any, message: Any, now_ms: int) -> Any:
        if self.address.run_id == top.id:
            raise ValueError("our mistake")
        return real(self, message, now_ms)

    monkeypatch.setattr(RunActor, "decide", decide)
    with pytest.raises(RunQuarantined):
        top.note("anything")
    with pytest.raises(RunQuarantined):
        top.result(DEADLINE_S)
    # who waits hears of the quarantine, who comes later what the child waits for
    with pytest.raises((RunQuarantined, MessageRefused), match="its parent"):
        child.result(DEADLINE_S)
    assert gate.cancelled.wait(DEADLINE_S), "nobody works for a parent that is set aside"
    assert child.status == "waiting"
    assert child.reason.startswith(f"it waits for its parent {top.id}")
    monkeypatch.setattr(RunActor, "decide", real)
    gate.open()
    runtime.retry(top)
    assert top.result(DEADLINE_S).output == "done"
    assert child.result(DEADLINE_S).output == "child done"


def test_a_run_whose_actor_fails_once_too_often_is_over_if_its_end_is_stored(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents, gate = family()
    runtime = opened(None, agents)
    top = runtime.start("parent", "x")
    gate.wait_entered()
    [child] = top.children()
    decide, leave = RunActor.decide, RunActor.leave

    def mistaken(self: Any, message: Any, now_ms: int) -> Any:
        if type(message) is LogNote:
            raise RuntimeError("our mistake")
        return decide(self, message, now_ms)

    def never_leaves(self: Any, end: Any) -> None:
        if self.address.run_id == top.id:
            raise ValueError("another mistake")
        leave(self, end)

    monkeypatch.setattr(RunActor, "decide", mistaken)
    monkeypatch.setattr(RunActor, "leave", never_leaves)
    for _ in range(supervisor.LOSSES):
        with pytest.raises(RunQuarantined):
            top.note("anything")
    with pytest.raises((RunQuarantined, MessageRefused)):
        top.kill("enough", by="alice")
        top.note("anything")
    assert top.result(DEADLINE_S).status == "killed"
    assert child.result(DEADLINE_S).by == "parent"
    assert runtime.suspended() == []


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_child_that_its_parent_wants_no_more_ends_also_if_the_parents_log_cannot_be_read_at_first(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    path = tmp_path / "runs.db"
    with closing(SqliteJournal(path)) as journal:
        top, child = RunLog(journal), RunLog(journal)
        given, asked = started(top.run_id), ToolCall("c", "agent__child", '{"prompt": "go"}')
        top.write(
            structs.replace(given, agent=AgentPrint(name="parent", model="m"), interactive=True),
            StepStarted(step=1),
            StepCompleted(step=1, reply=(asked,)),
            ChildStarted(call="1.0", name="agent__child", run_id=child.run_id, kind="agent", limits=Limits()),
        )
        info = RunInfo(run_id=child.run_id, name="child", parent_run_id=top.run_id, root_run_id=top.run_id, depth=1)
        child.write(structs.replace(started(child.run_id), info=info), StepStarted(step=1))
        top.write(ChildFinished(call="1.0", run_id=child.run_id, status="error", output="it is quarantined"))
        top.write(StepStarted(step=2), StepCompleted(step=2, reply=(Text("Well."),)), InputAwaited(since_ms=1))
    real = SqliteJournal.load

    def load(self: SqliteJournal, run_id: str) -> Any:
        nonlocal failures
        if run_id == top.run_id and failures > 0:
            failures -= 1
            raise JournalUnavailable("not now")
        return real(self, run_id)

    monkeypatch.setattr(SqliteJournal, "load", load)
    agents, _ = family()
    runtime = opened(path, agents)
    wait_for(runtime.run(child.run_id), "run-finished")
    end = runtime.run(child.run_id).result(DEADLINE_S)
    assert (end.status, end.by) == ("cancelled", "parent")
    assert failures == 0


def test_retrying_what_cannot_be_retried_says_why(opened: Any, tmp_path: Path) -> None:
    waiting = Waiting()
    runtime = opened(tmp_path / "runs.db", [waiting.agent])
    run = runtime.start("a", "x", interactive=True)
    wait_for(run, "input-awaited")
    with pytest.raises(MessageRefused, match="it is at work"):
        runtime.retry(run)
    run.end()
    run.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match="it is over"):
        runtime.retry(run)
    with pytest.raises(UnknownRun):
        runtime.retry("no-run")


@pytest.mark.parametrize("claims", ["nothing", "another"])
def test_a_log_that_begins_with_the_start_of_another_run_is_not_taken_for_that(
    opened: Any, tmp_path: Path, claims: str
) -> None:
    path, waiting = tmp_path / "runs.db", Waiting()
    ids = waiting.runs(opened, path, 2)
    with closing(SqliteJournal(path)) as journal:
        liar = RunLog(journal)
        given = started(ids[0] if claims == "another" else "")
        liar.write(structs.replace(given, agent=AgentPrint(name="a", model="m")), StepStarted(step=1))
    runtime = opened(path, [waiting.agent])
    for run_id in ids:
        wait_for(runtime.run(run_id), "run-resumed")
    assert runtime.run(liar.run_id).status == "waiting"
    assert runtime.run(liar.run_id).reason == "its log begins with the start of another run"
    assert tags(runtime.run(ids[0])).count("run-resumed") == 1
    assert runtime.start("a", "x", interactive=True).status in ("running", "waiting")


def test_a_run_too_long_to_be_read_waits(opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from executus import recovery

    waiting = Waiting()
    ids = waiting.runs(opened, tmp_path / "runs.db", 2)
    monkeypatch.setattr(recovery, "MOST_EVENTS", 3)
    runtime = opened(tmp_path / "runs.db", [waiting.agent])
    assert runtime.run(ids[0]).status == "waiting"
    assert "events, more than the 3 of a run" in runtime.run(ids[0]).reason
    assert runtime.start("a", "x").result(DEADLINE_S).status == "ok"


def test_a_log_that_takes_too_long_is_given_up_and_the_others_are_read(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executus.actors import runner

    waiting = Waiting()
    path = tmp_path / "runs.db"
    ids = waiting.runs(opened, path, 6)
    monkeypatch.setattr(runner, "LOAD_S", 0.05)
    gate = threading.Event()
    real = SqliteJournal.load

    def load(self: SqliteJournal, run_id: str) -> Any:
        if run_id in ids[:4]:
            gate.wait(DEADLINE_S)
        return real(self, run_id)

    monkeypatch.setattr(SqliteJournal, "load", load)
    runtime = opened(path, [waiting.agent])
    try:
        for run_id in ids[4:]:
            wait_for(runtime.run(run_id), "run-resumed")
        for run_id in ids[:4]:
            with pytest.raises(RunQuarantined, match=r"could not be read within 0\.05 s"):
                runtime.finished(run_id).result(DEADLINE_S)
    finally:
        gate.set()


def test_a_host_that_takes_nothing_up_says_that_runs_are_suspended(opened: Any, tmp_path: Path) -> None:
    waiting = Waiting()
    [run_id] = waiting.runs(opened, tmp_path / "runs.db", 1)
    runtime: Runtime = opened(tmp_path / "runs.db", [waiting.agent], resume=False)
    assert runtime.run(run_id).status == "suspended"
    assert runtime.run(run_id).reason == ""
    runtime.retry(run_id)
    wait_for(runtime.run(run_id), "run-resumed")


assert recovering.PAUSES_S[0] == 0.0
