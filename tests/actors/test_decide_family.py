"""What a run gives to its children, and what it does when one is over, or its own parent is."""

from __future__ import annotations

import pytest
from run_specs import CALL, after_steps, completed, end_of, reply

from executus.actors.run.messages import (
    AcceptChild,
    AcceptResult,
    CancelRun,
    ChildPlan,
    EndByDeadline,
    EndWithParent,
    KillRun,
    ResumeRun,
    RunMessage,
    ToolPlan,
)
from executus.events import (
    BudgetExceeded,
    ChildFinished,
    ChildStarted,
    InputAwaited,
    Limits,
    RunFinished,
    RunResumed,
    RunStats,
    Status,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolRefused,
    ToolResult,
    ToolStarted,
    Totals,
)
from executus.testing import RunSpec, run_started

ASK = ToolCall("c1", "agent__helper", '{"prompt": "Look."}')
ASK_TOO = ToolCall("c2", "agent__helper", '{"prompt": "Look there."}')
OWN = Limits(max_steps=5, timeout_s=30.0, max_depth=2)
"""What a helper has if nobody gives it less."""


def plan(number: int = 1, limits: Limits = OWN) -> ToolPlan:
    return ToolPlan("never_retry", child=ChildPlan(f"child-{number}", "agent", limits))


def asked(limits: Limits) -> RunSpec:
    return RunSpec().given(run_started(limits=limits), StepStarted(step=1))


def born(call: str = "1.0", number: int = 1, limits: Limits = OWN) -> ChildStarted:
    return ChildStarted(call=call, name="agent__helper", run_id=f"child-{number}", limits=limits)


def carved(run: RunSpec, *plans: ToolPlan, now_ms: int = 0) -> list[Limits | str]:
    """What the children of one reply get, or why they are not born."""
    calls = [ToolCall(f"c{index}", "agent__helper") for index in range(len(plans))]
    facts = run.when(reply(*calls, plans=plans), now_ms=now_ms).facts
    return [
        fact.limits if isinstance(fact, ChildStarted) else fact.reason
        for fact in facts
        if isinstance(fact, (ChildStarted, ToolRefused))
    ]


ROOMY = asked(Limits(timeout_s=None))
PARENT = ROOMY.given(completed(ASK), born(limits=Limits(max_steps=5, timeout_s=30.0, max_depth=2)))
"""One child is under way."""


# ------------------------------------------------------------------ birth


def test_a_call_of_a_delegate_is_a_run_of_its_own() -> None:
    after = ROOMY.when(reply(ASK, plans=(plan(),))).then(completed(ASK), born())
    after.owes("child:1.0")
    assert after.state.tool_calls == 1
    (child,) = after.state.governed.children
    assert (child.run_id, child.arguments) == ("child-1", '{"prompt": "Look."}')


def test_each_generation_may_have_one_less_below_it() -> None:
    assert carved(asked(Limits(timeout_s=None, max_depth=1)), plan()) == [
        Limits(max_steps=5, timeout_s=30.0, max_depth=0)
    ]
    why = "no deeper children are allowed here"
    assert carved(asked(Limits(timeout_s=None, max_depth=0)), plan(), plan(2)) == [why, why]


def test_a_child_that_is_refused_is_told_to_the_model_and_the_run_goes_on() -> None:
    asked(Limits(timeout_s=None, max_depth=0)).when(reply(ASK, plans=(plan(),))).then(
        completed(ASK),
        ToolRefused(call="1.0", name="agent__helper", reason="no deeper children are allowed here"),
        StepStarted(step=2),
    )


def test_without_limits_above_it_a_child_keeps_its_own() -> None:
    mine = Limits(max_steps=5, timeout_s=30.0, max_tokens=70, max_cost_usd=0.5, max_tool_calls=2, max_depth=2)
    assert carved(ROOMY, plan(limits=mine)) == [mine]


def test_a_child_gets_what_is_left_and_the_reply_that_asked_for_it_is_paid_first() -> None:
    (limits,) = carved(asked(Limits(timeout_s=None, max_tokens=108, max_cost_usd=2.0)), plan())
    assert isinstance(limits, Limits)
    assert (limits.max_tokens, limits.max_cost_usd) == (100, 2.0)


def test_a_child_that_wants_less_than_its_share_gets_what_it_wants() -> None:
    small = Limits(max_steps=5, timeout_s=3.0, max_tokens=7, max_cost_usd=0.25, max_tool_calls=1, max_depth=2)
    parent = asked(Limits(timeout_s=60.0, max_tokens=1_000, max_cost_usd=5.0, max_tool_calls=50))
    assert carved(parent, plan(limits=small)) == [small]


def test_children_of_one_reply_share_evenly_and_what_one_does_not_want_is_the_next_ones() -> None:
    parent = asked(Limits(timeout_s=None, max_tokens=308, max_cost_usd=3.0))
    small = Limits(max_tokens=40, max_cost_usd=0.5, timeout_s=None, max_depth=2)
    got = carved(parent, plan(1, small), plan(2), plan(3))
    assert [(one.max_tokens, one.max_cost_usd) for one in got if isinstance(one, Limits)] == [
        (40, 0.5),
        (130, 1.25),
        (130, 1.25),
    ]


def test_time_is_not_shared_because_children_work_at_once() -> None:
    got = carved(asked(Limits(timeout_s=20.0)), plan(1), plan(2), now_ms=5_000)
    assert [one.timeout_s for one in got if isinstance(one, Limits)] == [15.0, 15.0]


@pytest.mark.parametrize("calls", [3, 4, 9, 10, 11])
@pytest.mark.parametrize("children", [1, 2, 3])
def test_a_family_never_has_more_tool_calls_than_its_root_may_make(calls: int, children: int) -> None:
    got = carved(asked(Limits(timeout_s=None, max_tool_calls=calls)), *[plan(n) for n in range(children)])
    given = [one for one in got if isinstance(one, Limits)]
    assert len(given) + sum(one.max_tool_calls or 0 for one in given) <= calls


def test_nothing_left_is_no_child() -> None:
    assert carved(asked(Limits(timeout_s=None, max_tokens=9)), plan(), plan(2)) == [
        "this run has no tokens left for a child",
        Limits(max_steps=5, timeout_s=30.0, max_depth=2, max_tokens=1),
    ]
    assert carved(asked(Limits(timeout_s=None, max_tokens=5)), plan()) == ["this run has no tokens left for a child"]
    assert carved(asked(Limits(timeout_s=5.0)), plan(), now_ms=5_000) == ["this run has no s left for a child"]


def test_a_dry_run_has_no_children() -> None:
    dry = RunSpec().given(run_started(dry_run=True), StepStarted(step=1))
    assert carved(dry, plan()) == ["dry run: the tool was not executed"]


# ------------------------------------------------------------------ AcceptChild


def over(status: Status = "ok", output: str = "There it is.", call: str = "1.0", **spent: float) -> AcceptChild:
    totals = Totals(**spent)  # type: ignore[arg-type]
    return AcceptChild(call=call, run_id="child-1", status=status, output=output, spent=totals)


def test_a_childs_end_answers_the_call_that_started_it() -> None:
    spent = Totals(steps=3, tool_calls=2, tokens=50, cost_usd=0.5)
    after = PARENT.when(over(steps=3, tool_calls=2, tokens=50, cost_usd=0.5)).then(
        ChildFinished(call="1.0", run_id="child-1", status="ok", output="There it is.", spent=spent),
        StepStarted(step=2),
    )
    assert after.transcript[-1].parts == (ToolResult("c1", "agent__helper", "There it is."),)


@pytest.mark.parametrize("status", ["error", "timeout", "killed", "cancelled", "budget_exceeded"])
def test_the_model_is_told_how_a_child_ended_that_did_not_end_well(status: Status) -> None:
    after = PARENT.given(*PARENT.when(over(status, "So far this.")).facts)
    text = f"It ended with status {status}. So far this."
    assert after.transcript[-1].parts == (ToolResult("c1", "agent__helper", text, True),)


def test_a_child_is_over_once() -> None:
    after = PARENT.given(*PARENT.when(over()).facts)
    after.when(over("killed")).then_nothing()
    PARENT.when(over(call="1.1")).then_nothing()
    RunSpec().when(over()).then_nothing()


def test_the_others_are_awaited_before_the_next_step() -> None:
    run = ROOMY.given(completed(ASK, ASK_TOO, CALL), born(), born("1.1", 2), ToolStarted(call="1.2", name="look"))
    run.owes("child:1.0", "child:1.1", "tool:1.2")
    run = run.when(over()).then(ChildFinished(call="1.0", run_id="child-1", status="ok", output="There it is."))
    run = run.when(AcceptResult(call="1.2", text="seen")).then(ToolFinished(call="1.2", result="seen"))
    last = AcceptChild(call="1.1", run_id="child-2", status="ok")
    run.when(last).then(ChildFinished(call="1.1", run_id="child-2", status="ok"), StepStarted(step=2))


def test_what_children_spent_counts_against_the_limits_and_not_in_the_statistics() -> None:
    parent = asked(Limits(timeout_s=None, max_tokens=108)).given(completed(Text("I ask."), ASK), born())
    spent = Totals(steps=4, tool_calls=3, tokens=101, cost_usd=0.25)
    parent.when(over(steps=4, tool_calls=3, tokens=101, cost_usd=0.25)).then(
        ChildFinished(call="1.0", run_id="child-1", status="ok", output="There it is.", spent=spent),
        BudgetExceeded(measure="tokens", limit=108, spent=109),
        RunFinished(
            stats=after_steps(
                1,
                status="budget_exceeded",
                output="I ask.",
                error="the limit of 108 tokens is reached: 109 used",
                tool_calls=1,
            ),
            by="limits",
            reason="the limit of 108 tokens is reached: 109 used",
            family=spent,
        ),
    )


def test_steps_of_children_are_their_own() -> None:
    parent = asked(Limits(max_steps=2, timeout_s=None)).given(completed(ASK), born())
    assert isinstance(parent.when(over(steps=40)).facts[-1], StepStarted)


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize(
    "message", [CancelRun(by="bob"), KillRun(by="ops"), EndByDeadline(at_ms=60_000), EndWithParent(status="killed")]
)
def test_a_run_that_is_stopped_waits_for_no_child(message: RunMessage) -> None:
    run = asked(Limits(timeout_s=60.0)).given(completed(ASK), born())
    after = run.given(*run.when(message, now_ms=60_000).facts)
    assert after.state.over
    after.owes()
    after.when(over()).then_nothing()


@pytest.mark.parametrize(
    ("parents", "childs"),
    [
        ("killed", "killed"),
        ("cancelled", "cancelled"),
        ("timeout", "timeout"),
        ("budget_exceeded", "budget_exceeded"),
        ("error", "cancelled"),
        ("ok", "cancelled"),
        ("dry_run", "cancelled"),
    ],
)
def test_no_child_outlives_its_parent_and_stops_as_it_did(parents: Status, childs: Status) -> None:
    waiting = ROOMY.given(completed(Text("Yes?")), InputAwaited(since_ms=0))
    for run in (ROOMY, PARENT, waiting):
        end = end_of(run.when(EndWithParent(status=parents, reason="going in circles")))
        assert (end.status, end.by, end.reason) == (childs, "parent", "going in circles")


def test_the_end_of_a_parent_changes_nothing_before_the_start_and_after_the_end() -> None:
    RunSpec().when(EndWithParent(status="killed")).then_nothing()
    done = ROOMY.given(RunFinished(stats=RunStats(status="ok", steps=1), by="model"))
    done.when(EndWithParent(status="killed")).then_nothing()


# ------------------------------------------------------------------ a new host


def test_children_are_found_again_by_a_new_host_and_never_called_unknown() -> None:
    run = ROOMY.given(completed(ASK, CALL), born(), ToolStarted(call="1.1", name="look"))
    facts = run.when(ResumeRun(epoch=2, reason="x")).facts
    assert [type(fact).__name__ for fact in facts] == ["RunResumed", "ToolOutcomeUnknown"]
    run.given(*facts).owes("child:1.0")
    PARENT.when(ResumeRun(epoch=2, reason="x")).then(RunResumed(reason="x", epoch=2)).owes("child:1.0")


def test_a_reply_that_names_no_delegate_is_not_touched_by_families() -> None:
    facts = ROOMY.when(reply(CALL, plans=(ToolPlan("pure"),))).facts
    assert [type(fact) for fact in facts] == [StepCompleted, ToolStarted]
