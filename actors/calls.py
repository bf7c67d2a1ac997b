"""What actors ask of the world, as a port: model calls, tool calls and loading a log, each answered by a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ..events import ToolCall
from ..ports import Agent, ModelRequest, Tool, ToolContext
from ..projections import Checkpoint, OpenCall
from .pooled import Cancellable
from .run.messages import AcceptModelFailure, AcceptReply, AcceptResult, AcceptUnknown, ToolPlan


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A run's log was read: its checkpoint, or why not. hashes: of the versions that were asked for, where stored."""

    run_id: str
    checkpoint: Checkpoint | None = None
    hashes: dict[int, bytes] = {}
    error: Exception | None = None


class Calls(Protocol):
    """Touches the world for actors. Every method returns at once and answers by calling `reply` once, from any thread;
    after `cancel` it may still answer, late, and the answer is ignored."""

    def model(
        self, agent: Agent, request: ModelRequest, reply: Callable[[AcceptReply | AcceptModelFailure], None]
    ) -> Cancellable:
        """Ask the agent's model."""
        ...

    def tool(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptResult | AcceptUnknown], None]
    ) -> Cancellable:
        """Run the tool that `call` names."""
        ...

    def load(self, run_id: str, versions: tuple[int, ...], reply: Callable[[Loaded], None]) -> None:
        """Read and fold a run's log; also report the stored hashes of `versions`."""
        ...


def find_tool(agent: Agent, name: str) -> Tool | None:
    """The agent's tool of that name."""
    for tool in agent.tools:
        if tool.spec.name == name:
            return tool
    return None


def plan_call(agent: Agent, asked: ToolCall) -> ToolPlan:
    """What is known about a call before it is started: its effect class, or what to tell the model instead."""
    tool = find_tool(agent, asked.name)
    if tool is None:
        have = ", ".join(sorted(tool.spec.name for tool in agent.tools)) or "none"
        return ToolPlan(refusal=f"there is no tool named {asked.name!r}; the tools are: {have}")
    try:
        refusal = tool.check(asked.arguments)
    except Exception as error:  # a foreign check may do anything; the model is told, the run goes on
        refusal = f"the arguments of {asked.name} could not be checked: {type(error).__name__}: {error}"
    return ToolPlan(tool.effect, refusal)
