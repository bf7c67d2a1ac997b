"""What is made different in a fork, checked, and applied to its agent; also when a later host takes the fork up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from .actors.printing import print_of
from .actors.run.intake import WORDS, clean_input
from .errors import UnknownAgent
from .events import AgentPrint, Edit, Limits
from .events.clean import clean_text
from .handles import as_parts
from .ports import Agent, Model, Overrides
from .projections.editing import DropFrom, MessageEdit, Reword, Say

HEAD = 200
"""Characters of a text that an `Edit` shows."""


def checked(overrides: object) -> Overrides:
    """The overrides with clean texts.

    Raises:
        TypeError, ValueError: a wrong one, with what was expected.
    """
    if overrides is None:
        return Overrides()
    if not isinstance(overrides, Overrides):
        raise TypeError(f"fork, overrides: expected Overrides, got {overrides!r}")
    if overrides.model is not None and not isinstance(overrides.model, (str, Model)):
        raise TypeError(f"fork, model: expected 'provider:name' or a Model, got {overrides.model!r}")
    if overrides.instructions is not None and not isinstance(overrides.instructions, str):
        raise TypeError(f"fork, instructions: expected a string, got {overrides.instructions!r}")
    if overrides.agent is not None and not isinstance(overrides.agent, (str, Agent)):
        raise TypeError(f"fork, agent: expected the name of an agent or an Agent, got {overrides.agent!r}")
    tools = overrides.tools
    if isinstance(tools, str) or not isinstance(tools, (Collection, type(None))):
        raise TypeError(f"fork, tools: expected names of tools, got {tools!r}")
    if not isinstance(overrides.results, Mapping):
        raise TypeError(f"fork, results: expected texts by call, got {overrides.results!r}")
    for call, text in overrides.results.items():
        if not isinstance(call, str) or not isinstance(text, str):
            raise TypeError(f"fork, results: expected texts by call, got {call!r}: {text!r}")
    if isinstance(overrides.messages, str) or not isinstance(overrides.messages, Sequence):
        raise TypeError(f"fork, messages: expected Reword, DropFrom and Say, got {overrides.messages!r}")
    return replace(
        overrides,
        instructions=None if overrides.instructions is None else clean_text(overrides.instructions),
        messages=tuple([_message(one) for one in overrides.messages]),
        results={call: clean_text(text) for call, text in overrides.results.items()},
    )


def _message(edit: object) -> MessageEdit:
    if isinstance(edit, Say):
        return Say(clean_input(as_parts("fork, Say", edit.input)))
    if isinstance(edit, (Reword, DropFrom)):
        if type(edit.index) is not int:
            raise TypeError(f"fork, messages: expected the index of a message, got {edit.index!r}")
        if isinstance(edit, DropFrom):
            return edit
        if isinstance(edit.text, str):
            return Reword(edit.index, clean_text(edit.text))
    raise TypeError(f"fork, messages: expected Reword, DropFrom and Say, got {edit!r}")


# ------------------------------------------------------------------ the agent


def overridden(agent: Agent, overrides: Overrides, before: Sequence[str] = ()) -> tuple[Agent, AgentPrint]:
    """The agent with another model, other tools and instructions, and how the log has it. before: what of it is the
    run's own already.

    Raises:
        ValueError: it has no such tool, or works in phases, each with instructions of its own.
    """
    changed = list(before)
    if overrides.model is not None:
        agent = _with_model(agent, overrides.model)
        changed.append("model")
    if overrides.tools is not None:
        have = _tools_of(agent)
        _must_have(agent.name, have, overrides.tools)
        agent = _with_tools(agent, overrides.tools)
        changed.append("tools")
    if overrides.instructions is not None:
        if agent.phases:
            raise ValueError(_phased(agent.name))
        agent = replace(agent, instructions=overrides.instructions)
    return agent, structs.replace(print_of(agent), overridden=tuple(dict.fromkeys(changed)))


def overridden_print(printed: AgentPrint, overrides: Overrides) -> AgentPrint:
    """The same for an agent of which only the log knows.

    Raises:
        ValueError: as `overridden`.
    """
    changed = list(printed.overridden)
    if overrides.model is not None:
        name = overrides.model if isinstance(overrides.model, str) else overrides.model.name
        name = clean_text(name, WORDS)
        phases = tuple([structs.replace(phase, model=name) for phase in printed.phases])
        printed = structs.replace(printed, model=name, phases=phases)
        changed.append("model")
    if overrides.tools is not None:
        kept = set(overrides.tools)
        _must_have(printed.name, _printed_tools(printed), kept)
        phases = tuple(
            [
                structs.replace(phase, tools=tuple([one for one in phase.tools if one in kept]))
                for phase in printed.phases
            ]
        )
        tools = tuple([one for one in printed.tools if one in kept])
        printed = structs.replace(printed, tools=tools, phases=phases)
        changed.append("tools")
    if overrides.instructions is not None:
        if printed.phases:
            raise ValueError(_phased(printed.name))
        printed = structs.replace(printed, instructions=overrides.instructions)
    return structs.replace(printed, overridden=tuple(dict.fromkeys(changed)))


def as_started(agent: Agent, printed: AgentPrint) -> Agent:
    """The agent of this host as the run was started with it: with the model and the tools that are the run's own."""
    if "model" in printed.overridden:
        agent = _with_model(agent, printed.model)
    if "tools" in printed.overridden:
        agent = _with_tools(agent, _printed_tools(printed))
    return agent


def _with_model(agent: Agent, model: str | Model) -> Agent:
    phases = [replace(phase, model=None, tier="") for phase in agent.phases]
    return replace(agent, model=model, tier="", phases=phases)


def _with_tools(agent: Agent, names: Collection[str]) -> Agent:
    kept = set(names)
    delegates = agent.delegates
    return replace(
        agent,
        tools=[one for one in agent.tools if one.spec.name in kept],
        agents=[one for name, (kind, one) in delegates.items() if kind == "agent" and name in kept],
        skills=[one for name, (kind, one) in delegates.items() if kind == "skill" and name in kept],
        phases=[
            replace(phase, tools=None if phase.tools is None else [one for one in phase.tools if one.spec.name in kept])
            for phase in agent.phases
        ],
    )


def _tools_of(agent: Agent) -> set[str]:
    tools = {tool.spec.name for tool in agent.tools} | set(agent.delegates)
    return tools | {tool.spec.name for phase in agent.phases for tool in phase.tools or ()}


def _printed_tools(printed: AgentPrint) -> set[str]:
    return {*printed.tools, *(name for phase in printed.phases for name in phase.tools)}


def _must_have(agent: str, have: Collection[str], wanted: Collection[str]) -> None:
    for name in wanted:
        if name not in have:
            known = ", ".join(sorted(have)) or "none"
            raise ValueError(f"fork, tools: agent {agent!r} has no tool {name!r}; it has: {known}")


def _phased(agent: str) -> str:
    return (
        f"fork, instructions: agent {agent!r} works in phases, each with instructions of its own; "
        "fork with another agent instead"
    )


# ------------------------------------------------------------------ what is written down


def edits_of(
    overrides: Overrides, was: AgentPrint, printed: AgentPrint, before: Limits, limits: Limits
) -> tuple[Edit, ...]:
    """What was made different, for the log."""
    found: list[Edit] = []

    def differs(what: str, old: Any, new: Any) -> None:
        found.append(Edit(what=what, before=_head(old), after=_head(new)))

    if overrides.agent is not None:
        differs("agent", was.name, printed.name)
    if overrides.model is not None:
        differs("model", was.model, printed.model)
    if overrides.instructions is not None:
        differs("instructions", was.instructions, overrides.instructions)
    if overrides.tools is not None:
        differs("tools", ", ".join(was.tools), ", ".join(printed.tools))
    for name in overrides.limits:
        differs(f"limits.{name}", getattr(before, name), getattr(limits, name))
    for edit in overrides.messages:
        match edit:
            case Reword():
                differs(f"messages.{edit.index}", "", edit.text)
            case DropFrom():
                differs(f"messages.{edit.index}.dropped", "", "")
            case Say():
                texts = [getattr(part, "text", "(image)") for part in as_parts("Say", edit.input)]
                differs("said", "", "\n".join(texts))
    for call, text in overrides.results.items():
        differs(f"results.{call}", "", text)
    return tuple(found)


def _head(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= HEAD else f"{text[:HEAD]}…"


def agent_for(name: str, overrides: Overrides, agents: Mapping[str, Agent], elsewhere: bool) -> Agent | None:
    """The agent of the fork: the source's, or another. None: it is not here, and need not be.

    Raises:
        UnknownAgent: it is not here.
    """
    if isinstance(overrides.agent, Agent):
        return overrides.agent
    wanted = overrides.agent or name
    found = agents.get(wanted)
    if found is None and (not elsewhere or overrides.agent is not None):
        raise UnknownAgent(wanted, tuple(agents))
    return found
