"""What a critic is shown of a run: what the agent said, did and was told, and what supervision has already done.

Bounded: of a long run, the newest steps; of a long text, its head. Arguments, results and texts are also kept as
hashes of the whole, so that a critic can tell polling that brings news from a loop that does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    CallerSteered,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWentOn,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticSteered,
    DeadlineExtended,
    Event,
    InputReceived,
    OutputRefused,
    Part,
    PhaseStarted,
    RunBegun,
    RunInfo,
    RunStarted,
    SoftTimeoutReached,
    StepCompleted,
    StepFailed,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
)
from .run import RunState, evolve

STEPS = 200
"""Newest steps kept."""
CALLS = 400
"""Tool calls kept at most: older steps go first, of a single step the calls after these."""
TEXT = 2_000
"""Characters kept of a text, an argument list or a result."""
ACTS = 100
"""Newest acts of supervision kept."""
TOLD = 50
"""Newest messages of people kept."""
FAILURES = 20
"""Newest failed model calls kept."""

Outcome: TypeAlias = Literal["", "ok", "error", "refused", "unknown"]


class TraceCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call. arguments, result: their heads. arguments_hash: of the arguments as canonical JSON, so that order
    of keys and white space do not matter. result_hash: of the whole result, "" while there is none.
    started_ms: None until it runs. child: the run that it is, if it is one.
    """

    call: str
    name: str
    arguments: str
    arguments_hash: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None
    result: str = ""
    result_hash: str = ""
    outcome: Outcome = ""
    child: str = ""


class TraceStep(msgspec.Struct, frozen=True, gc=False):
    """A completed step: what the model said, and the tools it asked for.

    text_hash: of the whole text, white space aside. asked: how many tools, also those not kept in `calls`.
    refused: why these words were not taken as the run's output.
    """

    step: int
    at_ms: int
    text: str = ""
    text_hash: str = ""
    calls: tuple[TraceCall, ...] = ()
    asked: int = 0
    phase: str = ""
    refused: str = ""


class Act(msgspec.Struct, frozen=True, gc=False):
    """Something that supervision did: the fact's tag, what it said, and what it rested on."""

    kind: str
    at_ms: int
    step: int
    text: str = ""
    by: str = ""
    evidence: dict[str, Any] = {}


class Told(msgspec.Struct, frozen=True, gc=False):
    """What a person told the run after its start, when `step` was its newest step."""

    at_ms: int
    step: int
    text: str
    by: str = ""


class Trace(msgspec.Struct, frozen=True):
    """info: as the run was started. state: where it stands, with its limits and tallies. input: its text. steps, acts,
    told: the newest ones. failures: model calls that failed since the last step. phase: the one it is in.
    fresh_from: the step after which the newest turn of a person, or phase, began: what came before says nothing about
    loops. active_ms: the run's own clock when it last did something. now_ms, version: of the newest event.
    kept_calls: how many calls `steps` hold.
    """

    info: RunInfo = RunInfo(run_id="", name="")
    state: RunState = RunState()
    input: str = ""
    steps: tuple[TraceStep, ...] = ()
    acts: tuple[Act, ...] = ()
    told: tuple[Told, ...] = ()
    failures: tuple[str, ...] = ()
    phase: str = ""
    fresh_from: int = 0
    active_ms: int = 0
    soft_timeout_at_ms: int | None = None
    now_ms: int = 0
    version: int = 0
    kept_calls: int = 0

    @property
    def calls(self) -> list[TraceCall]:
        """Every call kept, in order."""
        return [call for step in self.steps for call in step.calls]

    @property
    def running(self) -> list[TraceCall]:
        """The calls kept that were started and have no outcome yet; none once the run is over."""
        if self.state.over:
            return []
        return [call for call in self.calls if call.started_ms is not None and call.ended_ms is None]


def evolve_trace(trace: Trace, event: Event) -> Trace:
    """Return the trace after `event`."""
    fact, at_ms = event.fact, event.elapsed_ms
    before = trace.state
    trace = replace(trace, state=evolve(before, fact), now_ms=at_ms, version=event.version)
    match fact:
        case StepCompleted():
            return _stepped(trace, fact, at_ms)
        case ToolStarted():
            return _changed(trace, fact.call, at_ms, started_ms=at_ms)
        case ToolFinished():
            return _closed(trace, fact.call, at_ms, fact.result, "error" if fact.is_error else "ok")
        case ToolRefused() | ApprovalDenied():
            return _closed(trace, fact.call, at_ms, fact.reason, "refused")
        case ToolOutcomeUnknown():
            return _closed(trace, fact.call, at_ms, fact.reason, "unknown")
        case ChildStarted():
            return _changed(trace, fact.call, at_ms, started_ms=at_ms, child=fact.run_id)
        case ChildFinished():
            return _closed(trace, fact.call, at_ms, fact.output, "ok" if fact.status == "ok" else "error")
        case StepFailed():
            return replace(trace, failures=(*trace.failures, fact.error[:TEXT])[-FAILURES:])
        case RunStarted():
            return replace(trace, info=fact.info, input=_text_of(fact.input)[:TEXT])
        case InputReceived():
            heard = _heard(trace, at_ms, _text_of(fact.input), fact.by)
            return replace(heard, fresh_from=trace.state.step, active_ms=at_ms)
        case CallerSteered():
            return _heard(trace, at_ms, fact.text, fact.by)
        case ApprovalExpired() if any(
            one.call == fact.call and one.default == "deny" for one in before.governed.approvals
        ):
            return _closed(trace, fact.call, at_ms, "nobody approved it in time", "refused")
        case ApprovalGranted() | ApprovalExpired() | ChildWentOn() | RunBegun():
            return replace(trace, active_ms=at_ms)
        case PhaseStarted():
            return replace(trace, phase=fact.phase, fresh_from=trace.state.step, active_ms=at_ms)
        case OutputRefused():
            if not trace.steps:
                return trace
            refused = replace(trace.steps[-1], refused=fact.reason[:TEXT])
            return replace(trace, steps=(*trace.steps[:-1], refused))
        case SoftTimeoutReached():
            return replace(trace, soft_timeout_at_ms=at_ms)
        case CriticObserved() | CriticSteered():
            return _acted(trace, event, fact.text, fact.by, fact.evidence)
        case CriticKilled():
            return _acted(trace, event, fact.reason, fact.by, fact.evidence)
        case DeadlineExtended() | CeilingRaised() | CriticLost():
            return _acted(trace, event, fact.reason, fact.by, {})
        case _:
            return trace


def trace_of(events: Iterable[Event], start: Trace | None = None) -> Trace:
    """Fold `events` onto `start`, or onto nothing."""
    trace = start if start is not None else Trace()
    for event in events:
        trace = evolve_trace(trace, event)
    return trace


def result_hash(text: str) -> str:
    """By which results are compared: the first 16 hex digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def arguments_hash(arguments: str) -> str:
    """By which arguments are compared: the hash of their JSON with sorted keys, or of the text if it is not JSON."""
    try:
        value = msgspec.json.decode(arguments)
        return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
    except (ValueError, RecursionError):  # DecodeError and UnicodeError are ValueErrors
        return result_hash(arguments)


def _text_of(parts: Iterable[Part]) -> str:
    return "".join([part.text for part in parts if type(part) is Text])


def _stepped(trace: Trace, fact: StepCompleted, at_ms: int) -> Trace:
    text = _text_of(fact.reply)
    asked = [part for part in fact.reply if type(part) is ToolCall]
    calls = tuple(
        [
            TraceCall(f"{fact.step}.{index}", one.name, one.arguments[:TEXT], arguments_hash(one.arguments))
            for index, one in enumerate(asked[:CALLS])
        ]
    )
    step = TraceStep(fact.step, at_ms, text[:TEXT], result_hash(" ".join(text.split())), calls, len(asked), trace.phase)
    kept, first = trace.kept_calls + len(calls), 0
    if len(trace.steps) == STEPS:
        kept, first = kept - len(trace.steps[0].calls), 1
    while kept > CALLS:
        kept, first = kept - len(trace.steps[first].calls), first + 1
    return replace(trace, steps=(*trace.steps[first:], step), kept_calls=kept, failures=(), active_ms=at_ms)


def _closed(trace: Trace, call: str, at_ms: int, text: str, outcome: Outcome) -> Trace:
    return _changed(
        trace, call, at_ms, ended_ms=at_ms, result=text[:TEXT], result_hash=result_hash(text), outcome=outcome
    )


def _changed(trace: Trace, call: str, at_ms: int, **changes: Any) -> Trace:
    """The trace active now, with one call changed; a call that is no longer kept changes nothing else."""
    for place in range(len(trace.steps) - 1, -1, -1):  # nearly always the newest
        step = trace.steps[place]
        for index, one in enumerate(step.calls):
            if one.call == call:
                calls = (*step.calls[:index], replace(one, **changes), *step.calls[index + 1 :])
                steps = (*trace.steps[:place], replace(step, calls=calls), *trace.steps[place + 1 :])
                return replace(trace, steps=steps, active_ms=at_ms)
    return replace(trace, active_ms=at_ms)


def _heard(trace: Trace, at_ms: int, text: str, by: str) -> Trace:
    told = Told(at_ms, trace.state.step, text[:TEXT], by)
    return replace(trace, told=(*trace.told, told)[-TOLD:])


def _acted(trace: Trace, event: Event, text: str, by: str, evidence: dict[str, Any]) -> Trace:
    act = Act(event.tag, event.elapsed_ms, trace.state.step, text[:TEXT], by, evidence)
    return replace(trace, acts=(*trace.acts, act)[-ACTS:])
