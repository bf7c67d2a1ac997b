"""What a run does about a message: the one place where its course is decided.

Pure; saying a thing twice changes nothing.
"""

from __future__ import annotations

from typing import assert_never

from ...events import (
    BudgetExceeded,
    ErrorLogged,
    Fact,
    HostSlept,
    NoteLogged,
    RunResumed,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
)
from ...projections import RunState, calls_of, notices
from . import family, forks, people, reconciling, supervision
from .calling import taken_up
from .course import begun, finished, folded, onward, out_of_time, said_its_say, settled
from .messages import (
    FROM_PEOPLE,
    AcceptChild,
    AcceptChildWait,
    AcceptGrant,
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptRefusal,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApproveCall,
    BeginRun,
    CancelRun,
    ChargeReview,
    DenyCall,
    EndByDeadline,
    EndRun,
    EndWithParent,
    ExpireApproval,
    ExtendRun,
    KillRun,
    LogError,
    LogNote,
    LoseCritic,
    NoteSleep,
    ObserveRun,
    RaiseCeiling,
    ReachSoftTimeout,
    ResumeRun,
    RetryStep,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
    StoreArtifact,
)
from .refusal import Refusal, must_be_live, must_have_started

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 60.0
"""Back-off doubles from the first to the last, with full jitter in its upper half, unless the provider names a time."""


def decide(state: RunState, message: RunMessage, now_ms: int) -> list[Fact]:
    """Return the facts that answer `message` when the run's clock reads `now_ms`.

    Raises:
        Refusal: only for orders of people, with what they should have known.
    """
    if state.read_only:
        if isinstance(message, FROM_PEOPLE) and not getattr(message, "critic", False):
            raise Refusal("its log holds facts of a newer executus; upgrade to continue it")
        return []
    match message:
        case AcceptReply():
            return _replied(state, message, now_ms)
        case AcceptResult():
            done = ToolFinished(
                call=message.call, result=message.text, is_error=message.is_error, took_ms=message.took_ms
            )
            return _call_closed(state, message.call, done, now_ms)
        case AcceptUnknown():
            unknown = ToolOutcomeUnknown(call=message.call, reason=message.reason)
            return _call_closed(state, message.call, unknown, now_ms)
        case AcceptReconciled():
            return reconciling.reconciled(state, message, now_ms)
        case AcceptChild():
            return family.child_over(state, message, now_ms)
        case AcceptChildWait():
            return family.child_waits(state, message, now_ms)
        case AcceptModelFailure():
            return _model_failed(state, message, now_ms)
        case AcceptGrant():
            return _granted(state, message, now_ms)
        case AcceptRefusal():
            return _refused(state, message, now_ms)
        case RetryStep():
            if state.doing != "backoff" or (state.step, state.attempt) != (message.step, message.attempt):
                return []
            if state.governed.budgeted:
                return []  # the next attempt begins when the budget grants it
            return [StepStarted(step=state.step, attempt=state.attempt + 1)]
        case StartRun():
            return _started(state, message, now_ms)
        case ResumeRun():
            return _resumed(state, message, now_ms)
        case EndByDeadline():
            return out_of_time(state, now_ms)
        case EndWithParent():
            return family.ended_with_parent(state, message, now_ms)
        case ReachSoftTimeout():
            return supervision.soft_timeout(state, message, now_ms)
        case SteerRun():
            return supervision.steered(state, message)
        case ObserveRun():
            return supervision.observed(state, message)
        case ExtendRun():
            return supervision.extended(state, message)
        case RaiseCeiling():
            return supervision.raised(state, message)
        case KillRun():
            return supervision.killed(state, message, now_ms)
        case ChargeReview():
            return supervision.charged(state, message)
        case LoseCritic():
            return supervision.critic_lost(state, message)
        case NoteSleep():
            return [] if state.doing in ("new", "over", "waiting") else [HostSlept(slept_s=message.slept_s)]
        case ApproveCall():
            return people.approved(state, message, now_ms)
        case DenyCall():
            return people.denied(state, message, now_ms)
        case ExpireApproval():
            return people.expired(state, message, now_ms)
        case SendInput():
            return people.sent(state, message, now_ms)
        case EndRun():
            return people.ended(state, message, now_ms)
        case BeginRun():
            return forks.begun(state, message, now_ms)
        case AcceptPlans():
            return forks.planned(state, message, now_ms)
        case CancelRun():
            return people.cancelled(state, message, now_ms)
        case StoreArtifact():
            must_be_live(state)
            # A call that a crash repeats keeps the same again: it is the same artifact.
            return [] if message.artifact in state.governed.kept else [message.artifact]
        case LogNote():
            must_have_started(state)
            return [NoteLogged(type=message.type, payload=message.payload)]
        case LogError():
            must_have_started(state)
            return [ErrorLogged(message=message.message)]
        case _:
            assert_never(message)


# ------------------------------------------------------------------ life


def _started(state: RunState, message: StartRun, now_ms: int) -> list[Fact]:
    if state.doing != "new":
        return []
    facts: list[Fact] = [message.started, *message.staged]
    if message.forked is not None:
        facts.append(message.forked)
    facts += [ErrorLogged(message=error) for error in message.errors]
    if message.refused is not None:
        return _over_budget(state, facts, message.refused, now_ms)
    if message.forked is None or not message.forked.paused:
        return begun(state, facts, now_ms)
    if message.begin is None:
        return facts
    return [*facts, *forks.begun(folded(state, facts), message.begin, now_ms)]


def _over_budget(state: RunState, facts: list[Fact], refused: BudgetExceeded, now_ms: int, why: str = "") -> list[Fact]:
    facts = [*facts, refused]
    window = f" ({refused.window})" if refused.window else ""
    if not why:
        why = (
            f"the caller's budget{window} of {refused.limit:.6g} {refused.measure} has no room left: "
            f"{refused.spent:.6g} spent"
        )
    return [*facts, finished(folded(state, facts), "budget_exceeded", "budget", why, now_ms, error=why)]


def _resumed(state: RunState, message: ResumeRun, now_ms: int) -> list[Fact]:
    """Settle what nobody can answer any more; what may be asked again stays outstanding."""
    if state.doing == "new" or state.over:
        return []
    if state.doing == "waiting" and message.woken:
        return []
    facts: list[Fact] = [RunResumed(reason=message.reason, epoch=message.epoch)]
    if state.between_steps:
        return onward(state, facts, now_ms)
    if state.doing == "model":
        key = f"model:{state.step}:{state.attempt}"
        if key not in message.in_flight:
            failed = StepFailed(
                step=state.step,
                attempt=state.attempt,
                error="the host stopped before the answer was stored",
                kind="interrupted",
                retry_at_ms=now_ms,
            )
            facts.append(failed)
            if not state.governed.budgeted:
                facts.append(StepStarted(step=state.step, attempt=state.attempt + 1))
        return facts
    left = reconciling.left_behind(state, message.in_flight)
    facts += left
    return settled(state, facts, now_ms) if left else facts


# ------------------------------------------------------------------ the model


def _granted(state: RunState, message: AcceptGrant, now_ms: int) -> list[Fact]:
    if _awaited(state) != (message.step, message.attempt):
        return []
    started = StepStarted(
        step=message.step,
        attempt=message.attempt,
        reserved_tokens=message.tokens,
        reserved_usd=message.usd,
    )
    return [*notices(state, now_ms), started]


def _refused(state: RunState, message: AcceptRefusal, now_ms: int) -> list[Fact]:
    if _awaited(state) != (message.step, message.attempt):
        return []
    refused = BudgetExceeded(
        measure=message.measure, limit=message.limit, spent=message.spent, scope="caller", window=message.window
    )
    return _over_budget(state, [], refused, now_ms, message.why)


def _awaited(state: RunState) -> tuple[int, int] | None:
    """The step and attempt for which the run waits for its budget."""
    if state.governed.budgeted and state.between_steps:
        return state.step + 1, 1
    if state.governed.budgeted and state.doing == "backoff":
        return state.step, state.attempt + 1
    return None


def _replied(state: RunState, message: AcceptReply, now_ms: int) -> list[Fact]:
    if state.doing != "model" or (state.step, state.attempt) != (message.step, message.attempt):
        return []
    reply = message.reply
    facts: list[Fact] = [
        StepCompleted(
            step=message.step,
            reply=reply.parts,
            usage=reply.usage,
            stop=reply.stop,
            model=reply.model,
            response_id=reply.response_id,
            took_ms=message.took_ms,
            recorded=message.recorded,
        )
    ]
    calls = calls_of(reply.parts)
    if not calls:
        return said_its_say(state, facts, reply.stop, message.misfit, now_ms)
    named = [f"{message.step}.{index}" for index in range(len(calls))]
    return taken_up(state, facts, list(zip(named, calls, message.plans, strict=True)), now_ms)


def _model_failed(state: RunState, message: AcceptModelFailure, now_ms: int) -> list[Fact]:
    if state.doing != "model" or (state.step, state.attempt) != (message.step, message.attempt):
        return []
    failures = state.failures + 1
    final = message.final or failures >= state.limits.max_attempts
    failed = StepFailed(
        step=message.step,
        attempt=message.attempt,
        error=message.error,
        kind="refused" if message.final else "unavailable",
        retry_at_ms=None if final else now_ms + _backoff_ms(failures, message),
    )
    if not final:
        return [failed]
    many = f"no answer in {failures} attempts; the last one: {message.error}"
    why = message.error if message.final or failures == 1 else many
    return [failed, finished(state, "error", "model", why, now_ms, error=why)]


def _backoff_ms(failures: int, message: AcceptModelFailure) -> int:
    if message.retry_after_s is not None:
        return max(0, round(message.retry_after_s * 1000))
    full = min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (failures - 1))
    return round(full * (0.5 + message.jitter / 2) * 1000)


# ------------------------------------------------------------------ tools


def _call_closed(state: RunState, call: str, fact: ToolFinished | ToolOutcomeUnknown, now_ms: int) -> list[Fact]:
    if all(open_call.call != call for open_call in state.open_calls):
        return []
    if len(state.open_calls) > 1:
        return [fact]
    return settled(state, [fact], now_ms)
