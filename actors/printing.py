"""An agent as the log has it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..events import AgentPrint, PhasePrint
from ..events.clean import clean_text
from ..ports import Agent
from .run.intake import WORDS


def print_of(agent: Agent) -> AgentPrint:
    """What the agent is now, for the first fact of a run. A phase without instructions of its own has the agent's;
    one that has some reads the agent's first.
    """
    return AgentPrint(
        name=clean_text(agent.name, WORDS),
        model=clean_text(agent.model_name, WORDS),
        instructions=clean_text(_told(agent.instructions, agent.output)),
        tools=(*(tool.spec.name for tool in agent.tools), *agent.delegates),
        fingerprint=agent.fingerprint,
        phases=tuple(
            PhasePrint(
                name=clean_text(phase.name, WORDS),
                instructions=clean_text(_told(agent.instructions, phase.output, phase.instructions)),
                model=clean_text(agent.in_phase(phase.name).model_name, WORDS),
                tools=tuple(tool.spec.name for tool in agent.in_phase(phase.name).tools),
                max_steps=phase.max_steps,
                timeout_s=phase.timeout_s,
                max_tool_calls=phase.max_tool_calls,
                max_tokens=phase.max_tokens,
                max_cost_usd=phase.max_cost_usd,
            )
            for phase in agent.phases
        ),
        kind=agent.kind,
    )


def _told(instructions: str, output: Any, more: str = "") -> str:
    """Instructions, and the schema that the last words must fit, if there is one."""
    schema = ""
    if output is not None:
        wanted = msgspec.json.encode(msgspec.json.schema(output)).decode()
        schema = f"End with an answer that is JSON and nothing else, and fits this JSON Schema:\n{wanted}"
    return "\n\n".join(filter(None, (instructions, more, schema)))
