"""Runs as facts, made by hand: what they spend is known to whoever makes them, without any fold."""

from __future__ import annotations

import itertools
from typing import Any

from executus.events import (
    AgentPrint,
    ApprovalGranted,
    ApprovalRequested,
    CriticReviewed,
    Event,
    Fact,
    InputAwaited,
    InputReceived,
    Limits,
    NoteLogged,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolFinished,
    ToolStarted,
    Usage,
    tag_of,
)

numbers = itertools.count(1)


class FactRun:
    """One run. Each method makes facts and adds to `events`; `tokens`, `usd`, `worked_ms`, `tools` are what they cost.
    Events get their wall clock from `at_us`, which the test moves.
    """

    def __init__(
        self, caller: str = "alice", *, root: str = "", model: str = "openai:gpt-5-mini", run_id: str = "", **more: Any
    ) -> None:
        self.run_id = run_id or f"00000000-0000-7000-8000-{next(numbers):012}"
        self.caller, self.root = caller, root
        self.events: list[Event] = []
        self.at_us = 0
        self.elapsed_ms = 0
        self.tokens = self.worked_ms = self.tools = 0
        self.usd = 0.0
        self.step = self.attempt = 0
        self.over = False
        info = RunInfo(run_id=self.run_id, name="run", caller_id=caller, root_run_id=root)
        self.add(
            RunStarted(info=info, agent=AgentPrint(name="a", model=model), limits=Limits(), input=(Text("go"),), **more)
        )

    def add(self, fact: Fact) -> Event:
        event = Event(
            run_id=self.run_id,
            version=len(self.events) + 1,
            tag=tag_of(fact),
            fact=fact,
            at_us=self.at_us,
            elapsed_ms=self.elapsed_ms,
        )
        self.events.append(event)
        return event

    def work(self, ms: int) -> None:
        self.elapsed_ms += ms
        self.worked_ms += ms

    def begin_step(self, tokens: int = 0, usd: float = 0.0) -> Event:
        self.step, self.attempt = self.step + 1, 1
        return self.add(StepStarted(step=self.step, reserved_tokens=tokens, reserved_usd=usd))

    def complete_step(self, usage: Usage, model: str = "") -> Event:
        self.tokens += usage.input + usage.output
        self.usd += usage.cost_usd or 0.0
        return self.add(StepCompleted(step=self.step, reply=(Text("hm"),), usage=usage, model=model))

    def fail_step(self, tokens: int = 0, usd: float = 0.0) -> None:
        self.add(StepFailed(step=self.step, attempt=self.attempt, error="no", kind="unavailable", retry_at_ms=0))
        self.attempt += 1
        self.add(StepStarted(step=self.step, attempt=self.attempt, reserved_tokens=tokens, reserved_usd=usd))

    def use_tool(self, ms: int) -> None:
        self.tools += 1
        call = f"{self.step}.{self.tools}"
        self.add(ToolStarted(call=call, name="look"))
        self.work(ms)
        self.add(ToolFinished(call=call, result="seen"))

    def ask_approval(self, wait_ms: int) -> None:
        """Waits, with a note in the middle."""
        self.tools += 1
        call = f"{self.step}.{self.tools}"
        self.add(ApprovalRequested(call=call, name="buy"))
        self._wait(wait_ms)
        self.add(ApprovalGranted(call=call, waited_ms=wait_ms))
        self.add(ToolStarted(call=call, name="buy"))
        self.add(ToolFinished(call=call, result="bought"))

    def ask_input(self, wait_ms: int) -> None:
        self.add(InputAwaited(since_ms=self.elapsed_ms))
        self._wait(wait_ms)
        self.add(InputReceived(input=(Text("on"),), waited_ms=wait_ms))

    def _wait(self, ms: int) -> None:
        self.elapsed_ms += ms // 2
        self.add(NoteLogged(type="still here"))
        self.elapsed_ms += ms - ms // 2

    def review(self, usage: Usage) -> None:
        self.tokens += usage.input + usage.output
        self.usd += usage.cost_usd or 0.0
        self.add(CriticReviewed(usage=usage))

    def finish(self) -> Event:
        self.over = True
        return self.add(RunFinished(stats=RunStats(status="ok"), by="model"))
