"""What a run inherits that goes on from another: everything that was said and spent, and nothing that was under way."""

from __future__ import annotations

from any_life import Life, folded, for_any_life, forked
from run_ledger import seen
from run_specs import CALL, PAY, completed

from executus.events import (
    ApprovalAwaited,
    ApprovalRequested,
    CallerSteered,
    CancelRequested,
    ChildFinished,
    ChildStarted,
    CriticKilled,
    CriticReviewed,
    Fact,
    Limits,
    Message,
    RunFinished,
    RunForked,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    Totals,
    Usage,
)
from executus.projections import outstanding, spent
from executus.projections.carrying import NOT_APPROVED, NOT_BEGUN, STOPPED, carried
from executus.projections.forking import inherited as inherited_by_a_fork
from executus.testing import run_started

BEGUN: tuple[Fact, ...] = (run_started("Go.", instructions="Be brief."), StepStarted(step=1))


def inherited(*facts: Fact) -> RunForked:
    return carried("run-0", Life((*BEGUN, *facts), 0).events)[0]


# ------------------------------------------------------------------ what was under way


def test_a_call_that_was_under_way_is_told_as_stopped_and_finished_ones_as_they_were() -> None:
    fork = inherited(
        completed(Text("I look."), CALL, PAY),
        ToolStarted(call="1.0", name="look"),
        ToolStarted(call="1.1", name="pay"),
        ToolFinished(call="1.1", result="paid"),
    )
    assert [message.role for message in fork.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert fork.messages[3].parts == (ToolResult("c1", "look", STOPPED, True),)
    assert fork.messages[4].parts == (ToolResult("c2", "pay", "paid"),)
    assert (fork.output, fork.totals) == ("I look.", Totals(steps=1, tool_calls=2, tokens=8))


def test_a_child_that_was_under_way_is_told_as_cancelled() -> None:
    ask = ToolCall("c1", "agent__helper")
    fork = inherited(completed(ask), ChildStarted(call="1.0", name="agent__helper", run_id="child"))
    told = f"It ended with status cancelled. {STOPPED}"
    assert fork.messages[-1].parts == (ToolResult("c1", "agent__helper", told, True),)


def test_a_call_that_nobody_approved_is_told_as_such() -> None:
    fork = inherited(completed(PAY), ApprovalRequested(call="1.0", name="pay"), ApprovalAwaited(since_ms=0))
    assert fork.messages[-1].parts == (ToolResult("c2", "pay", NOT_APPROVED, True),)
    assert fork.totals.tool_calls == 0


def test_a_call_that_a_fork_had_inherited_and_not_made_is_told_as_not_begun() -> None:
    begun = Life((*BEGUN, completed(CALL, PAY), ToolFinished(call="1.0", result="so")), 0)
    fork = inherited_by_a_fork("run-0", begun.events).forked
    again, _ = carried("run-1", Life((BEGUN[0], fork), 0).events)
    assert again.messages[-2].parts == (ToolResult("c1", "look", "so"),)
    assert again.messages[-1].parts == (ToolResult("c2", "pay", NOT_BEGUN, True),)


def test_what_was_said_and_not_yet_read_is_in_the_conversation() -> None:
    fork = inherited(CallerSteered(text="Quick!"))
    assert fork.messages[-1] == Message("user", (Text("Quick!"),))


def test_the_order_that_ended_the_source_is_no_part_of_what_goes_on() -> None:
    facts = (*BEGUN, completed(CALL), ToolStarted(call="1.0", name="look"))
    for order in (CancelRequested(by="alice"), CriticKilled(reason="enough")):
        fork, _ = carried("run-0", Life((*facts, order), 0).events)
        assert fork == carried("run-0", Life(facts, 0).events)[0]
        assert fork.version == 4


def test_it_names_the_event_it_goes_on_from() -> None:
    events = Life(BEGUN, 0).events
    fork, _ = carried("run-0", events)
    assert (fork.source, fork.version, fork.hash) == ("run-0", 2, events[-1].hash)


# ------------------------------------------------------------------ any life, cut anywhere


@for_any_life()
def test_every_call_of_an_inherited_conversation_is_answered(life: Life) -> None:
    fork, _ = carried("run-0", life.events)
    seen(list(fork.messages))


@for_any_life()
def test_every_call_is_answered_when_a_fork_that_was_never_begun_is_gone_on_from(life: Life) -> None:
    fork = inherited_by_a_fork("run-0", life.events).forked
    again, _ = carried("run-1", Life((life.facts[0], fork), 0).events)
    seen(list(again.messages))


@for_any_life()
def test_limits_go_on_counting_where_the_source_stood(life: Life) -> None:
    fork, settled = carried("run-0", life.events)
    after = folded(forked(life, fork).facts[:2])
    assert spent(after) == spent(settled) == fork.totals
    assert after.governed.noticed == fork.noticed == life.state.governed.noticed
    assert not settled.open_calls
    assert not settled.governed.children
    assert after.governed.outputs == fork.outputs == settled.governed.outputs
    if fork.phase:
        assert after.phase == fork.phase


@for_any_life()
def test_statistics_begin_anew(life: Life) -> None:
    fork, _ = carried("run-0", life.events)
    after = forked(life, fork)
    ends = [fact for fact in after.facts if isinstance(fact, RunFinished)]
    assert (after.state.tool_calls, after.state.input_tokens, after.state.waited_ms) == (0, 0, 0)
    assert all((end.stats.steps, end.stats.output) == (0, fork.output) for end in ends)


@for_any_life()
def test_nothing_that_was_under_way_is_owed_again(life: Life) -> None:
    fork, _ = carried("run-0", life.events)
    after = forked(life, fork).state
    kinds = {one.key.partition(":")[0] for one in outstanding(after)}
    assert not kinds & {"tool", "child", "expiry", "retry"}
    assert after.over or kinds & {"model", "reserve"}


@for_any_life()
def test_going_on_from_a_run_that_goes_on_loses_and_doubles_nothing(life: Life) -> None:
    fork, _ = carried("run-0", life.events)
    second = forked(life, fork)
    facts = [fact for fact in second.facts if not isinstance(fact, (StepStarted, RunFinished))]
    again, _ = carried("run-1", Life(tuple(facts), 0).events)
    assert again.messages[: len(fork.messages)] == fork.messages
    assert again.totals == fork.totals
    assert (again.outputs, again.output) == (fork.outputs, fork.output)
    assert set(fork.noticed) <= set(again.noticed)


def test_what_a_child_and_a_review_spent_is_carried_too() -> None:
    ask = ToolCall("c1", "agent__helper")
    fork = inherited(
        CriticReviewed(usage=Usage(4, 2, cost_usd=0.25)),
        completed(ask),
        ChildStarted(call="1.0", name="agent__helper", run_id="child", limits=Limits()),
        ChildFinished(call="1.0", run_id="child", status="ok", spent=Totals(steps=9, tool_calls=3, tokens=50)),
    )
    assert fork.totals == Totals(steps=1, tool_calls=4, tokens=8 + 6 + 50, cost_usd=0.25)
