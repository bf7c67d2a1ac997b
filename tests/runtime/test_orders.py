"""What people may ask of a run while it lives: advice, answers, an end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, Gate, everywhere, facts, tags, texts_heard, wait_for

from executus import Agent, Image, ScriptedModel, Text, tool
from executus.adapters.models.scripted import call
from executus.errors import MessageRefused, RuntimeClosed
from executus.events import CallerSteered, CancelRequested, ErrorLogged, InputReceived, NoteLogged, RunFinished
from executus.journal import verify_run


def talker() -> Agent:
    """Says again what it heard last."""
    return Agent("talker", model=ScriptedModel(lambda request: f"You said {texts_heard(request)[-1]}."))


def holding(gate: Any, *, thread: bool) -> Agent:
    """Calls a tool that waits at a gate, then says what it heard."""
    if thread:

        @tool
        def hold() -> str:
            gate.pass_through()
            return "held"
    else:

        @tool
        async def hold() -> str:  # type: ignore[misc]
            await gate.pass_through()
            return "held"

    def answer(request: Any) -> Any:
        return [call("hold")] if request.step == 1 else " ".join(texts_heard(request))

    return Agent("holding", model=ScriptedModel(answer), tools=[hold])


def test_advice_is_read_at_the_next_step_and_is_stored_when_steer_returns(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [holding(gate, thread=False)]).start("holding", "Begin.")
    gate.wait_entered()
    run.steer("Faster.", by="alice")
    assert [fact for fact in facts(run) if isinstance(fact, CallerSteered)] == [
        CallerSteered(text="Faster.", by="alice")
    ]
    asyncio.run(run.steer_async("And louder."))
    gate.open()
    assert run.result(DEADLINE_S).output == "Begin. Faster. And louder."


def test_advice_given_while_the_last_words_are_spoken_is_still_read(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return " ".join(texts_heard(request))

    run = opened(None, [Agent("a", model=ScriptedModel(answer))]).start("a", "Begin.")
    gate.wait_entered()
    run.steer("Wait.")
    gate.open()
    result = run.result(DEADLINE_S)
    assert (result.output, result.stats.steps) == ("Begin. Wait.", 2)


# ------------------------------------------------------------------ interactive runs


def test_an_interactive_run_waits_answers_and_ends_when_told(opened: Any, tmp_path: Path) -> None:
    run = opened(tmp_path / "runs.db", [talker()]).start("talker", "one", interactive=True)
    wait_for(run, "input-awaited")
    assert run.status == "waiting"
    run.send(["two", Image("image/png", b"x")], by="bob")
    wait_for(run, "input-awaited", 2)
    asyncio.run(run.send_async("three"))
    wait_for(run, "input-awaited", 3)
    run.end("bye", by="bob")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.output, result.stats.steps) == ("ok", "bob", "You said three.", 3)
    assert run.transcript()[-1].parts == (Text("bye"),)
    assert verify_run(run._runtime.journal, run.id) == []


def test_a_message_sent_to_a_busy_interactive_run_waits_for_the_next_step(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [holding(gate, thread=False)]).start("holding", "one", interactive=True)
    gate.wait_entered()
    run.send("two")
    with pytest.raises(MessageRefused, match="busy answering; wait until it is waiting"):
        run.end()
    gate.open()
    wait_for(run, "input-awaited")
    assert run.state().output == "one two"


def test_waiting_for_a_person_does_not_count_towards_the_deadline(opened: Any) -> None:
    runtime = opened(None, [talker(), Agent("watch", model=ScriptedModel(slow_reply), timeout_s=0.05)])
    waits = runtime.start("talker", "one", interactive=True, timeout_s=2.0)
    wait_for(waits, "input-awaited")
    late = runtime.start("watch", "x")
    assert late.result(DEADLINE_S).status == "timeout"
    assert waits.status == "waiting"
    waits.send("two")
    wait_for(waits, "input-awaited", 2)
    received = next(fact for fact in facts(waits) if isinstance(fact, InputReceived))
    assert received.waited_ms > 0
    assert waits.state().waited_ms == received.waited_ms


async def slow_reply(request: Any) -> str:
    await asyncio.sleep(DEADLINE_S)
    return "too late"


def test_orders_that_do_not_fit_are_refused_with_what_would(opened: Any) -> None:
    gate = AsyncGate()
    runtime = opened(None, [talker(), holding(gate, thread=False)])
    waiting = runtime.start("talker", "one", interactive=True)
    busy = runtime.start("holding", "one")
    wait_for(waiting, "input-awaited")
    gate.wait_entered()
    for order, hint in (
        (lambda: waiting.steer("x"), "it waits for a person's message; use send"),
        (lambda: busy.send("x"), "it is not interactive; start it with interactive=True, or use steer"),
        (lambda: busy.end(), "it is not interactive; use cancel"),
    ):
        with pytest.raises(MessageRefused, match=hint):
            order()
    assert (waiting.status, busy.status) == ("waiting", "running")


# ------------------------------------------------------------------ cancel


def test_cancelling_during_an_async_tool_cancels_it_and_keeps_what_was_said(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [holding(gate, thread=False)]).start("holding", "x")
    gate.wait_entered()
    run.cancel("enough", by="alice")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason) == ("cancelled", "alice", "enough")
    assert gate.cancelled.wait(DEADLINE_S)
    assert tags(run)[-2:] == ["cancel-requested", "run-finished"]


def test_cancelling_during_a_model_call_cancels_it(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "never said"

    run = opened(None, [Agent("a", model=ScriptedModel(answer))]).start("a", "x")
    gate.wait_entered()
    asyncio.run(run.cancel_async())
    assert run.result(DEADLINE_S).status == "cancelled"
    assert gate.cancelled.wait(DEADLINE_S)


def test_cancelling_during_a_thread_abandons_it_and_its_result_is_ignored(opened: Any) -> None:
    gate = Gate()
    runtime = opened(None, [holding(gate, thread=True)])
    run = runtime.start("holding", "x")
    gate.wait_entered()
    run.cancel()
    assert run.result(DEADLINE_S).status == "cancelled"
    gate.open()
    assert gate.left.wait(DEADLINE_S)
    assert tags(run)[-1] == "run-finished"
    assert verify_run(runtime.journal, run.id) == []


def test_cancelling_twice_and_from_many_threads_ends_the_run_once(opened: Any) -> None:
    gate = AsyncGate()
    run = opened(None, [holding(gate, thread=False)]).start("holding", "x")
    gate.wait_entered()
    assert everywhere(8, lambda number: run.cancel(f"{number}")) == [None] * 8
    kinds = [type(fact) for fact in facts(run)]
    assert (kinds.count(CancelRequested), kinds.count(RunFinished)) == (1, 1)


# ------------------------------------------------------------------ notes


def test_notes_and_errors_of_the_host_are_written_into_the_log(opened: Any) -> None:
    run = opened(None, [talker()]).start("talker", "x", interactive=True)
    run.note("reviewed", {"by": "alice", "odd\ud800": {1: object}})
    run.log_error("the disk is warm\x00")
    asyncio.run(run.note_async("again"))
    asyncio.run(run.log_error_async("and again"))
    notes = [fact for fact in facts(run) if isinstance(fact, (NoteLogged, ErrorLogged))]
    assert [getattr(fact, "type", "") or fact.message for fact in notes] == [  # type: ignore[union-attr]
        "reviewed",
        "the disk is warm\u2400",
        "again",
        "and again",
    ]


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (lambda run: run.steer(5), "steer: expected a string, got 5"),
        (lambda run: run.steer("x", by=None), "steer, by: expected a string, got None"),
        (lambda run: run.send(5), "send: expected a string or a sequence of Text and Image, got 5"),
        (lambda run: run.send("x", by=5), "send, by: expected a string"),
        (lambda run: run.end(5), "end: expected a string or a sequence"),
        (lambda run: run.end(by=5), "end, by: expected a string"),
        (lambda run: run.cancel(reason=None), "cancel, reason: expected a string, got None"),
        (lambda run: run.note(5), "note, type: expected a string, got 5"),
        (lambda run: run.note("x", 5), "note, payload: expected a mapping, got 5"),
        (lambda run: run.log_error(5), "log_error: expected a string, got 5"),
    ],
)
def test_a_wrong_argument_of_an_order_is_told_to_the_caller_and_leaves_the_run_alone(
    opened: Any, order: Any, says: str
) -> None:
    run = opened(None, [talker()]).start("talker", "x", interactive=True)
    wait_for(run, "input-awaited")
    before = tags(run)
    for _ in range(5):
        with pytest.raises(TypeError, match=says):
            order(run)
    assert tags(run) == before
    assert run.status == "waiting"


def test_orders_that_wait_when_the_runtime_closes_are_answered(opened: Any, tmp_path: Path) -> None:
    for turn in range(5):
        runtime = opened(tmp_path / f"{turn}.db", [talker()])
        run = runtime.start("talker", "x", interactive=True)
        wait_for(run, "input-awaited")
        stop = Gate()

        def order(number: int, runtime: Any = runtime, run: Any = run, stop: Gate = stop) -> int:
            if number == 0:
                stop.wait_entered()
                assert runtime.close(DEADLINE_S)
                return 0
            done = 0
            while True:
                try:
                    run.note(f"{number}")
                except RuntimeClosed:
                    return done
                done += 1
                stop.entered.set()

        acknowledged = everywhere(6, order)
        assert all(isinstance(done, int) for done in acknowledged), acknowledged
        again = opened(tmp_path / f"{turn}.db", [talker()])
        kept = sum(isinstance(fact, NoteLogged) for fact in facts(again.run(run.id)))
        assert kept >= sum(acknowledged)
        again.close()
