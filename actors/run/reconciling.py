"""What becomes of the tool calls that a dead host left: run again, asked about, or unknown for ever (P4)."""

from __future__ import annotations

from ...events import Fact, ReconcileStarted, ToolFinished, ToolOutcomeUnknown, ToolReconciled
from ...projections import RunState
from .course import settled
from .messages import AcceptReconciled

NOT_AGAIN = "whether it took effect is unknown, and it was not run again"
STOPPED = f"the host stopped while this tool was running; {NOT_AGAIN}"


def left_behind(state: RunState, in_flight: frozenset[str]) -> list[Fact]:
    """What a new host says of the calls that nobody is doing any more; nothing of those that may just be run again.

    A call that was being asked about is asked about again, which needs no new fact.
    """
    facts: list[Fact] = []
    for call in state.open_calls:
        if call.effect in ("pure", "idempotent") or call.asking or f"tool:{call.call}" in in_flight:
            continue
        if call.effect == "reconcilable":
            facts.append(ReconcileStarted(call=call.call, attempt=call.asked + 1))
        else:
            facts.append(ToolOutcomeUnknown(call=call.call, reason=STOPPED))
    return facts


def reconciled(state: RunState, message: AcceptReconciled, now_ms: int) -> list[Fact]:
    """The tool was asked. An answer to an earlier question says nothing about what was run since, and is ignored."""
    call, attempt = message.call, message.attempt
    if not any(one.call == call and one.asking and one.asked == attempt for one in state.open_calls):
        return []
    if message.unknown is not None:
        reason = f"the host stopped while this tool was running, and {message.unknown}; {NOT_AGAIN}"
        return settled(state, [ToolOutcomeUnknown(call=call, reason=reason)], now_ms)
    answer = ToolReconciled(call=call, attempt=attempt, happened=message.happened)
    if not message.happened:
        return [answer]  # it is owed again
    done = ToolFinished(call=call, result=message.text, is_error=message.is_error)
    return settled(state, [answer, done], now_ms)
