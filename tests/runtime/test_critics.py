"""A critic steers, extends and kills the runs it watches; whatever else it does, their limits and logs stand."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, Gate, facts, tags, texts_heard, wait_for

from executus import Agent, Runtime, ScriptedModel, tool
from executus.actors.supervisor import HostWoke
from executus.adapters.models.scripted import call
from executus.events import CriticKilled, CriticLost, CriticReviewed, CriticSteered, DeadlineExtended, HostSlept, Usage
from executus.ports import Continue, Extend, Judged, Kill, Steer
from executus.projections.trace import Trace
from executus.testing import VirtualClock

Open = Callable[..., Runtime]


def _hostile() -> Any:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "hostile_critic.py"
    spec = importlib.util.spec_from_file_location("hostile_critic", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOSTILE = _hostile()


class Watcher:
    """A critic that is one function."""

    def __init__(self, answer: Callable[[Trace], Any], **terms: Any) -> None:
        self._answer = answer
        self.every_steps: int | None = 1
        vars(self).update(terms)

    def review(self, trace: Trace, now: float) -> Any:
        return self._answer(trace)


class AsyncWatcher(Watcher):
    """The same on the runtime's loop."""

    async def review(self, trace: Trace, now: float) -> Any:
        return await self._answer(trace)


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so that no fact tells of."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


@pytest.mark.parametrize("case", HOSTILE.CASES, ids=lambda case: case.name)
def test_a_hostile_critic_changes_nothing_but_what_it_may(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executus.actors.critic.FIRST_PAUSE_S", 0.02)
    row = HOSTILE.play(case, hard_s=0.6)
    assert row.problems == []
    assert row.terminal == 1


def test_advice_of_a_critic_reaches_the_model(opened: Open) -> None:
    gate = Gate()

    @tool
    def hold() -> str:
        gate.pass_through()
        return "held"

    def answer(request: Any) -> Any:
        return [call("hold")] if request.step == 1 else " ".join(texts_heard(request))

    agent = Agent("a", model=ScriptedModel(answer), tools=[hold])
    critic = Watcher(
        lambda trace: Steer("turn left", {"step": trace.state.step}) if trace.state.step == 1 else Continue()
    )
    run = opened(agents=[agent], critic=critic).start("a", "go")
    wait_for(run, "critic-steered")
    gate.open()
    assert "turn left" in run.result(DEADLINE_S).output
    assert CriticSteered(text="turn left", by="critic", evidence={"step": 1}) in facts(run)


def test_a_kill_keeps_what_was_said_and_what_the_review_cost(opened: Open) -> None:
    agent = Agent("a", model=ScriptedModel(["thinking …"] * 3), max_steps=3)
    verdict = Judged(Kill("enough", {"n": 1}), Usage(100, 20), "p:judge")
    gate = Gate()

    def judge(trace: Trace) -> Any:
        gate.pass_through()
        return verdict

    run = opened(agents=[agent], critic=Watcher(judge, name="judge")).start("a", "go", interactive=True)
    wait_for(run, "input-awaited")
    gate.open()
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason, result.output) == ("killed", "judge", "enough", "thinking …")
    assert CriticReviewed(usage=Usage(100, 20), model="p:judge", by="judge") in facts(run)
    assert CriticKilled(reason="enough", by="judge", evidence={"n": 1}) in facts(run)
    assert result.stats.input_tokens >= 100


def test_an_extension_moves_the_deadline_as_far_as_was_agreed_at_the_start(opened: Open) -> None:
    clock = VirtualClock()
    gate = Gate()

    @tool
    def hold() -> str:
        gate.pass_through()
        return "held"

    agent = Agent("a", model=ScriptedModel([[call("hold")], "done"]), tools=[hold], timeout_s=100, extend_to_s=150)
    runtime = opened(agents=[agent], critic=Watcher(lambda trace: Extend(1e6, "busy"), name="kind"), clock=clock)
    run = runtime.start("a", "go")
    wait_for(run, "deadline-extended")
    clock.advance(120)
    run.note("still here")
    assert run.status == "running"
    clock.advance(31)
    assert run.result(DEADLINE_S).status == "timeout"
    assert [fact for fact in facts(run) if isinstance(fact, DeadlineExtended)] == [
        DeadlineExtended(until_ms=150_000, by="kind", reason="busy")
    ]
    gate.open()


@pytest.mark.parametrize("fault", ["raises", "hangs", "exits the loop"])
def test_a_critic_that_fails_three_times_is_lost_and_the_run_goes_on(opened: Open, fault: str) -> None:
    clock, asked, gate, never = VirtualClock(), threading.Semaphore(0), Gate(), threading.Event()

    @tool
    def hold() -> str:
        gate.pass_through()
        return "held"

    def fail(trace: Trace) -> Any:
        asked.release()
        if fault == "hangs":
            never.wait(DEADLINE_S)
        raise RuntimeError("the judge is down")

    async def leave(trace: Trace) -> Any:
        asked.release()
        raise SystemExit("leaving")

    critic = Watcher(fail, timeout_s=1.0)
    if fault == "exits the loop":
        critic = AsyncWatcher(leave, timeout_s=3600.0)
    agent = Agent("a", model=ScriptedModel([[call("hold")], "done"]), tools=[hold])
    run = opened(agents=[agent], critic=critic, clock=clock).start("a", "go")
    deadline = time.monotonic() + DEADLINE_S
    while "critic-lost" not in tags(run):
        assert time.monotonic() < deadline
        asked.acquire(timeout=0.02)
        clock.advance(0.5)
    gate.open()
    never.set()
    assert run.result(DEADLINE_S).status == "ok"
    (lost,) = [fact for fact in facts(run) if isinstance(fact, CriticLost)]
    why = {
        "raises": "RuntimeError: the judge is down",
        "hangs": "earlier reviews of it have not returned",
        "exits the loop": "SystemExit: leaving",
    }
    assert why[fault] in lost.reason


def test_hung_critics_starve_neither_tools_nor_other_critics(opened: Open) -> None:
    never = threading.Event()

    @tool
    def look() -> str:
        return "seen"

    def answer(request: Any) -> Any:
        return [call("look")] if request.step < 4 else "done"

    hangs = Watcher(lambda trace: never.wait(), timeout_s=0.1)
    good = Watcher(lambda trace: Kill("seen enough"))
    agents = [
        Agent("hung", model=ScriptedModel(answer), tools=[look], critic=hangs),
        Agent("good", model=ScriptedModel(lambda request: [call("look")]), tools=[look], critic=good, max_steps=10**6),
    ]
    runtime = opened(agents=agents, tool_threads=1)
    try:
        runs = [runtime.start("hung", "go") for _ in range(12)]
        assert [run.result(DEADLINE_S).status for run in runs] == ["ok"] * 12
        assert runtime.start("good", "go").result(DEADLINE_S).status == "killed"
    finally:
        never.set()


def test_a_run_taken_up_by_a_new_host_is_watched_with_all_that_went_before(opened: Open, tmp_path: Path) -> None:
    seen: list[Trace] = []
    told = threading.Event()
    held, gate = threading.Event(), Gate()

    @tool(effect="pure")
    def look() -> str:
        if not held.is_set():
            held.set()
            gate.pass_through()
        return "seen"

    def judge(trace: Trace) -> Any:
        seen.append(trace)
        told.set()
        return Kill("seen enough") if trace.state.step >= 3 else Continue()

    agent = Agent("a", model=ScriptedModel(lambda request: [call("look")]), tools=[look], max_steps=10**6)
    first = opened(tmp_path / "runs.db", [agent])
    run = first.start("a", "the question")
    assert held.wait(DEADLINE_S)
    first.close(0.5)
    gate.open()
    second = opened(tmp_path / "runs.db", [agent], critic=Watcher(judge))
    assert second.run(run.id).result(DEADLINE_S).status == "killed"
    assert told.wait(DEADLINE_S)
    assert seen[0].input == "the question"
    assert next(step.step for step in seen[0].steps) == 1
    assert seen[0].version > 4


def test_a_sleep_of_the_host_is_noted_by_runs_at_work_and_wakes_none_that_wait(opened: Open) -> None:
    gate = Gate()

    @tool
    def hold() -> str:
        gate.pass_through()
        return "held"

    agents = [
        Agent("busy", model=ScriptedModel([[call("hold")], "done"]), tools=[hold]),
        Agent("asking", model=ScriptedModel(["yes?"])),
    ]
    runtime = opened(agents=agents, sleep_after_s=0.01)
    busy, asking = runtime.start("busy", "go"), runtime.start("asking", "go", interactive=True)
    wait_for(asking, "input-awaited")
    gate.wait_entered()
    address = runtime.address(asking.id)
    assert address is not None
    until(lambda: address.asleep)
    runtime._tell_supervisor(HostWoke(600.0))
    wait_for(busy, "host-slept")
    gate.open()
    assert busy.result(DEADLINE_S).status == "ok"
    assert [fact for fact in facts(busy) if isinstance(fact, HostSlept)] == [HostSlept(slept_s=600.0)]
    assert address.asleep
    assert "host-slept" not in tags(asking)


def test_nobody_is_watched_any_more_when_their_runs_are_over(opened: Open) -> None:
    runtime = opened(agents=[Agent("a", model=ScriptedModel(["hello"]))], critic=Watcher(lambda trace: Continue()))
    runs = [runtime.start("a", "go") for _ in range(20)]
    assert all(run.result(DEADLINE_S).status == "ok" for run in runs)
    until(lambda: not runtime._observers._watched)
