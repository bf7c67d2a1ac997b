"""What a run does about the answers of people: to what it asked before acting, and in a conversation."""

from __future__ import annotations

from ...events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    CancelRequested,
    Fact,
    InputReceived,
    Status,
    ToolRefused,
    ToolStarted,
)
from ...projections import PendingApproval, RunState
from .course import finished, folded, onward, settled
from .messages import ApproveCall, CancelRun, DenyCall, EndRun, ExpireApproval, SendInput
from .refusal import Refusal, must_be_live, must_have_started


def waited_ms(state: RunState, now_ms: int) -> int:
    """How long the run has been waiting for a person, here or in its children."""
    return max(0, now_ms - state.waiting_since_ms) if state.doing == "waiting" else 0


def sent(state: RunState, message: SendInput, now_ms: int) -> list[Fact]:
    """A person's next message."""
    must_be_live(state)
    if not state.interactive:
        raise Refusal("it is not interactive; start it with interactive=True, or use steer")
    if state.governed.paused:
        raise Refusal("it is a fork that has not begun; use begin, or steer")
    if state.awaits_message:
        received = InputReceived(input=message.input, by=message.by, waited_ms=waited_ms(state, now_ms))
        return onward(state, [received], now_ms)
    return [InputReceived(input=message.input, by=message.by)]


def ended(state: RunState, message: EndRun, now_ms: int) -> list[Fact]:
    """The person is done."""
    if state.over:
        return []
    must_have_started(state)
    if not state.interactive:
        raise Refusal("it is not interactive; use cancel")
    if state.governed.paused:
        raise Refusal("it is a fork that has not begun; use begin or cancel")
    if not state.awaits_message:
        raise Refusal("it is busy answering; wait until it is waiting, or use cancel")
    facts: list[Fact] = []
    if message.input:
        facts.append(InputReceived(input=message.input, by=message.by, waited_ms=waited_ms(state, now_ms)))
    status: Status = "dry_run" if state.dry_run else "ok"
    by = message.by or "caller"
    return [*facts, finished(folded(state, facts), status, by, "ended by the caller", now_ms)]


def cancelled(state: RunState, message: CancelRun, now_ms: int) -> list[Fact]:
    """The caller wants no more of it."""
    if state.over:
        return []
    must_have_started(state)
    requested = CancelRequested(by=message.by, reason=message.reason)
    return [requested, finished(state, "cancelled", message.by or "caller", message.reason, now_ms)]


def approved(state: RunState, message: ApproveCall, now_ms: int) -> list[Fact]:
    """A yes: the call starts."""
    pending = _asked(state, message.call)
    granted = ApprovalGranted(call=pending.call, by=message.by, waited_ms=waited_ms(state, now_ms))
    return [granted, ToolStarted(call=pending.call, name=pending.name, effect=pending.effect)]


def denied(state: RunState, message: DenyCall, now_ms: int) -> list[Fact]:
    """A no: the model is told."""
    pending = _asked(state, message.call)
    fact = ApprovalDenied(call=pending.call, by=message.by, reason=message.reason, waited_ms=waited_ms(state, now_ms))
    who = f" by {message.by}" if message.by else ""
    why = f": {message.reason}" if message.reason else ""
    refused = ToolRefused(call=pending.call, name=pending.name, reason=f"the approval was denied{who}{why}")
    return settled(state, [fact, refused], now_ms)


def expired(state: RunState, message: ExpireApproval, now_ms: int) -> list[Fact]:
    """Silence, which is not a no: what the request set as its default happens."""
    pending = _pending(state, message.call)
    if pending is None or pending.expires_at_us is None or message.now_us < pending.expires_at_us:
        return []
    fact = ApprovalExpired(call=pending.call, waited_ms=waited_ms(state, now_ms))
    if pending.default == "grant":
        return [fact, ToolStarted(call=pending.call, name=pending.name, effect=pending.effect)]
    why = "nobody answered the request for approval in time, which is not a no; the tool was not run"
    refused = ToolRefused(call=pending.call, name=pending.name, reason=why)
    return settled(state, [fact, refused], now_ms)


def _pending(state: RunState, call: str) -> PendingApproval | None:
    for one in state.governed.approvals:
        if one.call == call:
            return one
    return None


def _asked(state: RunState, call: str) -> PendingApproval:
    must_be_live(state)
    pending = _pending(state, call)
    if pending is None:
        waiting = ", ".join(one.call for one in state.governed.approvals) or "none"
        raise Refusal(f"call {call!r} does not wait for an approval; those that do: {waiting}")
    return pending
