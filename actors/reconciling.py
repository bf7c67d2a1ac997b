"""Asking a tool what became of a call that a dead host left: what it says, and why nothing can be said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ports import Agent, CannotTell, DidNotHappen, Happened
from ..ports.saying import said
from ..projections import OpenCall
from .calls import find_tool
from .run.messages import AcceptReconciled

ASK_S = 30.0
"""Seconds for an answer from a tool that sets no limit of its own."""


def who_to_ask(agent: Agent, call: OpenCall) -> tuple[Callable[..., Any], float] | str:
    """What to call for an answer and how long it may take, or why nobody can be asked."""
    tool = find_tool(agent, call.name)
    if tool is None:
        return f"the tool {call.name} no longer exists"
    ask = getattr(tool, "reconcile", None)  # a tool that is `ports.Reconciles`
    if ask is None:
        return f"{call.name} cannot be asked what became of it"
    seconds = getattr(tool, "reconcile_timeout_s", ASK_S)
    return ask, float(seconds) if isinstance(seconds, (int, float)) and 0 < seconds < 1e9 else ASK_S


def unknown(call: OpenCall, why: str) -> AcceptReconciled:
    """Nobody can say."""
    return AcceptReconciled(call=call.call, attempt=call.asked, unknown=why)


def read_answer(call: OpenCall, answer: object) -> AcceptReconciled:
    """The answer, which may be anything, as a message to the run."""
    match answer:
        case Happened():
            return AcceptReconciled(
                call=call.call,
                attempt=call.asked,
                happened=True,
                text=said(answer.result),
                is_error=bool(answer.is_error),
            )
        case DidNotHappen():
            return AcceptReconciled(call=call.call, attempt=call.asked)
        case CannotTell():
            why = f": {said(answer.why)}" if answer.why else ""
            return unknown(call, f"{call.name} cannot tell what became of it{why}")
        case _:
            expected = "expected Happened, DidNotHappen or CannotTell"
            return unknown(call, f"{call.name}, asked what became of it, answered {type(answer).__name__}; {expected}")


def read_failure(call: OpenCall, error: BaseException) -> AcceptReconciled:
    """It raised instead of answering."""
    return unknown(call, f"{call.name} failed when it was asked what became of it: {said(error, name=True)}")
