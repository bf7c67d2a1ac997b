"""Whatever a model does, the run ends with a status that says so; and how its limits end a run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, FunctionModel, Gate, ThreadModel, facts, said

from executus import Agent, Delta, ModelRefused, ModelUnavailable, Reply, ScriptedModel, Text, Usage, tool
from executus.adapters.models.scripted import attempts, call, say
from executus.events import RunFinished, StepFailed, Thinking, ToolCall
from executus.journal import verify_run
from executus.projections import Checkpoint, stats


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raising(error: BaseException) -> Any:
    def answer(request: Any) -> Any:
        raise error

    return answer


def run_with(opened: Any, model: Any, path: Path | None = None, **options: Any) -> Any:
    """A run of the model; then another of the same runtime, which must be well."""
    agent = Agent("a", model=model, max_attempts=1, **options)
    runtime = opened(path, [agent, Agent("other", model=ScriptedModel(["well"]))])
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    assert runtime.start("other", "x").result(DEADLINE_S).output == "well"
    assert verify_run(runtime.journal, run.id) == []
    assert_stats_equal_the_fold(run)
    return run


def assert_stats_equal_the_fold(run: Any) -> None:
    finished = facts(run)[-1]
    assert isinstance(finished, RunFinished)
    checkpoint: Checkpoint = run.checkpoint()
    state = checkpoint.state
    assert finished.stats == stats(state, finished.status, finished.stats.error, state.runtime_ms)
    assert run.result().stats == finished.stats


@pytest.mark.parametrize("kind", [FunctionModel, ThreadModel])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModelRefused("bad key"), "bad key"),
        (ModelUnavailable("busy"), "busy"),
        (ConnectionResetError("gone"), "ConnectionResetError: gone"),
        (TimeoutError("slow"), "TimeoutError: slow"),
        (ValueError("odd"), "ValueError: odd"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (asyncio.CancelledError(), "CancelledError: "),
        (StopIteration("x"), "StopIteration"),
        (Unspeakable(), "its str() failed with ValueError"),
    ],
)
def test_what_a_model_raises_ends_the_run_with_an_error_that_says_so(
    opened: Any, error: BaseException, says: str, kind: Any
) -> None:
    result = run_with(opened, kind(raising(error))).result()
    assert result.status == "error"
    assert says in result.error


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("text", "returned str; expected Reply"),
        (None, "returned NoneType; expected Reply"),
        (Reply(None), "malformed Reply"),  # type: ignore[arg-type]
        (Reply("abc"), "malformed Reply"),  # type: ignore[arg-type]
        (Reply((Text(5),)), "malformed Reply"),  # type: ignore[arg-type]
        (Reply((ToolCall("1", "t", {}),)), "malformed Reply"),  # type: ignore[arg-type]
        (Reply((Thinking("x", extra=["y"]),)), "extra: expected a dict or None"),  # type: ignore[arg-type]
        (Reply((Text("x"),), stop="end_turn"), "stop: expected one of stop, tool_calls"),  # type: ignore[arg-type]
        (Reply((Text("x"),), usage=None), "malformed Reply"),  # type: ignore[arg-type]
        (Reply((Text("x"),), usage=Usage(input=-1)), "usage: expected whole numbers of tokens"),
        (Reply((Text("x"),), usage=Usage(output=2**80)), "usage: expected whole numbers of tokens"),
        (Reply((Text("x"),), usage=Usage(thinking=2.5)), "usage: expected whole numbers"),  # type: ignore[arg-type]
        (Reply((Text("x"),), usage=Usage(cost_usd=float("nan"))), "cost_usd: expected dollars"),
        (Reply((Text("x"),), model=None), "malformed Reply"),  # type: ignore[arg-type]
    ],
)
def test_a_reply_that_could_not_be_read_again_is_refused_before_it_is_stored(
    opened: Any, reply: Any, says: str, tmp_path: Path
) -> None:
    run = run_with(opened, FunctionModel(lambda request: reply), tmp_path / "runs.db")
    assert run.status == "error"
    assert says in run.result().error


def test_an_empty_reply_ends_the_run_well(opened: Any) -> None:
    assert run_with(opened, FunctionModel(lambda request: Reply(()))).result().output == ""


def test_a_coroutine_that_exits_beside_a_reply_leaves_the_loop_alone(opened: Any) -> None:
    async def bomb() -> None:
        sys.exit(3)

    async def answer(request: Any) -> str:
        task = asyncio.create_task(bomb())
        await asyncio.wait({task})
        return f"survived {type(task.exception()).__name__}"

    assert run_with(opened, ScriptedModel(answer)).result().output == "survived SystemExit"


def test_a_refusal_of_the_provider_is_an_error_with_its_reason(opened: Any) -> None:
    result = run_with(opened, FunctionModel(lambda request: Reply((Text("no"),), stop="content_filter"))).result()
    assert (result.status, result.error, result.output) == ("error", "the model stopped with content_filter", "no")


# ------------------------------------------------------------------ retries and time


def test_a_model_that_stays_away_ends_the_run_after_its_attempts(opened: Any) -> None:
    model = FunctionModel(raising(ModelUnavailable("busy", 0.0)))
    run = opened(None, [Agent("a", model=model, max_attempts=3)]).start("a", "x")
    assert run.result(DEADLINE_S).error == "no answer in 3 attempts; the last one: busy"
    assert [fact.attempt for fact in facts(run) if isinstance(fact, StepFailed)] == [1, 2, 3]


def test_retries_are_facts_with_their_time_and_the_same_step_is_asked_again(opened: Any) -> None:
    answer = attempts(ModelUnavailable("busy", 0.01), ModelUnavailable("busier", retry_after_s=0.02), "done")
    run = opened(None, [Agent("a", model=ScriptedModel([answer]), max_attempts=3)]).start("a", "x")
    assert run.result(DEADLINE_S).output == "done"
    failed = [fact for fact in facts(run) if isinstance(fact, StepFailed)]
    assert [(fact.step, fact.attempt, fact.error, fact.kind) for fact in failed] == [
        (1, 1, "busy", "unavailable"),
        (1, 2, "busier", "unavailable"),
    ]
    assert all(fact.retry_at_ms is not None for fact in failed)
    assert_stats_equal_the_fold(run)


@pytest.mark.parametrize("nonsense", [float("inf"), float("nan"), -1, "soon", 1e300])
def test_a_retry_time_that_is_none_is_not_taken(opened: Any, nonsense: Any) -> None:
    model = ScriptedModel([attempts(ModelUnavailable("busy", nonsense), "done")])
    run = opened(None, [Agent("a", model=model, timeout_s=0.2)]).start("a", "x")
    assert run.result(DEADLINE_S).status == "timeout"
    failed = next(fact for fact in facts(run) if isinstance(fact, StepFailed))
    assert failed.retry_at_ms is not None
    assert 0 < failed.retry_at_ms <= 86_400_000 + 1_000


@pytest.mark.parametrize("thread", [False, True])
def test_a_model_that_hangs_is_given_up_after_its_time(opened: Any, thread: bool) -> None:
    gate, later = Gate(), AsyncGate()

    async def wait(request: Any) -> str:
        await later.pass_through()
        return "late"

    model = ThreadModel(lambda request: (gate.pass_through(), said("late"))[1]) if thread else ScriptedModel(wait)
    run = run_with(opened, model, model_timeout_s=0.05)
    gate.open()
    assert run.result().error == "no answer within 0.05 s"
    if not thread:
        assert later.cancelled.wait(DEADLINE_S)


def test_the_hard_deadline_ends_a_run_and_keeps_what_was_said(opened: Any) -> None:
    gate = AsyncGate()

    @tool
    async def hold() -> str:
        await gate.pass_through()
        return ""

    model = ScriptedModel([["So far.", call("hold")]])
    run = opened(None, [Agent("a", model=model, tools=[hold], timeout_s=0.1)]).start("a", "x")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.output) == ("timeout", "deadline", "So far.")
    assert gate.cancelled.wait(DEADLINE_S)
    assert_stats_equal_the_fold(run)


def test_the_ceiling_of_steps_ends_a_run(opened: Any) -> None:
    @tool
    def again() -> str:
        return "again"

    agent = Agent("a", model=ScriptedModel(lambda request: [call("again")]), tools=[again], max_steps=7)
    runtime = opened(None, [agent])
    results = [runtime.start("a", "x").result(DEADLINE_S), runtime.start("a", "x", max_steps=2).result(DEADLINE_S)]
    assert [(result.status, result.by, result.stats.steps) for result in results] == [
        ("error", "ceiling", 7),
        ("error", "ceiling", 2),
    ]


# ------------------------------------------------------------------ what is counted and shown


def test_tokens_of_every_kind_and_cost_are_summed_over_steps(opened: Any) -> None:
    @tool
    def act() -> str:
        return ""

    model = ScriptedModel(
        [
            say("a", call("act"), thinking="hm", usage=Usage(10, 5, 3, cost_usd=0.25)),
            say("b", call("act"), usage=Usage(20, 6, 4)),
            say("c", usage=Usage(30, 7, 0, cost_usd=0.5)),
        ]
    )
    run = opened(None, [Agent("a", model=model, tools=[act])]).start("a", "x")
    total = run.result(DEADLINE_S).stats
    assert (total.input_tokens, total.output_tokens, total.thinking_tokens, total.cost_usd) == (60, 18, 7, 0.75)
    assert (total.steps, total.tool_calls) == (3, 2)
    assert_stats_equal_the_fold(run)


def test_deltas_are_shown_while_the_reply_is_made_and_are_no_facts(opened: Any) -> None:
    shown: list[Delta] = []
    text = "A reply that is longer than one piece of a stream, so that there are several."
    runtime = opened(None, [Agent("a", model=ScriptedModel([say(text, thinking="Let me think.")]))])
    run = runtime.start("a", "x", on_delta=shown.append)
    assert run.result(DEADLINE_S).output == text
    assert "".join(delta.text for delta in shown if delta.kind == "text") == text
    assert "".join(delta.text for delta in shown if delta.kind == "thinking") == "Let me think."
    assert {(delta.step, delta.attempt) for delta in shown} == {(1, 1)}
    assert len(facts(run)) == 4


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_callback_that_raises_is_not_called_again_and_the_run_goes_on(opened: Any, error: BaseException) -> None:
    shown: list[Delta] = []

    def show(delta: Delta) -> None:
        shown.append(delta)
        raise error

    run = opened(None, [Agent("a", model=ScriptedModel(["word " * 20]))]).start("a", "x", on_delta=show)
    assert run.result(DEADLINE_S).status == "ok"
    assert len(shown) == 1
