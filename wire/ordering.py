"""Carrying out what another process orders, as the host's own code would."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from msgspec.structs import replace

from ..errors import ControlRefused, MessageRefused
from ..ports import LiveHost, LiveRun
from ..projections import RunState
from .requests import Approve, Begin, Cancel, Deny, Done, Extend, Kill, Order, Raise, RunOrder, Send, Start, Steer
from .terms import Grant

TIMEOUT_S: Final = 20.0
"""Seconds that an order has until it is durable; then it is "not-yet"."""


def checked(order: Order, grant: Grant) -> Order:
    """The order, as this grant may give it. Whose runs it starts is the grant's to say.

    Raises:
        ControlRefused: it may not.
    """
    if isinstance(order, Start) and grant.caller:
        if order.caller not in ("", grant.caller):
            raise ControlRefused("forbidden", f"grant {grant.name!r} starts only runs of caller {grant.caller!r}")
        return replace(order, caller=grant.caller)
    return order


def give(host: LiveHost, order: Order, grant: Grant, owners: AbstractContextManager[object]) -> Done:
    """Carry it out; returns when it is durable. With `order.check` only look whether it could be. owners: held while an
    owner's order is compared with the caps that it must keep.

    Raises:
        MessageRefused, UnknownRun, UnknownAgent, BudgetSpent, …: as the calls of the host.
    """
    by = f"{grant.name}:{order.by}" if order.by else grant.name
    if isinstance(order, Start):
        return _started(host, order)
    if not isinstance(order, RunOrder):
        raise ControlRefused("malformed", "this is no order")
    run = host.run(order.run)
    capped = grant.role == "owner" and isinstance(order, (Extend, Raise))
    with owners if capped else nullcontext():
        if capped or order.check:
            state = run.state()
            _must_be_live(run, state, order)
            if capped:
                _must_keep_the_cap(state, order)
        if not order.check:
            _give(run, order, by)
    return Done(run=run.id, status=run.status, told=_told(order))


def _started(host: LiveHost, order: Start) -> Done:
    if order.check:
        return Done(run="", told=f"would start {order.agent} for caller {order.caller!r}")
    run = host.start(
        order.agent,
        order.input,
        caller=order.caller,
        request_id=order.request_id or order.id,
        name=order.name,
        subject=order.subject,
        interactive=order.interactive,
        dry_run=order.dry_run,
        max_steps=order.max_steps,
        timeout=TIMEOUT_S,
    )
    return Done(run=run.id, status=run.status, told=f"started {order.agent}")


def _must_be_live(run: LiveRun, state: RunState, order: RunOrder) -> None:
    if state.over and not isinstance(order, (Kill, Cancel)):
        raise MessageRefused(run.id, _name(order), f"it is over, with status {state.status}")
    waiting = [one.call for one in state.governed.approvals]
    if isinstance(order, (Approve, Deny)) and (order.call not in waiting if order.call else len(waiting) != 1):
        which = ", ".join(waiting) or "none"
        raise MessageRefused(run.id, _name(order), f"name the call; waiting for approval: {which}")


def _must_keep_the_cap(state: RunState, order: RunOrder) -> None:
    """An owner gives no more than whoever started the run has allowed its critic."""
    governed = state.governed
    if isinstance(order, Extend):
        if governed.deadline_ms is not None and governed.cap_ms is not None:
            most_ms = max(0, governed.cap_ms - governed.deadline_ms)
            if order.seconds * 1000 > most_ms:
                why = f"an owner may extend this run by {most_ms / 1000:g} s more; ask an operator"
                raise ControlRefused("forbidden", why)
    elif isinstance(order, Raise):
        if order.limit != "steps":
            raise ControlRefused("forbidden", "an owner may raise only steps; ask an operator")
        most = max(0, governed.cap_steps - state.limits.max_steps)
        if order.more > most:
            raise ControlRefused(
                "forbidden", f"an owner may raise the steps of this run by {most} more; ask an operator"
            )


def _give(run: LiveRun, order: RunOrder, by: str) -> None:
    match order:
        case Steer():
            run.steer(order.text, by=by, timeout=TIMEOUT_S)
        case Send():
            run.send(order.text, by=by, timeout=TIMEOUT_S)
        case Approve():
            run.approve(order.call, by=by, timeout=TIMEOUT_S)
        case Deny():
            run.deny(order.call, reason=order.reason, by=by, timeout=TIMEOUT_S)
        case Extend():
            run.extend(order.seconds, by=by, reason=order.reason, timeout=TIMEOUT_S)
        case Raise():
            more = order.more if order.limit == "cost_usd" or not order.more.is_integer() else int(order.more)
            run.raise_ceiling(more, order.limit, by=by, reason=order.reason, timeout=TIMEOUT_S)
        case Begin():
            run.begin(by=by, timeout=TIMEOUT_S)
        case Cancel():
            run.cancel(order.reason, by=by, timeout=TIMEOUT_S)
        case Kill():
            run.kill(order.reason, by=by, timeout=TIMEOUT_S)
        case _:
            raise ControlRefused("malformed", "this is no order to a run")


def _name(order: Order) -> str:
    return str(type(order).__struct_config__.tag)


def _told(order: RunOrder) -> str:
    name = _name(order)
    return f"would {name} it" if order.check else name
