"""Where a run stands: the state its decisions are made from, and what the world still owes it."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from ..events import (
    CallerSteered,
    CancelRequested,
    EffectClass,
    ErrorLogged,
    Fact,
    InputAwaited,
    InputReceived,
    Limits,
    NoteLogged,
    Opaque,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStats,
    Status,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
)

Phase: TypeAlias = Literal["new", "model", "backoff", "tools", "waiting", "over"]
"""new: nothing happened. model: a model call is owed. backoff: it failed and is tried again later. tools: results
are owed. waiting: an interactive run waits for a person. over: finished."""


class OpenCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call that was started and has no outcome yet."""

    call: str
    name: str
    effect: EffectClass
    arguments: str


class RunState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a run's facts. Times are on the run's own clock, in milliseconds."""

    phase: Phase = "new"
    run_id: str = ""
    agent: str = ""
    caller: str = ""
    limits: Limits = Limits()
    interactive: bool = False
    dry_run: bool = False
    read_only: bool = False
    """The log holds a fact of a newer version."""

    step: int = 0
    turn_from: int = 0
    """The step after which a person last spoke: the ceiling counts from there."""
    attempt: int = 0
    failures: int = 0
    """Attempts of this step that count against `limits.max_attempts`."""
    retry_at_ms: int = 0
    asked: tuple[ToolCall, ...] = ()
    open_calls: tuple[OpenCall, ...] = ()
    heard: int = 0
    """Messages of people that no step has read yet."""
    waiting_since_ms: int = 0
    waited_ms: int = 0
    """Time spent waiting for people, which the deadline does not count."""

    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cost_usd: float = 0.0
    output: str = ""
    """The newest text of the model: the output so far, also of a run that is stopped."""

    status: Status | None = None
    by: str = ""
    reason: str = ""
    error: str = ""
    runtime_ms: int = 0

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.phase == "over"


def evolve(state: RunState, fact: Fact) -> RunState:
    """Return the state after `fact`. Refuses nothing, reads nothing but its arguments."""
    # The four facts of every step first, by exact type: a class pattern that misses a Struct costs 0.2 µs.
    if type(fact) is StepStarted:
        failures = state.failures if fact.step == state.step else 0
        return replace(state, phase="model", step=fact.step, attempt=fact.attempt, failures=failures, heard=0)
    if type(fact) is StepCompleted:
        return _completed(state, fact)
    if type(fact) is ToolStarted:
        asked = state.asked[int(fact.call.rpartition(".")[2])]
        call = OpenCall(fact.call, fact.name, fact.effect, asked.arguments)
        return replace(state, phase="tools", open_calls=(*state.open_calls, call), tool_calls=state.tool_calls + 1)
    if type(fact) is ToolFinished:
        return _closed(state, fact.call)
    match fact:
        case ToolOutcomeUnknown():
            return _closed(state, fact.call)
        case ToolRefused():
            return state
        case StepFailed():
            if fact.retry_at_ms is None:
                return replace(state, phase="tools", error=fact.error)
            counted = state.failures + (fact.kind != "interrupted")
            return replace(state, phase="backoff", retry_at_ms=fact.retry_at_ms, failures=counted, error=fact.error)
        case CallerSteered():
            return replace(state, heard=state.heard + 1)
        case InputAwaited():
            return replace(state, phase="waiting", waiting_since_ms=fact.since_ms)
        case InputReceived():
            return replace(
                state, heard=state.heard + 1, waited_ms=state.waited_ms + fact.waited_ms, turn_from=state.step
            )
        case RunStarted():
            return RunState(
                phase="tools",
                run_id=fact.info.run_id,
                agent=fact.agent.name,
                caller=fact.info.caller_id,
                limits=fact.limits,
                interactive=fact.interactive,
                dry_run=fact.dry_run,
            )
        case RunFinished():
            return replace(
                state,
                phase="over",
                open_calls=(),
                status=fact.stats.status,
                by=fact.by,
                reason=fact.reason,
                error=fact.stats.error,
                output=fact.stats.output,
                runtime_ms=round(fact.stats.runtime_s * 1000),
            )
        case RunResumed() | CancelRequested() | NoteLogged() | ErrorLogged():
            return state
        case Opaque():
            return replace(state, read_only=True)
        case _:
            assert_never(fact)


def _completed(state: RunState, fact: StepCompleted) -> RunState:
    asked = tuple([part for part in fact.reply if type(part) is ToolCall])
    text = "".join([part.text for part in fact.reply if type(part) is Text])
    usage = fact.usage
    return replace(
        state,
        phase="tools",
        asked=asked,
        failures=0,
        error="",
        output=text or state.output,
        input_tokens=state.input_tokens + usage.input,
        output_tokens=state.output_tokens + usage.output,
        thinking_tokens=state.thinking_tokens + usage.thinking,
        cost_usd=state.cost_usd + (usage.cost_usd or 0.0),
    )


def _closed(state: RunState, call: str) -> RunState:
    return replace(state, open_calls=tuple([one for one in state.open_calls if one.call != call]))


def stats(state: RunState, status: Status, error: str, runtime_ms: int) -> RunStats:
    """The roll-up of `state` as `RunFinished` carries it."""
    return RunStats(
        status=status,
        output=state.output,
        error=error,
        steps=state.step,
        tool_calls=state.tool_calls,
        runtime_s=runtime_ms / 1000,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        thinking_tokens=state.thinking_tokens,
        cost_usd=state.cost_usd,
    )


def ended(state: RunState) -> RunFinished | None:
    """The run's end as its log has it, or None while it goes on."""
    if state.status is None:
        return None
    total = stats(state, state.status, state.error, state.runtime_ms)
    return RunFinished(stats=total, by=state.by, reason=state.reason)


def deadline_ms(state: RunState) -> int | None:
    """When the run's clock reaches its hard deadline, or None if it has none. Waiting for people moves it."""
    limit = state.limits.timeout_s
    return None if limit is None else round(limit * 1000) + state.waited_ms


# ------------------------------------------------------------------ what the world still owes


class CallModel(msgspec.Struct, frozen=True, gc=False):
    """Owed: the model's reply for a step."""

    key: str
    step: int
    attempt: int


class CallTool(msgspec.Struct, frozen=True, gc=False):
    """Owed: the result of a started tool call."""

    key: str
    call: OpenCall


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Owed: a message when the run's clock reads `at_ms`."""

    key: str
    at_ms: int
    what: Literal["retry", "deadline"]


Owed: TypeAlias = CallModel | CallTool | Wake


def outstanding(state: RunState) -> list[Owed]:
    """What the world owes the run in `state`. Keys are unique within a run and stable over restarts.

    A run in phase "waiting" is owed nothing but a person's next message; an over or read-only one nothing at all.
    """
    if state.phase in ("new", "over") or state.read_only:
        return []
    owed: list[Owed] = []
    if state.phase == "model":
        owed.append(CallModel(f"model:{state.step}:{state.attempt}", state.step, state.attempt))
    elif state.phase == "tools":
        owed.extend(CallTool(f"tool:{call.call}", call) for call in state.open_calls)
    elif state.phase == "backoff":
        owed.append(Wake(f"retry:{state.step}:{state.attempt}", state.retry_at_ms, "retry"))
    at_ms = deadline_ms(state)
    if state.phase != "waiting" and at_ms is not None:
        owed.append(Wake(f"deadline:{at_ms}", at_ms, "deadline"))
    return owed
