"""What a model sees of the agents and skills it may call, and who the child is that carries a call out.

Pure functions; looking names up, starting children and carving their limits are not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from .agents import Agent, Delegate, Skill
from .inputs import check_inputs, read_inputs
from .models import Model, ToolSpec
from .tools import Tool

__all__ = [
    "PROMPT_INPUTS",
    "agent_tool_spec",
    "check_inputs",
    "child_agent",
    "child_prompt",
    "inert_spec",
    "read_inputs",
    "skill_agent",
    "skill_prompt",
    "skill_tool_spec",
]

PROMPT_INPUTS: Mapping[str, Any] = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "description": "The task, with everything needed to do it."}},
    "required": ["prompt"],
    "additionalProperties": False,
}
"""The schema of a call of an agent, for `check_inputs`."""

N = TypeVar("N", int, float)


# ------------------------------------------------------------------ what the model sees


def agent_tool_spec(name: str, description: str, delegate: Delegate, agent: Agent) -> ToolSpec:
    """The tool `agent__NAME`, which takes a prompt.

    description: instead of the agent's own, unless empty. Limits that `delegate` sets are told after it.
    """
    text = description or agent.description or f"Hands a task to the agent {name}, and answers with its last words."
    return ToolSpec(f"agent__{name}", text + _told_limits(delegate), dict(PROMPT_INPUTS))


def skill_tool_spec(name: str, skill: Skill) -> ToolSpec:
    """The tool `skill__NAME`, which takes the skill's inputs."""
    text = skill.description or f"Carries out the skill {name}, and answers with the result."
    return ToolSpec(f"skill__{name}", text, {"properties": {}, **skill.inputs})


def inert_spec(tool_name: str) -> ToolSpec:
    """The tool of an agent or skill that no palette knows: it takes any object, since any call is answered alike."""
    kind, _, name = tool_name.partition("__")
    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": True}
    return ToolSpec(tool_name, f"Hands a task to the {kind} {name}.", schema)


def _told_limits(delegate: Delegate) -> str:
    limits = (
        (delegate.max_steps, "{} steps"),
        (delegate.max_tool_calls, "{} tool calls"),
        (delegate.timeout_s, "{:g} seconds"),
        (delegate.max_tokens, "{} tokens"),
        (delegate.max_cost_usd, "{:g} US dollars"),
    )
    told = [form.format(limit) for limit, form in limits if limit is not None]
    return f"\nEach call has at most {', '.join(told)}." if told else ""


# ------------------------------------------------------------------ what the child is


def child_prompt(delegate: Delegate, prompt: str) -> str:
    """The input of a child run: the delegate's prefix, then `prompt`, with nothing between them."""
    return delegate.prefix + prompt


def skill_prompt(delegate: Delegate, arguments: str) -> str:
    """The input of a skill's run: the delegate's prefix, then the inputs as JSON.

    Raises:
        ValueError: `arguments` is not the text of a JSON object; `check_inputs` says so first.
    """
    return child_prompt(delegate, msgspec.json.encode(read_inputs(arguments)).decode())


def child_agent(agent: Agent, delegate: Delegate, *, tiers: Mapping[str, str | Model]) -> Agent:
    """`agent` as the child of this delegate runs it: with the model of the delegate's tier, only the tools it keeps
    (also in its phases, and of what it delegates to), and the delegate's limits. Instructions stay as they are.

    A limit that the delegate sets is raised by a critic to twice that at most.

    Raises:
        ValueError: `delegate` names a tier that `tiers` lacks, or tools that the agent lacks; says which.
    """
    changed: dict[str, Any] = _limits(delegate)
    if delegate.tier:
        changed |= {"tier": delegate.tier, "model": _model_of(delegate, tiers)}
    if delegate.max_steps is not None:
        changed["raise_steps_to"] = _lower(agent.raise_steps_to, delegate.max_steps)
    if delegate.timeout_s is not None:
        changed["extend_to_s"] = _lower(agent.extend_to_s, delegate.timeout_s)
    if delegate.tools is not None:
        kept = _names(delegate.tools, delegate, _tool_names(agent))
        changed["tools"] = _only(agent.tools, kept)
        changed["agents"] = tuple(entry for entry in agent.agents if f"agent__{_name(entry)}" in kept)
        changed["skills"] = tuple(entry for entry in agent.skills if f"skill__{_name(entry)}" in kept)
        changed["phases"] = tuple(
            phase if phase.tools is None else replace(phase, tools=_only(phase.tools, kept)) for phase in agent.phases
        )
    return replace(agent, **changed) if changed else agent


def skill_agent(
    skill: Skill,
    delegate: Delegate,
    parent_model: str | Model,
    *,
    tiers: Mapping[str, str | Model] | None = None,
) -> Agent:
    """The agent that carries `skill` out; its input is `skill_prompt`.

    Its model is, in this order, that of the delegate's tier, the skill's own, that of the skill's tier, and
    `parent_model`. Without `tiers` a tier is left for the runtime to resolve.

    Raises:
        ValueError: a tier that `tiers` lacks, or tools that the skill lacks; says which.
    """
    tier = delegate.tier or (skill.tier if skill.model is None else "")
    model: str | Model | None = skill.model if skill.model is not None else parent_model
    if tier:
        model = None if tiers is None else _model_of(replace(delegate, tier=tier), tiers)
    tools = skill.tools
    if delegate.tools is not None:
        tools = _only(tools, _names(delegate.tools, delegate, {tool.spec.name for tool in tools}))
    limits: dict[str, Any] = {"max_steps": skill.max_steps, "timeout_s": skill.timeout_s, **_limits(delegate)}
    return Agent(
        skill.name,
        model=model,
        tier=tier,
        kind="skill",
        description=skill.description,
        instructions=skill.instructions,
        tools=tools,
        **limits,
    )


def _limits(delegate: Delegate) -> dict[str, Any]:
    labels = ("max_steps", "timeout_s", "max_tool_calls", "max_tokens", "max_cost_usd")
    return {label: limit for label in labels if (limit := getattr(delegate, label)) is not None}


def _lower(own: N | None, limit: N) -> N | None:
    """How far a critic may raise `limit`, for an agent that says how far on its own terms (None: twice the limit)."""
    return None if own is None else max(limit, min(own, 2 * limit))


def _model_of(delegate: Delegate, tiers: Mapping[str, str | Model]) -> str | Model:
    if delegate.tier not in tiers:
        have = ", ".join(sorted(tiers)) or "none"
        raise ValueError(f"Delegate {delegate.name!r}, tier: no tier {delegate.tier!r}; there are: {have}")
    return tiers[delegate.tier]


def _name(entry: str | Delegate) -> str:
    return entry if isinstance(entry, str) else entry.name


def _tool_names(agent: Agent) -> set[str]:
    phases = (phase.tools or () for phase in agent.phases)
    return {tool.spec.name for tools in (agent.tools, *phases) for tool in tools} | set(agent.delegates)


def _names(wanted: Sequence[str], delegate: Delegate, known: set[str]) -> set[str]:
    names = {wanted} if isinstance(wanted, str) else set(wanted)
    if missing := sorted(names - known):
        have = ", ".join(sorted(known)) or "none"
        raise ValueError(f"Delegate {delegate.name!r}, tools: no tools {', '.join(missing)}; it has: {have}")
    return names


def _only(tools: Sequence[Tool], names: set[str]) -> tuple[Tool, ...]:
    return tuple(tool for tool in tools if tool.spec.name in names)
