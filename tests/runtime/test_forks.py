"""Forks in a runtime: paused until begun, never an effect inherited, and the source as it was."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from any_life import Life
from msgspec.structs import replace
from runtime_support import DEADLINE_S, AsyncGate, facts, stored, tags, wait_for

from executus import (
    Agent,
    Allowance,
    BudgetSpent,
    DropFrom,
    Overrides,
    Phase,
    Reword,
    Run,
    Say,
    ScriptedModel,
    Usage,
    tool,
)
from executus.adapters.models.scripted import call, say
from executus.errors import MessageRefused, UnknownAgent, UnknownRun
from executus.events import (
    ApprovalRequested,
    RunBegun,
    RunForked,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolFinished,
    ToolStarted,
)
from executus.journal import verify_run
from executus.projections import NOT_BEGUN, fold
from executus.projections.recorded import recorded_run
from executus.testing import VirtualClock, run_started

GOLDEN = Path(__file__).parent.parent / "golden"


class World:
    """An agent with a pure tool and one that acts, who counts; its replies are a script by step."""

    def __init__(self, *script: Any, usage: Usage | None = None, **options: Any) -> None:
        self.asked: list[Any] = []
        self.looked: list[str] = []
        self.paid: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

        @tool(effect="pure")
        def look(at: str) -> str:
            """Look."""
            self.looked.append(at)
            assert self.gate.wait(DEADLINE_S)
            return f"seen {at}"

        @tool(effect="never_retry")
        def pay(to: str) -> str:
            """Pay."""
            self.paid.append(to)
            assert self.gate.wait(DEADLINE_S)
            return f"paid {to}"

        @tool(effect="never_retry", approval=True)
        def fire(who: str) -> str:
            """Fire."""
            self.paid.append(who)
            return f"fired {who}"

        def answer(request: Any) -> Any:
            self.asked.append(request)
            return script[min(request.step, len(script)) - 1]

        self.agent = Agent(
            "a", model=ScriptedModel(answer), tools=[look, pay, fire], instructions="Be brief.", **options
        )


LOOK, PAY = call("look", at="sea"), call("pay", to="bob")
USED = Usage(90, 10, cost_usd=0.25)


def version_of(run: Run, tag: str, number: int = 0) -> int:
    return [event.version for event in stored(run) if event.tag == tag][number]


def told(run: Run) -> list[str]:
    return [
        getattr(part, "text", "") for message in run.transcript() for part in message.parts if message.role != "system"
    ]


def fork_fact(run: Run) -> RunForked:
    return next(fact for fact in facts(run) if isinstance(fact, RunForked))


# ------------------------------------------------------------------ waiting to be begun


def test_a_fork_does_nothing_until_it_is_begun_and_its_waiting_costs_no_time(opened: Any, tmp_path: Path) -> None:
    clock, world = VirtualClock(), World(say("I look.", LOOK), "done", timeout_s=60.0)
    runtime = opened(tmp_path / "runs.db", [world.agent], clock=clock)
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    asked = len(world.asked)
    fork = runtime.fork(first, version_of(first, "step-started"))
    assert tags(fork) == ["run-started", "run-forked"]
    assert (fork.status, fork.reason) == ("waiting", NOT_BEGUN)
    clock.advance(3_600)
    runtime.close()
    runtime = opened(tmp_path / "runs.db", [world.agent], clock=clock)
    fork = runtime.run(fork.id)
    assert (fork.status, len(world.asked)) == ("waiting", asked)
    fork.begin(by="ann")
    assert fork.result(DEADLINE_S).output == "done"
    begun = next(fact for fact in facts(fork) if isinstance(fact, RunBegun))
    assert begun.by == "ann"
    assert verify_run(runtime.journal, fork.id) == []


def test_a_paused_fork_sleeps_and_is_woken_by_its_beginning(opened: Any, lulled: Any) -> None:
    clock, world = VirtualClock(), World("hello")
    runtime = opened(None, [world.agent], clock=clock, sleep_after_s=5)
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 2)
    lulled(fork, clock)
    fork.begin()
    assert fork.result(DEADLINE_S).output == "hello"


def test_a_fork_may_begin_at_once_and_beginning_twice_is_beginning_once(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> Any:
        await gate.pass_through()
        return "hello"

    runtime = opened(None, [Agent("a", model=ScriptedModel(answer))])
    first = runtime.start("a", "Go.")
    fork = runtime.fork(first, 1, start=True, by="ann")
    fork.begin()
    assert tags(fork).count("run-begun") == 1
    gate.open()
    fork.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match="it is over"):
        fork.begin()


async def _forked_async(runtime: Any, run: Run) -> Run:
    fork: Run = await runtime.fork_async(run, 1)
    await fork.begin_async()
    await fork.result_async(DEADLINE_S)
    return fork


def test_an_async_host_forks_too(opened: Any) -> None:
    import asyncio

    runtime = opened(None, [World("hello").agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = asyncio.run(_forked_async(runtime, first))
    assert fork.result(DEADLINE_S).output == "hello"


def test_a_paused_fork_can_be_steered_and_cancelled_and_nothing_else_moves_it(opened: Any) -> None:
    runtime = opened(None, [World("hello").agent])
    first = runtime.start("a", "Go.", interactive=True)
    wait_for(first, "input-awaited")
    one, two = runtime.fork(first, 1), runtime.fork(first, 1)
    one.steer("Quick!")
    for order in (lambda: one.send("x"), one.end):
        with pytest.raises(MessageRefused, match="has not begun"):
            order()
    assert one.status == "waiting"
    one.begin()
    wait_for(one, "input-awaited")
    assert "Quick!" in told(one)
    two.cancel("no more")
    assert two.result(DEADLINE_S).status == "cancelled"
    with pytest.raises(MessageRefused, match="over"):
        two.begin()


# ------------------------------------------------------------------ effects


def test_a_call_that_acted_is_never_made_again_and_a_pure_one_is(opened: Any) -> None:
    world = World(say("Both.", LOOK, PAY), "done")
    world.gate.clear()
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    wait_for(first, "tool-started", 2)
    while not (world.looked and world.paid):
        threading.Event().wait(0.01)
    fork = runtime.fork(first, version_of(first, "tool-started", 1), start=True)
    world.gate.set()
    assert fork.result(DEADLINE_S).output == first.result(DEADLINE_S).output == "done"
    assert (world.looked, world.paid) == (["sea", "sea"], ["bob"])
    assert [fact.call for fact in facts(fork) if isinstance(fact, ToolStarted)] == ["1.0"]
    assert any("whether it took effect is unknown" in text for text in told(fork))


def test_calls_that_were_asked_for_and_not_started_are_the_forks_to_make(opened: Any) -> None:
    world = World(say("Both.", LOOK, PAY), "done")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, version_of(first, "step-completed"), start=True)
    assert fork.result(DEADLINE_S).stats.tool_calls == 2
    assert world.paid == ["bob", "bob"]
    assert told(fork) == told(first)


def test_a_person_is_asked_anew(opened: Any) -> None:
    world = World(say("May I?", call("fire", who="eve")), "done")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    wait_for(first, "approval-awaited")
    fork = runtime.fork(first, start=True)
    wait_for(fork, "approval-awaited")
    assert [fact.call for fact in facts(fork) if isinstance(fact, ApprovalRequested)] == ["1.0"]
    first.deny()
    fork.approve(by="ann")
    assert fork.result(DEADLINE_S).status == "ok"
    assert (first.result(DEADLINE_S).status, world.paid) == ("ok", ["eve"])


def test_a_fork_of_last_words_ends_with_them_unless_something_is_said(opened: Any) -> None:
    world = World("hello")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    plain = runtime.fork(first, start=True)
    assert plain.result(DEADLINE_S).output == "hello"
    assert len(world.asked) == 1
    more = runtime.fork(first, overrides=Overrides(messages=[Say("And then?")]), start=True)
    more.result(DEADLINE_S)
    assert (len(world.asked), told(more)) == (2, ["Go.", "hello", "And then?", "hello"])


def test_words_that_do_not_fit_the_schema_are_not_last_words_of_a_fork(opened: Any) -> None:
    world = World("not JSON", "[1]", output=list[int])
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, version_of(first, "step-completed"), start=True)
    assert fork.result(DEADLINE_S).output == "[1]"


def test_a_conversation_goes_on_where_it_waited(opened: Any) -> None:
    world = World("hello", "again")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.", interactive=True)
    wait_for(first, "input-awaited")
    fork = runtime.fork(first)
    fork.begin()
    wait_for(fork, "input-awaited")
    assert len(world.asked) == 1
    fork.send("And then?")
    wait_for(fork, "input-awaited", 2)
    fork.end()
    assert fork.result(DEADLINE_S).output == "again"
    assert told(first) == ["Go.", "hello"]


def test_a_fork_between_two_phases_begins_the_next(opened: Any) -> None:
    agent = Agent(
        "a",
        model=ScriptedModel(lambda request: f"step {request.step}"),
        phases=[Phase("plan", instructions="Plan."), Phase("act", instructions="Act.")],
    )
    runtime = opened(None, [agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    for tag in ("phase-finished", "phase-started"):
        for number in (0, 1):
            fork = runtime.fork(first, version_of(first, tag, number), start=True)
            assert fork.result(DEADLINE_S).output == "step 2"
            assert told(fork) == told(first)


# ------------------------------------------------------------------ what is different


def test_every_override_takes_effect_and_is_in_the_facts(opened: Any, tmp_path: Path) -> None:
    world, other = World(say("I look.", LOOK), "done"), World("other")
    other_model = other.agent.model
    assert other_model is not None
    runtime = opened(tmp_path / "runs.db", [world.agent], models={"other": other_model})
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    overrides = Overrides(
        model="other",
        instructions="Be long.",
        tools=["look"],
        limits={"max_steps": 7},
        messages=[Reword(1, "Stay."), Say("Now.")],
        results={"1.0": "seen a whale"},
    )
    fork = runtime.fork(first, version_of(first, "tool-finished"), overrides=overrides)
    runtime.close()
    runtime = opened(tmp_path / "runs.db", [world.agent], models={"other": other_model})  # and after a restart
    fork = runtime.run(fork.id)
    fork.begin()
    assert fork.result(DEADLINE_S).output == "other"
    request = other.asked[0]
    texts = [getattr(part, "text", "") for message in request.messages for part in message.parts]
    assert texts == ["Be long.", "Stay.", "I look.", "", "seen a whale", "Now."] or "seen a whale" in texts
    assert texts[0] == "Be long."
    assert [one.name for one in request.tools] == ["look"]
    start = facts(fork)[0]
    assert isinstance(start, RunStarted)
    assert (start.agent.model, start.agent.overridden, start.limits.max_steps) == ("other", ("model", "tools"), 7)
    edits = {edit.what: (edit.before, edit.after) for edit in fork_fact(fork).edits}
    assert edits["model"] == ("scripted", "other")
    assert edits["limits.max_steps"] == ("50", "7")
    assert edits["results.1.0"] == ("", "seen a whale")
    assert set(edits) == {
        *("model", "instructions", "tools", "limits.max_steps", "messages.1", "said", "results.1.0"),
    }


def test_what_was_different_stays_so_for_whoever_goes_on(opened: Any) -> None:
    world, other = World(say("I look.", LOOK), "done"), World("other")
    model: Any = other.agent.model
    runtime = opened(None, [world.agent], models={"other": model})
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 2, overrides=Overrides(model="other", tools=["look"]), start=True)
    fork.result(DEADLINE_S)
    for then in (runtime.fork(fork, 2, start=True), runtime.resume(fork, "More?")):
        assert then.result(DEADLINE_S).output == "other"
        assert [one.name for one in other.asked[-1].tools] == ["look"]
        start = facts(then)[0]
        assert isinstance(start, RunStarted)
        assert start.agent.overridden == ("model", "tools")
    assert len(world.asked) == 2


def test_another_agent_may_go_on(opened: Any) -> None:
    world = World(say("I look.", LOOK), "done")
    other = Agent("b", model=ScriptedModel(lambda request: "b here"), instructions="You are b.")
    runtime = opened(None, [world.agent, other])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, version_of(first, "tool-finished"), overrides=Overrides(agent="b"), start=True)
    assert fork.result(DEADLINE_S).output == "b here"
    assert fork.transcript()[0].parts == (Text("You are b."),)


def test_what_follows_a_message_may_be_dropped(opened: Any) -> None:
    world = World(say("I look.", LOOK), "done")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, overrides=Overrides(messages=[DropFrom(2), Say("Do not look.")]), start=True)
    fork.result(DEADLINE_S)
    assert told(fork)[:2] == ["Go.", "Do not look."]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (Overrides(limits={"max_steps": 0}), "fork, max_steps: expected a whole number"),
        (Overrides(limits={"speed": 1}), "fork, limits: no limit 'speed'"),
        (Overrides(tools=["fly"]), "fork, tools: agent 'a' has no tool 'fly'; it has: fire, look, pay"),
        (Overrides(messages=[Reword(99, "x")]), "fork, there is no message 99; the conversation has messages 0 to 4"),
        (Overrides(messages=[DropFrom(3)]), "calls of message 2 have no results; drop from 2"),
        (Overrides(messages=[DropFrom(0)], instructions=""), "nothing is left to ask the model"),
        (Overrides(results={"7.0": "x"}), r"fork, call '7.0' is not in the conversation; those that are: 1\.0"),
    ],
)
def test_an_override_that_cannot_be_is_refused_with_why(opened: Any, overrides: Overrides, says: str) -> None:
    world = World(say("I look.", LOOK), "done")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    with pytest.raises(ValueError, match=says):
        runtime.fork(first, overrides=overrides)
    assert len(runtime.runs()) == 1


def test_an_agent_in_phases_keeps_its_instructions_and_its_phases(opened: Any) -> None:
    phased = Agent(
        "a", model=ScriptedModel(lambda request: f"step {request.step}"), phases=[Phase("plan"), Phase("act")]
    )
    runtime = opened(None, [phased, Agent("b", model=phased.model)])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    with pytest.raises(ValueError, match="works in phases, each with instructions of its own"):
        runtime.fork(first, overrides=Overrides(instructions="Be long."))
    with pytest.raises(ValueError, match="the run is in phase 'act', which 'b' does not have"):
        runtime.fork(first, overrides=Overrides(agent="b"))
    fork = runtime.fork(first, 1, reuse="recorded", start=True)
    fork.result(DEADLINE_S)
    assert [fact.recorded for fact in facts(fork) if isinstance(fact, StepCompleted)] == [True, True]


@pytest.mark.parametrize(
    "overrides",
    [
        "model",
        Overrides(model=7),  # type: ignore[arg-type]
        Overrides(instructions=7),  # type: ignore[arg-type]
        Overrides(tools="look"),
        Overrides(agent=7),  # type: ignore[arg-type]
        Overrides(limits=7),  # type: ignore[arg-type]
        Overrides(messages="x"),  # type: ignore[arg-type]
        Overrides(messages=[Reword("1", "x")]),  # type: ignore[arg-type]
        Overrides(messages=[DropFrom(True)]),
        Overrides(messages=["x"]),  # type: ignore[list-item]
        Overrides(results={"1.0": 7}),  # type: ignore[dict-item]
    ],
)
def test_an_override_of_another_type_is_refused(opened: Any, overrides: Any) -> None:
    runtime = opened(None, [World("hello").agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    with pytest.raises(TypeError, match="expected"):
        runtime.fork(first, overrides=overrides)


def test_what_cannot_be_forked_is_refused(opened: Any) -> None:
    runtime = opened(None, [World("hello").agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    for at in (0, 99, True, "1"):
        with pytest.raises(ValueError, match="expected a version from 1 to 4"):
            runtime.fork(first, at)
    with pytest.raises(ValueError, match="reuse"):
        runtime.fork(first, reuse="always")
    with pytest.raises(UnknownRun):
        runtime.fork("nobody")
    with pytest.raises(UnknownAgent):
        runtime.fork(first, overrides=Overrides(agent="nobody"))


# ------------------------------------------------------------------ answers from the recording


def test_what_would_be_shown_the_same_is_answered_from_the_recording_and_costs_nothing(opened: Any) -> None:
    world = World(say("I look.", LOOK, usage=USED), say("Again.", LOOK, usage=USED), say("done", usage=USED))
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 1, reuse="recorded", start=True)
    result = fork.result(DEADLINE_S)
    assert (result.output, result.stats.steps, result.stats.cost_usd, result.stats.input_tokens) == ("done", 3, 0.0, 0)
    assert [fact.recorded for fact in facts(fork) if isinstance(fact, StepCompleted)] == [True] * 3
    assert (len(world.asked), world.looked) == (3, ["sea"] * 4)
    assert told(fork) == told(first)


def test_from_the_first_departure_on_the_model_is_asked(opened: Any) -> None:
    world = World(say("I look.", LOOK, usage=USED), say("Again.", LOOK, usage=USED), say("done", usage=USED))
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    overrides = Overrides(results={"1.0": "seen a whale"})
    at = version_of(first, "tool-finished")
    changed = runtime.fork(first, at, overrides=overrides, reuse="recorded", start=True)
    changed.result(DEADLINE_S)
    assert [fact.recorded for fact in facts(changed) if isinstance(fact, StepCompleted)] == [False, False]
    assert len(world.asked) == 5
    again = runtime.fork(first, at, reuse="recorded")
    again.steer("Wait.")
    again.begin()
    again.result(DEADLINE_S)
    assert not any(fact.recorded for fact in facts(again) if isinstance(fact, StepCompleted))


@pytest.mark.parametrize("overrides", [Overrides(tools=["look", "pay"]), Overrides(instructions="Be long.")])
def test_another_agent_is_another_question(opened: Any, overrides: Overrides) -> None:
    world = World("done")
    runtime = opened(None, [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 2, overrides=overrides, reuse="recorded", start=True)
    fork.result(DEADLINE_S)
    assert len(world.asked) == 2


def test_what_is_withheld_or_gone_is_no_recording() -> None:
    events = Life((run_started("Go."), StepStarted(step=1), StepCompleted(step=1, reply=(Text("hi"),))), 0).events
    assert list(recorded_run(events).steps) == [1]
    for content in ("locked", "erased"):
        withheld = [replace(event, content=content) for event in events]
        assert recorded_run(withheld).steps == {}


# ------------------------------------------------------------------ who it is, and who pays


def test_a_fork_is_a_run_of_its_own_for_the_same_caller(opened: Any) -> None:
    runtime = opened(None, [World("hello").agent])
    first = runtime.start("a", "Go.", caller="alice", name="job")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 2, request_id="f1")
    assert runtime.fork(first, 2, request_id="f1").id == fork.id
    other = runtime.fork(first, 2, caller="bob", request_id="f1")
    start, forked = facts(fork)[0], fork_fact(fork)
    assert isinstance(start, RunStarted)
    assert (start.info.caller_id, start.info.name, start.info.parent_run_id) == ("alice", "job", "")
    assert (forked.source, forked.version, forked.paused) == (first.id, 2, True)
    assert [run.id for run in runtime.forks(first)] == [fork.id, other.id]
    assert runtime.forks(fork) == []


def test_a_fork_of_a_child_has_no_parent(opened: Any) -> None:
    child = World("child's words").agent
    boss = Agent("boss", model=ScriptedModel([say("", call("agent__a", prompt="Do.")), "done"]), agents=["a"])
    runtime = opened(None, [child, boss])
    first = runtime.start("boss", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first.children()[0], 2, start=True)
    assert fork.result(DEADLINE_S).output == "child's words"
    told_off = runtime.fork(first, version_of(first, "child-started"), start=True)
    told_off.result(DEADLINE_S)
    assert any("cancelled" in text for text in told(told_off))
    assert not any(fact for fact in tags(told_off) if fact.startswith("child-"))


def test_the_callers_budget_decides_about_a_fork_as_about_any_run(opened: Any) -> None:
    world = World(say("hello", usage=USED))
    runtime = opened(None, [world.agent], budget=[Allowance(window="total", tokens=100)])
    first = runtime.start("a", "Go.", caller="alice")
    first.result(DEADLINE_S)
    runtime.spending("alice")  # the ledger is told of a run after whoever waits for it
    with pytest.raises(BudgetSpent):
        runtime.fork(first, 2)
    fork = runtime.fork(first, 2, caller="bob", start=True)
    assert fork.result(DEADLINE_S).status == "ok"
    assert len(world.asked) == 2


# ------------------------------------------------------------------ the source


def rows_of(path: Path, run_id: str) -> list[Any]:
    """A run's rows, to the byte, and every payload out of line."""
    key = bytes.fromhex(run_id.replace("-", ""))
    connection = sqlite3.connect(path)
    try:
        events = connection.execute("SELECT * FROM stored_events WHERE originator_id = ? ORDER BY rowid", (key,))
        index = connection.execute("SELECT * FROM runs WHERE run_id = ?", (key,))
        return [events.fetchall(), index.fetchall()]
    finally:
        connection.close()


GOLDEN_LOGS = sorted(GOLDEN.glob("log-*.db"))


@pytest.mark.parametrize("golden", GOLDEN_LOGS, ids=lambda path: path.stem)
def test_forking_every_version_of_a_golden_log_leaves_the_source_as_it_was(
    opened: Any, tmp_path: Path, golden: Path
) -> None:
    path = tmp_path / "journal" / "golden.db"
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(golden, path)
    path.chmod(0o600)
    runtime = opened(path, resume=False, views=None)
    runs = [row.run_id for row in runtime.runs()]
    before = {run: (runtime.journal.read(run), rows_of(path, run)) for run in runs}
    forks = 0
    for run, (events, rows) in before.items():
        assert all(rows)
        for version in range(1, len(events) + 1):
            if fold(events[:version]).state.read_only:
                with pytest.raises(MessageRefused, match="newer executus"):
                    runtime.fork(run, version, elsewhere=True)
                continue
            fork = runtime.fork(run, version, elsewhere=True)
            assert fork.status == "waiting"
            forks += 1
    assert forks > 20
    for run, (events, rows) in before.items():
        assert runtime.journal.read(run, verify=True) == events
        assert rows_of(path, run) == rows


def test_forking_a_live_run_leaves_it_at_its_work(opened: Any, tmp_path: Path) -> None:
    world = World(*[say(f"step {step}", LOOK) for step in range(1, 40)], "done", max_steps=60)
    runtime = opened(tmp_path / "runs.db", [world.agent])
    first = runtime.start("a", "Go.")
    seen = 0
    forks: list[Run] = []
    with first.events() as events:
        for event in events:
            if event.tag in ("step-started", "tool-finished") and seen % 7 == 0:
                forks.append(runtime.fork(first, event.version, start=True))
            seen += 1
    assert first.result(DEADLINE_S).output == "done"
    assert len(forks) > 3
    for fork in forks:
        assert fork.result(DEADLINE_S).output == "done"
        assert told(fork) == told(first)
        assert verify_run(runtime.journal, fork.id) == []
    steps = [fact.step for fact in facts(first) if isinstance(fact, StepStarted)]
    assert steps == list(range(1, 41))
    assert verify_run(runtime.journal, first.id) == []


def test_a_fork_whose_agent_is_elsewhere_waits_for_a_host_that_has_it(opened: Any, tmp_path: Path) -> None:
    world = World(say("I look.", LOOK), "done")
    runtime = opened(tmp_path / "runs.db", [world.agent])
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    at = version_of(first, "step-completed")
    runtime.close()
    runtime = opened(tmp_path / "runs.db", [])
    with pytest.raises(UnknownAgent):
        runtime.fork(first.id, at)
    fork = runtime.fork(first.id, at, elsewhere=True)
    with pytest.raises(MessageRefused, match="its agent 'a' is not in this runtime"):
        fork.begin()
    runtime.close()
    runtime = opened(tmp_path / "runs.db", [world.agent])
    fork = runtime.run(fork.id)
    fork.begin()
    assert fork.result(DEADLINE_S).output == "done"
    assert [fact.result for fact in facts(fork) if isinstance(fact, ToolFinished)] == ["seen sea"]


def test_a_secret_in_an_override_is_masked_as_everywhere(opened: Any) -> None:
    runtime = opened(None, [World("hello").agent], secrets={"door": "hunter2-and-more"})
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, overrides=Overrides(messages=[Say("It is hunter2-and-more.")]))
    assert "hunter2-and-more" not in repr(facts(fork))
    assert "It is " in repr(fork_fact(fork).edits)


# ------------------------------------------------------------------ sealed


def test_a_fork_of_a_sealed_run_is_sealed_and_one_without_its_key_is_refused(opened: Any, tmp_path: Path) -> None:
    from sealing_support import KEY

    world = World("a very odd word")
    runtime = opened(tmp_path / "runs.db", [world.agent], encryption=KEY)
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    fork = runtime.fork(first, 2, start=True)
    fork.result(DEADLINE_S)
    contents = {event.tag: event.content for event in stored(fork)}
    assert (contents["run-forked"], contents["step-completed"]) == ("sealed", "sealed")
    runtime.erase(first)
    with pytest.raises(MessageRefused, match="erased"):
        runtime.fork(first)
    runtime.close()


def test_forking_without_the_key_is_refused(opened: Any, tmp_path: Path) -> None:
    from sealing_support import KEY

    runtime = opened(tmp_path / "runs.db", [World("hello").agent], encryption=KEY)
    first = runtime.start("a", "Go.")
    first.result(DEADLINE_S)
    runtime.close()
    runtime = opened(tmp_path / "runs.db", [World("hello").agent])
    with pytest.raises(MessageRefused, match="sealed"):
        runtime.fork(first.id)
