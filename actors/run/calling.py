"""What becomes of the calls of a reply: started, asked about first, a run of its own, or refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ...events import ApprovalRequested, ChildStarted, Fact, ToolCall, ToolRefused, ToolStarted
from ...projections import RunState, tool_calls_left
from .course import folded, settled
from .family import born
from .messages import ToolPlan

Asking: TypeAlias = tuple[str, ToolCall, ToolPlan]
"""A call by its name in the run, as the model asked for it, and what is known about it."""


def taken_up(state: RunState, facts: list[Fact], calls: Sequence[Asking], now_ms: int) -> list[Fact]:
    """`facts`, and then what becomes of `calls`; on, if nothing of that is under way."""
    under_way = False
    for fact in _calls(state, tuple(facts), calls, now_ms):
        facts.append(fact)
        under_way = under_way or type(fact) is ToolStarted
    return facts if under_way else settled(state, facts, now_ms)


def _calls(state: RunState, before: tuple[Fact, ...], calls: Sequence[Asking], now_ms: int) -> list[Fact]:
    bound = tool_calls_left(state, now_ms)
    left = math.inf if bound is None else bound.limit - bound.used
    facts: list[Fact] = []
    children = sum(plan.child is not None and plan.refusal is None for _, _, plan in calls)
    for index, (call, asked, plan) in enumerate(calls):
        name = asked.name
        if plan.refusal is not None:
            facts.append(ToolRefused(call=call, name=name, reason=plan.refusal))
        elif state.dry_run:
            facts.append(ToolRefused(call=call, name=name, reason="dry run: the tool was not executed"))
        elif bound is not None and left <= 0:
            whose = f"phase {bound.phase}'s " if bound.phase else "the "
            why = f"{whose}limit of {round(bound.limit)} tool calls is reached"
            facts.append(ToolRefused(call=call, name=name, reason=why))
        elif plan.child is not None:
            after = folded(state, [*before, *facts])
            later = len(calls) - index  # each call of this reply is one of the family's too, this one included
            child = born(after, call, name, plan.child, children, left - later, now_ms)
            facts.append(child)
            children -= 1
            if type(child) is ChildStarted:
                left -= child.limits.max_tool_calls or 0
        elif plan.approval is not None:
            terms = plan.approval
            facts.append(
                ApprovalRequested(
                    call=call,
                    name=name,
                    effect=plan.effect,
                    expires_at_us=terms.expires_at_us,
                    default=terms.default,
                    question=terms.question,
                )
            )
        else:
            facts.append(ToolStarted(call=call, name=name, effect=plan.effect))
        if type(facts[-1]) is not ToolRefused:
            left -= 1
    return facts
