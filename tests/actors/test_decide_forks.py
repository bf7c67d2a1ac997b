"""What a fork decides: waiting to be begun, beginning, and taking up the calls that it has inherited."""

from __future__ import annotations

import pytest
from run_specs import CALL, PAY, completed

from executus.actors.run.messages import (
    AcceptPlans,
    ApprovalPlan,
    BeginRun,
    CancelRun,
    EndByDeadline,
    EndRun,
    ExtendRun,
    NoteSleep,
    ReachSoftTimeout,
    ResumeRun,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
    ToolPlan,
)
from executus.events import (
    ApprovalAwaited,
    ApprovalRequested,
    CallerSteered,
    DeadlineExtended,
    InputAwaited,
    Message,
    RunBegun,
    RunFinished,
    RunForked,
    RunResumed,
    StepStarted,
    Text,
    ToolRefused,
    ToolResult,
    ToolStarted,
    Totals,
)
from executus.testing import RunSpec, run_started

START = run_started("Go.", timeout_s=60.0)
TALK = (Message("user", (Text("Go."),)),)
ASKED = (*TALK, Message("assistant", (CALL, PAY)))
BETWEEN = RunForked(source="s", version=1, messages=TALK, paused=True)
CALLS = RunForked(
    source="s", version=5, messages=ASKED, answers=(None, None), totals=Totals(steps=1), turn_from=0, paused=True
)
SAID = RunForked(
    source="s",
    version=5,
    messages=(*TALK, Message("assistant", (Text("Hi."),))),
    said="stop",
    output="Hi.",
    paused=True,
)
PAUSED = RunSpec().given(START, BETWEEN)


def test_a_paused_fork_is_owed_nothing() -> None:
    for forked in (BETWEEN, CALLS, SAID):
        RunSpec().when(StartRun(started=START, forked=forked)).then(START, forked).owes()


@pytest.mark.parametrize(
    "message",
    [
        EndByDeadline(at_ms=60_000),
        ReachSoftTimeout(at_ms=60_000),
        NoteSleep(slept_s=9.0),
        AcceptPlans(step=0, plans=()),
    ],
)
def test_no_time_and_no_news_moves_it(message: RunMessage) -> None:
    PAUSED.when(message, now_ms=1 << 40).then_nothing().owes()


def test_beginning_it_begins_its_step_and_the_wait_does_not_count() -> None:
    begun = PAUSED.when(BeginRun(by="ann"), now_ms=90_000).then(
        RunBegun(by="ann", waited_ms=90_000), StepStarted(step=1)
    )
    begun.owes("model:1:1", "deadline:150000")
    begun.when(BeginRun(by="bob"), now_ms=91_000).then_nothing()


def test_it_may_begin_at_its_start() -> None:
    order = StartRun(started=START, forked=BETWEEN, begin=BeginRun(by="ann"))
    RunSpec().when(order).then(START, BETWEEN, RunBegun(by="ann"), StepStarted(step=1))


def test_it_hears_and_is_given_time_while_it_waits() -> None:
    told = PAUSED.when(SteerRun(text="Quick!")).then(CallerSteered(text="Quick!"))
    more = told.when(ExtendRun(seconds=5.0)).then(DeadlineExtended(until_ms=65_000, by="")).owes()
    more.when(BeginRun()).then(RunBegun(), StepStarted(step=1))


def test_it_can_be_cancelled_and_then_not_begun() -> None:
    over = PAUSED.given(*PAUSED.when(CancelRun(by="ann")).facts)
    over.when(BeginRun()).then_refused("it is over, with status cancelled")


def test_a_conversation_is_told_to_begin_first() -> None:
    chat = RunSpec().given(run_started("Go.", interactive=True), BETWEEN)
    chat.when(SendInput(input=(Text("More."),))).then_refused("it is a fork that has not begun; use begin, or steer")
    chat.when(EndRun()).then_refused("it is a fork that has not begun; use begin or cancel")


def test_a_new_host_leaves_it_waiting() -> None:
    resumed = PAUSED.when(ResumeRun(epoch=2, reason="boot")).then(RunResumed(reason="boot", epoch=2)).owes()
    resumed.when(ResumeRun(epoch=2, reason="", woken=True)).then_nothing()


def test_inherited_calls_are_looked_at_and_then_made_as_those_of_a_reply() -> None:
    begun = RunSpec().given(START, CALLS).when(BeginRun()).then(RunBegun()).owes("plan:1", "deadline:60000")
    begun.when(ResumeRun(epoch=2, reason="boot")).then(RunResumed(reason="boot", epoch=2)).owes(
        "plan:1", "deadline:60000"
    )
    plans = (ToolPlan("pure"), ToolPlan("never_retry"))
    made = begun.when(AcceptPlans(step=1, plans=plans)).then(
        ToolStarted(call="1.0", name="look", effect="pure"), ToolStarted(call="1.1", name="pay")
    )
    made.owes("tool:1.0", "tool:1.1", "deadline:60000")
    made.when(AcceptPlans(step=1, plans=plans)).then_nothing()


def test_plans_of_another_step_or_for_other_calls_are_ignored() -> None:
    begun = RunSpec().given(START, CALLS, RunBegun())
    for message in (AcceptPlans(step=2, plans=(ToolPlan(), ToolPlan())), AcceptPlans(step=1, plans=(ToolPlan(),))):
        begun.when(message).then_nothing()


def test_of_inherited_calls_some_are_asked_about_and_some_refused() -> None:
    begun = RunSpec().given(START, CALLS, RunBegun())
    plans = (ToolPlan(refusal="gone"), ToolPlan(approval=ApprovalPlan(None)))
    asked = begun.when(AcceptPlans(step=1, plans=plans), now_ms=5).then(
        ToolRefused(call="1.0", name="look", reason="gone"),
        ApprovalRequested(call="1.1", name="pay"),
        ApprovalAwaited(since_ms=5),
    )
    assert not asked.state.governed.unplanned


def test_only_what_has_no_result_is_made() -> None:
    half = RunForked(
        source="s", version=5, messages=ASKED, answers=(ToolResult("c1", "look", "seen"), None),
        totals=Totals(steps=1, tool_calls=1), paused=True,
    )  # fmt: skip
    begun = RunSpec().given(START, half, RunBegun())
    made = begun.when(AcceptPlans(step=1, plans=(ToolPlan(),))).then(ToolStarted(call="1.1", name="pay"))
    assert made.state.open_calls[0].arguments == PAY.arguments


def test_last_words_end_it_or_wait_for_a_person_unless_something_was_said() -> None:
    spec = RunSpec().given(START, SAID)
    end = spec.when(BeginRun()).facts[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.stats.output, end.stats.steps) == ("ok", "Hi.", 0)
    spec.given(CallerSteered(text="More.")).when(BeginRun()).then(RunBegun(), StepStarted(step=1))
    chat = RunSpec().given(run_started("Go.", interactive=True), SAID)
    chat.when(BeginRun(), now_ms=3).then(RunBegun(waited_ms=3), InputAwaited(since_ms=3))


def test_a_reply_that_is_not_recorded_ends_the_reuse() -> None:
    forked = RunForked(source="s", version=1, messages=TALK, paused=True, reuse="recorded")
    spec = RunSpec().given(START, forked, RunBegun(), StepStarted(step=1))
    assert spec.state.governed.reuses == "s"
    assert spec.given(completed(Text("x"))).state.governed.reuses == ""
