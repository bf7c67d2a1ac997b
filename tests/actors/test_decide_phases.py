"""What a run does that works in phases: one after the other, each with its own conversation and what came before."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from run_specs import CALL, after_steps, completed, end_of, reply

from executus.actors.run.messages import AcceptResult, EndByDeadline, ResumeRun, SendInput, StartRun, ToolPlan
from executus.events import (
    BudgetExceeded,
    BudgetNoticed,
    CallerSteered,
    InputAwaited,
    InputReceived,
    Limits,
    Message,
    OutputRefused,
    PhaseFinished,
    PhasePrint,
    PhaseStarted,
    RunFinished,
    RunForked,
    RunResumed,
    StepStarted,
    Text,
    ToolFinished,
    ToolRefused,
    ToolStarted,
    Totals,
)
from executus.testing import RunSpec, run_started

NEW = RunSpec()
PLAN = PhasePrint(name="plan", instructions="Plan it.")
WRITE = PhasePrint(name="write", instructions="Write it.")
CHECK = PhasePrint(name="check")
STARTED = run_started("A poem.", instructions="Be brief.", phases=(PLAN, WRITE, CHECK))
PLANNING = PhaseStarted(phase="plan", index=0, instructions="Plan it.", input=(Text("A poem."),))
FIRST = NEW.given(STARTED, PLANNING, StepStarted(step=1))
HANDED_ON = Text("Output of phase plan:\nFour lines.")
SECOND = FIRST.given(
    completed(Text("Four lines.")),
    PhaseFinished(phase="plan", output="Four lines."),
    PhaseStarted(phase="write", index=1, instructions="Write it.", input=(Text("A poem."), HANDED_ON), at_ms=700),
    StepStarted(step=2),
)


# ------------------------------------------------------------------ in order


def test_a_run_with_phases_begins_with_the_first() -> None:
    NEW.when(StartRun(started=STARTED)).then(STARTED, PLANNING, StepStarted(step=1))


def test_a_phases_last_words_are_handed_on_to_the_next() -> None:
    FIRST.when(reply(Text("Four lines.")), now_ms=700).then(*SECOND.facts[-4:])


def test_every_earlier_output_is_handed_on() -> None:
    facts = SECOND.when(reply(Text("Roses."), step=2)).facts
    assert PhaseFinished(phase="write", output="Roses.") in facts
    (third,) = [fact for fact in facts if isinstance(fact, PhaseStarted)]
    assert third.input == (Text("A poem."), HANDED_ON, Text("Output of phase write:\nRoses."))


def test_the_last_phases_words_are_the_runs() -> None:
    last = SECOND.given(*SECOND.when(reply(Text("Roses."), step=2)).facts)
    last.when(reply(Text("Roses are red."), step=3), now_ms=900).then(
        completed(Text("Roses are red."), step=3),
        PhaseFinished(phase="check", output="Roses are red."),
        RunFinished(stats=after_steps(3, output="Roses are red.", runtime_s=0.9), by="model"),
    )


def test_every_phase_has_a_conversation_of_its_own() -> None:
    assert [(one.role, one.parts) for one in FIRST.transcript] == [
        ("system", (Text("Plan it."),)),
        ("user", (Text("A poem."),)),
    ]
    assert [(one.role, one.parts) for one in SECOND.transcript] == [
        ("system", (Text("Write it."),)),
        ("user", (Text("A poem."), HANDED_ON)),
    ]


def test_a_phase_without_words_hands_on_nothing_of_its_own() -> None:
    facts = FIRST.when(reply()).facts
    assert PhaseFinished(phase="plan", output="") in facts


def test_advice_is_read_in_the_phase_it_was_given_in() -> None:
    steered = FIRST.given(CallerSteered(text="In French."))
    steered.when(reply(Text("Four lines."))).then(completed(Text("Four lines.")), StepStarted(step=2))


# ------------------------------------------------------------------ words that do not fit


def test_words_that_do_not_fit_are_told_and_tried_again() -> None:
    run = NEW.given(run_started(max_steps=5), StepStarted(step=1))
    after = run.when(reply(Text("Four."), misfit="expected JSON")).then(
        completed(Text("Four.")), OutputRefused(reason="expected JSON"), StepStarted(step=2)
    )
    assert after.transcript[-1] == Message("user", (Text("expected JSON"),))
    assert end_of(after.when(reply(Text("4"), step=2))).stats.output == "4"


def test_a_phase_is_not_over_before_its_words_fit() -> None:
    FIRST.when(reply(Text("Four lines."), misfit="expected JSON")).then(
        completed(Text("Four lines.")), OutputRefused(reason="expected JSON"), StepStarted(step=2)
    )


def test_words_that_never_fit_end_at_the_ceiling_with_the_last_of_them() -> None:
    run = NEW.given(run_started(max_steps=1), StepStarted(step=1))
    end = end_of(run.when(reply(Text("Four."), misfit="expected JSON")))
    assert (end.status, end.by, end.stats.output) == ("error", "ceiling", "Four.")


# ------------------------------------------------------------------ limits of a phase


def in_phases(plan: PhasePrint, **limits: object) -> RunSpec:
    """In the second phase, whose first step is under way; the first took one step of 8 tokens and 700 ms."""
    given = Limits(**{"timeout_s": None, "notice_at": (), **limits})  # type: ignore[arg-type]
    second = replace(plan, name="write")
    started = run_started("A poem.", limits=given, phases=(PLAN, second))
    run = NEW.given(*NEW.when(StartRun(started=started)).facts)
    return run.given(*run.when(reply(Text("Four lines.")), now_ms=700).facts)


def looked(run: RunSpec) -> RunSpec:
    step = run.state.step
    return run.given(completed(CALL, step=step), ToolStarted(call=f"{step}.0", name="look"))


def seen(run: RunSpec) -> AcceptResult:
    return AcceptResult(call=f"{run.state.step}.0", text="x")


@pytest.mark.parametrize(
    ("limits", "status", "why"),
    [
        ({"max_steps": 1}, "error", "phase write's ceiling of 1 steps is reached"),
        ({"max_tokens": 8}, "budget_exceeded", "phase write's limit of 8 tokens is reached: 8 used"),
        ({"max_tool_calls": 1}, "budget_exceeded", "phase write's limit of 1 tool calls is reached: 1 used"),
    ],
)
def test_a_phases_limit_counts_from_its_beginning(limits: dict[str, int], status: str, why: str) -> None:
    run = looked(in_phases(PhasePrint(name="", **limits)))  # type: ignore[arg-type]
    end = end_of(run.when(seen(run)))
    assert (end.status, end.reason, end.stats.output) == (status, why, "Four lines.")
    exceeded = [fact.scope for fact in run.when(seen(run)).facts if isinstance(fact, BudgetExceeded)]
    assert exceeded == ([] if status == "error" else ["phase write"])


def test_a_phases_limit_of_tool_calls_refuses_the_next_one() -> None:
    run = in_phases(PhasePrint(name="", max_tool_calls=1))
    facts = run.when(reply(CALL, CALL, step=2, plans=(ToolPlan("pure"), ToolPlan("pure")))).facts
    assert facts[-1] == ToolRefused(call="2.1", name="look", reason="phase write's limit of 1 tool calls is reached")


def test_the_runs_own_limits_count_over_all_phases() -> None:
    run = looked(in_phases(PhasePrint(name=""), max_steps=2))
    end = end_of(run.when(seen(run)))
    assert (end.status, end.reason) == ("error", "the ceiling of 2 steps is reached")
    run = looked(in_phases(PhasePrint(name=""), max_tokens=16))
    assert end_of(run.when(seen(run))).reason == "the limit of 16 tokens is reached: 16 used"


def test_a_phases_deadline_begins_with_it() -> None:
    run = in_phases(PhasePrint(name="", timeout_s=5.0)).owes("model:2:1", "deadline:5700")
    run.when(EndByDeadline(at_ms=5_700), now_ms=5_699).then_nothing()
    end = end_of(run.when(EndByDeadline(at_ms=5_700), now_ms=5_700))
    assert (end.status, end.reason) == ("timeout", "phase write's deadline of 5 s is over")


def test_the_nearer_deadline_counts() -> None:
    run = in_phases(PhasePrint(name="", timeout_s=5.0), timeout_s=3.0).owes("model:2:1", "deadline:3000")
    assert end_of(run.when(EndByDeadline(at_ms=3_000), now_ms=3_000)).reason == "the deadline of 3 s is over"


def test_a_notice_of_a_phase_names_it() -> None:
    run = looked(in_phases(PhasePrint(name="", max_tokens=10), notice_at=(0.5,)))
    run = run.when(seen(run)).then(
        ToolFinished(call="2.0", result="x"),
        BudgetNoticed(measure="tokens", fraction=0.5, spent=8, limit=10, phase="write"),
        StepStarted(step=3),
    )
    assert run.state.governed.noticed == ("write/tokens:0.5",)


# ------------------------------------------------------------------ new hosts, and going on


def test_a_new_host_begins_no_phase_again() -> None:
    facts = SECOND.when(ResumeRun(epoch=2, reason="x"), now_ms=800).facts
    assert [type(fact).__name__ for fact in facts] == ["RunResumed", "StepFailed", "StepStarted"]
    assert facts[0] == RunResumed(reason="x", epoch=2)


FORKED = RunForked(
    source="run-0",
    version=9,
    messages=(Message("user", (Text("A poem."),)),),
    outputs=(("plan", "Four lines."),),
    phase="write",
    totals=Totals(steps=2, tokens=16),
)


def test_a_run_that_goes_on_skips_finished_phases_and_goes_on_in_the_middle_of_one() -> None:
    after = NEW.when(StartRun(started=STARTED, forked=FORKED)).then(STARTED, FORKED, StepStarted(step=3))
    assert after.state.phase == "write"
    facts = after.when(reply(Text("Roses."), step=3)).facts
    (third,) = [fact for fact in facts if isinstance(fact, PhaseStarted)]
    assert (third.phase, third.index) == ("check", 2)
    assert third.input == (Text("A poem."), HANDED_ON, Text("Output of phase write:\nRoses."))


def test_a_run_that_goes_on_between_phases_begins_with_the_next() -> None:
    between = replace(FORKED, phase="")
    after = NEW.given(*NEW.when(StartRun(started=STARTED, forked=between)).facts)
    assert after.state.phase == "write"
    assert after.transcript[-1].parts == (Text("A poem."), HANDED_ON)


def test_a_run_that_goes_on_with_fewer_phases_than_were_finished_does_not_fail() -> None:
    fewer = run_started("A poem.", phases=(CHECK,))
    NEW.when(StartRun(started=fewer, forked=FORKED))


# ------------------------------------------------------------------ in a conversation

CHAT = NEW.given(
    run_started("A poem.", max_steps=2, interactive=True, phases=(CHECK,)),
    PhaseStarted(phase="check", index=0, input=(Text("A poem."),)),
    StepStarted(step=1),
)


def test_an_interactive_run_waits_after_its_last_phase() -> None:
    after = CHAT.when(reply(Text("Roses.")), now_ms=500).then(
        completed(Text("Roses.")), PhaseFinished(phase="check", output="Roses."), InputAwaited(since_ms=500)
    )
    after.when(SendInput(input=(Text("Longer."),)), now_ms=500).then(
        InputReceived(input=(Text("Longer."),)), StepStarted(step=2)
    )


def test_a_phase_finishes_once() -> None:
    after = CHAT.given(*CHAT.when(reply(Text("Roses."))).facts)
    after = after.given(*after.when(SendInput(input=(Text("Longer."),))).facts)
    facts = after.when(reply(Text("Roses are red."), step=2)).facts
    assert not [fact for fact in facts if isinstance(fact, PhaseFinished)]


def test_every_word_of_a_person_raises_the_ceiling_in_the_last_phase_too() -> None:
    run = CHAT
    for step in range(1, 6):
        run = run.given(*run.when(reply(Text("Roses."), step=step)).facts)
        facts = run.when(SendInput(input=(Text("Again."),))).facts
        assert facts[-1] == StepStarted(step=step + 1)
        run = run.given(*facts)
