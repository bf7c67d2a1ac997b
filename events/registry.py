"""The closed table of facts: tag and schema version on one side, struct on the other.

A tag is what disks remember: it never changes and never names a Python path. Nothing outside this table is ever
constructed from stored bytes.
"""

from __future__ import annotations

from typing import Final

from .facts import (
    CallerSteered,
    CancelRequested,
    ErrorLogged,
    Fact,
    FactStruct,
    InputAwaited,
    InputReceived,
    NoteLogged,
    Opaque,
    RunFinished,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
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
    "caller-steered": (CallerSteered, 1),
    "input-awaited": (InputAwaited, 1),
    "input-received": (InputReceived, 1),
    "cancel-requested": (CancelRequested, 1),
    "note-logged": (NoteLogged, 1),
    "error-logged": (ErrorLogged, 1),
}
"""tag -> (struct, schema version written today)."""

TAGS: Final[dict[type[FactStruct], str]] = {struct: tag for tag, (struct, _) in FACTS.items()}

TERMINAL_TAGS: Final = frozenset({"run-finished"})
AFTER_THE_END: Final = frozenset({"note-logged", "error-logged"})
"""Tags that may follow a terminal fact: they are not about the run's work (P2)."""


def tag_of(fact: Fact) -> str:
    """The tag under which `fact` is stored."""
    return fact.tag if isinstance(fact, Opaque) else TAGS[type(fact)]
