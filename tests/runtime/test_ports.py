"""The ports of the reference kernel: what holds with none of them, and what each of them adds.

Rules that other files show are not repeated; docs/reference/ports.md names them all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from runtime_support import DEADLINE_S, AsyncGate, FunctionModel, Gate, facts, said, tags, texts_heard, wait_for

from executus import (
    Agent,
    Allowance,
    BudgetSpent,
    InputFile,
    Kill,
    ModelRefused,
    Runtime,
    ScriptedModel,
    self_status,
    tool,
)
from executus.adapters.budgets import PerCaller
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.files.stager import DirectoryStager
from executus.adapters.models.scripted import call, say
from executus.errors import FileRefused, MessageRefused
from executus.events import (
    CriticKilled,
    InputStaged,
    RunFinished,
    RunInfo,
    RunStarted,
    StepCompleted,
    ToolFinished,
    ToolRefused,
    Usage,
)
from executus.projections import RunState, evolve, stats
from executus.projections.trace import Trace
from executus.testing import VirtualClock

Open = Callable[..., Runtime]


@tool(effect="pure")
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


class Watcher:
    """A critic that is asked after every step and gives one verdict."""

    every_steps = 1

    def __init__(self, verdict: Any) -> None:
        self.verdict, self.asked = verdict, 0

    def review(self, trace: Trace, now: float) -> Any:
        self.asked += 1
        return self.verdict


class Endless(FunctionModel):
    """Never answers."""

    def __init__(self) -> None:
        self.gate = AsyncGate()

    async def reply(self, request: Any) -> Any:
        await self.gate.pass_through()
        return said("too late")


# ------------------------------------------------------------------ runs


def test_without_any_port_a_run_is_bounded_lives_in_memory_and_leaves_nothing(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heard: list[str] = []

    def answer(request: Any) -> Any:
        heard.extend(texts_heard(request) if request.step == 1 else ())
        return call("agent__helper", prompt="help") if request.step == 1 else call("look", at="it")

    agent = Agent("a", model=ScriptedModel(answer), tools=[look], agents=["helper"], max_steps=4)
    runtime = opened(agents=[agent])
    run = runtime.start("a", "go", caller="alice", files=[InputFile("song.mp3", b"la la")])
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.stats.steps) == ("error", "ceiling", 4)
    assert heard == ["go"]  # the attachment is ignored
    [inert] = [fact for fact in facts(run) if isinstance(fact, ToolRefused)]
    assert "not configured" in inert.reason
    assert {tag.partition("-")[0] for tag in tags(run)} == {"run", "step", "tool"}
    assert runtime.spending("alice") == {}
    with pytest.raises(MessageRefused, match="no delivery"):
        runtime.redeliver(run)
    assert list(tmp_path.iterdir()) == []


def test_the_first_fact_says_who_asked_for_what_and_from_where(opened: Open) -> None:
    runtime = opened(agents=[Agent("a", tier="small", max_steps=9)], tiers={"small": ScriptedModel(["hi"])})
    run = runtime.start(
        "a",
        "go",
        caller="alice",
        request_id="r-1",
        name="reviewer",
        subject="agent-7",
        channel="c-1",
        guild="g-1",
        inputs={"path": "README.md"},
        tier="small",
    )
    run.result(DEADLINE_S)
    started = facts(run)[0]
    assert isinstance(started, RunStarted)
    assert started.info.started_at_us > 0
    assert msgspec.structs.replace(started.info, started_at_us=0) == RunInfo(
        run_id=run.id,
        name="reviewer",
        subject_id="agent-7",
        caller_id="alice",
        channel_id="c-1",
        guild_id="g-1",
        model_tier="small",
        inputs={"path": "README.md"},
        request_id="r-1",
        max_iterations=9,
    )


def test_the_statistics_of_the_end_are_what_the_log_adds_up_to(opened: Open) -> None:
    script = [
        say("looking", call("look", at="it"), usage=Usage(input=100, output=20, thinking=7)),
        say("seen", usage=Usage(input=150, output=30, thinking=3)),
    ]
    run = opened(agents=[Agent("a", model=ScriptedModel(script), tools=[look])]).start("a", "go")
    told = run.result(DEADLINE_S).stats
    end = facts(run)[-1]
    assert isinstance(end, RunFinished)
    state = RunState()
    for fact in facts(run):
        state = evolve(state, fact)
    assert end.stats == told == stats(state, "ok", "", state.runtime_ms)
    assert (told.status, told.output, told.error, told.steps, told.tool_calls) == ("ok", "seen", "", 2, 1)
    assert (told.input_tokens, told.output_tokens, told.thinking_tokens) == (250, 50, 10)


def test_each_of_the_seven_statuses_is_how_a_run_ends(opened: Open) -> None:
    refusing = ScriptedModel([ModelRefused("no")])
    agents = [
        Agent("ok", model=ScriptedModel(["fine"]), tools=[look]),
        Agent("error", model=refusing),
        Agent("timeout", model=Endless(), timeout_s=0.05),
        Agent(
            "budget_exceeded", model=ScriptedModel(lambda request: call("look", at="it")), tools=[look], max_tokens=1
        ),
        Agent("cancelled", model=Endless()),
        Agent("killed", model=Endless()),
        Agent("dry_run", model=ScriptedModel([call("look", at="it"), "done"]), tools=[look]),
    ]
    runtime = opened(agents=agents)
    runs = {agent.name: runtime.start(agent.name, "go", dry_run=agent.name == "dry_run") for agent in agents}
    runs["cancelled"].cancel("enough", by="alice")
    runs["killed"].kill("harm", by="bob")
    ended = {name: run.result(DEADLINE_S) for name, run in runs.items()}
    assert {name: result.status for name, result in ended.items()} == {name: name for name in runs}
    assert (ended["cancelled"].by, ended["cancelled"].reason) == ("alice", "enough")
    assert (ended["killed"].by, ended["killed"].reason) == ("bob", "harm")
    assert all(result.by for result in ended.values())


def test_a_critics_kill_is_told_apart_from_the_deadline_and_from_the_callers_cancel(opened: Open) -> None:
    looping = ScriptedModel(lambda request: call("look", at="it"))
    watched = Agent("watched", model=looping, tools=[look], critic=Watcher(Kill("it turns in circles")))
    late = Agent("late", model=Endless(), timeout_s=0.05, critic=Watcher(Kill("never asked")))
    left = Agent("left", model=Endless())
    runtime = opened(agents=[watched, late, left])
    killed, expired, cancelled = (runtime.start(agent.name, "go") for agent in (watched, late, left))
    cancelled.cancel("changed my mind", by="alice")
    ends = [run.result(DEADLINE_S) for run in (killed, expired, cancelled)]
    assert [end.status for end in ends] == ["killed", "timeout", "cancelled"]
    assert [(end.by, end.reason) for end in ends][::2] == [
        ("critic", "it turns in circles"),
        ("alice", "changed my mind"),
    ]
    assert [fact.reason for fact in facts(killed) if isinstance(fact, CriticKilled)] == ["it turns in circles"]
    assert "critic-killed" not in tags(expired) + tags(cancelled)


# ------------------------------------------------------------------ audit


def test_every_step_is_in_the_log_with_its_reply_and_every_call_with_its_result(opened: Open) -> None:
    script = [["first", call("look", at="one"), call("look", at="two")], "last"]
    run = opened(agents=[Agent("a", model=ScriptedModel(script), tools=[look])]).start("a", "go")
    run.result(DEADLINE_S)
    replies = [fact.reply for fact in facts(run) if isinstance(fact, StepCompleted)]
    results = {fact.call: fact.result for fact in facts(run) if isinstance(fact, ToolFinished)}
    assert [part.text for reply in replies for part in reply if hasattr(part, "text")] == ["first", "last"]
    assert [part.arguments for part in replies[0][1:]] == ['{"at":"one"}', '{"at":"two"}']
    assert results == {"1.0": "saw one", "1.1": "saw two"}


async def _give_up_on(runtime: Runtime, model: Endless) -> str:
    """Start a run in a task that is cancelled while it waits for the result; returns the run's id."""
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def caller() -> None:
        run = await runtime.start_async("a", "go")
        started.set_result(run.id)
        await run

    task = asyncio.create_task(caller())
    run_id = await started
    await asyncio.to_thread(model.gate.wait_entered)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return run_id


def test_the_end_is_written_down_though_the_callers_task_was_cancelled(opened: Open) -> None:
    model = Endless()
    runtime = opened(agents=[Agent("a", model=model)])
    run_id = asyncio.run(_give_up_on(runtime, model))  # even the caller's loop is gone
    model.gate.open()
    assert runtime.run(run_id).result(DEADLINE_S).output == "too late"
    assert tags(runtime.run(run_id))[-1] == "run-finished"


def test_a_run_that_asks_is_told_its_live_tallies(opened: Open) -> None:
    script = [call("look", at="it"), say("", call("self_status"), usage=Usage(input=40, output=2)), "done"]
    agent = Agent("a", model=ScriptedModel(script), tools=[look, self_status], max_steps=5)
    run = opened(agents=[agent]).start("a", "go")
    run.result(DEADLINE_S)
    told = msgspec.json.decode([fact.result for fact in facts(run) if isinstance(fact, ToolFinished)][-1])
    assert (told["run_id"], told["step"], told["tool_calls"]) == (run.id, 2, 2)
    assert told["input_tokens"] >= 40
    assert {"measure": "steps", "used": 2, "limit": 5, "left": 3} in told["limits"]


# ------------------------------------------------------------------ budget


def test_a_caller_whose_allowance_is_spent_is_refused_before_the_model_is_asked_and_others_are_not(
    opened: Open, tmp_path: Path
) -> None:
    asked: list[str] = []

    def answer(request: Any) -> Any:
        asked.append(request.caller_id)
        return say("hi", usage=Usage(input=60, output=60))

    budget = PerCaller({"poor": [Allowance(window="total", tokens=100)]})
    agent = Agent("a", model=ScriptedModel(answer))
    first = opened(tmp_path / "runs.db", [agent], budget=budget)
    assert first.start("a", "go", caller="poor").result(DEADLINE_S).status == "ok"
    first.close()
    runtime = opened(tmp_path / "runs.db", [agent], budget=budget)
    with pytest.raises(BudgetSpent, match="100 tokens is spent: 120 used") as refused:
        runtime.start("a", "go", caller="poor")
    assert runtime.start("a", "go", caller="rich").result(DEADLINE_S).status == "ok"
    assert asked == ["poor", "rich"]
    assert runtime.run(refused.value.run_id).status == "budget_exceeded"
    assert tags(runtime.run(refused.value.run_id)) == ["run-started", "budget-exceeded", "run-finished"]


def test_the_seconds_a_run_took_are_charged_to_its_caller(opened: Open, tmp_path: Path) -> None:
    clock = VirtualClock()

    def answer(request: Any) -> Any:
        clock.advance(5)
        return "that took a while"

    agent, allowances = Agent("a", model=ScriptedModel(answer)), [Allowance(window="day", runtime_s=8)]
    first = opened(tmp_path / "runs.db", [agent], budget=allowances, clock=clock)
    for _ in range(2):
        assert first.start("a", "go", caller="alice").result(DEADLINE_S).stats.runtime_s == 5
    first.close()
    runtime = opened(tmp_path / "runs.db", [agent], budget=allowances, clock=clock)
    with pytest.raises(BudgetSpent, match="seconds"):
        runtime.start("a", "go", caller="alice")
    assert runtime.spending("alice")["total"].runtime_ms == 10_000


# ------------------------------------------------------------------ critic


def test_a_host_may_leave_a_run_without_a_critic_by_what_it_knows_of_it(opened: Open) -> None:
    watcher = Watcher(Kill("watched"))
    seen: list[RunInfo] = []

    def choose(info: RunInfo) -> Watcher | None:
        seen.append(info)
        return None if info.channel_id == "quiet" else watcher

    gate = Gate()

    @tool(effect="pure")
    def wait() -> str:
        gate.pass_through()
        return "waited"

    agent = Agent("a", model=ScriptedModel([call("look", at="it"), call("wait"), "done"]), tools=[look, wait])
    runtime = opened(agents=[agent], critic=choose)
    quiet = runtime.start("a", "go", channel="quiet")
    watched = runtime.start("a", "go", channel="loud")
    assert watched.result(DEADLINE_S).status == "killed"
    gate.open()
    assert quiet.result(DEADLINE_S).status == "ok"
    assert sorted(info.channel_id for info in seen) == ["loud", "quiet"]
    assert watcher.asked >= 1


def test_a_ceiling_that_is_raised_while_the_run_works_holds_at_its_next_step(opened: Open) -> None:
    gates = [Gate(), Gate()]

    @tool(effect="pure")
    def wait(number: int) -> str:
        gates[number].pass_through()
        return "waited"

    script = [call("wait", number=0), call("wait", number=1), "done"]
    runtime = opened(agents=[Agent("a", model=ScriptedModel(script), tools=[wait], max_steps=2)])
    run = runtime.start("a", "go")
    gates[0].open()
    gates[1].wait_entered()  # in the last step it has
    run.raise_ceiling(1, by="alice")
    for nothing in (0, -3):
        with pytest.raises(ValueError, match="whole number > 0"):
            run.raise_ceiling(nothing)
    gates[1].open()
    assert run.result(DEADLINE_S).output == "done"
    assert run.state().limits.max_steps == 3


# ------------------------------------------------------------------ files and delivery


def test_an_attachment_is_staged_under_its_run_and_its_bytes_reach_neither_the_model_nor_the_log(
    opened: Open, tmp_path: Path
) -> None:
    content = b"\x00\x01 a recording of the sea"
    heard: list[list[str]] = []

    def answer(request: Any) -> Any:
        heard.append(texts_heard(request))
        return "heard"

    stager = DirectoryStager(tmp_path / "attachments")
    runtime = opened(agents=[Agent("a", model=ScriptedModel(answer))], files=stager)
    run = runtime.start("a", "listen", files=[InputFile("sea.mp3", content, "audio/mpeg")])
    run.result(DEADLINE_S)
    [staged] = [fact for fact in facts(run) if isinstance(fact, InputStaged)]
    assert (staged.name, staged.media_type, staged.size) == ("sea.mp3", "audio/mpeg", len(content))
    assert heard == [["listen", f"Attached file: sea.mp3 (audio/mpeg, {len(content)} bytes), file id {staged.file_id}"]]
    assert stager.open(run.id, staged.file_id) == content
    with pytest.raises(FileRefused):
        stager.open(runtime.start("a", "no files").id, staged.file_id)
    log = msgspec.json.encode([msgspec.to_builtins(fact) for fact in facts(run)])
    assert b"recording of the sea" not in log


def test_output_goes_to_the_delivery_of_the_host_and_to_whoever_waits_for_the_result(opened: Open) -> None:
    parcels: list[Any] = []
    arrived = threading.Event()

    def take(parcel: Any, artifacts: Any) -> None:
        parcels.append(parcel)
        arrived.set()

    agent = Agent("a", model=ScriptedModel(["here it is"]))
    runtime = opened(agents=[agent], delivery=CallbackDelivery(take))
    run = runtime.start("a", "go", caller="alice")
    kept = runtime.start("a", "go", deliver=False)
    assert run.result(DEADLINE_S).output == kept.result(DEADLINE_S).output == "here it is"
    assert arrived.wait(DEADLINE_S)
    with runtime.events() as events:
        while all(event.tag != "delivered" for event in events.take(DEADLINE_S)):
            pass
    assert [(one.info.run_id, one.info.caller_id, one.status, one.output) for one in parcels] == [
        (run.id, "alice", "ok", "here it is")
    ]
    assert "delivery-attempted" not in tags(kept)


def test_advice_is_read_before_the_next_step_and_only_there(opened: Open) -> None:
    gate = Gate()

    @tool(effect="pure")
    def wait() -> str:
        gate.pass_through()
        return "waited"

    heard: list[list[str]] = []

    def answer(request: Any) -> Any:
        heard.append(texts_heard(request))
        return call("wait") if request.step == 1 else "done"

    run = opened(agents=[Agent("a", model=ScriptedModel(answer), tools=[wait])]).start("a", "go")
    gate.wait_entered()
    run.steer("be brief", by="alice")
    run.steer("and kind", by="bob")
    gate.open()
    run.result(DEADLINE_S)
    wait_for(run, "run-finished")
    assert heard == [["go"], ["go", "be brief", "and kind"]]
