"""What a run was shown and answered, step by step: what a fork may be answered with instead of asking its model."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..events import AgentPrint, Event, Message, RunStarted, StepCompleted, StepStarted
from .fold import Checkpoint, advance


class RecordedStep(msgspec.Struct, frozen=True):
    """What the model was shown in a step, in which phase, and what it answered."""

    messages: Sequence[Message]
    phase: str
    completed: StepCompleted


class RecordedRun(msgspec.Struct, frozen=True):
    """The steps of a run, up to `version` of its log. Empty if any of its content is withheld."""

    version: int = 0
    agent: AgentPrint | None = None
    steps: dict[int, RecordedStep] = {}


def recorded_run(events: Sequence[Event]) -> RecordedRun:
    """What a run was shown and answered, step by step."""
    if any(event.content in ("locked", "erased") for event in events):
        return RecordedRun(len(events))
    agent: AgentPrint | None = None
    steps: dict[int, RecordedStep] = {}
    checkpoint = Checkpoint()
    shown: Sequence[Message] = ()
    phase = ""
    for event in events:
        checkpoint = advance(checkpoint, event)
        fact = event.fact
        if isinstance(fact, RunStarted):
            agent = fact.agent
        elif isinstance(fact, StepStarted):
            shown, phase = checkpoint.transcript.messages, checkpoint.state.phase
        elif isinstance(fact, StepCompleted):
            steps[fact.step] = RecordedStep(shown, phase, fact)
    return RecordedRun(len(events), agent, steps)
