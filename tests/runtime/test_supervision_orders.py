"""What a host may order a run under way to do, under its name: kill, cancel, extend, raise, steer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from family_support import look
from runtime_support import DEADLINE_S, AsyncGate, everywhere, facts, tags, texts_heard
from time_support import CANARY, let_pass

from executus import Agent, Run, ScriptedModel
from executus.adapters.models.scripted import call
from executus.errors import MessageRefused
from executus.events import (
    CallerSteered,
    CancelRequested,
    CeilingRaised,
    CriticKilled,
    DeadlineExtended,
    RunFinished,
)
from executus.journal import verify_run
from executus.testing import VirtualClock

LIMITS: dict[str, Any] = {"max_steps": 10, "max_tool_calls": 10, "max_tokens": 10_000, "max_cost_usd": 10.0}


class Held:
    """A run at its second step, which waits at a gate; then it says what it was told."""

    def __init__(self, opened: Any, where: Any = None, **options: Any) -> None:
        self.gate, self.clock = AsyncGate(), VirtualClock()

        async def answer(request: Any) -> Any:
            if request.step == 1:
                return ["Looking.", call("look", at=1)]
            if request.step == 2:
                await self.gate.pass_through()
            return " ".join(texts_heard(request))

        agent = Agent("a", model=ScriptedModel(answer), tools=[look], **options)
        self.runtime = opened(where, [agent, CANARY], clock=self.clock)
        self.run: Run = self.runtime.start("a", "Go.")
        self.gate.wait_entered()


def only(run: Run, kind: type[Any]) -> Any:
    """The one fact of its kind."""
    (fact,) = [fact for fact in facts(run) if isinstance(fact, kind)]
    return fact


# ------------------------------------------------------------------ kill and cancel


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("order", "status", "fact"),
    [
        ("kill", "killed", CriticKilled(reason="enough", by="alice")),
        ("cancel", "cancelled", CancelRequested(reason="enough", by="alice")),
    ],
)
def test_a_stop_is_a_fact_with_its_author_and_the_end_names_them(
    opened: Any, tmp_path: Path, order: str, status: str, fact: Any, kind: str, stored: bool
) -> None:
    held = Held(opened, tmp_path / "runs.db" if stored else None)
    if kind == "sync":
        getattr(held.run, order)("enough", by="alice")
    else:
        asyncio.run(getattr(held.run, f"{order}_async")("enough", by="alice"))
    result = held.run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason, result.output) == (status, "alice", "enough", "Looking.")
    assert only(held.run, type(fact)) == fact
    assert facts(held.run)[-2] == fact
    assert held.gate.cancelled.wait(DEADLINE_S)
    assert verify_run(held.runtime.journal, held.run.id) == []


@pytest.mark.parametrize(("order", "by"), [("kill", "host"), ("cancel", "caller")])
def test_a_stop_without_a_name_is_the_host_s_or_the_caller_s(opened: Any, order: str, by: str) -> None:
    held = Held(opened)
    getattr(held.run, order)()
    assert held.run.result(DEADLINE_S).by == by


@pytest.mark.parametrize("order", ["kill", "cancel"])
def test_stopping_what_is_over_changes_nothing(opened: Any, order: str) -> None:
    held = Held(opened)
    held.gate.open()
    before = held.run.result(DEADLINE_S)
    getattr(held.run, order)("too late")
    asyncio.run(getattr(held.run, f"{order}_async")("too late"))
    assert held.run.result(DEADLINE_S) == before
    assert before.status == "ok"


def test_of_many_stops_and_the_end_itself_one_is_the_end(opened: Any) -> None:
    for turn in range(12):
        held = Held(opened)
        orders: list[Callable[[], Any]] = [held.gate.open, held.run.kill, held.run.cancel, lambda: held.run.kill("x")]  # noqa: B023
        orders = orders[turn % 4 :] + orders[: turn % 4]
        assert everywhere(4, lambda number: orders[number]()) == [None] * 4  # noqa: B023
        status = held.run.result(DEADLINE_S).status
        stops = [fact for fact in facts(held.run) if isinstance(fact, (CriticKilled, CancelRequested))]
        assert only(held.run, RunFinished).status == status
        assert len(stops) == (status != "ok")
        assert status == {CriticKilled: "killed", CancelRequested: "cancelled"}.get(
            type(stops[0]) if stops else None, "ok"
        )
        held.runtime.close()


# ------------------------------------------------------------------ more time


def test_more_time_is_a_fact_with_its_author_and_moves_the_deadline(opened: Any) -> None:
    held = Held(opened, timeout_s=100.0)
    held.run.extend(50, by="alice", reason="nearly there")
    asyncio.run(held.run.extend_async(10.5, by="bob"))
    said = [fact for fact in facts(held.run) if isinstance(fact, DeadlineExtended)]
    assert said == [
        DeadlineExtended(until_ms=150_000, by="alice", reason="nearly there"),
        DeadlineExtended(until_ms=160_500, by="bob"),
    ]
    let_pass(held.runtime, held.clock, 155)
    assert held.run.status == "running"
    let_pass(held.runtime, held.clock, 6)
    result = held.run.result(DEADLINE_S)
    assert (result.status, result.reason) == ("timeout", "the deadline of 160.5 s is over")


def test_the_host_is_not_bound_by_what_a_critic_may_do(opened: Any) -> None:
    held = Held(opened, timeout_s=100.0, max_steps=10, extend_to_s=110.0, raise_steps_to=11)
    held.run.extend(1_000)
    held.run.raise_ceiling(1_000)
    state = held.run.state()
    assert (state.governed.deadline_ms, state.limits.max_steps) == (1_100_000, 1_010)


def test_a_run_without_a_deadline_has_none_to_extend(opened: Any) -> None:
    held = Held(opened, timeout_s=None)
    with pytest.raises(MessageRefused, match="it has no deadline to extend"):
        held.run.extend(10)
    assert held.run.status == "running"


# ------------------------------------------------------------------ more of something


@pytest.mark.parametrize(
    ("measure", "more", "fact"),
    [
        ("steps", 5, CeilingRaised(limit="steps", old=10, new=15, by="alice", reason="why not")),
        ("tool_calls", 5, CeilingRaised(limit="tool_calls", old=10, new=15, by="alice", reason="why not")),
        ("tokens", 500, CeilingRaised(limit="tokens", old=10_000, new=10_500, by="alice", reason="why not")),
        ("cost_usd", 0.5, CeilingRaised(limit="cost_usd", old=10.0, new=10.5, by="alice", reason="why not")),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_raised_limit_is_a_fact_with_its_author(opened: Any, measure: Any, more: Any, fact: Any, kind: str) -> None:
    held = Held(opened, **LIMITS)
    if kind == "sync":
        held.run.raise_ceiling(more, measure, by="alice", reason="why not")
    else:
        asyncio.run(held.run.raise_ceiling_async(more, measure, by="alice", reason="why not"))
    assert only(held.run, CeilingRaised) == fact
    label = {"steps": "max_steps"}.get(measure, f"max_{measure}")
    assert getattr(held.run.state().limits, label) == fact.new


def test_raising_from_many_threads_adds_up(opened: Any) -> None:
    held = Held(opened, max_steps=10)
    assert everywhere(8, lambda number: held.run.raise_ceiling(number + 1, by=f"{number}")) == [None] * 8
    assert held.run.state().limits.max_steps == 10 + sum(range(1, 9))


@pytest.mark.parametrize("measure", ["tool_calls", "tokens", "cost_usd"])
def test_what_has_no_limit_cannot_be_raised(opened: Any, measure: Any) -> None:
    held = Held(opened)
    with pytest.raises(MessageRefused, match=f"it has no limit of {measure} to raise"):
        held.run.raise_ceiling(1, measure)
    assert held.run.status == "running"


# ------------------------------------------------------------------ advice


def test_advice_is_a_fact_with_its_author_and_is_read_at_the_next_step(opened: Any) -> None:
    held = Held(opened)
    held.run.steer("Slower.", by="alice")
    assert only(held.run, CallerSteered) == CallerSteered(text="Slower.", by="alice")
    held.gate.open()
    assert (held.run.result(DEADLINE_S).output, held.run.result().stats.steps) == ("Go. Slower.", 3)


# ------------------------------------------------------------------ what is refused

ORDERS: list[tuple[str, Callable[[Run], Any]]] = [
    ("SteerRun", lambda run: run.steer("x")),
    ("ExtendRun", lambda run: run.extend(1)),
    ("RaiseCeiling", lambda run: run.raise_ceiling(1)),
    ("ApproveCall", lambda run: run.approve("1.0")),
    ("DenyCall", lambda run: run.deny("1.0")),
    ("SteerRun", lambda run: asyncio.run(run.steer_async("x"))),
    ("ExtendRun", lambda run: asyncio.run(run.extend_async(1))),
    ("RaiseCeiling", lambda run: asyncio.run(run.raise_ceiling_async(1))),
]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("message", "order"), ORDERS)
def test_an_order_to_a_run_that_is_over_is_refused_in_a_sentence(
    opened: Any, tmp_path: Path, message: str, order: Callable[[Run], Any], stored: bool
) -> None:
    held = Held(opened, tmp_path / "runs.db" if stored else None, **LIMITS)
    held.run.kill()
    held.run.result(DEADLINE_S)
    before = tags(held.run)
    with pytest.raises(MessageRefused) as refused:
        order(held.run)
    assert str(refused.value) == f"run {held.run.id} refused {message}: it is over, with status killed"
    assert tags(held.run) == before


@pytest.mark.parametrize(
    ("order", "error", "says"),
    [
        (lambda run: run.extend(0), ValueError, "extend: expected seconds > 0, got 0"),
        (lambda run: run.extend(float("nan")), ValueError, "extend: expected seconds > 0, got nan"),
        (lambda run: run.extend("1"), ValueError, "extend: expected seconds > 0, got '1'"),
        (lambda run: run.extend(True), ValueError, "extend: expected seconds > 0, got True"),
        (lambda run: run.extend(1, by=5), TypeError, "extend, by: expected a string, got 5"),
        (lambda run: run.raise_ceiling(0), ValueError, "raise_ceiling: expected a whole number > 0, got 0"),
        (lambda run: run.raise_ceiling(1.5), ValueError, "raise_ceiling: expected a whole number > 0, got 1.5"),
        (lambda run: run.raise_ceiling(-1, "cost_usd"), ValueError, "raise_ceiling: expected dollars > 0, got -1"),
        (lambda run: run.raise_ceiling(1, "seconds"), ValueError, "raise_ceiling, limit: expected one of steps, tool_"),
        (lambda run: run.raise_ceiling(1, reason=None), TypeError, "raise_ceiling, reason: expected a string"),
        (lambda run: run.kill(5), TypeError, "kill, reason: expected a string, got 5"),
        (lambda run: run.kill(by=5), TypeError, "kill, by: expected a string, got 5"),
    ],
)
def test_a_wrong_argument_is_told_and_leaves_the_run_alone(opened: Any, order: Any, error: Any, says: str) -> None:
    held = Held(opened, **LIMITS)
    before = tags(held.run)
    with pytest.raises(error, match=says):
        order(held.run)
    assert (tags(held.run), held.run.status) == (before, "running")
