"""A run told fact by fact, for tests of traces and critics: facts in, a trace out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executus.events import (
    AgentPrint,
    CriticKilled,
    CriticObserved,
    CriticSteered,
    DeadlineExtended,
    Event,
    Fact,
    InputReceived,
    Limits,
    OutputRefused,
    PhasePrint,
    RunInfo,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    tag_of,
)
from executus.ports import Continue, Extend, Kill, Steer, Verdict
from executus.projections.trace import Trace, evolve_trace

Call = tuple[str, str, str] | tuple[str, str, str, bool]
"""Name, arguments, result, and perhaps whether it is an error."""


class ToldRun:
    """Grows a trace by facts; every fact comes a second after the one before."""

    def __init__(
        self, *, run_id: str = "r1", input: str = "Go.", limits: Limits | None = None, phases: Sequence[str] = ()
    ) -> None:
        self.trace = Trace()
        self.now = 0.0
        self._number = 0
        info = RunInfo(run_id=run_id, name="told")
        agent = AgentPrint(name="teller", model="scripted", phases=tuple(PhasePrint(name=phase) for phase in phases))
        self.put(RunStarted(info=info, agent=agent, limits=limits or Limits(), input=(Text(input),)))

    def put(self, *facts: Fact) -> ToldRun:
        """The run after these facts."""
        for fact in facts:
            self.now += 1.0
            self._number += 1
            event = Event(
                run_id="r1", version=self._number, tag=tag_of(fact), fact=fact, elapsed_ms=round(self.now * 1000)
            )
            self.trace = evolve_trace(self.trace, event)
        return self

    def asks(self, text: str, *calls: tuple[str, str]) -> ToldRun:
        """The next step is completed with this text and these calls, which do not start."""
        step = self.trace.state.step + 1
        asked = [ToolCall(f"c{index}", name, arguments) for index, (name, arguments) in enumerate(calls)]
        said = (Text(text),) if text else ()
        return self.put(StepStarted(step=step), StepCompleted(step=step, reply=(*said, *asked)))

    def step(self, *calls: Call, text: str = "") -> ToldRun:
        """A whole step: the calls are asked for, started and finished."""
        self.asks(text, *((call[0], call[1]) for call in calls))
        number = self.trace.state.step
        for index, call in enumerate(calls):
            self.put(ToolStarted(call=f"{number}.{index}", name=call[0]))
        for index, call in enumerate(calls):
            self.put(ToolFinished(call=f"{number}.{index}", result=call[2], is_error=len(call) > 3))
        return self

    def person(self, text: str) -> ToldRun:
        """A person says something."""
        return self.put(InputReceived(input=(Text(text),)))

    def refuses(self, reason: str) -> ToldRun:
        """The newest words are not taken as output."""
        return self.put(OutputRefused(reason=reason))

    def obey(self, verdict: Verdict, by: str = "critic") -> ToldRun:
        """What a runtime writes down for the verdict."""
        match verdict:
            case Kill():
                return self.put(CriticKilled(reason=verdict.reason, by=by, evidence=verdict.evidence))
            case Steer():
                return self.put(CriticSteered(text=verdict.text, by=by, evidence=verdict.evidence))
            case Extend():
                until = round((self.now + verdict.seconds) * 1000)
                return self.put(DeadlineExtended(until_ms=until, by=by, reason=verdict.reason))
            case Continue() if verdict.text:
                return self.put(CriticObserved(text=verdict.text, by=by, evidence=verdict.evidence))
            case _:
                return self


def rung(verdict: Verdict) -> str:
    """The verdict in a word: "", "observe", "steer", "kill" or its class."""
    match verdict:
        case Kill():
            return "kill"
        case Steer():
            return "steer"
        case Continue():
            return "observe" if verdict.text else ""
        case _:
            return type(verdict).__name__


def live(run: ToldRun, critic: Any, steps: Sequence[Sequence[Call] | Call]) -> list[tuple[int, str, str]]:
    """Let the run take these steps under the critic, until it kills: (step, rung, rule) of everything it did."""
    done: list[tuple[int, str, str]] = []
    for calls in steps:
        run.step(*([calls] if isinstance(calls[0], str) else calls))  # type: ignore[list-item, arg-type]
        verdict = critic.review(run.trace, run.now)
        if rung(verdict):
            done.append((run.trace.state.step, rung(verdict), verdict.evidence.get("rule", "")))
        run.obey(verdict)
        if isinstance(verdict, Kill):
            break
    return done
