"""What a critic answered, looked at: everything foreign is checked and copied here, and comes out as plain values.

What it comes to in a run is said by `projections.supervising`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard

import msgspec

from ..events import Fact, Usage
from ..events.clean import clean_json, clean_text
from ..projections import RunState
from ..projections.supervising import advised, billed, condemned, given_steps, given_time, noticed
from .supervision import Continue, Extend, Judged, Kill, Raise, Steer, Verdict

MOST_TEXT = 65_536
"""Characters of one text of a verdict, and bytes of its evidence as JSON."""
MOST = 1 << 53
WORDS = 200
"""Characters of a name."""


class Checked(msgspec.Struct, frozen=True):
    """A review whose every part is what the port says. verdict: None for `Continue()` without words. usage: what the
    review has spent.
    """

    verdict: Verdict | None = None
    usage: Usage = Usage()
    model: str = ""

    @property
    def final(self) -> bool:
        """Whether it ends the run."""
        return type(self.verdict) is Kill

    @property
    def orders(self) -> int:
        """How many orders it gives: at most one, after its bill."""
        return (self.usage != Usage()) + (self.verdict is not None)


def checked_review(review: Any) -> Checked:
    """What `review`, the answer of a critic, says.

    Raises:
        TypeError, ValueError: it is no `Review`, with what was expected. What foreign objects in it raise.
    """
    if type(review) is not Judged:
        return Checked(_verdict(review))
    verdict = _verdict(review.verdict)
    usage = _usage(review.usage)
    model = "" if usage == Usage() else _text("model", review.model, WORDS)
    return Checked(verdict, usage, model)


Answer: TypeAlias = Callable[[RunState], list[Fact]]
"""The facts that a run answers a review with, as it stands then."""


def answer(checked: Checked, by: str) -> Answer:
    """What a run does about the review of the critic named `by`."""

    def facts(state: RunState) -> list[Fact]:
        bill = [] if checked.usage == Usage() else billed(state, checked.usage, checked.model, by)
        return [*bill, *_facts(checked.verdict, state, by)]

    return facts


def _facts(verdict: Verdict | None, state: RunState, by: str) -> list[Fact]:
    match verdict:
        case Continue():
            return noticed(state, verdict.text, by, verdict.evidence)
        case Steer():
            return advised(state, verdict.text, by, verdict.evidence)
        case Extend():
            return given_time(state, verdict.seconds, by, verdict.reason)
        case Raise():
            return given_steps(state, verdict.steps, by, verdict.reason)
        case Kill():
            return condemned(state, verdict.reason, by, verdict.evidence)
        case _:
            return []


def _verdict(verdict: object) -> Verdict | None:
    # Exact types: a subclass of a verdict may do anything when it is read.
    if type(verdict) is Continue:
        if verdict.text == "":
            return None
        return Continue(_text("text", verdict.text), _evidence(verdict.evidence))
    if type(verdict) is Steer:
        text = _text("text", verdict.text)
        if not text.strip():
            raise ValueError("Steer, text: expected some advice, got no words")
        return Steer(text, _evidence(verdict.evidence))
    if type(verdict) is Extend:
        seconds: object = verdict.seconds
        if not _is_number(seconds) or not 0 < seconds < MOST:
            raise ValueError(f"Extend, seconds: expected seconds > 0, got {_shown(seconds)}")
        return Extend(seconds, _text("reason", verdict.reason))
    if type(verdict) is Raise:
        steps: object = verdict.steps
        if type(steps) is not int or not 0 < steps < MOST:
            raise ValueError(f"Raise, steps: expected a whole number ≥ 1, got {_shown(steps)}")
        return Raise(steps, _text("reason", verdict.reason))
    if type(verdict) is Kill:
        return Kill(_text("reason", verdict.reason), _evidence(verdict.evidence))
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
