"""What a run, or a stretch of it, took: counted event by event from what is recorded of it."""

from __future__ import annotations

import msgspec

from ..events import ChildStarted, Event, RunStarted, StepCompleted, StepStarted, ToolStarted
from .bounds import worked_ms
from .ledger import Price, cost_usd
from .run import RunState


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a stretch of a run took. tokens: input and output. worked_s: without waiting for people."""

    steps: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    worked_s: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            steps=self.steps + other.steps,
            tool_calls=self.tool_calls + other.tool_calls,
            tokens=self.tokens + other.tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            worked_s=self.worked_s + other.worked_s,
        )

    def minus(self, other: Spent) -> Spent:
        """What is left without `other`, nothing below 0."""
        return Spent(
            steps=max(0, self.steps - other.steps),
            tool_calls=max(0, self.tool_calls - other.tool_calls),
            tokens=max(0, self.tokens - other.tokens),
            cost_usd=max(0.0, self.cost_usd - other.cost_usd),
            worked_s=max(0.0, self.worked_s - other.worked_s),
        )


class Meter:
    """Counts replies, tool calls and children; reviews of a critic are not the run's own.

    price: dollars of a model call, instead of what the log says where it knows the model.
    """

    def __init__(self, price: Price | None = None) -> None:
        self._price = price
        self._model = self._asked = ""
        self._steps = self._calls = self._tokens = self._worked_ms = 0
        self._usd = 0.0

    @property
    def spent(self) -> Spent:
        """So far."""
        return Spent(
            steps=self._steps,
            tool_calls=self._calls,
            tokens=self._tokens,
            cost_usd=self._usd,
            worked_s=self._worked_ms / 1000,
        )

    def take(self, state: RunState, event: Event) -> None:
        """Count `event`, which came when the run stood at `state`."""
        fact = event.fact
        self._worked_ms = max(self._worked_ms, worked_ms(state, event.elapsed_ms))
        if type(fact) is StepCompleted:
            usage = fact.usage
            self._steps += 1
            self._tokens += max(0, usage.input) + max(0, usage.output)
            self._usd += cost_usd(self._price, self._asked, fact.model, usage) or 0.0
        elif type(fact) is StepStarted:
            self._asked = fact.model or self._model
        elif type(fact) is ToolStarted or type(fact) is ChildStarted:
            self._calls += 1
        elif type(fact) is RunStarted:
            self._model = self._asked = fact.agent.model
