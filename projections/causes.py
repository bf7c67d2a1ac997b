"""Why an event is in a log, as far as the log tells: decided together with a reply, or ordered by a critic."""

from __future__ import annotations

from ..events import (
    ApprovalAwaited,
    ApprovalRequested,
    BudgetExceeded,
    BudgetNoticed,
    CeilingRaised,
    ChildStarted,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Event,
    Fact,
    FamilyAwaited,
    InputAwaited,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    StepStarted,
    ToolRefused,
    ToolStarted,
)

ONE_COMMIT = frozenset(
    {
        ToolStarted,
        ToolRefused,
        ChildStarted,
        ApprovalRequested,
        OutputRefused,
        PhaseFinished,
        PhaseStarted,
        BudgetExceeded,
        BudgetNoticed,
    }
)
"""What a run decides together with a reply: a verdict about the reply comes after it."""
LAST_OF_COMMIT = frozenset((StepStarted, InputAwaited, ApprovalAwaited, FamilyAwaited, RunFinished))
"""The same, and nothing follows it in its commit."""
OF_CRITICS = frozenset((CriticObserved, CriticSteered, CriticReviewed, CriticLost))
"""Facts that only critics cause."""
OF_ANYBODY = frozenset((CriticKilled, DeadlineExtended, CeilingRaised))
"""Facts that a host's order may cause too: then their event names the order as its cause."""


def together(reply: Event, last: type[Fact], event: Event) -> bool:
    """Whether `event` was decided together with `reply`, as were those in between, the `last` of them of this kind."""
    kind = type(event.fact)
    return (
        (kind in ONE_COMMIT or kind in LAST_OF_COMMIT)
        and last not in LAST_OF_COMMIT
        and (event.elapsed_ms, event.at_us, event.epoch) == (reply.elapsed_ms, reply.at_us, reply.epoch)
    )


def of_critic(event: Event) -> bool:
    """Whether a critic caused it."""
    kind = type(event.fact)
    return kind in OF_CRITICS or (kind in OF_ANYBODY and not event.cause)
