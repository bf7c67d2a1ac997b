"""Where a run goes next: another step, another phase, a pause for a person, or its end."""

from __future__ import annotations

from collections.abc import Sequence

from ...events import (
    ApprovalAwaited,
    Fact,
    FamilyAwaited,
    InputAwaited,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    Status,
    StepStarted,
    StopReason,
    Text,
)
from ...projections import Bound, RunState, deadline_ms, evolve, exceeded, notices, reached, stats, worked_ms

UNITS = {"steps": "steps", "tool_calls": "tool calls", "tokens": "tokens", "cost_usd": "dollars", "seconds": "s"}


def folded(state: RunState, facts: Sequence[Fact]) -> RunState:
    """The state after `facts`."""
    for fact in facts:
        state = evolve(state, fact)
    return state


def begun(state: RunState, facts: list[Fact], now_ms: int) -> list[Fact]:
    """The start of a run, or of a fork between two phases: the phase that is next, and its first step."""
    after = folded(state, facts)
    governed = after.governed
    if governed.phase_index < len(governed.outputs) < len(governed.phases):
        facts = [*facts, _phase(after, len(governed.outputs), now_ms)]
    return onward(state, facts, now_ms)


def onward(state: RunState, facts: list[Fact], now_ms: int) -> list[Fact]:
    """`facts`, and then the next step, or the end if a limit leaves no room for one."""
    return _onward(folded(state, facts), facts, now_ms)


def _onward(after: RunState, facts: list[Fact], now_ms: int) -> list[Fact]:
    """The same, when the state after `facts` is known."""
    bound = reached(after, now_ms)
    if bound is not None:
        return [*facts, *_at_the_limit(after, bound, now_ms)]
    if after.governed.budgeted:
        return facts  # the step begins when the budget grants it
    return [*facts, *notices(after, now_ms), StepStarted(step=after.step + 1)]


def settled(state: RunState, facts: list[Fact], now_ms: int) -> list[Fact]:
    """`facts` closed something that was under way, or left it waiting for a person: on, unless something else is under
    way, or a person must answer first, here or in a child.
    """
    after = folded(state, facts)
    if after.open_calls or not all(child.waits for child in after.governed.children):
        return facts
    if after.governed.children:
        return [*facts, FamilyAwaited(since_ms=now_ms)]
    if after.governed.approvals:
        return [*facts, ApprovalAwaited(since_ms=now_ms)]
    return _onward(after, facts, now_ms)


def said_its_say(state: RunState, facts: list[Fact], stop: StopReason, misfit: str | None, now_ms: int) -> list[Fact]:
    """A reply without tool calls: read on if somebody spoke meanwhile, else the phase or the run is done."""
    after = folded(state, facts)
    if after.heard:
        return _onward(after, facts, now_ms)
    if stop in ("content_filter", "refusal"):
        why = f"the model stopped with {stop}"
        return [*facts, finished(after, "error", "model", why, now_ms, error=why)]
    if misfit is not None:
        return onward(state, [*facts, OutputRefused(reason=misfit)], now_ms)
    governed = after.governed
    if len(governed.outputs) <= governed.phase_index:  # a conversation goes on after its last phase, which ends once
        facts = [*facts, PhaseFinished(phase=after.phase, output=after.output)]
        after = folded(state, facts)
        if governed.phase_index + 1 < len(governed.phases):
            return onward(state, [*facts, _phase(after, governed.phase_index + 1, now_ms)], now_ms)
    if state.interactive:
        return [*facts, InputAwaited(since_ms=now_ms)]
    status: Status = "dry_run" if state.dry_run else "ok"
    why = "" if stop == "stop" else f"the model stopped with {stop}"
    return [*facts, finished(after, status, "model", why, now_ms)]


def _phase(state: RunState, index: int, now_ms: int) -> PhaseStarted:
    phase = state.governed.phases[index]
    earlier = [Text(f"Output of phase {name}:\n{output}") for name, output in state.governed.outputs]
    return PhaseStarted(
        phase=phase.name,
        index=index,
        instructions=phase.instructions,
        input=(*state.governed.input, *earlier),
        at_ms=worked_ms(state, now_ms),
    )


def _at_the_limit(state: RunState, bound: Bound, now_ms: int) -> list[Fact]:
    whose = f"phase {bound.phase}'s " if bound.phase else "the "
    if bound.measure == "steps":
        why = f"{whose}ceiling of {bound.limit:g} steps is reached"
        return [finished(state, "error", "ceiling", why, now_ms, error=why)]
    why = f"{whose}limit of {bound.limit:.6g} {UNITS[bound.measure]} is reached: {bound.used:.6g} used"
    return [exceeded(bound), finished(state, "budget_exceeded", "limits", why, now_ms, error=why)]


def out_of_time(state: RunState, now_ms: int) -> list[Fact]:
    """The deadline has come, or nothing if it has moved."""
    due = deadline_ms(state)
    if state.doing in ("new", "over", "waiting") or due is None or now_ms < due:
        return []
    limit_s = (due - state.waited_ms) / 1000
    why = f"the deadline of {limit_s:g} s is over"
    governed = state.governed
    if governed.deadline_ms is None or due - state.waited_ms < governed.deadline_ms:
        phase = governed.phases[governed.phase_index]
        why = f"phase {phase.name}'s deadline of {phase.timeout_s:g} s is over"
    return [finished(state, "timeout", "deadline", why, now_ms)]


def finished(state: RunState, status: Status, by: str, reason: str, now_ms: int, error: str = "") -> RunFinished:
    """The run's end, with what it has spent and said."""
    total = stats(state, status, error, now_ms)
    return RunFinished(stats=total, by=by, reason=reason, family=state.governed.family)
