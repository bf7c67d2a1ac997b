"""The ready tool `self_status`: how far a run is, and what it has left."""

from __future__ import annotations

from typing import Any

from ...ports import ToolContext
from .functions import tool


@tool(effect="pure")
def self_status(context: ToolContext) -> dict[str, Any] | str:
    """How far this run is: steps, tool calls, tokens and cost so far, what is left of each limit, and in how many
    seconds its time is up (deadline_in_s).
    """
    if context.desk is None:
        return "Where this tool runs, nothing is known about the run: neither what it has used nor its limits."
    return context.desk.status()
