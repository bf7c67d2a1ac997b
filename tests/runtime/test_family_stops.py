"""A stop reaches the whole family, also children that are only being born; and families outlive their host."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
from family_support import Line, answers, ask, begun, born, boss, ended, look
from runtime_support import DEADLINE_S, AsyncGate, facts, tags, wait_for

from executus import Agent, Run, Runtime, ScriptedModel
from executus.actors.children import ChildCall
from executus.actors.run.actor import RunActor
from executus.actors.run.messages import AcceptChildWait, EndWithParent
from executus.adapters.models.scripted import call
from executus.errors import UnknownRun
from executus.events import RunFinished, RunResumed, RunStarted
from executus.journal import verify_run
from executus.testing import VirtualClock


def over(run: Run) -> tuple[str, str]:
    """How and by whom the run ended."""
    result = run.result(DEADLINE_S)
    return result.status, result.by


@pytest.mark.parametrize(("order", "status"), [("kill", "killed"), ("cancel", "cancelled")])
@pytest.mark.parametrize("stored", [False, True])
def test_a_stop_reaches_three_levels(opened: Any, tmp_path: Path, order: str, status: str, stored: bool) -> None:
    line = Line()
    runtime = opened(tmp_path / "runs.db" if stored else None, line.agents)
    top, middle, bottom = line.start(runtime)
    getattr(top, order)("enough", by="alice")
    assert [over(run) for run in (top, middle, bottom)] == [(status, "alice"), (status, "parent"), (status, "parent")]
    assert line.gate.cancelled.wait(DEADLINE_S)
    assert bottom.result().output == "Bottom."
    assert bottom.result().reason == f"its parent ended with status {status}: {middle.result().reason}"
    assert "enough" in bottom.result().reason
    for run in (top, middle, bottom):
        assert verify_run(runtime.journal, run.id) == []


def test_a_stop_reaches_a_child_whose_actor_fails_on_it(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line, failed = Line(), []
    decide = RunActor.decide

    def mistaken(actor: RunActor, message: Any, now_ms: int) -> list[Any]:
        if isinstance(message, EndWithParent) and len(failed) < 3:
            failed.append(message)
            raise RuntimeError("a mistake of ours")
        return decide(actor, message, now_ms)

    monkeypatch.setattr(RunActor, "decide", mistaken)
    top, middle, bottom = line.start(opened(None, line.agents))
    top.kill("enough", by="alice")
    assert [over(run)[0] for run in (top, middle, bottom)] == ["killed"] * 3
    assert len(failed) == 3


def test_a_parent_whose_actor_fails_on_news_of_its_child_does_not_lose_it(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, never, failed = AsyncGate(), AsyncGate(), threading.Event()
    asked: list[str] = []

    async def answer(request: Any) -> str:
        await never.pass_through()
        return "never said"

    class Slow:
        """Answers when the model is asked and when the child is born, and then no more."""

        async def agent(self, caller_id: str, name: str) -> Agent:
            asked.append(name)
            if len(asked) > 2:
                await again.pass_through()
            return helper

        def skill(self, caller_id: str, name: str) -> None:
            return None

    decide = RunActor.decide

    def mistaken(actor: RunActor, message: Any, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptChildWait) and not failed.is_set():
            failed.set()
            raise RuntimeError("a mistake of ours")
        return decide(actor, message, now_ms)

    monkeypatch.setattr(RunActor, "decide", mistaken)
    helper = Agent("helper", model=ScriptedModel(answer))
    run = opened(None, [boss(ask())], palette=Slow()).start("boss", "go")
    never.wait_entered()
    assert failed.wait(DEADLINE_S)
    wait_for(run, "run-resumed")
    run.kill("enough")
    (child,) = run.children()
    assert over(child) == ("killed", "parent")
    assert never.cancelled.wait(DEADLINE_S)


def test_the_expiry_of_the_root_reaches_three_levels(opened: Any) -> None:
    clock = VirtualClock()
    line = Line(timeout_s=60.0)
    top, middle, bottom = line.start(opened(None, line.agents, clock=clock))
    clock.advance(61)
    assert [over(run)[0] for run in (top, middle, bottom)] == ["timeout"] * 3
    assert line.gate.cancelled.wait(DEADLINE_S)


def test_a_stop_in_the_middle_spares_what_is_above(opened: Any) -> None:
    line = Line()
    top, middle, bottom = line.start(opened(None, line.agents))
    middle.kill("enough", by="alice")
    assert [over(run) for run in (top, middle, bottom)] == [("ok", "model"), ("killed", "alice"), ("killed", "parent")]
    assert [one.status for one in ended(top)] == ["killed"]


def test_a_child_that_is_being_born_when_its_parent_is_stopped_never_lives(opened: Any) -> None:
    gate, asked = AsyncGate(), threading.Event()

    class Slow:
        """Knows the helper at once when tools are shown, and only after the gate when it is to be started."""

        async def agent(self, caller_id: str, name: str) -> Agent:
            if asked.is_set():
                await gate.pass_through()
            asked.set()
            return helper

        def skill(self, caller_id: str, name: str) -> None:
            return None

    helper = Agent("helper", model=ScriptedModel(["hi"]))
    runtime = opened(None, [boss(ask())], palette=Slow())
    run = runtime.start("boss", "go")
    gate.wait_entered()
    (child,) = run.children()  # it is being started
    run.kill("enough")
    gate.open()
    assert run.result(DEADLINE_S).status == "killed"
    assert gate.cancelled.wait(DEADLINE_S)
    assert runtime.start("boss", "go").result(DEADLINE_S).status == "ok"
    with pytest.raises(UnknownRun):
        runtime.journal.read(child.id)
    assert run.children() == []


def test_a_child_that_is_looked_for_when_its_parent_is_stopped_is_not_born(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, release = threading.Event(), []
    agents = [boss(ask()), Agent("helper", model=ScriptedModel(["hi"]))]
    runtime = opened(None, agents)
    load = runtime._calls.load

    def held(*arguments: Any) -> None:
        release.append(lambda: load(*arguments))
        looking.set()

    monkeypatch.setattr(runtime._calls, "load", held)
    run = runtime.start("boss", "go")
    assert looking.wait(DEADLINE_S)
    run.kill("enough")
    run.result(DEADLINE_S)
    monkeypatch.undo()
    release[0]()
    assert runtime.start("boss", "go").result(DEADLINE_S).status == "ok"
    assert (len(born(run)), run.children()) == (1, [])


def test_a_child_that_was_just_born_when_its_parent_is_stopped_ends_too(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, late, never = ChildCall.follow, [], AsyncGate()

    async def answer(request: Any) -> str:
        await never.pass_through()
        return "never said"

    monkeypatch.setattr(ChildCall, "follow", lambda call, address: late.append((call, address)))
    run = opened(None, [boss(ask()), Agent("helper", model=ScriptedModel(answer))]).start("boss", "go")
    never.wait_entered()
    run.kill("enough", by="alice")
    assert run.result(DEADLINE_S).status == "killed"
    follow(*late[0])
    assert over(run.children()[0]) == ("killed", "parent")
    assert never.cancelled.wait(DEADLINE_S)


def all_over(runtime: Runtime, done: Any = lambda alive: not alive) -> None:
    """Wait until no run of the journal is alive."""
    alive: dict[str, None] = {}
    with runtime.events() as events:
        while True:
            more = events.take(DEADLINE_S)
            assert more, f"runs go on without anything happening: {list(alive)}"
            for event in more:
                if isinstance(event.fact, RunStarted):
                    alive[event.run_id] = None
                elif isinstance(event.fact, RunFinished):
                    del alive[event.run_id]
            if done(alive) and events.at >= runtime.journal.head():
                return


@pytest.mark.parametrize("order", ["kill", "cancel"])
def test_no_child_outlives_its_parent_whenever_that_is_stopped(opened: Any, order: str) -> None:
    """Families of three levels and seven runs each, stopped after a random number of facts."""
    chance = random.Random(7)
    bottom = Agent("bottom", model=ScriptedModel([[call("look", at=1)], [call("look", at=2)], "low"]), tools=[look])
    middle = boss(ask("bottom"), ask("bottom"), name="middle", agents=["bottom"])
    agents = [boss(ask("middle"), ask("middle"), name="top", agents=["middle"]), middle, bottom]
    runtime = opened(None, agents)
    tops = []
    for _ in range(60):
        top = runtime.start("top", "go")
        tops.append(top)
        wanted = chance.randrange(1, 60)
        with runtime.events(after=runtime.journal.head()) as events:
            seen = 0
            while seen < wanted and top.status == "running":
                seen += len(events.take(DEADLINE_S))
        getattr(top, order)()
    all_over(runtime, lambda alive: not alive and all(top.status != "running" for top in tops))
    statuses = [top.result(DEADLINE_S).status for top in tops]
    assert {"killed", "cancelled"} & set(statuses)
    for top, status in zip(tops, statuses, strict=True):
        for run in family(runtime, top)[1:]:
            assert run.result(DEADLINE_S).status in ("ok", status)
            assert [tag for tag in tags(run) if tag == "run-finished"] == ["run-finished"]


def family(runtime: Runtime, top: Run) -> list[Run]:
    """The run with all below it that were born."""
    below = [child for child in top.children() if runtime.journal.run(child.id) is not None]
    return [top, *(run for child in below for run in family(runtime, child))]


# ------------------------------------------------------------------ after a restart


def test_a_family_goes_on_after_its_host_and_nobody_runs_twice(opened: Any, tmp_path: Path) -> None:
    line = Line()
    first = opened(tmp_path / "runs.db", line.agents)
    line.start(first)
    first.close()
    line.gate.open()
    again = opened(tmp_path / "runs.db", line.agents)
    rows = again.runs()
    runs = [again.run(row.run_id) for row in rows]
    assert over(runs[0]) == ("ok", "model")  # first: it takes up the others
    assert [over(run) for run in runs[1:]] == [("ok", "model")] * 2
    assert len(again.runs()) == 3
    top, middle, bottom = runs
    assert ([child.id for child in top.children()], [child.id for child in middle.children()]) == (
        [middle.id],
        [bottom.id],
    )
    assert answers(middle)[0].text == "bottom's words"
    for run in runs:
        assert sum(isinstance(fact, RunResumed) for fact in facts(run)) == 1
        assert tags(run).count("run-started") == 1
        assert verify_run(again.journal, run.id) == []


def test_a_stop_after_a_restart_reaches_children_that_were_taken_up(opened: Any, tmp_path: Path) -> None:
    line = Line()
    first = opened(tmp_path / "runs.db", line.agents)
    line.start(first)
    first.close()
    line.gate.entered.clear()
    again = opened(tmp_path / "runs.db", line.agents)
    line.gate.wait_entered()
    top, middle, bottom = (again.run(row.run_id) for row in again.runs())
    top.kill("enough", by="alice")
    assert [over(run) for run in (top, middle, bottom)] == [
        ("killed", "alice"),
        ("killed", "parent"),
        ("killed", "parent"),
    ]


def test_a_child_that_ended_while_its_parent_was_not_told_is_not_run_again(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(request: Any) -> str:
        asked.append(request.run_id)
        return "child's words"

    agents = [boss(ask()), Agent("helper", model=ScriptedModel(answer))]
    monkeypatch.setattr(ChildCall, "finish", lambda call, end: None)
    first = opened(tmp_path / "runs.db", agents)
    run = first.start("boss", "go")
    wait_for(run, "child-started")
    (child_id,) = [one.run_id for one in born(run)]
    all_over(first, lambda alive: list(alive) == [run.id] and first.journal.run(child_id) is not None)
    first.close()
    monkeypatch.undo()
    again = opened(tmp_path / "runs.db", agents).run(run.id)
    assert again.result(DEADLINE_S).output == "done"
    assert answers(again)[0].text == "child's words"
    assert asked == [child_id]


@pytest.mark.parametrize(("order", "status"), [("kill", "killed"), ("cancel", "cancelled")])
def test_children_whose_parent_ended_and_whose_host_died_at_once_end_with_the_next_host(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, status: str
) -> None:
    line = Line()
    monkeypatch.setattr(ChildCall, "cancel", lambda call: None)
    first = opened(tmp_path / "runs.db", line.agents)
    top, *_ = line.start(first)
    getattr(top, order)("enough")
    assert top.result(DEADLINE_S).status == status
    first.close()
    monkeypatch.undo()
    again = opened(tmp_path / "runs.db", line.agents)
    all_over(again)
    _, middle, bottom = (again.run(row.run_id) for row in again.runs())
    assert [over(run) for run in (middle, bottom)] == [(status, "parent")] * 2
    assert "before this host took over" in middle.result().reason
    assert answers(bottom) == []


def test_a_child_that_the_next_host_cannot_carry_on_ends_with_all_below_and_its_parent_goes_on(
    opened: Any, tmp_path: Path
) -> None:
    line = Line()
    first = opened(tmp_path / "runs.db", line.agents)
    line.start(first)
    first.close()
    again = opened(tmp_path / "runs.db", line.agents[:1])
    top, middle, bottom = (again.run(row.run_id) for row in again.runs())
    assert over(top) == ("ok", "model")
    all_over(again)
    assert [over(run) for run in (middle, bottom)] == [("cancelled", "parent")] * 2
    (answer,) = answers(top)
    assert answer.is_error
    assert answer.text.startswith("It ended with status cancelled. agent__middle is not configured: no agent named")
    assert middle.result().reason.startswith("agent__middle is not configured")


def test_a_family_whose_root_has_no_agent_in_the_next_host_stays_as_it_is(opened: Any, tmp_path: Path) -> None:
    line = Line()
    first = opened(tmp_path / "runs.db", line.agents)
    top, middle, bottom = line.start(first)
    first.close()
    without = opened(tmp_path / "runs.db", line.agents[1:])
    family = [without.run(run.id) for run in (top, middle, bottom)]
    assert [run.status for run in family] == ["waiting"] * 3
    why = "no agent named 'top' is registered in this host: Runtime(agents=[…])"
    assert family[0].reason == why
    assert [run.reason for run in family[1:]] == [f"it waits for its parent {top.id}: {why}"] * 2
    assert without.live_runs == 0
    assert begun(without.run(middle.id)).info.parent_run_id == top.id
