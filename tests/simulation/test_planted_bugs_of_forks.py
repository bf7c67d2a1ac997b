"""Mistakes in forking, made on purpose; the simulation must notice each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sim_host import SimRunActor
from sim_planted import found_in
from sim_world import Bugs

from executus.actors.reusing import Recordings
from executus.actors.run import forks
from executus.actors.run.messages import AcceptPlans, AcceptReply, BeginRun, ResumeRun, RunMessage, ToolPlan
from executus.events import Event, RunBegun, RunFinished, ToolFinished, ToolStarted, Usage
from executus.ports import Agent, ModelRequest, Reply
from executus.projections.recorded import RecordedRun


class TakesEveryCallForPure(Bugs):
    """What had been started is the fork's to make, whatever it does."""

    def remembered(self, events: list[Event]) -> list[Event]:
        return [
            replace(event, fact=replace(event.fact, effect="pure")) if isinstance(event.fact, ToolStarted) else event
            for event in events
        ]


class ForgetsHowItEnded(Bugs):
    """A fork of a run that is over goes on from another event than it says."""

    def remembered(self, events: list[Event]) -> list[Event]:
        if not any(isinstance(event.fact, RunFinished) for event in events):
            return events
        return [replace(event, hash=bytes(32)) for event in events]


class WorksWhilePaused(SimRunActor):
    """A fork that a new host takes up goes on, though nobody has begun it."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        if isinstance(message, ResumeRun) and facts and self.state.governed.paused:
            return [*facts, *forks.begun(self.state, BeginRun(), now_ms)[1:]]
        return facts


class CountsTheWait(SimRunActor):
    """The clock of a fork goes on while it waits to be begun."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        return [replace(fact, waited_ms=0) if isinstance(fact, RunBegun) else fact for fact in facts]


class BeginsTwice(SimRunActor):
    """Begun again is begun anew."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        live = self.state.doing not in ("new", "over")
        return [RunBegun(by=message.by)] if isinstance(message, BeginRun) and live and not facts else facts


class MakesPlansOfItsOwn(SimRunActor):
    """What it has inherited is started without asking anybody."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptPlans):
            message = replace(message, plans=tuple([ToolPlan() for _ in message.plans]))
            facts = super().decide(message, now_ms)
            return [*facts, *facts]
        return super().decide(message, now_ms)


class ForgetsResults(Bugs):
    """A fork does not know what the tools of its source have answered, and runs them for it."""

    def remembered(self, events: list[Event]) -> list[Event]:
        kept = [event for event in events if not isinstance(event.fact, ToolFinished)]
        return [
            replace(event, fact=replace(event.fact, effect="pure")) if isinstance(event.fact, ToolStarted) else event
            for event in kept
        ]


class AnswersWhateverWasShown(Recordings):
    """The recorded reply to a step is taken, whatever the fork would show its model there."""

    def find(self, run_id: str, agent: Agent, request: ModelRequest) -> Reply | None:
        step = self._recording(run_id, request.step).steps.get(request.step)
        return None if step is None else Reply(step.completed.reply, Usage(), step.completed.stop)


class PaysForTheRecording(Recordings):
    """What a recorded reply had cost its source is charged once more."""

    def find(self, run_id: str, agent: Agent, request: ModelRequest) -> Reply | None:
        found = super().find(run_id, agent, request)
        if found is None:
            return None
        return replace(found, usage=self._recording(run_id, request.step).steps[request.step].completed.usage)


class KeepsWhatItReadFirst(Recordings):
    """What a source was answered after somebody looked at it first is not found."""

    def _recording(self, run_id: str, step: int) -> RecordedRun:
        return self._kept.get(run_id) or super()._recording(run_id, step)


class ForgetsTheRecording(Recordings):
    """The model is asked, though it would be shown what the source's was."""

    def find(self, run_id: str, agent: Agent, request: ModelRequest) -> Reply | None:
        return super().find(run_id, agent, request) if request.attempt == 1 else None


class AsksAllTheSame(Bugs):
    """The model is asked, and what it says thrown away for what is recorded."""

    asks_all_the_same = True


class DoesNotSayThatItIsRecorded(SimRunActor):
    """A reply from the recording is written down as one of the model."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptReply):
            message = replace(message, recorded=False)
        return super().decide(message, now_ms)


@pytest.mark.parametrize(
    "kind",
    [
        TakesEveryCallForPure,
        ForgetsHowItEnded,
        WorksWhilePaused,
        CountsTheWait,
        BeginsTwice,
        MakesPlansOfItsOwn,
        ForgetsResults,
        AnswersWhateverWasShown,
        PaysForTheRecording,
        KeepsWhatItReadFirst,
        ForgetsTheRecording,
        AsksAllTheSame,
        DoesNotSayThatItIsRecorded,
    ],
)
def test_a_planted_bug_is_found(kind: type) -> None:
    assert found_in(kind) is not None
