"""What a run decides about calls of tools that can be asked what became of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from executus.actors.run.messages import AcceptReconciled, AcceptResult, CancelRun, EndByDeadline, ResumeRun
from executus.events import (
    ReconcileStarted,
    RunFinished,
    RunResumed,
    StepCompleted,
    StepStarted,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolStarted,
)
from executus.testing import RunSpec, run_started

RESUME = ResumeRun(epoch=2, reason="a new host took over")
RESUMED = RunResumed(reason="a new host took over", epoch=2)
PAYING = RunSpec().given(
    run_started(timeout_s=60),
    StepStarted(step=1),
    StepCompleted(step=1, reply=(ToolCall("a", "pay"), ToolCall("b", "look"))),
    ToolStarted(call="1.0", name="pay", effect="reconcilable"),
    ToolStarted(call="1.1", name="look", effect="pure"),
)
ASKING = PAYING.given(RESUMED, ReconcileStarted(call="1.0", attempt=1))
LAST = ASKING.given(ToolFinished(call="1.1", result="seen"))
"""Nothing else is under way."""


def test_a_call_that_a_dead_host_left_is_asked_about_and_not_run() -> None:
    PAYING.when(RESUME).then(RESUMED, ReconcileStarted(call="1.0", attempt=1)).owes(
        "reconcile:1.0:1", "tool:1.1", "deadline:60000"
    )


def test_a_call_that_is_still_under_way_is_not_asked_about() -> None:
    PAYING.when(replace(RESUME, in_flight=frozenset({"tool:1.0", "tool:1.1"}))).then(RESUMED)


def test_what_happened_is_recorded_as_finished() -> None:
    answer = AcceptReconciled(call="1.0", attempt=1, happened=True, text="paid")
    ASKING.when(answer).then(
        ToolReconciled(call="1.0", attempt=1, happened=True), ToolFinished(call="1.0", result="paid")
    ).owes("tool:1.1", "deadline:60000")
    facts = LAST.when(answer).facts
    assert [type(fact) for fact in facts] == [ToolReconciled, ToolFinished, StepStarted]


def test_what_did_not_happen_is_owed_again() -> None:
    LAST.when(AcceptReconciled(call="1.0", attempt=1)).then(ToolReconciled(call="1.0", attempt=1, happened=False)).owes(
        "tool:1.0", "deadline:60000"
    )


def test_what_nobody_can_tell_is_unknown_and_the_run_goes_on() -> None:
    facts = LAST.when(AcceptReconciled(call="1.0", attempt=1, unknown="the bank is closed")).facts
    assert [type(fact) for fact in facts] == [ToolOutcomeUnknown, StepStarted]
    assert isinstance(facts[0], ToolOutcomeUnknown)
    assert "the bank is closed" in facts[0].reason


def test_a_crash_while_asking_asks_again_and_says_nothing_new() -> None:
    ASKING.when(RESUME).then(RESUMED).owes("reconcile:1.0:1", "tool:1.1", "deadline:60000")


def test_a_call_that_was_run_again_is_asked_about_anew_and_an_old_answer_says_nothing_about_it() -> None:
    again = LAST.given(ToolReconciled(call="1.0", attempt=1, happened=False))
    second = again.when(RESUME).then(RESUMED, ReconcileStarted(call="1.0", attempt=2))
    second.owes("reconcile:1.0:2", "deadline:60000")
    second.when(AcceptReconciled(call="1.0", attempt=1)).then_nothing()
    second.when(AcceptReconciled(call="1.0", attempt=1, happened=True, text="old")).then_nothing()
    second.when(AcceptReconciled(call="1.0", attempt=2)).then(ToolReconciled(call="1.0", attempt=2, happened=False))


@pytest.mark.parametrize("happened", [True, False])
def test_an_answer_that_comes_twice_counts_once(happened: bool) -> None:
    answer = AcceptReconciled(call="1.0", attempt=1, happened=happened)
    ASKING.given(*ASKING.when(answer).facts).when(answer).then_nothing()


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    PAYING.when(AcceptReconciled(call="1.0", attempt=0, happened=True)).then_nothing()
    ASKING.when(AcceptReconciled(call="1.1", attempt=0)).then_nothing()


def test_a_result_that_comes_while_the_tool_is_asked_is_the_outcome() -> None:
    run = ASKING.when(AcceptResult(call="1.0", text="paid")).then(ToolFinished(call="1.0", result="paid"))
    run.when(AcceptReconciled(call="1.0", attempt=1)).then_nothing()


def test_a_run_that_ends_while_a_tool_is_asked_owes_and_is_owed_nothing() -> None:
    for message in (CancelRun(by="bob"), EndByDeadline(at_ms=60_000)):
        facts = ASKING.when(message, now_ms=60_000).facts
        assert isinstance(facts[-1], RunFinished)
        ASKING.given(*facts).owes()
