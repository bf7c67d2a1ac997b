"""What the world still owes a run: the replies, results, children, budget and wake-ups it waits for."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ..events import ToolCall
from .bounds import deadline_ms, soft_timeout_ms
from .run import OpenCall, OpenChild, RunState


class CallModel(msgspec.Struct, frozen=True, gc=False):
    """Owed: the model's reply for a step."""

    key: str
    step: int
    attempt: int


class CallTool(msgspec.Struct, frozen=True, gc=False):
    """Owed: the result of a started tool call."""

    key: str
    call: OpenCall


class PlanCalls(msgspec.Struct, frozen=True, gc=False):
    """Owed by a fork that begins: what is to be known about `calls`, those of step `step` that it is to make. asked:
    each, as the model asked for it.
    """

    key: str
    step: int
    calls: tuple[str, ...]
    asked: tuple[ToolCall, ...]


class AskTool(msgspec.Struct, frozen=True, gc=False):
    """Owed: what became of a tool call that a dead host left; until that is known the call is not run."""

    key: str
    call: OpenCall


class RunChild(msgspec.Struct, frozen=True, gc=False):
    """Owed: the end of a child run."""

    key: str
    child: OpenChild


class Reserve(msgspec.Struct, frozen=True, gc=False):
    """Owed: a reservation with the caller's budget, from `at_ms` of the run's clock, before attempt `attempt`."""

    key: str
    step: int
    attempt: int
    at_ms: int


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Owed: a message when the run's clock reads `at_ms`."""

    key: str
    at_ms: int
    what: Literal["retry", "deadline", "soft"]


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Owed: a message when the wall clock reads `at_us`: nobody answered the request for approval of `call`."""

    key: str
    call: str
    at_us: int


Owed: TypeAlias = CallModel | PlanCalls | CallTool | AskTool | RunChild | Reserve | Wake | Expire


def _plan(state: RunState, calls: tuple[str, ...]) -> PlanCalls:
    asked = tuple([state.asked[int(call.rpartition(".")[2])] for call in calls])
    return PlanCalls(f"plan:{state.step}", state.step, calls, asked)


def outstanding(state: RunState) -> list[Owed]:
    """What the world owes the run in `state`. Keys are unique within a run and stable over restarts.

    A run that waits for a person is owed nothing but its children, which wait too, and the expiry of what it asked; an
    over or read-only one nothing at all.
    """
    doing, governed = state.doing, state.governed
    if doing in ("new", "over") or state.read_only:
        return []
    owed: list[Owed] = []
    if doing == "model":
        owed.append(CallModel(f"model:{state.step}:{state.attempt}", state.step, state.attempt))
    elif doing == "tools":
        owed.extend(
            [
                AskTool(f"reconcile:{call.call}:{call.asked}", call)
                if call.asking
                else CallTool(f"tool:{call.call}", call)
                for call in state.open_calls
            ]
        )
        if governed.unplanned:
            owed.append(_plan(state, governed.unplanned))
        if governed.budgeted and state.between_steps:
            owed.append(Reserve(f"reserve:{state.step + 1}:1", state.step + 1, 1, 0))
    elif doing == "backoff":
        if governed.budgeted:
            attempt = state.attempt + 1
            owed.append(Reserve(f"reserve:{state.step}:{attempt}", state.step, attempt, state.retry_at_ms))
        else:
            owed.append(Wake(f"retry:{state.step}:{state.attempt}", state.retry_at_ms, "retry"))
    if governed.children:
        owed.extend([RunChild(f"child:{child.call}", child) for child in governed.children])
    if governed.approvals:
        owed.extend(
            [
                Expire(f"expiry:{one.call}:{one.expires_at_us}", one.call, one.expires_at_us)
                for one in governed.approvals
                if one.expires_at_us is not None
            ]
        )
    if doing != "waiting":
        at_ms = deadline_ms(state)
        if at_ms is not None:
            owed.append(Wake(f"deadline:{at_ms}", at_ms, "deadline"))
        soft = soft_timeout_ms(state)
        if soft is not None:
            owed.append(Wake(f"soft:{soft}", soft, "soft"))
    return owed
