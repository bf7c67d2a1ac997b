"""Hypothesis strategies for lives of runs: what follows when the world and people say one thing after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from executus.actors.run.decide import decide
from executus.actors.run.messages import (
    AcceptChild,
    AcceptChildWait,
    AcceptGrant,
    AcceptModelFailure,
    AcceptPlans,
    AcceptReply,
    AcceptResult,
    ApprovalPlan,
    ApproveCall,
    CancelRun,
    ChargeReview,
    ChildPlan,
    DenyCall,
    ExpireApproval,
    ExtendRun,
    KillRun,
    RaiseCeiling,
    ReachSoftTimeout,
    RetryStep,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
    ToolPlan,
)
from executus.actors.run.refusal import Refusal
from executus.events import (
    Event,
    Fact,
    Limits,
    PhasePrint,
    RunFinished,
    RunForked,
    Text,
    ToolCall,
    Totals,
    Usage,
    tag_of,
)
from executus.ports import Reply
from executus.projections import CallModel, CallTool, Owed, PlanCalls, Reserve, RunChild, RunState, evolve, outstanding
from executus.testing import SPEC_RUN_ID, run_started

PLANS: list[ToolPlan] = [
    ToolPlan("pure"),
    ToolPlan("never_retry"),
    ToolPlan(refusal="no such tool"),
    ToolPlan(approval=ApprovalPlan(50, "deny")),
    ToolPlan(approval=ApprovalPlan(None)),
    ToolPlan(child=ChildPlan("child", "agent", Limits(max_tool_calls=3, max_tokens=40))),
]

limits = st.builds(
    Limits,
    max_steps=st.sampled_from([9, 3, 2]),
    max_attempts=st.just(3),
    timeout_s=st.sampled_from([20.0, 5.0, None]),
    soft_timeout_s=st.sampled_from([None, 5.0]),
    max_tool_calls=st.sampled_from([None, None, None, 6]),
    max_tokens=st.sampled_from([None, None, None, 60]),
    max_cost_usd=st.sampled_from([None, None, None, 1.0]),
    notice_at=st.sampled_from([(0.5,), (0.75, 0.25), ()]),
)
phases = st.sampled_from(
    [
        (),
        (),
        (
            PhasePrint(name="plan", instructions="Plan.", max_steps=4, timeout_s=10.0),
            PhasePrint(name="write", max_tool_calls=4, max_tokens=40),
        ),
    ]
)


@dataclass(frozen=True)
class Life:
    """What happened, when the run's clock stands at `now_ms`."""

    facts: tuple[Fact, ...]
    now_ms: int

    @cached_property
    def state(self) -> RunState:
        """Where the run stands."""
        return folded(self.facts)

    @property
    def events(self) -> list[Event]:
        """The facts in their envelopes, without the end."""
        return [event for event in self.events_with_the_end if not isinstance(event.fact, RunFinished)]

    @property
    def events_with_the_end(self) -> list[Event]:
        """The facts in their envelopes."""
        return [
            Event(
                run_id=SPEC_RUN_ID,
                version=version,
                tag=tag_of(fact),
                fact=fact,
                hash=version.to_bytes(32),
                elapsed_ms=0,
            )
            for version, fact in enumerate(self.facts, 1)
        ]


def folded(facts: Sequence[Fact]) -> RunState:
    """Where a run with these facts stands."""
    state = RunState()
    for fact in facts:
        state = evolve(state, fact)
    return state


@st.composite
def lives(draw: st.DrawFn, most: int = 14) -> Life:
    """A life of up to so many messages, cut off anywhere; not many end by an order."""
    started = run_started(
        "Go.",
        instructions="Be brief.",
        limits=draw(limits),
        phases=draw(phases),
        interactive=draw(st.booleans()),
        budgeted=draw(st.booleans()),
    )
    return lived_on(draw, decide(RunState(), StartRun(started=started), 0), most)


def lived_on(draw: st.DrawFn, begun: Sequence[Fact], most: int = 14) -> Life:
    """A life that begins with these facts and goes on for up to so many messages."""
    now_ms = 0
    facts = list(begun)
    state = folded(facts)
    for _ in range(draw(st.integers(0, most))):
        now_ms += draw(st.sampled_from([0, 0, 100, 3_000]))
        working = [one for one in outstanding(state) if not one.key.startswith(("deadline:", "soft:", "expiry:"))]
        world = bool(working) and draw(st.integers(0, 3)) > 0
        message = answer(draw, state, draw(st.sampled_from(working))) if world else said(draw, state, now_ms)
        with suppress(Refusal):
            for fact in decide(state, message, now_ms):
                facts.append(fact)
                state = evolve(state, fact)
        if state.over:
            break
    return Life(tuple(facts), now_ms)


def answer(draw: st.DrawFn, state: RunState, owed: Owed) -> RunMessage:
    """What the world says to something that is owed."""
    match owed:
        case CallModel():
            if draw(st.integers(0, 9)) == 9:
                return AcceptModelFailure(step=owed.step, attempt=owed.attempt, error="busy")
            plans = draw(st.lists(st.sampled_from(PLANS), max_size=3))
            calls = [ToolCall(f"id{index}", f"tool{index}") for index in range(len(plans))]
            usage = Usage(
                draw(st.integers(0, 9)), draw(st.integers(0, 9)), cost_usd=draw(st.sampled_from([None, 0.125]))
            )
            reply = Reply((Text(f"words {owed.step}"), *calls), usage, "tool_calls" if calls else "stop")
            misfit = draw(st.sampled_from([None, None, "expected JSON"]))
            return AcceptReply(step=owed.step, attempt=owed.attempt, reply=reply, plans=tuple(plans), misfit=misfit)
        case PlanCalls():
            plans = [draw(st.sampled_from(PLANS)) for _ in owed.calls]
            return AcceptPlans(step=owed.step, plans=tuple(plans))
        case CallTool():
            return AcceptResult(call=owed.call.call, text="seen", is_error=draw(st.booleans()))
        case RunChild():
            child = owed.child
            spent = Totals(steps=3, tool_calls=draw(st.integers(0, 3)), tokens=draw(st.integers(0, 40)))
            status: Any = draw(st.sampled_from(["ok", "timeout"]))
            return AcceptChild(call=child.call, run_id=child.run_id, status=status, output="there", spent=spent)
        case Reserve():
            return AcceptGrant(step=owed.step, attempt=owed.attempt, tokens=9)
        case _:
            return RetryStep(step=state.step, attempt=state.attempt)


def said(draw: st.DrawFn, state: RunState, now_ms: int) -> RunMessage:
    """What people and critics say, and clocks."""
    approvals = state.governed.approvals
    if approvals and draw(st.integers(0, 3)):
        call = draw(st.sampled_from(approvals)).call
        answers: list[RunMessage] = [
            ApproveCall(call=call),
            DenyCall(call=call, reason="no"),
            ExpireApproval(call=call, now_us=50),
        ]
        return draw(st.sampled_from(answers))
    children = state.governed.children
    if children and draw(st.booleans()):
        child = draw(st.sampled_from(children))
        return AcceptChildWait(call=child.call, run_id=child.run_id, waits=draw(st.booleans()))
    others: list[RunMessage] = [
        SendInput(input=(Text("More."),)),
        SteerRun(text="Quick!"),
        SteerRun(text="Again.", by="critic", critic=True),
        ExtendRun(seconds=7.0, critic=True),
        RaiseCeiling(limit="steps", more=2, critic=True),
        ChargeReview(usage=Usage(3, 2, cost_usd=0.125)),
        ReachSoftTimeout(at_ms=now_ms),
        SendInput(input=(Text("Go on."),)),
        CancelRun(by="alice"),
        KillRun(by="critic", critic=True),
    ]
    return draw(st.sampled_from(others))


def forked(life: Life, fork: RunForked) -> Life:
    """The life of a run that goes on from `life`, at its beginning; phases are the same."""
    start = life.facts[0]
    return Life(tuple(decide(RunState(), StartRun(started=start, forked=fork), 0)), 0)  # type: ignore[arg-type]


def for_any_life(*more: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`given` a life, and `more`; never against the clock."""
    return lambda test: settings(max_examples=60, deadline=None)(given(lives(), *more)(test))
