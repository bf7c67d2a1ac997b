"""Whatever a tool does, the model is told and the run goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import sys
from pathlib import Path
from typing import Any

import pytest
from process_tools import hang
from runtime_support import DEADLINE_S, AsyncGate, Gate, facts, tags, wait_for

from executus import Agent, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.events import ToolCall, ToolFinished, ToolOutcomeUnknown, ToolRefused
from executus.journal import verify_run
from executus.ports import ToolSpec


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class OddTool:
    """A tool that somebody wrote by hand; `does` is what calling it does."""

    effect = "pure"
    timeout_s = None

    def __init__(self, does: Any = lambda: "fine", *, mode: str = "thread", checks: Any = lambda: None) -> None:
        self.spec = ToolSpec("odd", "", {"type": "object"})
        self.mode = mode
        self._does, self._checks = does, checks

    def check(self, arguments: str) -> Any:
        return self._checks()

    def call(self, arguments: str, context: ToolContext) -> Any:
        return self._does()


def raising(error: BaseException) -> Any:
    def does() -> Any:
        raise error

    return does


async def failing_later() -> str:
    await asyncio.sleep(0)
    raise KeyboardInterrupt


async def leaving_a_bomb() -> str:
    async def bomb() -> None:
        sys.exit(3)

    await asyncio.gather(asyncio.create_task(bomb()), return_exceptions=True)
    return "bombed"


def run_with(opened: Any, odd: Any, asks: Any = None, path: Path | None = None, **options: Any) -> Any:
    """One step that calls the tool, a second that ends; then another run of the same runtime, which must be well."""
    name = odd.spec.name
    agent = Agent("a", model=ScriptedModel([asks or [call(name)], "done"]), tools=[odd])
    runtime = opened(path, [agent, Agent("other", model=ScriptedModel(["well"]))])
    run = runtime.start("a", "x", **options)
    run.result(DEADLINE_S)
    assert runtime.start("other", "x").result(DEADLINE_S).output == "well"
    assert verify_run(runtime.journal, run.id) == []
    return run


@pytest.mark.parametrize("mode", ["thread", "async"])
@pytest.mark.parametrize(
    ("does", "told"),
    [
        (raising(RuntimeError("broken")), "RuntimeError: broken"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt: "),
        (raising(GeneratorExit()), "GeneratorExit: "),
        (raising(asyncio.CancelledError()), "CancelledError: "),
        (raising(StopIteration("x")), "StopIteration: x"),
        (raising(RecursionError("deep")), "RecursionError: deep"),
        (raising(Unspeakable()), "Unspeakable: (its str() failed with ValueError)"),
        (lambda: Unspeakable(), "(its str() failed with ValueError)"),
        (lambda: 5, "5"),
        (lambda: None, "None"),
        (lambda: "\ud800\x00", "\ufffd\u2400"),
    ],
)
def test_what_a_tool_raises_or_returns_is_told_to_the_model(opened: Any, does: Any, told: str, mode: str) -> None:
    run = run_with(opened, OddTool(does, mode=mode))
    assert run.result().status == "ok"
    finished = next(fact for fact in facts(run) if isinstance(fact, ToolFinished))
    assert finished.result == told


@pytest.mark.parametrize(
    ("does", "told"),
    [(failing_later, "KeyboardInterrupt: "), (leaving_a_bomb, "bombed")],
)
def test_a_coroutine_that_tries_to_end_the_process_ends_only_its_call(opened: Any, does: Any, told: str) -> None:
    run = run_with(opened, OddTool(does, mode="async"))
    assert next(fact for fact in facts(run) if isinstance(fact, ToolFinished)).result == told


def test_a_coroutine_returned_from_a_thread_is_an_error_that_says_so(opened: Any) -> None:
    async def late() -> str:
        return "x"

    finished = next(fact for fact in facts(run_with(opened, OddTool(late))) if isinstance(fact, ToolFinished))
    assert finished.is_error
    assert "returned an awaitable from a thread; declare it async" in finished.result


@pytest.mark.parametrize(
    "checks", [raising(ValueError("no")), raising(SystemExit(1)), raising(Unspeakable()), lambda: 5]
)
def test_a_check_that_fails_is_told_to_the_model_and_the_tool_is_not_started(opened: Any, checks: Any) -> None:
    run = run_with(opened, OddTool(checks=checks))
    assert run.result().status == "ok"
    assert "tool-refused" in tags(run)
    assert "tool-started" not in tags(run)


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ([ToolCall("1", "add", "{")], "the arguments of add do not fit: Input data was truncated"),
        ([ToolCall("1", "add", '{"a": 1, "b": "x"}')], "Expected `int`, got `str` - at `$.b`"),
        ([ToolCall("1", "add", '{"a": 1}')], "missing required field `b`"),
        ([ToolCall("1", "add", "[1, 2]")], "expected a JSON object of {a, b}"),
        ([ToolCall("1", "subtract", "{}")], "there is no tool named 'subtract'; the tools are: add"),
        ([ToolCall("1", "\ud800", "\x00")], "there is no tool named '\ufffd'"),
    ],
)
def test_a_call_that_does_not_fit_is_answered_to_the_model_and_never_started(opened: Any, asks: Any, told: str) -> None:
    @tool(effect="pure")
    def add(a: int, b: int) -> int:
        raise AssertionError("must not run")

    run = run_with(opened, add, asks)
    refused = next(fact for fact in facts(run) if isinstance(fact, ToolRefused))
    assert told in refused.reason
    assert run.result().status == "ok"
    assert run.transcript()[-2].parts[0].is_error


def test_a_dry_run_executes_no_tool_and_says_so(opened: Any) -> None:
    run = run_with(opened, OddTool(raising(AssertionError("must not run"))), dry_run=True)
    assert run.result().status == "dry_run"
    assert next(fact for fact in facts(run) if isinstance(fact, ToolRefused)).reason.startswith("dry run")


def test_calls_of_one_reply_run_at_the_same_time_and_are_answered_in_order(opened: Any) -> None:
    slow, quick = AsyncGate(), Gate()

    @tool
    async def first() -> str:
        await slow.pass_through()
        return "1"

    @tool
    def second() -> str:
        quick.entered.set()
        return "2"

    agent = Agent("a", model=ScriptedModel([[call("first"), call("second")], "done"]), tools=[first, second])
    run = opened(None, [agent]).start("a", "x")
    slow.wait_entered()
    quick.wait_entered()
    wait_for(run, "tool-finished")
    slow.open()
    assert run.result(DEADLINE_S).stats.tool_calls == 2
    answers = [message.parts[0].text for message in run.transcript() if message.role == "tool"]
    assert answers == ["1", "2"]


def test_a_tool_is_given_its_run_its_caller_and_a_key_of_its_own(opened: Any) -> None:
    seen: list[ToolContext] = []

    @tool
    def look(context: ToolContext) -> str:
        seen.append(context)
        return "ok"

    run = run_with(opened, look, [call("look"), call("look")], caller="alice")
    assert {context.key for context in seen} == {f"{run.id}:1.0", f"{run.id}:1.1"}
    assert {(context.run_id, context.caller_id) for context in seen} == {(run.id, "alice")}


@pytest.mark.parametrize(("effect", "fact"), [("pure", ToolFinished), ("never_retry", ToolOutcomeUnknown)])
@pytest.mark.parametrize("mode", ["thread", "async"])
def test_a_tool_beyond_its_time_is_given_up_and_the_run_goes_on(
    opened: Any, effect: Any, fact: type, mode: str
) -> None:
    gate, later = Gate(), AsyncGate()
    if mode == "thread":

        @tool(effect=effect, timeout_s=0.05)
        def hang() -> str:
            gate.pass_through()
            return "late"
    else:

        @tool(effect=effect, timeout_s=0.05)
        async def hang() -> str:  # type: ignore[misc]
            await later.pass_through()
            return "late"

    run = run_with(opened, hang)
    gate.open()
    outcome = next(one for one in facts(run) if isinstance(one, (ToolFinished, ToolOutcomeUnknown)))
    assert isinstance(outcome, fact)
    assert "no result within 0.05 s" in getattr(outcome, "result", "") + getattr(outcome, "reason", "")
    assert run.result().output == "done"
    if mode == "async":
        assert later.cancelled.wait(DEADLINE_S)


def test_a_result_of_five_megabytes_keeps_its_head_and_tail(opened: Any, tmp_path: Path) -> None:
    big = "a" * 2_500_000 + "é" * 2_500_000
    run = run_with(opened, OddTool(lambda: big), path=tmp_path / "runs.db")
    kept = next(fact for fact in facts(run) if isinstance(fact, ToolFinished)).result
    assert kept.startswith("aaa")
    assert kept.endswith("ééé")
    assert f"characters left out; sha256 of the whole: {hashlib.sha256(big.encode()).hexdigest()}" in kept
    assert len(kept) < 1_100_000


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes with pidfd_open")
def test_a_tool_in_its_own_process_is_killed_with_its_run_and_all_it_started(opened: Any, tmp_path: Path) -> None:
    where = tmp_path / "pids"
    os.mkfifo(where)
    agent = Agent("a", model=ScriptedModel([[call("hang", where=str(where))], "done"]), tools=[hang])
    run = opened(None, [agent]).start("a", "x")
    watched = [os.pidfd_open(int(pid)) for pid in where.read_text().split()]
    assert len(watched) == 2
    run.cancel()
    assert run.result(DEADLINE_S).status == "cancelled"
    for one in watched:
        assert select.select([one], [], [], DEADLINE_S)[0], "it still runs"
        os.close(one)
