"""The port to critics: who watches a run, what they are shown, and what they may say."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from ..events import Usage
from ..projections.trace import Trace


class Verdict(msgspec.Struct, frozen=True):
    """What a critic may say. evidence: what it rests on, as JSON; it is recorded with what the verdict leads to."""


class Continue(Verdict, frozen=True):
    """Go on. With `text`, something was noticed that is worth a fact: the first rung of a ladder."""

    text: str = ""
    evidence: dict[str, Any] = {}


class Steer(Verdict, frozen=True):
    """Tell the model `text` at its next step."""

    text: str
    evidence: dict[str, Any] = {}


class Extend(Verdict, frozen=True):
    """Give the run `seconds` more before its hard deadline, up to the cap given at start."""

    seconds: float
    reason: str = ""


class Raise(Verdict, frozen=True):
    """Give the run `steps` more, up to the cap given at start."""

    steps: int
    reason: str = ""


class Kill(Verdict, frozen=True):
    """End the run with status "killed"; what it has said is kept."""

    reason: str
    evidence: dict[str, Any] = {}


class Judged(msgspec.Struct, frozen=True):
    """A verdict that cost tokens; they are charged to the run."""

    verdict: Verdict
    usage: Usage = Usage()
    model: str = ""


Review: TypeAlias = "Verdict | Judged"


@runtime_checkable
class Critic(Protocol):
    """Watches runs. A verdict should be a function of trace and time alone, so that it can be tried on old runs.

    `review` may be `async def` (runs on the runtime's loop) or plain (runs on a thread). It is called at the soft
    timeout, and, if the critic has these attributes, every `every_s` awake seconds and after every `every_steps` steps;
    never twice at a time for one run. `timeout_s` (attribute, default 60): seconds for one review.
    `name` (attribute, default "critic"): who the facts say gave the order.

    One that raises, hangs or answers anything else is asked again, and lost after the third failure in a row: the run
    goes on under its hard limits.
    """

    def review(self, trace: Trace, now: float) -> Review | Awaitable[Review]:
        """Judge the run. now: awake seconds on the run's own clock."""
        ...
