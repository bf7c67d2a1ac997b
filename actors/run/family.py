"""What a run gives to its children of what it has left, and what it does when one is over or its own parent is."""

from __future__ import annotations

import math

from msgspec.structs import replace

from ...events import (
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    Fact,
    Limits,
    Status,
    ToolRefused,
)
from ...projections import OpenChild, RunState, bounds
from .course import UNITS, finished, settled
from .messages import AcceptChild, AcceptChildWait, ChildPlan, EndWithParent
from .people import waited_ms

STOPS: tuple[Status, ...] = ("killed", "cancelled", "timeout", "budget_exceeded")
"""Ends that a child shares with its parent; after any other it is cancelled."""


def born(
    state: RunState, call: str, name: str, plan: ChildPlan, sharing: int, calls_left: float, now_ms: int
) -> ChildStarted | ToolRefused:
    """The child's first trace in its parent, with its limits carved; or why there will be none.

    sharing: children of this reply that still want a part, this one included: what is left is divided evenly.
    calls_left: tool calls that the reply's own calls leave for them.
    """
    parent = state.limits
    if parent.max_depth < 1:
        return ToolRefused(call=call, name=name, reason="no deeper children are allowed here")
    limits = replace(plan.limits, max_depth=min(plan.limits.max_depth, parent.max_depth - 1))
    lefts = {"tool_calls": calls_left, "tokens": math.inf, "cost_usd": math.inf, "seconds": math.inf}
    for bound in bounds(state, now_ms):
        if bound.measure in lefts and bound.measure != "tool_calls":
            lefts[bound.measure] = min(lefts[bound.measure], bound.left)
    for child in state.governed.children:
        lefts["tokens"] -= child.limits.max_tokens or 0
        lefts["cost_usd"] -= child.limits.max_cost_usd or 0.0
    for measure, left in lefts.items():
        share = left if measure == "seconds" else left / sharing
        if measure in ("tool_calls", "tokens") and share < math.inf:
            share = math.floor(share)
        if share <= 0:
            return ToolRefused(call=call, name=name, reason=f"this run has no {UNITS[measure]} left for a child")
        limits = _carved(limits, measure, share)
    return ChildStarted(call=call, name=name, run_id=plan.run_id, kind=plan.kind, limits=limits)


def _carved(limits: Limits, measure: str, share: float) -> Limits:
    if share == math.inf:
        return limits
    match measure:
        case "tool_calls":
            return replace(limits, max_tool_calls=round(min(share, limits.max_tool_calls or math.inf)))
        case "tokens":
            return replace(limits, max_tokens=round(min(share, limits.max_tokens or math.inf)))
        case "cost_usd":
            return replace(limits, max_cost_usd=min(share, limits.max_cost_usd or math.inf))
        case _:
            return replace(limits, timeout_s=min(share, limits.timeout_s or math.inf))


def child_over(state: RunState, message: AcceptChild, now_ms: int) -> list[Fact]:
    """A child's end answers the call that started it."""
    child = _open(state, message.call)
    if child is None:
        return []
    over = ChildFinished(
        call=message.call,
        run_id=message.run_id,
        status=message.status,
        output=message.output,
        spent=message.spent,
    )
    facts: list[Fact] = [*_gone_on(state, child, now_ms), over] if child.waits else [over]
    return settled(state, facts, now_ms)


def child_waits(state: RunState, message: AcceptChildWait, now_ms: int) -> list[Fact]:
    """A child waits for a person: if everything under way does, the run stands still. Or the child goes on, and so does
    the run.
    """
    child = _open(state, message.call)
    if child is None or child.waits == message.waits:
        return []
    if not message.waits:
        return _gone_on(state, child, now_ms)
    return settled(state, [ChildWaited(call=child.call, run_id=child.run_id)], now_ms)


def _gone_on(state: RunState, child: OpenChild, now_ms: int) -> list[Fact]:
    return [ChildWentOn(call=child.call, run_id=child.run_id, waited_ms=waited_ms(state, now_ms))]


def _open(state: RunState, call: str) -> OpenChild | None:
    for child in state.governed.children:
        if child.call == call:
            return child
    return None


def ended_with_parent(state: RunState, message: EndWithParent, now_ms: int) -> list[Fact]:
    """No child outlives its parent."""
    if state.doing in ("new", "over"):
        return []
    status: Status = message.status if message.status in STOPS else "cancelled"
    return [finished(state, status, "parent", message.reason, now_ms)]
