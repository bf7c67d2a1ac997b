"""Where a fork stands: the fact that puts a new run where another stood after any of its events.

Inherited are results, never effects. What was under way is settled here, and stated as these rules:

1. Of an event about the end, it is where the run stood before it was ended: the end itself is not inherited.
2. A model call without its answer has not been made: the fork makes it, as the same step.
3. A call that was asked for and not started is the fork's to make, and so is one that waits for a person: it is looked
   at anew, so that a person is asked anew. So is a `pure` one without its result: it does nothing but answer.
4. Any other call without its result took effect, or did not: nobody can know, and the model is told so.
5. A child without its result is told as cancelled: it is another run's.
6. Clocks begin anew, with the time that limits give.

Everything else is what it was: conversation, totals as limits count them, phase, outputs, notices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from ..events import (
    BudgetExceeded,
    CancelRequested,
    CriticKilled,
    Event,
    Message,
    PhaseStarted,
    RunFinished,
    RunForked,
    RunStarted,
    StepCompleted,
    StopReason,
    ToolResult,
    Totals,
)
from .fold import Checkpoint, fold
from .run import RunState, calls_of, spent
from .transcript import evolve_transcript

UNKNOWN = (
    "another run started this, and this one goes on from before its result; whether it took effect is unknown, "
    "and it was not run again"
)
CANCELLED = "It ended with status cancelled. It was started by another run, which this one goes on from."

NOTHING: Mapping[str, str] = {}


class Inherited(msgspec.Struct, frozen=True):
    """What a fork inherits. forked: as its log has it. state: where the source stood. to_make: calls that the fork
    makes. unknown, cancelled: calls that the model is told so. replaced: calls whose result was given instead.
    """

    forked: RunForked
    state: RunState
    to_make: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def inherited(source: str, events: Sequence[Event], results: Mapping[str, str] = NOTHING) -> Inherited:
    """What a run inherits that goes on from the last of `events`, the first ones of `source`. results: by call, what
    its tool is said to have answered.

    Raises:
        ValueError: a result is given for a call that is not in the conversation.
    """
    events = _without_the_end(events)
    checkpoint = fold(events)
    state = checkpoint.state
    unanswered = _is_unanswered(state)
    messages, answers = _with_results(checkpoint, events, results)
    to_make: list[str] = []
    unknown: list[str] = []
    cancelled: list[str] = []
    effects = {one.call: one.effect for one in state.open_calls}
    children = {one.call for one in state.governed.children}
    incomplete = None in checkpoint.transcript.answers
    for index, asked in enumerate(checkpoint.transcript.asked if incomplete else ()):
        call = f"{state.step}.{index}"
        if answers[index] is not None:
            continue
        if call in children:
            answers[index] = ToolResult(asked.id, asked.name, CANCELLED, True)
            cancelled.append(call)
        elif effects.get(call, "pure") != "pure":
            answers[index] = ToolResult(asked.id, asked.name, UNKNOWN, True)
            unknown.append(call)
        else:
            to_make.append(call)
    if incomplete and not to_make:
        messages += [Message("tool", (answer,)) for answer in answers if answer is not None]
    again = sum(call in effects for call in to_make)
    governed = state.governed
    totals = spent(state).minus(Totals(steps=int(unanswered), tool_calls=again))
    forked = RunForked(
        source=source,
        version=checkpoint.version,
        hash=checkpoint.hash,
        messages=tuple(messages),
        outputs=governed.outputs,
        phase=state.phase,
        totals=totals,
        noticed=governed.noticed,
        output=state.output,
        answers=tuple(answers) if to_make else (),
        heard=checkpoint.transcript.heard,
        turn_from=min(state.turn_from, totals.steps),
        phase_from=governed.phase_from if governed.phase_index >= 0 else None,
        paused=True,
    )
    if not unanswered and not governed.phase_index < len(governed.outputs) < len(governed.phases):
        forked = replace(forked, said=last_words(forked, _stop(events)))
    return Inherited(forked, state, tuple(to_make), tuple(unknown), tuple(cancelled), tuple(results))


def _with_results(
    checkpoint: Checkpoint, events: Sequence[Event], results: Mapping[str, str]
) -> tuple[list[Message], list[ToolResult | None]]:
    """The conversation, and the results so far of its last reply, with `results` in their places."""
    transcript, step = checkpoint.transcript, checkpoint.state.step
    messages, answers = list(transcript.messages), list(transcript.answers)
    places = _places(events) if results else {}
    for call, text in results.items():
        place = places.get(call, len(messages))
        if None in transcript.answers and call.rpartition(".")[0] == str(step) and _slot(call) < len(answers):
            asked = transcript.asked[_slot(call)]
            answers[_slot(call)] = ToolResult(asked.id, asked.name, text)
        elif place < len(messages) and messages[place].role == "tool":
            messages[place] = _with_result(messages[place], text)
        else:
            known = ", ".join(places) or "none"
            raise ValueError(f"call {call!r} is not in the conversation; those that are: {known}")
    return messages, answers


def last_words(forked: RunForked, stop: StopReason) -> StopReason | None:
    """`stop`, if the model has said its last words and nobody has said anything since."""
    if not forked.messages or forked.answers or forked.heard:
        return None
    last = forked.messages[-1]
    return stop if last.role == "assistant" and not calls_of(last.parts) else None


def _without_the_end(events: Sequence[Event]) -> Sequence[Event]:
    for place, event in enumerate(events):
        if isinstance(event.fact, RunFinished):
            events = events[:place]
            break
    while events and isinstance(events[-1].fact, (CancelRequested, CriticKilled, BudgetExceeded)):
        events = events[:-1]
    return events


def _is_unanswered(state: RunState) -> bool:
    """Whether the newest step has no answer: the model is asked, will be asked again, or has failed for good."""
    return state.doing in ("model", "backoff") or (state.doing == "tools" and bool(state.error))


def _stop(events: Sequence[Event]) -> StopReason:
    """Why the model stopped when it spoke last."""
    for event in reversed(events):
        if isinstance(event.fact, StepCompleted):
            return event.fact.stop
        if isinstance(event.fact, RunForked):
            return event.fact.said or "stop"
    return "stop"


def _places(events: Sequence[Event]) -> dict[str, int]:
    """Where the result of each call of the present conversation stands in it, or will stand."""
    places: dict[str, int] = {}
    transcript = fold(()).transcript
    for event in events:
        fact = event.fact
        transcript = evolve_transcript(transcript, fact)
        if isinstance(fact, (RunStarted, PhaseStarted)):
            places = {}
        step = fact.step if isinstance(fact, StepCompleted) else 0
        if isinstance(fact, RunForked):
            places, step = {}, fact.totals.steps
        if step:
            after = len(transcript.messages)
            places |= {f"{step}.{index}": after + index for index in range(len(transcript.asked))}
    return places


def _slot(call: str) -> int:
    index = call.rpartition(".")[2]
    return int(index) if index.isascii() and index.isdigit() else 1 << 30


def _with_result(message: Message, text: str) -> Message:
    parts = [ToolResult(one.id, one.name, text) if isinstance(one, ToolResult) else one for one in message.parts]
    return Message(message.role, tuple(parts))
