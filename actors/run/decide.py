"""What a run does about a message: the one place where its course is decided.

Pure; saying a thing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ...events import (
    CallerSteered,
    CancelRequested,
    ErrorLogged,
    Fact,
    InputAwaited,
    InputReceived,
    NoteLogged,
    RunFinished,
    RunResumed,
    Status,
    StepCompleted,
    StepFailed,
    StepStarted,
    StopReason,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
)
from ...projections import RunState, deadline_ms, evolve, stats
from .messages import (
    AcceptModelFailure,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    CancelRun,
    EndByDeadline,
    EndRun,
    LogError,
    LogNote,
    ResumeRun,
    RetryStep,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
)

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 60.0
"""Back-off doubles from the first to the last, with full jitter in its upper half, unless the provider names a time."""


class Refusal(Exception):
    """The message cannot be taken; the sender is told why. Not a fault of the run."""


def decide(state: RunState, message: RunMessage, now_ms: int) -> list[Fact]:
    """Return the facts that answer `message` when the run's clock reads `now_ms`.

    Raises:
        Refusal: only for orders of people, with what they should have known.
    """
    if state.read_only:
        if isinstance(message, (SteerRun, SendInput, EndRun, CancelRun, LogNote, LogError)):
            raise Refusal("its log holds facts of a newer executus; upgrade to continue it")
        return []
    match message:
        case AcceptReply():
            return _replied(state, message, now_ms)
        case AcceptResult():
            finished = ToolFinished(
                call=message.call, result=message.text, is_error=message.is_error, took_ms=message.took_ms
            )
            return _call_closed(state, message.call, finished, now_ms)
        case AcceptUnknown():
            unknown = ToolOutcomeUnknown(call=message.call, reason=message.reason)
            return _call_closed(state, message.call, unknown, now_ms)
        case AcceptModelFailure():
            return _model_failed(state, message, now_ms)
        case RetryStep():
            if state.phase != "backoff" or (state.step, state.attempt) != (message.step, message.attempt):
                return []
            return [StepStarted(step=state.step, attempt=state.attempt + 1)]
        case StartRun():
            if state.phase != "new":
                return []
            return _after(state, [message.started], now_ms)
        case ResumeRun():
            return _resumed(state, message, now_ms)
        case EndByDeadline():
            due = deadline_ms(state)
            if state.phase in ("new", "over", "waiting") or due is None or now_ms < due:
                return []
            why = f"the deadline of {state.limits.timeout_s:g} s is over"
            return [_finish(state, "timeout", "deadline", why, now_ms)]
        case SteerRun():
            _must_be_live(state)
            if state.phase == "waiting":
                raise Refusal("it waits for a person's message; use send")
            return [CallerSteered(text=message.text, by=message.by)]
        case SendInput():
            _must_be_live(state)
            if not state.interactive:
                raise Refusal("it is not interactive; start it with interactive=True, or use steer")
            received = InputReceived(input=message.input, by=message.by, waited_ms=_waited(state, now_ms))
            return _after(state, [received], now_ms) if state.phase == "waiting" else [received]
        case EndRun():
            if state.over:
                return []
            _must_have_started(state)
            if not state.interactive:
                raise Refusal("it is not interactive; use cancel")
            if state.phase != "waiting":
                raise Refusal("it is busy answering; wait until it is waiting, or use cancel")
            return _ended(state, message, now_ms)
        case CancelRun():
            if state.over:
                return []
            _must_have_started(state)
            requested = CancelRequested(by=message.by, reason=message.reason)
            return [requested, _finish(state, "cancelled", message.by or "caller", message.reason, now_ms)]
        case LogNote():
            _must_have_started(state)
            return [NoteLogged(type=message.type, payload=message.payload)]
        case LogError():
            _must_have_started(state)
            return [ErrorLogged(message=message.message)]
        case _:
            assert_never(message)


# ------------------------------------------------------------------ the model


def _replied(state: RunState, message: AcceptReply, now_ms: int) -> list[Fact]:
    if state.phase != "model" or (state.step, state.attempt) != (message.step, message.attempt):
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
        )
    ]
    calls = [part for part in reply.parts if type(part) is ToolCall]
    started = False
    for index, (asked, plan) in enumerate(zip(calls, message.plans, strict=True)):
        call = f"{message.step}.{index}"
        if plan.refusal is not None:
            facts.append(ToolRefused(call=call, name=asked.name, reason=plan.refusal))
        elif state.dry_run:
            facts.append(ToolRefused(call=call, name=asked.name, reason="dry run: the tool was not executed"))
        else:
            facts.append(ToolStarted(call=call, name=asked.name, effect=plan.effect))
            started = True
    if started:
        return facts
    if calls:
        return _after(state, facts, now_ms)
    return _said_its_say(state, facts, reply.stop, now_ms)


def _said_its_say(state: RunState, facts: list[Fact], stop: StopReason, now_ms: int) -> list[Fact]:
    """A reply without tool calls: read on if somebody spoke meanwhile, wait if interactive, else finish."""
    after = _fold(state, facts)
    if after.heard:
        return _after(state, facts, now_ms)
    if stop in ("content_filter", "refusal"):
        why = f"the model stopped with {stop}"
        return [*facts, _finish(after, "error", "model", why, now_ms, error=why)]
    if state.interactive:
        return [*facts, InputAwaited(since_ms=now_ms)]
    status: Status = "dry_run" if state.dry_run else "ok"
    return [*facts, _finish(after, status, "model", "" if stop == "stop" else f"the model stopped with {stop}", now_ms)]


def _model_failed(state: RunState, message: AcceptModelFailure, now_ms: int) -> list[Fact]:
    if state.phase != "model" or (state.step, state.attempt) != (message.step, message.attempt):
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
    return [failed, _finish(state, "error", "model", why, now_ms, error=why)]


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
    return _after(state, [fact], now_ms)


# ------------------------------------------------------------------ life


def _resumed(state: RunState, message: ResumeRun, now_ms: int) -> list[Fact]:
    """Settle what nobody can answer any more; what may be asked again stays outstanding."""
    if state.phase == "new" or state.over:
        return []
    facts: list[Fact] = [RunResumed(reason=message.reason, epoch=message.epoch)]
    if state.phase == "tools" and not state.open_calls:
        return _after(state, facts, now_ms)
    if state.phase == "model":
        key = f"model:{state.step}:{state.attempt}"
        if key not in message.in_flight:
            failed = StepFailed(
                step=state.step,
                attempt=state.attempt,
                error="the host stopped before the answer was stored",
                kind="interrupted",
                retry_at_ms=now_ms,
            )
            facts += [failed, StepStarted(step=state.step, attempt=state.attempt + 1)]
        return facts
    lost = [
        ToolOutcomeUnknown(
            call=open_call.call,
            reason="the host stopped while this tool was running; whether it took effect is unknown, and it was not "
            "run again",
        )
        for open_call in state.open_calls
        if open_call.effect not in ("pure", "idempotent") and f"tool:{open_call.call}" not in message.in_flight
    ]
    facts += lost
    if lost and len(lost) == len(state.open_calls):
        return _after(state, facts, now_ms)
    return facts


def _ended(state: RunState, message: EndRun, now_ms: int) -> list[Fact]:
    facts: list[Fact] = []
    if message.input:
        facts.append(InputReceived(input=message.input, by=message.by, waited_ms=_waited(state, now_ms)))
    status: Status = "dry_run" if state.dry_run else "ok"
    return [*facts, _finish(_fold(state, facts), status, message.by or "caller", "ended by the caller", now_ms)]


def _after(state: RunState, facts: list[Fact], now_ms: int) -> list[Fact]:
    """`facts`, and then the next step, or the end if there is none left."""
    after = _fold(state, facts)
    ceiling = after.limits.max_steps
    if after.step - after.turn_from < ceiling:
        return [*facts, StepStarted(step=after.step + 1)]
    why = f"the ceiling of {ceiling} steps is reached"
    return [*facts, _finish(after, "error", "ceiling", why, now_ms, error=why)]


def _finish(state: RunState, status: Status, by: str, reason: str, now_ms: int, error: str = "") -> RunFinished:
    return RunFinished(stats=stats(state, status, error, now_ms), by=by, reason=reason)


def _waited(state: RunState, now_ms: int) -> int:
    return max(0, now_ms - state.waiting_since_ms) if state.phase == "waiting" else 0


def _must_be_live(state: RunState) -> None:
    if state.over:
        raise Refusal(f"it is over, with status {state.status}")
    _must_have_started(state)


def _must_have_started(state: RunState) -> None:
    if state.phase == "new":
        raise Refusal("it has not started")


def _fold(state: RunState, facts: Sequence[Fact]) -> RunState:
    for fact in facts:
        state = evolve(state, fact)
    return state
