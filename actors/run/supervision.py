"""What a run does about orders of its supervision: a critic's, which are bounded and never answered, or a person's."""

from __future__ import annotations

import math

from ...events import (
    CallerSteered,
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Fact,
    SoftTimeoutReached,
)
from ...projections import RunState, soft_timeout_ms
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

LONGEST_MS = 1 << 53


def steered(state: RunState, message: SteerRun) -> list[Fact]:
    """Advice: the model reads it at its next step."""
    if message.critic:
        if state.doing in ("new", "over") or state.awaits_message:
            return []
        return [CriticSteered(text=message.text, by=message.by, evidence=message.evidence)]
    must_be_live(state)
    if state.awaits_message:
        raise Refusal("it waits for a person's message; use send")
    return [CallerSteered(text=message.text, by=message.by)]


def observed(state: RunState, message: ObserveRun) -> list[Fact]:
    """Something noticed."""
    if state.doing in ("new", "over"):
        return []
    return [CriticObserved(text=message.text, by=message.by, evidence=message.evidence)]


def extended(state: RunState, message: ExtendRun) -> list[Fact]:
    """More time. A critic's order that is too late or beyond its cap changes nothing: the old deadline stands."""
    if message.critic and state.over:
        return []
    if not message.critic:
        must_be_live(state)
    governed = state.governed
    if governed.deadline_ms is None:
        if message.critic:
            return []
        raise Refusal("it has no deadline to extend")
    until = governed.deadline_ms + round(min(message.seconds, LONGEST_MS / 2000) * 1000)
    if message.critic and governed.cap_ms is not None:
        until = min(until, governed.cap_ms)
    if until <= governed.deadline_ms:
        return []
    return [DeadlineExtended(until_ms=until, by=message.by, reason=message.reason)]


def raised(state: RunState, message: RaiseCeiling) -> list[Fact]:
    """More of something. A critic may raise steps only, up to its cap."""
    if message.critic and (state.over or message.limit != "steps"):
        return []
    if not message.critic:
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
    new = old + message.more
    if message.critic:
        new = min(new, state.governed.cap_steps)
    if not math.isfinite(new) or new <= old:
        return []
    return [CeilingRaised(limit=message.limit, old=old, new=new, by=message.by, reason=message.reason)]


def killed(state: RunState, message: KillRun, now_ms: int) -> list[Fact]:
    """The end, by order of supervision. Killing twice is killing once."""
    if state.over or (message.critic and state.doing == "new"):
        return []
    if state.doing == "new":
        raise Refusal("it has not started")
    by = message.by or "host"
    order = CriticKilled(reason=message.reason, by=by, evidence=message.evidence)
    return [order, finished(state, "killed", by, message.reason, now_ms)]


def soft_timeout(state: RunState, message: ReachSoftTimeout, now_ms: int) -> list[Fact]:
    """The critic's hour, said once."""
    due = soft_timeout_ms(state)
    if state.doing in ("new", "over", "waiting") or due is None or now_ms < due:
        return []
    return [SoftTimeoutReached(at_ms=message.at_ms)]


def charged(state: RunState, message: ChargeReview) -> list[Fact]:
    """A review's tokens."""
    if state.doing in ("new", "over"):
        return []
    return [CriticReviewed(usage=message.usage, model=message.model, by=message.by)]


def critic_lost(state: RunState, message: LoseCritic) -> list[Fact]:
    """Nobody watches any more; the hard limits stand."""
    if state.doing in ("new", "over"):
        return []
    return [CriticLost(reason=message.reason, by=message.by)]
