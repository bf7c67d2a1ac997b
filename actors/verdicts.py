"""From what a critic answered to orders for its run."""

from __future__ import annotations

from typing import Any

import msgspec

from ..events import Usage
from ..ports import Continue, Extend, Kill, Raise, Steer, Verdict
from ..ports.verdicts import checked_review
from .run.messages import ChargeReview, ExtendRun, KillRun, ObserveRun, Order, RaiseCeiling, SteerRun


class Judgement(msgspec.Struct, frozen=True):
    """A verdict as orders, in the order in which they are given. final: it ends the run."""

    orders: tuple[Order, ...] = ()
    final: bool = False


class Reviewed(msgspec.Struct, frozen=True):
    """How a review went: what it asks for, or why there is nothing to be had."""

    judgement: Judgement | None = None
    error: str = ""


def judgement(review: Any, by: str) -> Judgement:
    """Return what `review`, the answer of the critic named `by`, asks for: at most one order, after its bill.

    Raises:
        TypeError, ValueError: it is no `Review`, with what was expected. What foreign objects in it raise.
    """
    checked = checked_review(review)
    orders: list[Order] = []
    if checked.usage != Usage():
        orders.append(ChargeReview(usage=checked.usage, model=checked.model, by=by))
    if (order := _order(checked.verdict, by)) is not None:
        orders.append(order)
    return Judgement(tuple(orders), checked.final)


def _order(verdict: Verdict | None, by: str) -> Order | None:
    match verdict:
        case Continue():
            return ObserveRun(text=verdict.text, by=by, evidence=verdict.evidence)
        case Steer():
            return SteerRun(text=verdict.text, by=by, critic=True, evidence=verdict.evidence)
        case Extend():
            return ExtendRun(seconds=verdict.seconds, by=by, reason=verdict.reason, critic=True)
        case Raise():
            return RaiseCeiling(limit="steps", more=verdict.steps, by=by, reason=verdict.reason, critic=True)
        case Kill():
            return KillRun(reason=verdict.reason, by=by, critic=True, evidence=verdict.evidence)
        case _:
            return None
