"""Where a run ends by itself: each limit, what is kept, how the run is told, and how it goes on afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from family_support import answers, look, refusals
from runtime_support import DEADLINE_S, AsyncGate, facts, tags, texts_heard

from executus import Agent, Run, ScriptedModel, Usage, self_status, tool
from executus.adapters.models.scripted import call, say
from executus.errors import MessageRefused, UnknownAgent, UnknownRun
from executus.events import BudgetExceeded, BudgetNoticed, Limits, RunForked, ToolOutcomeUnknown
from executus.journal import verify_run
from executus.testing import VirtualClock

SPENT = Usage(90, 10, cost_usd=0.125)


def spender(calls: int = 1, **options: Any) -> Agent:
    """Looks again and again; each step takes 100 tokens and an eighth of a dollar."""

    def answer(request: Any) -> Any:
        return say(f"step {request.step}", *(call("look", at=request.step) for _ in range(calls)), usage=SPENT)

    return Agent("a", model=ScriptedModel(answer), tools=[look], **options)


def held(gates: list[AsyncGate], **options: Any) -> Agent:
    """Looks once a step, each reply behind a gate of its own."""

    async def answer(request: Any) -> Any:
        await gates[request.step - 1].pass_through()
        return say(f"step {request.step}", call("look", at=request.step), usage=SPENT)

    return Agent("a", model=ScriptedModel(answer), tools=[look], **options)


def exceeded(run: Run) -> list[BudgetExceeded]:
    return [fact for fact in facts(run) if isinstance(fact, BudgetExceeded)]


def noticed(run: Run) -> list[tuple[str, float]]:
    """The notices in the run's own log."""
    return [(fact.measure, fact.fraction) for fact in facts(run) if isinstance(fact, BudgetNoticed)]


def told(run: Run) -> list[str]:
    """The notices in what the model is shown."""
    texts = [getattr(part, "text", "") for message in run.transcript() for part in message.parts]
    return [text for text in texts if text.startswith("Notice: ")]


EACH: list[Any] = [
    ({"max_steps": 4}, "error", "ceiling", "the ceiling of 4 steps is reached", 4),
    ({"max_tool_calls": 3}, "budget_exceeded", "limits", "the limit of 3 tool calls is reached: 3 used", 3),
    ({"max_tokens": 450}, "budget_exceeded", "limits", "the limit of 450 tokens is reached: 500 used", 5),
    ({"max_cost_usd": 0.5}, "budget_exceeded", "limits", "the limit of 0.5 dollars is reached: 0.5 used", 4),
]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("limits", "status", "by", "why", "steps"), EACH)
def test_each_limit_ends_the_run_says_why_and_keeps_what_was_said(
    opened: Any, tmp_path: Path, limits: dict[str, Any], status: str, by: str, why: str, steps: int, stored: bool
) -> None:
    runtime = opened(tmp_path / "runs.db" if stored else None, [spender(**limits)])
    run = runtime.start("a", "x")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason, result.error) == (status, by, why, why)
    assert (result.output, result.stats.steps) == (f"step {steps}", steps)
    assert len(answers(run)) == steps
    assert len(exceeded(run)) == (status != "error")
    assert verify_run(runtime.journal, run.id) == []


def test_the_deadline_ends_the_run_and_keeps_what_was_said(opened: Any) -> None:
    clock, gates = VirtualClock(), [AsyncGate(), AsyncGate()]
    run = opened(None, [held(gates, timeout_s=60.0)], clock=clock).start("a", "x")
    gates[0].open()
    gates[1].wait_entered()
    clock.advance(61)
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason) == ("timeout", "deadline", "the deadline of 60 s is over")
    assert (result.output, result.stats.steps) == ("step 1", 2)
    assert gates[1].cancelled.wait(DEADLINE_S)


@pytest.mark.parametrize(("limits", "status", "by", "why", "steps"), EACH)
def test_a_limit_given_at_the_start_replaces_the_agent_s(
    opened: Any, limits: dict[str, Any], status: str, by: str, why: str, steps: int
) -> None:
    agent = spender(max_steps=40, max_tool_calls=50, max_tokens=6_000, max_cost_usd=50.0)
    result = opened(None, [agent]).start("a", "x", limits=limits).result(DEADLINE_S)
    assert (result.status, result.reason, result.stats.steps) == (status, why, steps)


def test_calls_beyond_the_limit_are_refused_within_one_reply(opened: Any) -> None:
    run = opened(None, [spender(calls=5, max_tool_calls=7)]).start("a", "x")
    assert run.result(DEADLINE_S).stats.tool_calls == 7
    assert refusals(run) == ["the limit of 7 tool calls is reached"] * 3
    assert [one.is_error for one in answers(run)] == [False] * 7 + [True] * 3


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_stepz": 1}, "no limit 'max_stepz'; there are: max_steps, max_attempts"),
        ({"max_steps": 0}, "max_steps: expected a whole number ≥ 1, got 0"),
        ({"max_steps": None}, "max_steps: expected a whole number ≥ 1, got None"),
        ({"max_tokens": True}, "max_tokens: expected a whole number ≥ 1, got True"),
        ({"timeout_s": -1}, "timeout_s: expected seconds > 0 or None, got -1"),
        ({"max_cost_usd": "1"}, "max_cost_usd: expected dollars > 0 or None, got '1'"),
        ({"notice_at": [2]}, r"notice_at: expected fractions between 0 and 1, got \[2\]"),
    ],
)
def test_a_wrong_limit_is_told_and_nothing_is_started(opened: Any, limits: dict[str, Any], says: str) -> None:
    runtime = opened(None, [spender(max_steps=1)])
    with pytest.raises(ValueError, match=f"start, {says}|start, limits: {says}"):
        runtime.start("a", "x", limits=limits)
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    with pytest.raises(ValueError, match=f"resume, {says}|resume, limits: {says}"):
        runtime.resume(run, limits=limits)
    assert len(runtime.runs()) == 1


# ------------------------------------------------------------------ raised in flight


@pytest.mark.parametrize(
    ("limits", "measure", "more", "steps"),
    [
        ({"max_steps": 2}, "steps", 3, 5),
        ({"max_tool_calls": 2}, "tool_calls", 3, 5),
        ({"max_tokens": 200}, "tokens", 300, 5),
        ({"max_cost_usd": 0.25}, "cost_usd", 0.375, 5),
    ],
)
def test_a_limit_raised_in_flight_is_the_one_that_counts(
    opened: Any, limits: dict[str, Any], measure: Any, more: float, steps: int
) -> None:
    gates = [AsyncGate() for _ in range(steps + 1)]
    run = opened(None, [held(gates, **limits)]).start("a", "x")
    gates[0].wait_entered()
    run.raise_ceiling(more, measure, by="alice")
    for gate in gates:
        gate.open()
    assert run.result(DEADLINE_S).stats.steps == steps


def test_an_extended_deadline_is_the_one_that_counts(opened: Any) -> None:
    clock, gates = VirtualClock(), [AsyncGate(), AsyncGate()]
    run = opened(None, [held(gates, timeout_s=60.0)], clock=clock).start("a", "x")
    gates[0].wait_entered()
    run.extend(60, by="alice")
    clock.advance(90)
    gates[0].open()
    gates[1].wait_entered()
    clock.advance(31)
    result = run.result(DEADLINE_S)
    assert (result.status, result.reason, result.stats.steps) == ("timeout", "the deadline of 120 s is over", 2)


# ------------------------------------------------------------------ notices


def test_the_model_is_told_once_for_each_fraction_of_each_limit(opened: Any) -> None:
    agent = spender(max_steps=10, max_tokens=2_000, notice_at=(0.5, 0.8))
    run = opened(None, [agent]).start("a", "x")
    run.result(DEADLINE_S)
    assert noticed(run) == [("steps", 0.5), ("steps", 0.8)]
    assert told(run) == [
        "Notice: this run has used 5 of 10 steps (50%). Finish within what is left.",
        "Notice: this run has used 8 of 10 steps (80%). Finish within what is left.",
    ]


@pytest.mark.parametrize(
    ("limits", "measure"),
    [({"max_tokens": 400}, "tokens"), ({"max_cost_usd": 0.5}, "cost_usd"), ({"max_tool_calls": 4}, "tool_calls")],
)
def test_every_limit_gives_notice(opened: Any, limits: dict[str, Any], measure: str) -> None:
    run = opened(None, [spender(notice_at=(0.75,), **limits)]).start("a", "x")
    run.result(DEADLINE_S)
    assert noticed(run) == [(measure, 0.75)]
    assert ["(75%)" in one for one in told(run)] == [True]


def test_time_gives_notice_too(opened: Any) -> None:
    clock, gates = VirtualClock(), [AsyncGate() for _ in range(3)]
    run = opened(None, [held(gates, timeout_s=100.0)], clock=clock).start("a", "x", limits={"max_steps": 3})
    gates[0].wait_entered()
    clock.advance(85)
    for gate in gates:
        gate.open()
    run.result(DEADLINE_S)
    assert ("seconds", 0.8) in noticed(run)
    assert told(run)[0] == "Notice: this run has used 85 of 100 seconds (85%). Finish within what is left."


def test_an_agent_without_marks_is_told_nothing(opened: Any) -> None:
    run = opened(None, [spender(max_steps=5, notice_at=())]).start("a", "x")
    run.result(DEADLINE_S)
    assert noticed(run) == []
    assert told(run) == []


def test_a_notice_is_given_once_also_across_a_restart(opened: Any, tmp_path: Path) -> None:
    gates = [AsyncGate() for _ in range(10)]
    agent = held(gates, max_steps=10, notice_at=(0.5, 0.8))
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x")
    for gate in gates[:6]:
        gate.open()
    gates[6].wait_entered()
    assert noticed(run) == [("steps", 0.5)]
    runtime.close()
    for gate in gates[6:]:
        gate._opened = True  # its loop is gone
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert again.result(DEADLINE_S).stats.steps == 10
    assert noticed(again) == [("steps", 0.5), ("steps", 0.8)]
    assert len(told(again)) == 2


def test_a_notice_is_given_once_also_by_the_run_that_goes_on(opened: Any) -> None:
    runtime = opened(None, [spender(notice_at=(0.5, 0.8))])
    first = runtime.start("a", "x", limits={"max_steps": 6})
    first.result(DEADLINE_S)
    assert noticed(first) == [("steps", 0.5), ("steps", 0.8)]
    second = runtime.resume(first, limits={"max_steps": 10})
    assert second.result(DEADLINE_S).reason == "the ceiling of 10 steps is reached"
    assert noticed(second) == []
    assert told(second) == told(first)
    assert len(told(second)) == 2


# ------------------------------------------------------------------ going on after a limit


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("first_limits", "second_limits", "steps"),
    [
        ({"max_steps": 3}, {"max_steps": 8}, 5),
        ({"max_tool_calls": 3}, {"max_tool_calls": 5}, 2),
        ({"max_tokens": 300}, {"max_tokens": 1_000}, 7),
        ({"max_cost_usd": 0.5}, {"max_cost_usd": 0.75}, 2),
    ],
)
def test_a_run_goes_on_after_a_limit_and_what_it_spent_before_counts(
    opened: Any, tmp_path: Path, first_limits: dict[str, Any], second_limits: dict[str, Any], steps: int, stored: bool
) -> None:
    where = tmp_path / "runs.db" if stored else None
    runtime = opened(where, [spender()])
    first = runtime.start("a", "x", caller="alice", name="job", limits=first_limits)
    before = first.result(DEADLINE_S)
    if stored:  # by another host
        runtime.close()
        runtime = opened(where, [spender()])
    second = runtime.resume(first.id, limits=second_limits)
    result = second.result(DEADLINE_S)
    assert (result.status, result.stats.steps) == (before.status, steps)
    assert result.output == f"step {before.stats.steps + steps}"
    start: Any = facts(second)[0]
    assert (start.info.caller_id, start.info.name) == ("alice", "job")
    forked = next(fact for fact in facts(second) if isinstance(fact, RunForked))
    assert (forked.source, forked.totals.steps, forked.totals.tokens) == (
        first.id,
        before.stats.steps,
        100 * before.stats.steps,
    )
    assert len(answers(second)) == before.stats.steps + steps
    assert texts_heard_of(second)[0] == "x"
    assert verify_run(runtime.journal, second.id) == []
    assert runtime.run(first.id).result(DEADLINE_S) == before


def texts_heard_of(run: Run) -> list[str]:
    parts = [part for message in run.transcript() if message.role == "user" for part in message.parts]
    return [getattr(part, "text", "") for part in parts]


def test_without_a_higher_limit_it_ends_at_once_where_it_was(opened: Any) -> None:
    runtime = opened(None, [spender(max_steps=3)])
    first = runtime.start("a", "x")
    first.result(DEADLINE_S)
    again = runtime.resume(first).result(DEADLINE_S)
    assert (again.status, again.output, again.stats.steps) == ("error", "step 3", 0)


def test_a_limit_raised_in_flight_is_kept_by_the_run_that_goes_on(opened: Any) -> None:
    gates = [AsyncGate() for _ in range(8)]
    runtime = opened(None, [held(gates, max_steps=2)])
    first = runtime.start("a", "x")
    gates[0].wait_entered()
    first.raise_ceiling(1)
    for gate in gates:
        gate.open()
    assert first.result(DEADLINE_S).stats.steps == 3
    second = runtime.resume(first, limits={"max_tokens": 100_000})
    start: Any = facts(second)[0]
    assert start.limits == Limits(**{**_given(first), "max_steps": 3, "max_tokens": 100_000})
    assert second.result(DEADLINE_S).reason == "the ceiling of 3 steps is reached"


def _given(run: Run) -> dict[str, Any]:
    start: Any = facts(run)[0]
    return {name: getattr(start.limits, name) for name in start.limits.__struct_fields__}


def test_time_begins_anew_for_the_run_that_goes_on(opened: Any) -> None:
    clock, gates = VirtualClock(), [AsyncGate() for _ in range(3)]
    runtime = opened(None, [held(gates, timeout_s=60.0, max_steps=2)], clock=clock)
    first = runtime.start("a", "x")
    gates[0].wait_entered()
    clock.advance(61)
    assert first.result(DEADLINE_S).status == "timeout"
    gates[0].cancelled.clear()
    second = runtime.resume(first)
    gates[1].wait_entered()
    clock.advance(50)
    gates[1].open()
    assert second.result(DEADLINE_S).reason == "the ceiling of 2 steps is reached"


def test_a_tool_that_the_stop_interrupted_is_not_run_again(opened: Any) -> None:
    gate, runs = AsyncGate(), []

    @tool(effect="pure")
    async def act() -> str:
        runs.append(1)
        await gate.pass_through()
        return "acted"

    model = ScriptedModel(lambda r: [call("act")] if r.step == 1 else "went on")
    runtime = opened(None, [Agent("a", model=model, tools=[act])])
    first = runtime.start("a", "x")
    gate.wait_entered()
    first.kill("enough")
    second = runtime.resume(first)
    assert second.result(DEADLINE_S).output == "went on"
    (answer,) = answers(second)
    assert (len(runs), answer.is_error) == (1, True)
    assert "it was not run again" in answer.text
    assert not any(isinstance(fact, ToolOutcomeUnknown) for fact in facts(second))


@pytest.mark.parametrize("order", ["kill", "cancel"])
def test_a_run_that_was_stopped_goes_on_with_new_words(opened: Any, order: str) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        if request.step == 1:
            await gate.pass_through()
        return " ".join(texts_heard(request))

    runtime = opened(None, [Agent("a", model=ScriptedModel(answer))])
    first = runtime.start("a", "one")
    gate.wait_entered()
    getattr(first, order)()
    first.result(DEADLINE_S)
    assert runtime.resume(first, "two").result(DEADLINE_S).output == "one two"


def test_after_ok_it_goes_on_only_with_something_to_say(opened: Any) -> None:
    runtime = opened(None, [Agent("a", model=ScriptedModel(lambda r: " ".join(texts_heard(r))))])
    first = runtime.start("a", "one")
    first.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match='it ended with status "ok"; say something to go on from there'):
        runtime.resume(first)
    second = runtime.resume(first, "two")
    assert second.result(DEADLINE_S).output == "one two"
    third = runtime.resume(second, "three")
    assert third.result(DEADLINE_S).output == "one two three"
    assert len({first.id, second.id, third.id}) == 3


def test_what_cannot_go_on_is_refused_with_the_reason(opened: Any, tmp_path: Path) -> None:
    gate = AsyncGate()
    runtime = opened(tmp_path / "runs.db", [held([gate])])
    live = runtime.start("a", "x")
    gate.wait_entered()
    with pytest.raises(MessageRefused, match="it is not over"):
        runtime.resume(live)
    with pytest.raises(UnknownRun):
        runtime.resume("00000000-0000-7000-8000-000000000009")
    live.kill()
    live.result(DEADLINE_S)
    runtime.close()
    without = opened(tmp_path / "runs.db", [])
    with pytest.raises(UnknownAgent, match="no agent named 'a'"):
        without.resume(live.id)
    assert len(without.runs()) == 1


# ------------------------------------------------------------------ self_status


def test_a_run_can_ask_what_it_has_used_what_is_left_and_when_its_time_is_up(opened: Any) -> None:
    clock, gate = VirtualClock(), AsyncGate()

    async def answer(request: Any) -> Any:
        if request.step == 2:
            await gate.pass_through()
        return say("", call("self_status"), usage=SPENT)

    limits = {"max_steps": 3, "max_tokens": 1_000, "max_tool_calls": 10, "max_cost_usd": 2.0, "timeout_s": 100.0}
    agent = Agent("a", model=ScriptedModel(answer), tools=[self_status], **limits)  # type: ignore[arg-type]
    run = opened(None, [agent], clock=clock).start("a", "x")
    gate.wait_entered()
    clock.advance(40)
    run.raise_ceiling(500, "tokens")
    gate.open()
    run.result(DEADLINE_S)
    first, second, _ = (json.loads(one.text) for one in answers(run))
    assert (first["step"], first["tool_calls"], first["input_tokens"], first["output_tokens"]) == (1, 1, 90, 10)
    assert (first["cost_usd"], first["deadline_in_s"]) == (0.125, 100.0)
    assert (second["step"], second["worked_s"], second["deadline_in_s"]) == (2, 40.0, 60.0)
    assert {one["measure"]: (one["used"], one["left"]) for one in second["limits"]} == {
        "steps": (2, 1),
        "tool_calls": (2, 8),
        "tokens": (200, 1_300),
        "cost_usd": (0.25, 1.75),
        "seconds": (40.0, 60.0),
    }


def test_a_run_s_status_counts_what_its_children_and_its_source_spent(opened: Any) -> None:
    helper = Agent("helper", model=ScriptedModel([say("hi", usage=SPENT)]))

    def answer(request: Any) -> Any:
        one = call("agent__helper", prompt="x") if request.step == 1 else call("self_status")
        return say("", one, usage=SPENT)

    boss = Agent(
        "boss", model=ScriptedModel(answer), agents=["helper"], tools=[self_status], max_tokens=9_000, max_tool_calls=9
    )
    runtime = opened(None, [boss, helper])
    first = runtime.start("boss", "x", limits={"max_steps": 2})
    first.result(DEADLINE_S)
    second = runtime.resume(first, limits={"max_steps": 3})
    second.result(DEADLINE_S)
    used = []
    for run in (first, second):
        status = json.loads(answers(run)[-1].text)
        used.append({one["measure"]: one["used"] for one in status["limits"]})
    assert [(one["tokens"], one["tool_calls"], one["steps"]) for one in used] == [(300, 2, 2), (400, 3, 3)]
    assert tags(second)[1] == "run-forked"
