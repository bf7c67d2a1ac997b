"""What an agent may call as a child run: its palette entries, resolved for a caller, and what a call of one becomes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from ..ports import Agent, Delegate, Model, Palette, Skill, ToolSpec
from ..ports.delegation import (
    PROMPT_INPUTS,
    agent_tool_spec,
    check_inputs,
    child_agent,
    child_prompt,
    inert_spec,
    read_inputs,
    skill_agent,
    skill_prompt,
    skill_tool_spec,
)
from ..ports.saying import said
from .run.messages import ChildPlan, ToolPlan


class Delegation(msgspec.Struct, frozen=True):
    """One entry, resolved. child: the agent as it would run, None if the entry is inert, for the reason `why`."""

    kind: Literal["agent", "skill"]
    delegate: Delegate
    spec: ToolSpec
    inputs: Mapping[str, Any] = {}
    child: Agent | None = None
    why: str = ""


class ChildOrder(msgspec.Struct, frozen=True):
    """What a child is started with. input: text. inputs: structured ones, of a skill."""

    agent: Agent
    delegate: Delegate
    input: str
    inputs: Mapping[str, Any] = {}


async def delegations(
    agent: Agent, caller_id: str, palette: Palette | None, tiers: Mapping[str, str | Model]
) -> dict[str, Delegation]:
    """The agent's entries by the names of their tools. Never raises: an entry that cannot be resolved is inert."""
    found: dict[str, Delegation] = {}
    for name, (kind, delegate) in agent.delegates.items():
        try:
            found[name] = await _resolved(agent, kind, delegate, caller_id, palette, tiers)
        except Exception as error:
            why = f"{name} could not be resolved: {said(error, name=True)}"
            found[name] = Delegation(kind, delegate, inert_spec(name), why=why)
    return found


async def _resolved(
    agent: Agent,
    kind: Literal["agent", "skill"],
    delegate: Delegate,
    caller_id: str,
    palette: Palette | None,
    tiers: Mapping[str, str | Model],
) -> Delegation:
    tool = f"{kind}__{delegate.name}"
    look_up = None if palette is None else palette.agent if kind == "agent" else palette.skill
    entry: Any = None if look_up is None else look_up(caller_id, delegate.name)
    if inspect.isawaitable(entry):
        entry = await entry
    if entry is None:
        why = f"{tool} is not configured: no {kind} named {delegate.name!r} is registered here for this caller"
        return Delegation(kind, delegate, inert_spec(tool), why=why)
    if isinstance(entry, Skill) and kind == "skill":
        child = skill_agent(entry, delegate, agent.model_key, tiers=tiers)
        return Delegation(kind, delegate, skill_tool_spec(delegate.name, entry), entry.inputs, child)
    if isinstance(entry, Agent) and kind == "agent":
        child = child_agent(entry, delegate, tiers=tiers)
        return Delegation(kind, delegate, agent_tool_spec(delegate.name, "", delegate, entry), PROMPT_INPUTS, child)
    raise TypeError(f"the palette answered {type(entry).__name__}; expected {kind.capitalize()} or None")


def plan_delegation(found: Delegation, arguments: str, new_run_id: Callable[[], str]) -> ToolPlan:
    """What a call of this entry becomes: a child run, or words that tell the model why not."""
    if found.child is None:
        return ToolPlan(refusal=found.why)
    misfit = check_inputs(found.inputs, arguments)
    if misfit is not None:
        return ToolPlan(refusal=misfit)
    return ToolPlan(child=ChildPlan(new_run_id(), found.kind, found.child.limits()))


def order_of(found: Delegation, arguments: str) -> ChildOrder:
    """What the child is started with.

    Raises:
        ValueError: the entry is inert, or the arguments are no JSON object.
    """
    if found.child is None:
        raise ValueError(found.why)
    inputs = read_inputs(arguments)
    if found.kind == "agent":
        return ChildOrder(found.child, found.delegate, child_prompt(found.delegate, str(inputs.get("prompt", ""))))
    return ChildOrder(found.child, found.delegate, skill_prompt(found.delegate, arguments), inputs)
