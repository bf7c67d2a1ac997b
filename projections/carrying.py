"""What a run that goes on from another inherits of it: a conversation in which every call is answered, and tallies."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import (
    CancelRequested,
    ChildFinished,
    CriticKilled,
    Event,
    Fact,
    RunForked,
    StepStarted,
    ToolOutcomeUnknown,
    ToolRefused,
)
from .fold import fold
from .run import RunState, evolve, spent
from .transcript import evolve_transcript

STOPPED = "the run was stopped while this was under way; whether it took effect is unknown, and it was not run again"
NOT_APPROVED = "the run was stopped before this was approved; it was not run"
NOT_BEGUN = "the run was stopped before this was begun; it was not run"


def carried(source: str, events: Sequence[Event]) -> tuple[RunForked, RunState]:
    """The fact that carries what `events` of run `source` add up to, and the state they lead to.

    What was under way is told to the model as stopped: effects are never repeated.
    """
    while events and isinstance(events[-1].fact, (CancelRequested, CriticKilled)):
        events = events[:-1]
    checkpoint = fold(events)
    state, transcript = checkpoint.state, checkpoint.transcript
    loose: list[Fact] = [ToolOutcomeUnknown(call=call.call, reason=STOPPED) for call in state.open_calls]
    loose += [
        ChildFinished(call=child.call, run_id=child.run_id, status="cancelled", output=STOPPED)
        for child in state.governed.children
    ]
    loose += [ToolRefused(call=one.call, name=one.name, reason=NOT_APPROVED) for one in state.governed.approvals]
    for call in state.governed.unplanned:  # of a fork that was stopped before it made what it had inherited
        name = state.asked[int(call.rpartition(".")[2])].name
        loose.append(ToolRefused(call=call, name=name, reason=NOT_BEGUN))
    for fact in (*loose, StepStarted(step=state.step + 1)):  # a step begins by reading what was said meanwhile
        transcript = evolve_transcript(transcript, fact)
    settled = state
    for fact in loose:
        settled = evolve(settled, fact)
    forked = RunForked(
        source=source,
        version=checkpoint.version,
        hash=checkpoint.hash,
        messages=tuple(transcript.messages),
        outputs=state.governed.outputs,
        phase=state.phase,
        totals=spent(settled),
        noticed=state.governed.noticed,
        output=state.output,
    )
    return forked, settled
