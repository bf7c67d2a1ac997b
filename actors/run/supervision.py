"""What a run does about orders of its supervision: a critic's, which are bounded and never answered, or a person's."""

from __future__ import annotations

from ...events import (
    CallerSteered,
    CeilingRaised,
    CriticLost,
    DeadlineExtended,
    Fact,
    SoftTimeoutReached,
)
from ...projections import RunState, soft_timeout_ms
from ...projections.supervising import advised, billed, ceiling, condemned, given_steps, given_time, noticed, until_ms
from .course import finished
from .messages import (
    ChargeReview,
    ExtendRun,
    KillRun,
    LoseCritic,
    ObserveRun,
    RaiseCeiling,
    ReachSoftTimeout,
    SteerRun,
)
from .refusal import Refusal, must_be_live


def steered(state: RunState, message: SteerRun) -> list[Fact]:
    """Advice: the model reads it at its next step."""
    if message.critic:
        return advised(state, message.text, message.by, message.evidence)
    must_be_live(state)
    if state.awaits_message:
        raise Refusal("it waits for a person's message; use send")
    return [CallerSteered(text=message.text, by=message.by)]


def observed(state: RunState, message: ObserveRun) -> list[Fact]:
    """Something noticed."""
    return noticed(state, message.text, message.by, message.evidence)


def extended(state: RunState, message: ExtendRun) -> list[Fact]:
    """More time. A critic's order that is too late or beyond its cap changes nothing: the old deadline stands."""
    if message.critic:
        return given_time(state, message.seconds, message.by, message.reason)
    must_be_live(state)
    if state.governed.deadline_ms is None:
        raise Refusal("it has no deadline to extend")
    until = until_ms(state, message.seconds, None)
    return [] if until is None else [DeadlineExtended(until_ms=until, by=message.by, reason=message.reason)]


def raised(state: RunState, message: RaiseCeiling) -> list[Fact]:
    """More of something. A critic may raise steps only, up to its cap."""
    if message.critic:
        return given_steps(state, message.more, message.by, message.reason) if message.limit == "steps" else []
    must_be_live(state)
    limits = state.limits
    olds: dict[str, float | None] = {
        "steps": limits.max_steps,
        "tool_calls": limits.max_tool_calls,
        "tokens": limits.max_tokens,
        "cost_usd": limits.max_cost_usd,
    }
    old = olds.get(message.limit)
    if old is None:
        raise Refusal(f"it has no limit of {message.limit} to raise")
    new = ceiling(old, message.more, None)
    return (
        []
        if new is None
        else [CeilingRaised(limit=message.limit, old=old, new=new, by=message.by, reason=message.reason)]
    )


def killed(state: RunState, message: KillRun, now_ms: int) -> list[Fact]:
    """The end, by order of supervision. Killing twice is killing once."""
    by = message.by or "host"
    order = condemned(state, message.reason, by, message.evidence)
    if not order and state.doing == "new" and not message.critic:
        raise Refusal("it has not started")
    return [*order, finished(state, "killed", by, message.reason, now_ms)] if order else []


def soft_timeout(state: RunState, message: ReachSoftTimeout, now_ms: int) -> list[Fact]:
    """The critic's hour, said once."""
    due = soft_timeout_ms(state)
    if state.doing in ("new", "over", "waiting") or due is None or now_ms < due:
        return []
    return [SoftTimeoutReached(at_ms=message.at_ms)]


def charged(state: RunState, message: ChargeReview) -> list[Fact]:
    """A review's tokens."""
    return billed(state, message.usage, message.model, message.by)


def critic_lost(state: RunState, message: LoseCritic) -> list[Fact]:
    """Nobody watches any more; the hard limits stand."""
    if state.doing in ("new", "over"):
        return []
    return [CriticLost(reason=message.reason, by=message.by)]
