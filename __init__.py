"""executus: a runtime for LLM-agent runs that can be supervised, budgeted, replayed and trusted.

The names below are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "executus":  # loaded under the clone's folder name: two copies of every class
    raise ImportError(f"import executus, not {__name__}")

if TYPE_CHECKING:
    from .adapters.critics.judge import ModelCritic
    from .adapters.critics.outside import OutsideCritic
    from .adapters.critics.stuck import StuckCritic
    from .adapters.models.scripted import ScriptedModel
    from .adapters.signing import Signing
    from .adapters.tools.functions import tool
    from .adapters.tools.status import self_status
    from .backtesting import backtest, backtest_async
    from .errors import BudgetSpent, ExecutusError, ModelRefused, ModelUnavailable
    from .events import Event, Image, Limits, Message, Text, Usage
    from .handles import Result, Run
    from .ports import (
        Agent,
        Allowance,
        ApprovalTerms,
        CannotTell,
        Continue,
        Critic,
        Delegate,
        Delta,
        DidNotHappen,
        Extend,
        Happened,
        InputFile,
        Judged,
        Kill,
        Model,
        ModelRequest,
        Overrides,
        Phase,
        Progress,
        Raise,
        Reply,
        Skill,
        Steer,
        Tool,
        ToolContext,
        View,
    )
    from .projections.backtesting import Backtest
    from .projections.editing import DropFrom, Reword, Say
    from .projections.rows import Row, Rows, Table
    from .redaction import Secret, secret
    from .runtime import Runtime
    from .wire.attached import Attached, attach, attach_async, hosts
    from .wire.terms import ClientTls, Grant, Listen, ServerTls

_HOMES = {
    "Agent": "ports",
    "Allowance": "ports",
    "ApprovalTerms": "ports",
    "Attached": "wire.attached",
    "Backtest": "projections.backtesting",
    "BudgetSpent": "errors",
    "CannotTell": "ports",
    "ClientTls": "wire.terms",
    "Continue": "ports",
    "Critic": "ports",
    "Delegate": "ports",
    "Delta": "ports",
    "DidNotHappen": "ports",
    "DropFrom": "projections.editing",
    "Event": "events",
    "ExecutusError": "errors",
    "Extend": "ports",
    "Grant": "wire.terms",
    "Happened": "ports",
    "Image": "events",
    "InputFile": "ports",
    "Judged": "ports",
    "Kill": "ports",
    "Limits": "events",
    "Listen": "wire.terms",
    "Message": "events",
    "Model": "ports",
    "ModelCritic": "adapters.critics.judge",
    "ModelRefused": "errors",
    "ModelRequest": "ports",
    "ModelUnavailable": "errors",
    "OutsideCritic": "adapters.critics.outside",
    "Overrides": "ports",
    "Phase": "ports",
    "Progress": "ports",
    "Raise": "ports",
    "Reply": "ports",
    "Result": "handles",
    "Reword": "projections.editing",
    "Row": "projections.rows",
    "Rows": "projections.rows",
    "Run": "handles",
    "Runtime": "runtime",
    "Say": "projections.editing",
    "ScriptedModel": "adapters.models.scripted",
    "Secret": "redaction",
    "ServerTls": "wire.terms",
    "Signing": "adapters.signing",
    "Skill": "ports",
    "Steer": "ports",
    "StuckCritic": "adapters.critics.stuck",
    "Table": "projections.rows",
    "Text": "events",
    "Tool": "ports",
    "ToolContext": "ports",
    "Usage": "events",
    "View": "ports",
    "attach": "wire.attached",
    "attach_async": "wire.attached",
    "backtest": "backtesting",
    "backtest_async": "backtesting",
    "hosts": "wire.attached",
    "secret": "redaction",
    "self_status": "adapters.tools.status",
    "tool": "adapters.tools.functions",
}

__version__ = "0.3.0"

__all__ = [
    "Agent",
    "Allowance",
    "ApprovalTerms",
    "Attached",
    "Backtest",
    "BudgetSpent",
    "CannotTell",
    "ClientTls",
    "Continue",
    "Critic",
    "Delegate",
    "Delta",
    "DidNotHappen",
    "DropFrom",
    "Event",
    "ExecutusError",
    "Extend",
    "Grant",
    "Happened",
    "Image",
    "InputFile",
    "Judged",
    "Kill",
    "Limits",
    "Listen",
    "Message",
    "Model",
    "ModelCritic",
    "ModelRefused",
    "ModelRequest",
    "ModelUnavailable",
    "OutsideCritic",
    "Overrides",
    "Phase",
    "Progress",
    "Raise",
    "Reply",
    "Result",
    "Reword",
    "Row",
    "Rows",
    "Run",
    "Runtime",
    "Say",
    "ScriptedModel",
    "Secret",
    "ServerTls",
    "Signing",
    "Skill",
    "Steer",
    "StuckCritic",
    "Table",
    "Text",
    "Tool",
    "ToolContext",
    "Usage",
    "View",
    "attach",
    "attach_async",
    "backtest",
    "backtest_async",
    "hosts",
    "secret",
    "self_status",
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
