"""What embedders test with: given/when/then that says what differs, and a clock set by hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from executus import Agent, ModelRequest, Reply, Runtime
from executus.actors.run.messages import AcceptReply, CancelRun, SteerRun
from executus.events import CallerSteered, StepStarted, Text
from executus.testing import RunSpec, ScriptedModel, VirtualClock, call, run_started

LIVE = RunSpec().given(run_started(timeout_s=60.0), StepStarted(step=1))


def test_a_specification_that_holds_returns_the_run_after_it() -> None:
    after = LIVE.when(SteerRun(text="Hm.")).then(CallerSteered(text="Hm."))
    assert after.facts == (*LIVE.facts, CallerSteered(text="Hm."))
    assert after.state.heard == 1
    assert LIVE.state.heard == 0, "and the run before it stays as it was"


def test_the_transcript_is_what_the_model_would_be_shown() -> None:
    shown = RunSpec().given(run_started("Go.", instructions="Be brief.")).transcript
    assert [message.role for message in shown] == ["system", "user"]


def test_a_difference_is_shown_a_field_a_line() -> None:
    with pytest.raises(AssertionError) as failure:
        LIVE.when(SteerRun(text="Hm.", by="bob")).then(CallerSteered(text="Hm.", by="alice"))
    assert str(failure.value).splitlines() == [
        "SteerRun led to other facts",
        "--- expected",
        "+++ decided",
        "@@ -1,4 +1,4 @@",
        " CallerSteered(",
        "     text='Hm.',",
        "-    by='alice',",
        "+    by='bob',",
        " )",
    ]


def test_each_wrong_expectation_says_what_happened_instead() -> None:
    steered, refused = LIVE.when(SteerRun(text="Hm.")), RunSpec().when(SteerRun(text="Hm."))
    with pytest.raises(AssertionError, match=r"(?s)change nothing; it led to\nCallerSteered"):
        steered.then_nothing()
    with pytest.raises(AssertionError, match=r"(?s)expected to be refused \('over'\); it led to\nCallerSteered"):
        steered.then_refused("over")
    with pytest.raises(AssertionError, match="was refused: it has not started"):
        refused.then(CallerSteered(text="Hm."))
    with pytest.raises(AssertionError, match="was refused: it has not started; expected nothing"):
        refused.then_nothing()
    with pytest.raises(AssertionError, match="refused with 'it has not started'; expected 'over' in it"):
        refused.then_refused("over")
    with pytest.raises(AssertionError, match=r"expected the world to owe nothing; it owes deadline:60000, model:1:1"):
        LIVE.owes()


def test_nothing_to_expect_is_said_so() -> None:
    with pytest.raises(AssertionError, match=r"\n\+\(nothing\)"):
        LIVE.when(AcceptReply(step=9, attempt=1, reply=Reply((Text("x"),)))).then(StepStarted(step=2))


def test_a_clock_set_by_hand_moves_only_then() -> None:
    clock = VirtualClock(wall_us=5_000_000)
    assert (clock.monotonic(), clock.wall_us()) == (0.0, 5_000_000)
    clock.advance(1.5)
    assert (clock.monotonic(), clock.wall_us()) == (1.5, 6_500_000)
    clock.set_wall(0)
    assert (clock.monotonic(), clock.wall_us()) == (1.5, 0)
    with pytest.raises(ValueError, match="seconds ≥ 0"):
        clock.advance(-1)


def test_an_hour_passes_at_once_and_the_deadline_with_it() -> None:
    clock = VirtualClock()
    asked = asyncio.Event()

    class Silent:
        name = "silent"

        async def reply(self, request: ModelRequest) -> Reply:
            await asked.wait()
            raise AssertionError

    agent = Agent("silent", model=Silent(), timeout_s=3600.0, model_timeout_s=None)
    with Runtime(agents=[agent], clock=clock) as runtime:
        run = runtime.start("silent", "Hello?")
        clock.advance(3599)
        assert run.status == "running"
        clock.advance(1.1)
        result = run.result(timeout=30)
    assert (result.status, result.by) == ("timeout", "deadline")
    assert result.stats.runtime_s >= 3600


def test_cancelling_is_specified_without_a_runtime() -> None:
    facts = LIVE.when(CancelRun(by="alice", reason="enough"), now_ms=10).facts
    assert [type(fact).__name__ for fact in facts] == ["CancelRequested", "RunFinished"]


def test_the_scripted_model_is_at_hand() -> None:
    assert ScriptedModel(["hi", [call("look")], "done"]).name == "scripted"


def test_testing_needs_neither_pytest_nor_a_thread() -> None:
    code = """
import sys, threading
import executus.testing
assert 'pytest' not in sys.modules and 'executus.journal' not in sys.modules and 'executus.runtime' not in sys.modules
assert threading.active_count() == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
