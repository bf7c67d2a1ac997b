"""Facts of supervision: what a run's critic or its host did to it, and which of its limits it came near or reached.

`by` names who gave the order: "critic", or a person the host names. `evidence` is what the order rests on, as JSON.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final

from .shape import FactStruct
from .values import Usage

Measure: TypeAlias = Literal["steps", "tool_calls", "tokens", "cost_usd", "seconds"]
"""What a limit counts. tokens: input and output together. seconds: awake seconds of the run, without its waiting."""


@final
class SoftTimeoutReached(FactStruct, frozen=True):
    """The run has worked for its soft timeout; nothing ends by it, the critic looks at the run."""

    at_ms: int


@final
class CriticObserved(FactStruct, frozen=True):
    """The critic noticed something and let the run go on: the first rung of its ladder."""

    text: str
    by: str = "critic"
    evidence: dict[str, Any] = {}


@final
class CriticSteered(FactStruct, frozen=True):
    """The critic gave advice; the model reads it at the next step."""

    text: str
    by: str = "critic"
    evidence: dict[str, Any] = {}


@final
class DeadlineExtended(FactStruct, frozen=True):
    """The hard deadline moved to `until_ms` of the run's own clock, waiting not counted."""

    until_ms: int
    by: str = "critic"
    reason: str = ""


@final
class CeilingRaised(FactStruct, frozen=True):
    """A limit went up from `old` to `new`."""

    limit: Measure
    old: float
    new: float
    by: str = "critic"
    reason: str = ""


@final
class CriticKilled(FactStruct, frozen=True):
    """Supervision stops the run: the critic, or whom `by` names. The end follows, with status "killed"."""

    reason: str
    by: str = "critic"
    evidence: dict[str, Any] = {}


@final
class CriticReviewed(FactStruct, frozen=True):
    """A review that spent tokens; they are charged to the run."""

    usage: Usage
    model: str = ""
    by: str = "critic"


@final
class CriticLost(FactStruct, frozen=True):
    """The critic failed and watches no more; the run goes on under its hard limits."""

    reason: str
    by: str = "critic"


@final
class HostSlept(FactStruct, frozen=True):
    """The host stood still for `slept_s` seconds (suspended or stopped); no deadline counts them (P13)."""

    slept_s: float


@final
class BudgetNoticed(FactStruct, frozen=True):
    """A set fraction of a limit is used up; the model is told at the next step. Once for each limit and fraction.

    phase: the phase whose limit it is, empty for the run's own.
    """

    measure: Measure
    fraction: float
    spent: float
    limit: float
    phase: str = ""


@final
class BudgetExceeded(FactStruct, frozen=True):
    """A limit is reached or a budget spent; the end follows. scope: "run", "phase NAME" or "caller"."""

    measure: Measure
    limit: float
    spent: float
    scope: str = "run"
    window: str = ""
    """Which window of a caller's budget: "run", "hour", "day", "month" or "total"."""
