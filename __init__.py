"""executus: a runtime for LLM-agent runs that can be supervised, budgeted, replayed and trusted.

The names below are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "executus":  # loaded under the clone's folder name: two copies of every class
    raise ImportError(f"import executus, not {__name__}")

if TYPE_CHECKING:
    from .adapters.models.scripted import ScriptedModel
    from .adapters.tools.functions import tool
    from .errors import ExecutusError, ModelRefused, ModelUnavailable
    from .events import Event, Image, Message, Text, Usage
    from .handles import Result, Run
    from .ports import Agent, Delta, Model, ModelRequest, Reply, Tool, ToolContext
    from .runtime import Runtime

_HOMES = {
    "Agent": "ports",
    "Delta": "ports",
    "Event": "events",
    "ExecutusError": "errors",
    "Image": "events",
    "Message": "events",
    "Model": "ports",
    "ModelRefused": "errors",
    "ModelRequest": "ports",
    "ModelUnavailable": "errors",
    "Reply": "ports",
    "Result": "handles",
    "Run": "handles",
    "Runtime": "runtime",
    "ScriptedModel": "adapters.models.scripted",
    "Text": "events",
    "Tool": "ports",
    "ToolContext": "ports",
    "Usage": "events",
    "tool": "adapters.tools.functions",
}

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Delta",
    "Event",
    "ExecutusError",
    "Image",
    "Message",
    "Model",
    "ModelRefused",
    "ModelRequest",
    "ModelUnavailable",
    "Reply",
    "Result",
    "Run",
    "Runtime",
    "ScriptedModel",
    "Text",
    "Tool",
    "ToolContext",
    "Usage",
    "tool",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"executus has no {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
