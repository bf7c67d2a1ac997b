"""How runs are started, found and refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, FunctionModel, Gate, ThreadModel, all_ok, everywhere, facts, said

from executus import Agent, Image, Runtime, ScriptedModel, Text, tool
from executus.errors import JournalInUse, MessageRefused, Overloaded, RuntimeClosed, UnknownAgent, UnknownRun
from executus.events import RunStarted
from executus.journal import verify_run

HELLO = Agent("hello", model=ScriptedModel(["Hello."]))


def test_a_run_started_from_plain_code_returns_its_result(opened: Any) -> None:
    result = opened(None, [HELLO]).start("hello", "Hi").result(DEADLINE_S)
    assert (result.status, result.output, result.by, result.error) == ("ok", "Hello.", "model", "")


def test_a_run_started_from_a_coroutine_returns_its_result() -> None:
    async def host() -> str:
        async with Runtime(None, [HELLO]) as runtime:
            run = await runtime.start_async("hello", "Hi")
            return (await run.result_async(DEADLINE_S)).output + (await run).output

    assert asyncio.run(host()) == "Hello.Hello."


def test_start_returns_when_the_run_is_stored(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO])
    run = runtime.start(
        "hello", "Hi", caller="alice", name="greeting", subject="s", channel="c", guild="g", inputs={"n": 1}
    )
    started = runtime.journal.read(run.id, limit=1)[0].fact
    assert isinstance(started, RunStarted)
    info = started.info
    assert (info.caller_id, info.name, info.subject_id, info.channel_id, info.guild_id) == (
        "alice",
        "greeting",
        "s",
        "c",
        "g",
    )
    assert (info.inputs, info.max_iterations, info.run_id) == ({"n": 1}, 50, run.id)


def test_many_threads_and_coroutines_start_runs_in_one_runtime(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO])

    def host(number: int) -> list[Any]:
        if number % 2:
            return [runtime.start("hello", f"{number}.{turn}") for turn in range(15)]

        async def start() -> list[Any]:
            return await asyncio.gather(*(runtime.start_async("hello", f"{number}.{turn}") for turn in range(15)))

        return asyncio.run(start())

    runs = [run for some in everywhere(10, host) for run in some]
    assert len({run.id for run in runs}) == 150
    assert all_ok(runs)
    assert all(verify_run(runtime.journal, run.id) == [] for run in runs)


def test_several_runtimes_live_in_one_process(opened: Any, tmp_path: Path) -> None:
    runtimes = [opened(tmp_path / f"{number}.db", [HELLO]) for number in range(3)] + [opened(None, [HELLO])]
    runs = [runtime.start("hello", "Hi") for runtime in runtimes]
    assert all_ok(runs)
    with pytest.raises(UnknownRun):
        runtimes[0].run(runs[1].id)


def test_a_journal_has_one_runtime_at_a_time(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO])
    with pytest.raises(JournalInUse):
        Runtime(tmp_path / "runs.db")
    runtime.close()
    opened(tmp_path / "runs.db", [HELLO])


def test_leaving_the_context_closes_the_runtime() -> None:
    with Runtime(None, [HELLO]) as runtime:
        run = runtime.start("hello", "Hi")
        run.result(DEADLINE_S)
    for call in (lambda: runtime.start("hello", "Hi"), runtime.runs, lambda: run.status, run.result, run.transcript):
        with pytest.raises(RuntimeClosed):
            call()


# ------------------------------------------------------------------ request ids


def test_the_same_request_is_the_same_run_from_twenty_threads_at_once(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO])
    runs = everywhere(20, lambda number: runtime.start("hello", f"Hi {number}", caller="alice", request_id="r"))
    assert len({run.id for run in runs}) == 1
    assert all_ok(runs)
    assert len(runtime.runs()) == 1


def test_the_same_request_is_the_same_run_after_it_ended_and_after_reopening(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO])
    run = runtime.start("hello", "Hi", request_id="r")
    run.result(DEADLINE_S)
    assert runtime.start("hello", "Hi", request_id="r").id == run.id
    runtime.close()
    again = opened(tmp_path / "runs.db", [HELLO])
    assert again.start("hello", "Hi", request_id="r").id == run.id

    async def later() -> str:
        return (await again.start_async("hello", "Hi", request_id="r")).id

    assert asyncio.run(later()) == run.id


def test_request_ids_are_a_callers_own(opened: Any) -> None:
    runtime = opened(None, [HELLO])
    assert (
        runtime.start("hello", "Hi", caller="a", request_id="r").id
        != runtime.start("hello", "Hi", caller="b", request_id="r").id
    )


# ------------------------------------------------------------------ limits of a runtime


def test_a_full_runtime_says_so_and_takes_runs_again_when_some_have_ended(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "done"

    runtime = opened(None, [Agent("slow", model=ScriptedModel(answer)), HELLO], max_live_runs=2)
    first = runtime.start("slow", "x", request_id="r")
    second = runtime.start("slow", "x")
    with pytest.raises(Overloaded, match=r"live runs: the limit of 2 .*max_live_runs"):
        runtime.start("hello", "Hi")
    assert runtime.start("slow", "x", request_id="r").id == first.id, "a repeated request needs no room"
    first.cancel()
    second.cancel()
    with runtime.events() as events:
        while runtime.live_runs:
            events.poll()
    assert runtime.start("hello", "Hi").result(DEADLINE_S).status == "ok"


def test_threads_that_start_at_once_cannot_exceed_the_limit(opened: Any) -> None:
    gate = Gate()
    model = ThreadModel(lambda request: (gate.pass_through(), said("x"))[1])
    runtime = opened(None, [Agent("slow", model=model)], max_live_runs=5)
    outcomes = everywhere(20, lambda number: runtime.start("slow", "x"))
    gate.open()
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 15


# ------------------------------------------------------------------ what is refused


def starting(**wrong: Any) -> Callable[[Runtime], Any]:
    options: dict[str, Any] = {"agent": "hello", "input": "Hi"} | wrong
    return lambda runtime: runtime.start(**options)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (starting(agent="nobody"), UnknownAgent, "no agent named 'nobody'; this runtime has: hello"),
        (starting(agent=["hello"]), TypeError, "start, agent: expected the name of an agent"),
        (starting(input=5), TypeError, "start, input: expected a string or a sequence of Text and Image, got 5"),
        (starting(input=b"Hi"), TypeError, "start, input: expected a string"),
        (starting(input=[5]), TypeError, "start, input: expected str, Text or Image parts, got 5"),
        (starting(input=[Image("image/png")]), ValueError, "an Image with either data or url"),
        (starting(input=[Image("image/png", b"x", "u")]), ValueError, "an Image with either data or url"),
        (starting(caller=5), TypeError, "start, caller: expected a string, got 5"),
        (starting(caller="a\nb"), ValueError, "start, caller: expected one line"),
        (starting(request_id=None), TypeError, "start, request_id: expected a string, got None"),
        (starting(inputs="abc"), TypeError, "start, inputs: expected a mapping, got 'abc'"),
        (starting(interactive="yes"), TypeError, "start, interactive: expected True or False, got 'yes'"),
        (starting(dry_run=1), TypeError, "start, dry_run: expected True or False, got 1"),
        (starting(max_steps=0), ValueError, "start, max_steps: expected a whole number ≥ 1, got 0"),
        (starting(max_steps=10**30), ValueError, "start, max_steps: expected a whole number ≥ 1"),
        (starting(timeout_s=0), ValueError, "start, timeout_s: expected seconds > 0 or None, got 0"),
        (starting(timeout_s=float("nan")), ValueError, "start, timeout_s: expected seconds > 0 or None"),
        (starting(on_delta=5), TypeError, "start, on_delta: expected a function of a Delta, got 5"),
        (lambda runtime: runtime.run("nothing"), UnknownRun, "no run 'nothing' in this journal"),
        (lambda runtime: runtime.close(-1), ValueError, "close, timeout: expected seconds ≥ 0, got -1"),
        (lambda runtime: runtime.close(None), ValueError, "close, timeout: expected seconds ≥ 0, got None"),
        (lambda runtime: Runtime(None, ["hello"]), TypeError, "Runtime, agents: expected Agent objects, got 'hello'"),
        (lambda runtime: Runtime(None, [HELLO, HELLO]), ValueError, "two agents are named 'hello'"),
        (lambda runtime: Runtime(None, models={"m": 5}), TypeError, r"Runtime, models\['m'\]: expected a Model"),
        (lambda runtime: Runtime(None, max_live_runs=0), ValueError, "max_live_runs: expected a whole number ≥ 1"),
        (lambda runtime: Agent("x", model=5), TypeError, "expected 'provider:name' or a Model, got 5"),
        (lambda runtime: Agent("x", model="m", instructions=5), TypeError, "instructions: expected a string, got 5"),
        (lambda runtime: Agent("\ud800", model="m"), ValueError, "text without lone surrogates"),
        (lambda runtime: Agent("x", model="m", tools=[print]), TypeError, "expected @tool functions or Tool objects"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_was_expected(
    opened: Any, call: Callable[[Any], Any], error: type[Exception], says: str
) -> None:
    runtime = opened(None, [HELLO])
    with pytest.raises(error, match=says):
        call(runtime)
    assert runtime.start("hello", "Hi").result(DEADLINE_S).status == "ok"


def test_a_tool_of_an_unknown_effect_class_is_refused_before_it_reaches_a_log() -> None:
    @tool
    def act() -> str:
        return ""

    act.effect = "safe"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="expected effect pure"):
        Agent("x", model="m", tools=[act])


def test_a_runtime_that_refuses_its_arguments_leaves_the_journal_free(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tool_threads: expected a whole number ≥ 1, got 0"):
        Runtime(tmp_path / "runs.db", tool_threads=0)
    opened(tmp_path / "runs.db", [HELLO])


def test_a_limit_without_end_is_no_limit(opened: Any) -> None:
    run = opened(None, [HELLO]).start("hello", "Hi", timeout_s=float("inf"))
    assert run.result(DEADLINE_S).status == "ok"
    assert run.state().limits.timeout_s is None


def test_an_order_to_a_run_that_is_over_is_refused_with_its_status(opened: Any) -> None:
    run = opened(None, [HELLO]).start("hello", "Hi")
    run.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match=f"run {run.id} refused SteerRun: it is over, with status ok"):
        run.steer("too late")
    run.cancel("too late")
    assert run.status == "ok"


# ------------------------------------------------------------------ what goes in


def test_images_reach_the_model_and_the_log(opened: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    model = FunctionModel(lambda request: (seen.extend(request.messages[0].parts), said("I see."))[1])
    runtime = opened(tmp_path / "runs.db", [Agent("eyes", model=model)])
    parts = (
        Text("Look:"),
        Image("image/png", data=b"\x89PNG" + bytes(100_000)),
        Image("image/png", url="https://e.org/x"),
    )
    run = runtime.start("eyes", parts)
    assert run.result(DEADLINE_S).status == "ok"
    assert tuple(seen) == parts
    assert run.transcript()[0].parts == parts


def test_text_that_no_encoding_takes_is_replaced_before_it_is_stored(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [Agent("echo", model=ScriptedModel(["a\udfffb\x00c"]))])
    parts = ["\ud800\x00", Image("image/\ud800", url="https://\x00")]
    run = runtime.start("echo", parts, caller="\ud800", request_id="\x00", inputs={"\ud800": "\x00"})
    assert run.result(DEADLINE_S).output == "a\ufffdb\u2400c"
    assert verify_run(runtime.journal, run.id) == []
    assert len(facts(run)) == 4


def test_started_at_once_or_one_by_one_a_thread_sees_its_own_runs_in_order(opened: Any) -> None:
    runtime = opened(None, [HELLO])
    ids = [runtime.start("hello", str(number)).id for number in range(20)]
    assert [row.run_id for row in runtime.runs()] == ids == sorted(ids)
    assert threading.active_count() < 100
