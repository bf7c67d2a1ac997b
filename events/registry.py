"""The closed table of facts: tag and schema version on one side, struct on the other.

A tag is what disks remember: it never changes and never names a Python path. Nothing outside this table is ever
constructed from stored bytes.
"""

from __future__ import annotations

from typing import Final

from .erasure import ContentErased
from .facts import (
    ErrorLogged,
    Fact,
    NoteLogged,
    Opaque,
    ReconcileStarted,
    RunFinished,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
)
from .family import (
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    FamilyAwaited,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    RunBegun,
    RunForked,
)
from .files import ArtifactStored, Delivered, DeliveryAttempted, DeliveryFailed, InputStaged
from .people import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    CallerSteered,
    CancelRequested,
    InputAwaited,
    InputReceived,
)
from .shape import FactStruct
from .supervision import (
    BudgetExceeded,
    BudgetNoticed,
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    HostSlept,
    SoftTimeoutReached,
)

FACTS: Final[dict[str, tuple[type[FactStruct], int]]] = {
    "run-started": (RunStarted, 1),
    "run-resumed": (RunResumed, 1),
    "run-finished": (RunFinished, 1),
    "step-started": (StepStarted, 1),
    "step-completed": (StepCompleted, 1),
    "step-failed": (StepFailed, 1),
    "tool-started": (ToolStarted, 1),
    "tool-refused": (ToolRefused, 1),
    "tool-finished": (ToolFinished, 1),
    "tool-outcome-unknown": (ToolOutcomeUnknown, 1),
    "reconcile-started": (ReconcileStarted, 1),
    "tool-reconciled": (ToolReconciled, 1),
    "caller-steered": (CallerSteered, 1),
    "input-awaited": (InputAwaited, 1),
    "input-received": (InputReceived, 1),
    "cancel-requested": (CancelRequested, 1),
    "approval-requested": (ApprovalRequested, 1),
    "approval-awaited": (ApprovalAwaited, 1),
    "approval-granted": (ApprovalGranted, 1),
    "approval-denied": (ApprovalDenied, 1),
    "approval-expired": (ApprovalExpired, 1),
    "soft-timeout-reached": (SoftTimeoutReached, 1),
    "critic-observed": (CriticObserved, 1),
    "critic-steered": (CriticSteered, 1),
    "deadline-extended": (DeadlineExtended, 1),
    "ceiling-raised": (CeilingRaised, 1),
    "critic-killed": (CriticKilled, 1),
    "critic-reviewed": (CriticReviewed, 1),
    "critic-lost": (CriticLost, 1),
    "host-slept": (HostSlept, 1),
    "budget-noticed": (BudgetNoticed, 1),
    "budget-exceeded": (BudgetExceeded, 1),
    "child-started": (ChildStarted, 1),
    "child-finished": (ChildFinished, 1),
    "child-waited": (ChildWaited, 1),
    "child-went-on": (ChildWentOn, 1),
    "family-awaited": (FamilyAwaited, 1),
    "phase-started": (PhaseStarted, 1),
    "phase-finished": (PhaseFinished, 1),
    "output-refused": (OutputRefused, 1),
    "run-forked": (RunForked, 2),
    "run-begun": (RunBegun, 1),
    "input-staged": (InputStaged, 1),
    "artifact-stored": (ArtifactStored, 1),
    "delivery-attempted": (DeliveryAttempted, 1),
    "delivered": (Delivered, 1),
    "delivery-failed": (DeliveryFailed, 1),
    "note-logged": (NoteLogged, 1),
    "error-logged": (ErrorLogged, 1),
    "content-erased": (ContentErased, 1),
}
"""tag -> (struct, schema version written today)."""

TAGS: Final[dict[type[FactStruct], str]] = {struct: tag for tag, (struct, _) in FACTS.items()}

TERMINAL_TAGS: Final = frozenset({"run-finished"})
AFTER_THE_END: Final = frozenset(
    {"note-logged", "error-logged", "delivery-attempted", "delivered", "delivery-failed", "content-erased"}
)
"""Tags that may follow a terminal fact: they are not about the run's work (P2)."""


def tag_of(fact: Fact) -> str:
    """The tag under which `fact` is stored."""
    return fact.tag if isinstance(fact, Opaque) else TAGS[type(fact)]
