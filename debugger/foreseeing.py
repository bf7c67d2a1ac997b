"""What a fork would inherit and what it would have to do, before there is one: made of the log alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import MessageRefused
from ..events import AgentPrint, Event, RunStarted
from ..ports import Overrides
from ..projections.editing import MessageEdit, edited
from ..projections.forking import inherited


def foreseen(run_id: str, events: Sequence[Event], overrides: Overrides, later_steps: int) -> dict[str, Any]:
    """What a fork that goes on from the last of `events` would inherit, would do anew, and whether it could be answered
    from the recording. later_steps: steps that the run has completed after them. Whether a host has such an agent,
    model and tools is not known here.

    Raises:
        MessageRefused: the run cannot be gone on from. ValueError: an edit that cannot be made, with why.
    """
    started = events[0].fact if events else None
    if not isinstance(started, RunStarted):
        raise MessageRefused(run_id, "fork", "its log does not begin with its start")
    withheld = next((event.content for event in events if event.content in ("locked", "erased")), None)
    if withheld is not None:
        raise MessageRefused(run_id, "fork", f"what was said in it is {withheld}")
    found = inherited(run_id, events, overrides.results)
    messages: Sequence[MessageEdit] = overrides.messages
    forked = edited(found.forked, messages)
    names = {f"{found.state.step}.{index}": one.name for index, one in enumerate(found.state.asked)}
    given = overrides.agent, overrides.model, overrides.instructions, overrides.tools
    shown_else = bool(messages) or bool(overrides.results) or any(one is not None for one in given)
    return {
        "messages": len(forked.messages),
        "dropped": max(0, len(found.forked.messages) - len(forked.messages)),
        "steps": forked.totals.steps,
        "tool_calls": forked.totals.tool_calls,
        "tokens": forked.totals.tokens,
        "cost_usd": found.state.cost_usd,
        "to_make": [{"call": call, "name": names.get(call, "")} for call in (() if forked.said else found.to_make)],
        "unknown": [{"call": call, "name": names.get(call, "")} for call in found.unknown],
        "cancelled": [{"call": call, "name": names.get(call, "")} for call in found.cancelled],
        "given": list(found.replaced),
        "ends": forked.said is not None,
        "next_step": forked.totals.steps + 1,
        "recorded": 0 if shown_else else later_steps,
        "shown_else": shown_else,
        "tools": tools_of(started.agent),
        "phased": bool(started.agent.phases),
    }


def tools_of(agent: AgentPrint) -> list[str]:
    """The names of all that the agent could call when the run began."""
    return sorted({*agent.tools, *(name for phase in agent.phases for name in phase.tools)})
