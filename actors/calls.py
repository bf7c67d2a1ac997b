"""What actors ask of the world, as a port: model calls, tool calls and loading a log, each answered by a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, get_args

import msgspec

from ..events import EffectClass, ToolCall
from ..ports import Agent, ModelRequest, Tool, ToolContext
from ..projections import Checkpoint, OpenCall
from .pooled import Cancellable
from .run.messages import AcceptModelFailure, AcceptReply, AcceptResult, AcceptUnknown, ToolPlan

EFFECTS = frozenset(get_args(EffectClass))


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A run's log was read: its checkpoint, or why not. hashes: of the versions that were asked for, where stored."""

    run_id: str
    checkpoint: Checkpoint | None = None
    hashes: dict[int, bytes] = {}
    error: Exception | None = None


class Calls(Protocol):
    """Touches the world for actors. Every method returns at once and answers by calling `reply` once, from any thread;
    after `cancel` it may still answer, late, and the answer is ignored.
    """

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
    """What is known about a call before it is started: its effect class, or what to tell the model instead.

    Never raises: a foreign tool may do anything here; the model is told, and the run goes on.
    """
    try:
        tool = find_tool(agent, asked.name)
        if tool is None:
            have = ", ".join(sorted(tool.spec.name for tool in agent.tools)) or "none"
            return ToolPlan(refusal=f"there is no tool named {asked.name!r}; the tools are: {have}")
        refusal = tool.check(asked.arguments)
        effect = tool.effect
    except BaseException as error:
        return ToolPlan(refusal=f"the arguments of {asked.name} could not be checked: {said(error, name=True)}")
    if effect not in EFFECTS:
        refusal = f"the tool {asked.name} declares no known effect class"
        return ToolPlan(refusal=refusal)
    return ToolPlan(effect, refusal if refusal is None or isinstance(refusal, str) else said(refusal))


def said(value: Any, *, name: bool = False) -> str:
    """`value` as text, after the name of its class if `name`; never raises, whatever its `__str__` does."""
    kind = type(value).__name__
    try:
        text = str(value)
    except BaseException as error:
        text = f"(its str() failed with {type(error).__name__})"
    return f"{kind}: {text}" if name else text
