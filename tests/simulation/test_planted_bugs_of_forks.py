"""Mistakes in forking, made on purpose; the simulation must notice each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sim_host import SimRunActor
from sim_planted import found_in
from sim_world import Bugs

from executus.actors.run import forks
from executus.actors.run.messages import AcceptPlans, BeginRun, ResumeRun, RunMessage, ToolPlan
from executus.events import Event, RunBegun, RunFinished, ToolStarted


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


@pytest.mark.parametrize(
    "kind",
    [TakesEveryCallForPure, ForgetsHowItEnded, WorksWhilePaused, CountsTheWait, BeginsTwice, MakesPlansOfItsOwn],
)
def test_a_planted_bug_is_found(kind: type) -> None:
    assert found_in(kind) is not None
