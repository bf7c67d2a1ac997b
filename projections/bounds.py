"""The limits of a run: how much is used, what is reached, what the model should be told, and when time is up."""

from __future__ import annotations

from typing import Any

import msgspec

from ..events import BudgetExceeded, BudgetNoticed, Measure, PhasePrint
from .run import RunState, notice_key, spent


class Bound(msgspec.Struct, frozen=True):
    """One limit and how much of it is used. phase: whose limit it is, empty for the run's own."""

    measure: Measure
    used: float
    limit: float
    phase: str = ""

    @property
    def left(self) -> float:
        """What is left of it, not below 0."""
        return max(0.0, self.limit - self.used)


def worked_ms(state: RunState, now_ms: int) -> int:
    """The run's own clock without the time it waited for people, itself or with all its children."""
    waiting = now_ms - state.waiting_since_ms if state.doing == "waiting" else 0
    return max(0, now_ms - state.waited_ms - max(0, waiting))


def bounds(state: RunState, now_ms: int) -> list[Bound]:
    """Every limit of the run and of its phase, time too."""
    total, limits, governed = spent(state), state.limits, state.governed
    worked = worked_ms(state, now_ms)
    turn = state.step - state.turn_from
    found = [Bound("steps", turn, limits.max_steps)]
    found += _metered(limits.max_tool_calls, limits.max_tokens, limits.max_cost_usd, total, "")
    if governed.deadline_ms is not None:
        found.append(Bound("seconds", worked / 1000, governed.deadline_ms / 1000))
    if governed.phase_index >= 0:
        phase: PhasePrint = governed.phases[governed.phase_index]
        since = total.minus(governed.phase_from)
        if phase.max_steps is not None:
            found.append(Bound("steps", min(since.steps, turn), phase.max_steps, phase.name))
        found += _metered(phase.max_tool_calls, phase.max_tokens, phase.max_cost_usd, since, phase.name)
        if phase.timeout_s is not None:
            found.append(Bound("seconds", (worked - governed.phase_from_ms) / 1000, phase.timeout_s, phase.name))
    return found


def _metered(calls: int | None, tokens: int | None, cost: float | None, total: Any, phase: str) -> list[Bound]:
    found: list[Bound] = []
    if calls is not None:
        found.append(Bound("tool_calls", total.tool_calls, calls, phase))
    if tokens is not None:
        found.append(Bound("tokens", total.tokens, tokens, phase))
    if cost is not None:
        found.append(Bound("cost_usd", total.cost_usd, cost, phase))
    return found


def plain(state: RunState) -> bool:
    """Whether only steps and time limit the run: the common case, which need not be looked at closely."""
    limits = state.limits
    return (
        limits.max_tokens is None
        and limits.max_cost_usd is None
        and limits.max_tool_calls is None
        and state.governed.phase_index < 0
    )


def reached(state: RunState, now_ms: int) -> Bound | None:
    """The first limit, time excepted, that leaves no room for another step."""
    if plain(state):
        used = state.step - state.turn_from
        return Bound("steps", used, state.limits.max_steps) if used >= state.limits.max_steps else None
    for bound in bounds(state, now_ms):
        if bound.measure != "seconds" and bound.used >= bound.limit:
            return bound
    return None


def tool_calls_left(state: RunState, now_ms: int) -> Bound | None:
    """The limit of tool calls that leaves the fewest, the run's or its phase's; None without one."""
    if plain(state):
        return None
    found = [bound for bound in bounds(state, now_ms) if bound.measure == "tool_calls"]
    return min(found, key=lambda bound: bound.left, default=None)


def exceeded(bound: Bound) -> BudgetExceeded:
    """The fact that says which limit is reached."""
    scope = f"phase {bound.phase}" if bound.phase else "run"
    return BudgetExceeded(measure=bound.measure, limit=bound.limit, spent=bound.used, scope=scope)


def notices(state: RunState, now_ms: int) -> list[BudgetNoticed]:
    """What the model has not yet been told and should be before its next step: the highest fraction reached of each
    limit.
    """
    marks = state.limits.notice_at
    if not marks:
        return []
    lowest = min(marks)
    if plain(state):
        deadline = state.governed.deadline_ms
        slow = deadline is not None and now_ms - state.waited_ms >= lowest * deadline
        if not slow and state.step - state.turn_from < lowest * state.limits.max_steps:
            return []
    found: list[BudgetNoticed] = []
    for bound in bounds(state, now_ms):
        due = [mark for mark in marks if bound.used >= mark * bound.limit]
        if not due:
            continue
        notice = BudgetNoticed(
            measure=bound.measure, fraction=max(due), spent=bound.used, limit=bound.limit, phase=bound.phase
        )
        if notice_key(notice) not in state.governed.noticed:
            found.append(notice)
    return found


def deadline_ms(state: RunState) -> int | None:
    """When the run's clock reaches its hard deadline, or its phase's, or None if it has none. Waiting for people moves
    it.
    """
    governed = state.governed
    due = governed.deadline_ms
    if governed.phase_index >= 0:
        timeout_s = governed.phases[governed.phase_index].timeout_s
        if timeout_s is not None:
            phase_due = governed.phase_from_ms + round(timeout_s * 1000)
            due = phase_due if due is None else min(due, phase_due)
    return None if due is None else due + state.waited_ms


def soft_timeout_ms(state: RunState) -> int | None:
    """When the run's clock reaches its soft timeout, or None if it has none or it was reached."""
    soft = state.limits.soft_timeout_s
    if soft is None or state.governed.soft_reached:
        return None
    return round(soft * 1000) + state.waited_ms


def self_status(state: RunState, now_ms: int) -> dict[str, Any]:
    """What a run can be told of itself, as JSON: tallies, what is left of each limit, and the deadline in seconds from
    now.
    """
    total = spent(state)
    due = deadline_ms(state)
    return {
        "run_id": state.run_id,
        "step": state.step,
        "phase": state.phase,
        "worked_s": round(worked_ms(state, now_ms) / 1000, 3),
        "deadline_in_s": None if due is None else max(0.0, round((due - now_ms) / 1000, 3)),
        "tool_calls": total.tool_calls,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
        "thinking_tokens": state.thinking_tokens,
        "cost_usd": round(total.cost_usd, 6),
        "children": [child.run_id for child in state.governed.children],
        "limits": [
            {
                "measure": bound.measure,
                "used": round(bound.used, 6),
                "limit": bound.limit,
                "left": round(bound.left, 6),
                **({"phase": bound.phase} if bound.phase else {}),
            }
            for bound in bounds(state, now_ms)
        ],
    }
