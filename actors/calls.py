"""What actors ask of the world, as a port: model calls, tool calls and loading a log, each answered by a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, get_args

import msgspec

from ..events import EffectClass, OnExpiry, ToolCall
from ..ports import Agent, ArtifactStore, Critic, Delivery, Journal, ModelRequest, Parcel, Tool, ToolContext
from ..ports.saying import said
from ..projections import Checkpoint, OpenCall, PlanCalls
from ..projections.trace import Trace
from .delegating import ChildOrder
from .parcel import Handed
from .pooled import Cancellable
from .run.messages import (
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApprovalPlan,
    ToolPlan,
)
from .verdicts import Reviewed

T = TypeVar("T")

EFFECTS = frozenset(get_args(EffectClass))
EXPIRIES: tuple[str, ...] = get_args(OnExpiry)
MOST_S = 1e9
"""Thirty years, which is for ever."""


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
        self,
        agent: Agent,
        request: ModelRequest,
        reply: Callable[[AcceptReply | AcceptModelFailure], None],
        reuses: str = "",
    ) -> Cancellable:
        """Ask the agent's model. reuses: the run whose reply to the same step is taken instead, if that run was shown
        the same.
        """
        ...

    def plan(self, agent: Agent, owed: PlanCalls, caller_id: str, reply: Callable[[AcceptPlans], None]) -> Cancellable:
        """Look at what the calls are that a fork has inherited: nothing is begun by that."""
        ...

    def tool(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptResult | AcceptUnknown], None]
    ) -> Cancellable:
        """Run the tool that `call` names."""
        ...

    def reconcile(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptReconciled], None]
    ) -> Cancellable:
        """Ask the tool that `call` names what became of the call, which a dead host started."""
        ...

    def child(
        self, agent: Agent, name: str, arguments: str, caller_id: str, reply: Callable[[ChildOrder | str], None]
    ) -> Cancellable:
        """Resolve the palette entry of the tool `name`; answers with what to start, or why it cannot be."""
        ...

    def load(self, run_id: str, versions: tuple[int, ...], reply: Callable[[Loaded], None]) -> None:
        """Read and fold a run's log; also report the stored hashes of `versions`."""
        ...

    def look_up(self, read: Callable[[Journal], T], reply: Callable[[T | Exception], None]) -> None:
        """Read something in the journal; answers with what `read` returned or raised."""
        ...

    def review(
        self, critic: Critic, by: str, trace: Trace, now: float, timeout_s: float, reply: Callable[[Reviewed], None]
    ) -> Cancellable:
        """Ask a critic, who is named `by`, for its verdict on a run; answered within `timeout_s` awake seconds."""
        ...

    def deliver(
        self,
        delivery: Delivery,
        parcel: Parcel,
        artifacts: ArtifactStore,
        timeout_s: float,
        reply: Callable[[Handed], None],
    ) -> Cancellable:
        """Hand a parcel to the host's delivery."""
        ...


def find_tool(agent: Agent, name: str) -> Tool | None:
    """The agent's tool of that name."""
    for tool in agent.tools:
        if tool.spec.name == name:
            return tool
    return None


def plan_call(agent: Agent, asked: ToolCall, now_us: int = 0) -> ToolPlan:
    """What is known about a call before it is started: its effect class, what must be asked first, or what to tell the
    model instead. now_us: wall clock.

    Never raises: a foreign tool may do anything here; the model is told, and the run goes on.
    """
    try:
        tool = find_tool(agent, asked.name)
        if tool is None:
            have = ", ".join(sorted(tool.spec.name for tool in agent.tools)) or "none"
            return ToolPlan(refusal=f"there is no tool named {asked.name!r}; the tools are: {have}")
        refusal = tool.check(asked.arguments)
        effect = tool.effect
        approval = None if refusal is not None else _approval(tool, asked.arguments, now_us)
    except BaseException as error:
        return ToolPlan(refusal=f"the arguments of {asked.name} could not be checked: {said(error, name=True)}")
    if effect not in EFFECTS:
        refusal = f"the tool {asked.name} declares no known effect class"
        return ToolPlan(refusal=refusal)
    return ToolPlan(effect, refusal if refusal is None or isinstance(refusal, str) else said(refusal), approval)


def _approval(tool: Tool, arguments: str, now_us: int) -> ApprovalPlan | None:
    ask = getattr(tool, "approval", None)  # a tool that is `ports.AsksFirst`; isinstance of a Protocol is slow
    terms = None if ask is None else ask(arguments)
    if terms is None:
        return None
    if terms.default not in EXPIRIES:
        raise ValueError(f"approval, default: expected {' or '.join(EXPIRIES)}, got {terms.default!r}")
    expires = None if terms.expires_s is None or terms.expires_s >= MOST_S else now_us + round(terms.expires_s * 1e6)
    return ApprovalPlan(expires, terms.default, said(terms.question))
