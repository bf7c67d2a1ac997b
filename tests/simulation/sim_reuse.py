"""Forks that reuse the recorded replies of their source: what must be true of them, by both logs and what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from executus.events import (
    CriticReviewed,
    Event,
    Message,
    RunFinished,
    RunForked,
    StepCompleted,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    Usage,
    idempotency_key,
)
from executus.projections.fold import Checkpoint, advance

if TYPE_CHECKING:
    from sim_world import World


class Answered(NamedTuple):
    """A step that was answered. begun, at: positions of its newest attempt and of the answer."""

    fact: StepCompleted
    attempt: int
    shown: list[Message]
    begun: int
    at: int


def answered(events: list[Event]) -> Iterator[Answered]:
    """The steps of a log, with what the model was shown in each."""
    checkpoint = Checkpoint()
    shown: list[Message] = []
    begun = attempt = 0
    for event in events:
        checkpoint = advance(checkpoint, event)
        if isinstance(event.fact, StepStarted):
            shown, begun, attempt = list(checkpoint.transcript.messages), event.position, event.fact.attempt
        elif isinstance(event.fact, StepCompleted):
            yield Answered(event.fact, attempt, shown, begun, event.position)


def judge_reuse(world: World, run_id: str, forked: RunForked, source: list[Event]) -> list[str]:
    """Recorded replies as long as the model would be shown the same, and from the first change on what it says; only
    what it was asked for is paid; and no tool is run for a result that was inherited.
    """
    log = world.disk.events(run_id)
    problems = judge_inherited(world, run_id, forked, source)
    recording = {one.fact.step: one for one in answered(source)}
    started: tuple[Any, Any] = (log[0].fact, source[0].fact)
    alike = started[0].agent == started[1].agent
    follows = forked.reuse == "recorded"
    for one in answered(log):
        fact, told = one.fact, recording.get(one.fact.step)
        name = f"step {fact.step}"
        if fact.recorded:
            world.reused[run_id] += 1
            if not follows:
                problems.append(f"reuse: {name} is answered from the recording after a departure from it")
            if told is None or told.shown != one.shown or told.at > one.at:
                problems.append(f"reuse: {name} has a recorded reply to something else")
            elif (told.fact.reply, told.fact.stop) != (fact.reply, fact.stop):
                problems.append(f"reuse: {name} has another reply than the one that was recorded")
            if fact.usage != Usage():
                problems.append(f"reuse: the recorded reply to {name} costs something")
            if (run_id, fact.step, one.attempt) in world.modelled:
                problems.append(f"reuse: the model was asked for {name}, though its reply is recorded")
            continue
        if (run_id, fact.step, one.attempt) not in world.modelled:
            problems.append(f"reuse: {name} is answered, and nobody asked the model")
        known = told is not None and told.shown == one.shown and told.at < one.begun
        if follows and known and alike and (run_id, fact.step, one.attempt) not in world.unread:
            problems.append(f"reuse: {name} was shown what its source was shown, and the model was asked")
        follows = False
    end: Any = log[-1].fact if isinstance(log[-1].fact, RunFinished) else None
    if end is not None:
        asked = [event.fact.usage for event in log if isinstance(event.fact, StepCompleted) and not event.fact.recorded]
        asked += [event.fact.usage for event in log if isinstance(event.fact, CriticReviewed)]
        want = (sum(usage.input for usage in asked), sum(usage.output for usage in asked))
        if (end.stats.input_tokens, end.stats.output_tokens) != want:
            problems.append("reuse: a fork has spent something else than what it was asked for")
    return problems


def judge_inherited(world: World, run_id: str, forked: RunForked, source: list[Event]) -> list[str]:
    """What the source had an answer of, the fork does not run."""
    over = {
        event.fact.call
        for event in source[: forked.version]
        if isinstance(event.fact, (ToolFinished, ToolOutcomeUnknown, ToolRefused))
    }
    return [
        f"P4: a fork ran the tool of call {call}, of which it had inherited the result"
        for call in sorted(over)
        if world.executions[idempotency_key(run_id, call)]
    ]
