"""From what a critic answered to orders for its run. Everything foreign is looked at, checked and copied here."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

from ..events import Usage
from ..events.clean import clean_json, clean_text
from ..ports import Continue, Extend, Judged, Kill, Raise, Steer
from .run.messages import ChargeReview, ExtendRun, KillRun, ObserveRun, Order, RaiseCeiling, SteerRun

MOST_TEXT = 65_536
"""Characters of one text of a verdict, and bytes of its evidence as JSON."""
MOST = 1 << 53
WORDS = 200
"""Characters of a name."""


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
    if type(review) is not Judged:
        order = _order(review, by)
        return Judgement(() if order is None else (order,), type(order) is KillRun)
    order = _order(review.verdict, by)
    usage = _usage(review.usage)
    orders: list[Order] = []
    if usage != Usage():
        orders.append(ChargeReview(usage=usage, model=_text("model", review.model, WORDS), by=by))
    if order is not None:
        orders.append(order)
    return Judgement(tuple(orders), type(order) is KillRun)


def _order(verdict: object, by: str) -> Order | None:
    # Exact types: a subclass of a verdict may do anything when it is read.
    if type(verdict) is Continue:
        if verdict.text == "":
            return None
        return ObserveRun(text=_text("text", verdict.text), by=by, evidence=_evidence(verdict.evidence))
    if type(verdict) is Steer:
        text = _text("text", verdict.text)
        if not text.strip():
            raise ValueError("Steer, text: expected some advice, got no words")
        return SteerRun(text=text, by=by, critic=True, evidence=_evidence(verdict.evidence))
    if type(verdict) is Extend:
        seconds: object = verdict.seconds
        if not _is_number(seconds) or not 0 < seconds < MOST:
            raise ValueError(f"Extend, seconds: expected seconds > 0, got {_shown(seconds)}")
        return ExtendRun(seconds=seconds, by=by, reason=_text("reason", verdict.reason), critic=True)
    if type(verdict) is Raise:
        steps: object = verdict.steps
        if type(steps) is not int or not 0 < steps < MOST:
            raise ValueError(f"Raise, steps: expected a whole number ≥ 1, got {_shown(steps)}")
        return RaiseCeiling(limit="steps", more=steps, by=by, reason=_text("reason", verdict.reason), critic=True)
    if type(verdict) is Kill:
        reason = _text("reason", verdict.reason)
        return KillRun(reason=reason, by=by, critic=True, evidence=_evidence(verdict.evidence))
    raise TypeError(f"expected a Verdict, or Judged with one, got {_shown(verdict)}")


def _text(what: str, text: Any, most: int = MOST_TEXT) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what}: expected text, got {_shown(text)}")
    return clean_text(text, most)


def _evidence(evidence: Any) -> dict[str, Any]:
    if not isinstance(evidence, dict):
        raise TypeError(f"evidence: expected a dict, got {_shown(evidence)}")
    plain: dict[str, Any] = clean_json(evidence)
    size = len(msgspec.json.encode(plain))
    if size > MOST_TEXT:
        raise ValueError(f"evidence: expected at most {MOST_TEXT} bytes as JSON, got {size}")
    return plain


def _usage(usage: Any) -> Usage:
    if type(usage) is not Usage:
        raise TypeError(f"Judged, usage: expected Usage, got {_shown(usage)}")
    for count in (usage.input, usage.output, usage.thinking, usage.cache_read, usage.cache_write):
        if type(count) is not int or not 0 <= count < MOST:
            raise ValueError(f"Judged, usage: expected whole numbers of tokens ≥ 0, got {_shown(count)}")
    cost: object = usage.cost_usd
    if cost is not None and not (_is_number(cost) and 0 <= cost < MOST):
        raise ValueError(f"Judged, usage, cost_usd: expected dollars ≥ 0 or None, got {_shown(cost)}")
    return usage


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a plain number: no bool, and nothing that only behaves like one. It may still be NaN or infinite,
    which no comparison with a smallest and a largest lets through.
    """
    return type(value) in (int, float)


def _shown(value: Any) -> str:
    """A foreign value for a sentence: numbers as they are, of others the class."""
    return repr(value)[:WORDS] if type(value) in (int, float, bool, type(None)) else type(value).__name__
