"""What a run does at its limits: it is told in time, ends with what it has, and can be gone on from."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from run_specs import CALL, PAY, after_steps, completed, end_of, reply

from executus.actors.run.messages import (
    AcceptGrant,
    AcceptModelFailure,
    AcceptRefusal,
    AcceptResult,
    EndByDeadline,
    ResumeRun,
    RetryStep,
    StartRun,
    ToolPlan,
)
from executus.events import (
    BudgetExceeded,
    BudgetNoticed,
    ErrorLogged,
    InputStaged,
    Limits,
    Message,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolFinished,
    ToolRefused,
    ToolStarted,
    Totals,
    Usage,
)
from executus.testing import RunSpec, run_started

NEW = RunSpec()
PURE = ToolPlan("pure")


def looking(limits: Limits, usage: Usage | None = None) -> RunSpec:
    """A run whose first step, of 8 tokens if nothing else is said, leads to one tool call, which is under way."""
    step = completed(Text("Let me look."), CALL)
    step = step if usage is None else replace(step, usage=usage)
    return NEW.given(run_started(limits=limits), StepStarted(step=1), step, ToolStarted(call="1.0", name="look"))


SEEN = AcceptResult(call="1.0", text="seen")
FINISHED = ToolFinished(call="1.0", result="seen")


# ------------------------------------------------------------------ reached


@pytest.mark.parametrize(
    ("limits", "exceeded", "why"),
    [
        ({"max_tokens": 8}, BudgetExceeded(measure="tokens", limit=8, spent=8), "8 tokens is reached: 8 used"),
        ({"max_tokens": 7}, BudgetExceeded(measure="tokens", limit=7, spent=8), "7 tokens is reached: 8 used"),
        (
            {"max_tool_calls": 1},
            BudgetExceeded(measure="tool_calls", limit=1, spent=1),
            "1 tool calls is reached: 1 used",
        ),
    ],
)
def test_a_limit_that_leaves_no_room_ends_the_run_with_what_it_has(
    limits: dict[str, int], exceeded: BudgetExceeded, why: str
) -> None:
    why = f"the limit of {why}"
    stats = after_steps(1, status="budget_exceeded", output="Let me look.", error=why, tool_calls=1)
    looking(Limits(timeout_s=None, notice_at=(), **limits)).when(SEEN).then(
        FINISHED, exceeded, RunFinished(stats=stats, by="limits", reason=why)
    )


def test_a_limit_of_money_counts_what_calls_cost() -> None:
    usage = Usage(input=5, output=3, cost_usd=0.5)
    end = end_of(looking(Limits(timeout_s=None, max_cost_usd=0.5), usage).when(SEEN))
    assert (end.status, end.reason) == ("budget_exceeded", "the limit of 0.5 dollars is reached: 0.5 used")
    facts = looking(Limits(timeout_s=None, max_cost_usd=0.75), usage).when(SEEN).facts
    assert facts == (FINISHED, StepStarted(step=2))


def test_a_reply_that_needs_no_further_step_ends_well_even_at_the_limit() -> None:
    run = NEW.given(run_started(limits=Limits(max_steps=1, max_tokens=8, timeout_s=None)), StepStarted(step=1))
    assert end_of(run.when(reply(Text("Done.")))).status == "ok"


def test_tool_calls_beyond_the_limit_are_refused_and_the_others_run() -> None:
    run = NEW.given(run_started(limits=Limits(timeout_s=None, max_tool_calls=1)), StepStarted(step=1))
    run.when(reply(CALL, PAY, plans=(PURE, PURE))).then(
        completed(CALL, PAY),
        ToolStarted(call="1.0", name="look", effect="pure"),
        ToolRefused(call="1.1", name="pay", reason="the limit of 1 tool calls is reached"),
    )


def test_steps_at_their_ceiling_are_an_error_and_no_budget() -> None:
    end = end_of(looking(Limits(max_steps=1, timeout_s=None)).when(SEEN))
    assert (end.status, end.by, end.stats.output) == ("error", "ceiling", "Let me look.")


# ------------------------------------------------------------------ notices


def noticed(measure: str, fraction: float, spent: float, limit: float) -> BudgetNoticed:
    return BudgetNoticed(measure=measure, fraction=fraction, spent=spent, limit=limit)  # type: ignore[arg-type]


def test_the_model_is_told_before_its_next_step_and_once() -> None:
    run = looking(Limits(max_steps=100, timeout_s=None, max_tokens=20, notice_at=(0.25, 0.5)))
    run = run.when(SEEN).then(FINISHED, noticed("tokens", 0.25, 8, 20), StepStarted(step=2))
    words = [part.text for part in run.transcript[-1].parts if isinstance(part, Text)]
    assert words == ["Notice: this run has used 8 of 20 tokens (40%). Finish within what is left."]
    run = run.given(replace(completed(CALL, step=2), usage=Usage()), ToolStarted(call="2.0", name="look"))
    run = run.when(AcceptResult(call="2.0", text="x")).then(ToolFinished(call="2.0", result="x"), StepStarted(step=3))
    run = run.given(completed(CALL, step=3), ToolStarted(call="3.0", name="look"))
    run.when(AcceptResult(call="3.0", text="x")).then(
        ToolFinished(call="3.0", result="x"), noticed("tokens", 0.5, 16, 20), StepStarted(step=4)
    )


def test_of_several_fractions_reached_at_once_the_highest_is_told() -> None:
    run = looking(Limits(max_steps=9, timeout_s=None, max_tokens=9, notice_at=(0.25, 0.5, 0.75)))
    run.when(SEEN).then(FINISHED, noticed("tokens", 0.75, 8, 9), StepStarted(step=2))


def test_every_limit_has_its_notices() -> None:
    limits = Limits(max_steps=2, timeout_s=10.0, max_tokens=10, max_cost_usd=1.0, max_tool_calls=2, notice_at=(0.5,))
    run = looking(limits, Usage(input=5, output=3, cost_usd=0.5))
    run.when(SEEN, now_ms=5_000).then(
        FINISHED,
        noticed("steps", 0.5, 1, 2),
        noticed("tool_calls", 0.5, 1, 2),
        noticed("tokens", 0.5, 8, 10),
        noticed("cost_usd", 0.5, 0.5, 1.0),
        noticed("seconds", 0.5, 5.0, 10.0),
        StepStarted(step=2),
    )


@pytest.mark.parametrize(
    "limits", [Limits(max_steps=2, timeout_s=10.0), Limits(max_steps=2, max_tokens=90, timeout_s=10.0)]
)
def test_a_run_with_and_without_rarer_limits_is_told_of_steps_and_time_alike(limits: Limits) -> None:
    run = looking(replace(limits, notice_at=(0.5,)))
    run.when(SEEN, now_ms=6_000).then(
        FINISHED, noticed("steps", 0.5, 1, 2), noticed("seconds", 0.5, 6.0, 10.0), StepStarted(step=2)
    )


def test_without_fractions_there_are_no_notices() -> None:
    run = looking(Limits(max_steps=2, timeout_s=10.0, max_tokens=9, notice_at=()))
    run.when(SEEN, now_ms=9_999).then(FINISHED, StepStarted(step=2))


def test_a_new_host_tells_nothing_twice() -> None:
    run = looking(Limits(max_steps=9, timeout_s=None, max_tokens=20, notice_at=(0.25,)))
    run = run.given(*run.when(SEEN).facts)
    facts = run.when(ResumeRun(epoch=2, reason="x")).facts
    assert not [fact for fact in facts if isinstance(fact, BudgetNoticed)]


# ------------------------------------------------------------------ the caller's budget

PAID = NEW.given(run_started(budgeted=True, timeout_s=60.0))
GRANT = AcceptGrant(step=1, attempt=1, tokens=500, usd=0.25)
REFUSAL = AcceptRefusal(step=1, attempt=1, measure="tokens", limit=1_000, spent=990, window="day")


def test_a_budgeted_run_begins_its_step_when_the_budget_grants_it() -> None:
    started = run_started(budgeted=True, timeout_s=60.0)
    after = NEW.when(StartRun(started=started)).then(started).owes("reserve:1:1", "deadline:60000")
    after.when(GRANT).then(StepStarted(step=1, reserved_tokens=500, reserved_usd=0.25)).owes(
        "model:1:1", "deadline:60000"
    )


def test_each_step_is_granted_anew() -> None:
    run = PAID.given(StepStarted(step=1), completed(CALL), ToolStarted(call="1.0", name="look"))
    after = run.when(SEEN).then(FINISHED).owes("reserve:2:1", "deadline:60000")
    after.when(GRANT).then_nothing()
    after.when(AcceptGrant(step=2, attempt=1)).then(StepStarted(step=2))


def test_each_attempt_is_granted_anew_when_its_pause_is_over() -> None:
    run = PAID.given(StepStarted(step=1))
    after = run.when(AcceptModelFailure(step=1, attempt=1, error="busy", retry_after_s=2.0), now_ms=100).then(
        StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=2_100)
    )
    after.owes("reserve:1:2", "deadline:60000")
    after.when(GRANT).then_nothing()
    after.when(AcceptGrant(step=1, attempt=2, tokens=9)).then(StepStarted(step=1, attempt=2, reserved_tokens=9))


def test_a_budget_without_room_ends_the_run_and_names_the_window() -> None:
    why = "the caller's budget (day) of 1000 tokens has no room left: 990 spent"
    PAID.when(REFUSAL, now_ms=10).then(
        BudgetExceeded(measure="tokens", limit=1_000, spent=990, scope="caller", window="day"),
        RunFinished(stats=RunStats(status="budget_exceeded", error=why, runtime_s=0.01), by="budget", reason=why),
    ).owes()


def test_a_budget_may_say_why_in_its_own_words() -> None:
    assert end_of(PAID.when(replace(REFUSAL, why="the ledger is closed"))).reason == "the ledger is closed"


def test_a_budget_without_room_keeps_what_the_run_has() -> None:
    run = PAID.given(StepStarted(step=1), completed(Text("Let me look."), CALL), ToolStarted(call="1.0", name="look"))
    run = run.given(FINISHED)
    end = end_of(run.when(replace(REFUSAL, step=2)))
    assert (end.status, end.stats.output, end.stats.tool_calls) == ("budget_exceeded", "Let me look.", 1)


@pytest.mark.parametrize("answer", [GRANT, REFUSAL])
def test_an_answer_of_the_budget_that_nobody_waits_for_is_ignored(answer: AcceptGrant | AcceptRefusal) -> None:
    unpaid = NEW.given(run_started())
    granted = PAID.given(StepStarted(step=1))
    over = PAID.given(*PAID.when(REFUSAL).facts)
    for run in (NEW, unpaid, granted, granted.given(completed(CALL), ToolStarted(call="1.0", name="look")), over):
        run.when(answer).then_nothing()


def test_a_caller_with_nothing_left_gets_a_run_that_never_begins() -> None:
    started = run_started(budgeted=True)
    refused = BudgetExceeded(measure="cost_usd", limit=2.0, spent=2.5, scope="caller", window="month")
    why = "the caller's budget (month) of 2 cost_usd has no room left: 2.5 spent"
    NEW.when(StartRun(started=started, refused=refused)).then(
        started, refused, RunFinished(stats=RunStats(status="budget_exceeded", error=why), by="budget", reason=why)
    ).owes()


def test_the_deadline_holds_while_the_budget_is_asked() -> None:
    assert end_of(PAID.when(EndByDeadline(at_ms=60_000), now_ms=60_000)).status == "timeout"


def test_a_call_that_a_crash_interrupted_is_granted_anew() -> None:
    facts = PAID.given(StepStarted(step=1)).when(ResumeRun(epoch=2, reason="x"), now_ms=700).facts
    assert [type(fact) for fact in facts] == [RunResumed, StepFailed]
    PAID.given(StepStarted(step=1), *facts).owes("reserve:1:2", "deadline:60000")
    PAID.when(ResumeRun(epoch=2, reason="x")).then(RunResumed(reason="x", epoch=2)).owes(
        "reserve:1:1", "deadline:60000"
    )


def test_a_notice_is_told_with_the_grant() -> None:
    paid = NEW.given(run_started(limits=Limits(timeout_s=None, max_tokens=10, notice_at=(0.5,)), budgeted=True))
    run = paid.given(StepStarted(step=1), completed(CALL), ToolStarted(call="1.0", name="look"), FINISHED)
    run.when(AcceptGrant(step=2, attempt=1)).then(noticed("tokens", 0.5, 8, 10), StepStarted(step=2))


def test_the_end_of_a_pause_is_no_grant() -> None:
    run = PAID.given(
        StepStarted(step=1), StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=900)
    )
    run.when(RetryStep(step=1, attempt=1), now_ms=900).then_nothing()


# ------------------------------------------------------------------ what a start brings along


def test_attachments_and_early_errors_are_recorded_with_the_start() -> None:
    started = run_started()
    staged = InputStaged(file_id="f1", name="a.pdf", media_type="application/pdf", size=3, sha256="0f")
    NEW.when(StartRun(started=started, staged=(staged,), errors=("kept in memory only",))).then(
        started, staged, ErrorLogged(message="kept in memory only"), StepStarted(step=1)
    )


# ------------------------------------------------------------------ going on from a run that is over

BEFORE = RunForked(
    source="run-0",
    version=9,
    messages=(Message("user", (Text("Go."),)), Message("assistant", (Text("So far."),))),
    totals=Totals(steps=2, tool_calls=3, tokens=40, cost_usd=0.5),
    noticed=("tokens:0.5",),
    output="So far.",
)


def forked(limits: Limits, now_ms: int = 0) -> tuple[RunStarted, RunSpec]:
    started = run_started(limits=limits)
    decided = NEW.when(StartRun(started=started, forked=BEFORE), now_ms=now_ms)
    return started, NEW.given(*decided.facts)


def test_a_run_goes_on_with_the_step_and_the_conversation_of_its_source() -> None:
    started = run_started(max_steps=5)
    after = NEW.when(StartRun(started=started, forked=BEFORE)).then(started, BEFORE, StepStarted(step=3))
    assert after.transcript == list(BEFORE.messages)
    end = end_of(after.when(reply(Text("Done."), step=3)))
    assert end.stats == after_steps(1, output="Done.")


def test_limits_count_what_the_source_has_spent() -> None:
    _, after = forked(Limits(max_steps=3, timeout_s=None, max_tokens=48, notice_at=()))
    after = after.given(completed(CALL, step=3), ToolStarted(call="3.0", name="look"))
    end = end_of(after.when(AcceptResult(call="3.0", text="x")))
    assert (end.status, end.reason) == ("error", "the ceiling of 3 steps is reached")
    assert end.stats.steps == 1, "and statistics do not"


def test_a_run_whose_limit_is_still_reached_ends_at_once_with_what_its_source_had() -> None:
    started, after = forked(Limits(max_steps=9, timeout_s=None, max_tokens=40))
    assert after.facts[:2] == (started, BEFORE)
    end = after.facts[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.stats.output, end.stats.steps) == ("budget_exceeded", "So far.", 0)
    assert BudgetExceeded(measure="tokens", limit=40, spent=40) in after.facts


def test_what_the_source_was_told_is_not_told_again() -> None:
    _, after = forked(Limits(max_steps=9, timeout_s=None, max_tokens=60, notice_at=(0.5,)))
    assert [type(fact) for fact in after.facts] == [RunStarted, RunForked, StepStarted]
    _, other = forked(Limits(max_steps=9, timeout_s=None, max_tokens=48, notice_at=(0.5, 0.8)))
    assert noticed("tokens", 0.8, 40, 48) in other.facts


def test_time_begins_anew() -> None:
    _, after = forked(Limits(max_steps=9, timeout_s=10.0))
    after.owes("model:3:1", "deadline:10000")


def test_a_conversation_that_is_gone_on_with_has_its_whole_ceiling() -> None:
    started = run_started(max_steps=2, interactive=True)
    NEW.when(StartRun(started=started, forked=BEFORE)).then(started, BEFORE, StepStarted(step=3))


def test_a_reply_is_stored_whole_whatever_limit_it_breaks() -> None:
    run = NEW.given(run_started(limits=Limits(timeout_s=None, max_tokens=1)), StepStarted(step=1))
    assert isinstance(run.when(reply(CALL, plans=(PURE,))).facts[0], StepCompleted)
