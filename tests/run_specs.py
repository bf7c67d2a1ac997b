"""What specifications of a run's decisions share: calls, replies, and the numbers that follow from them."""

from __future__ import annotations

from typing import Any

from executus.actors.run.messages import AcceptReply, ToolPlan
from executus.events import RunFinished, RunStats, StepCompleted, StopReason, Text, ToolCall, Usage
from executus.ports import Reply
from executus.testing import Decision

CALL = ToolCall("c1", "look", '{"at": 1}')
PAY = ToolCall("c2", "pay")
USED = Usage(5, 3, 1)
"""What every reply here uses: 8 tokens as limits count them."""


def reply(
    *parts: Text | ToolCall,
    step: int = 1,
    attempt: int = 1,
    plans: tuple[ToolPlan, ...] = (),
    misfit: str | None = None,
) -> AcceptReply:
    """The model's answer."""
    stop: StopReason = "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"
    return AcceptReply(step=step, attempt=attempt, reply=Reply(parts, USED, stop), plans=plans, misfit=misfit)


def completed(*parts: Text | ToolCall, step: int = 1) -> StepCompleted:
    """The fact that it leads to."""
    stop: StopReason = "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"
    return StepCompleted(step=step, reply=parts, usage=USED, stop=stop)


def after_steps(steps: int, **rest: Any) -> RunStats:
    """The roll-up of a run after so many replies."""
    numbers = {"input_tokens": 5 * steps, "output_tokens": 3 * steps, "thinking_tokens": steps}
    return RunStats(**{"status": "ok", "steps": steps, **numbers, **rest})


def end_of(decision: Decision) -> RunFinished:
    """The end that a message led to."""
    assert decision.refused is None, decision.refused
    end = decision.facts[-1]
    assert isinstance(end, RunFinished)
    return end
