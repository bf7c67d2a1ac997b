"""What can happen to a run, one frozen struct a fact. A fact is a sentence in the past, subject first.

Here: life, steps, tools, host, and the union of all; the others live by area beside this file.

A new field comes with a default; a new meaning is a new fact. Tags live in `events.registry`.
`call` names a tool call within its run, as "STEP.INDEX" ("3.0" is the first call of step 3); `*_ms` on a run's
own clock are awake milliseconds since the run started, so that sleep and clock steps do not count (P13).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final

from .erasure import ContentErased
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
from .values import (
    AgentPrint,
    EffectClass,
    InputPart,
    Limits,
    ReplyPart,
    RunInfo,
    RunStats,
    Status,
    StopReason,
    Totals,
    Usage,
)

# ------------------------------------------------------------------ life


@final
class RunStarted(FactStruct, frozen=True):
    """The run was admitted. Everything a reader needs to rebuild the first model call is in here."""

    info: RunInfo
    agent: AgentPrint
    limits: Limits
    input: tuple[InputPart, ...]
    interactive: bool = False
    dry_run: bool = False
    budgeted: bool = False
    """Each model call is reserved with the caller's budget first."""
    deliver: bool = False
    """The output is handed to the host's delivery after the end."""
    imported_from: str = ""
    """Names the source when the run was made elsewhere and only its record was taken in."""


@final
class RunResumed(FactStruct, frozen=True):
    """A host took the run up again from its log, after `reason`."""

    reason: str
    epoch: int


@final
class RunFinished(FactStruct, frozen=True):
    """The run is over: with which status, by whom, and why. The last fact about its work."""

    stats: RunStats
    by: str
    reason: str = ""
    family: Totals = Totals()
    """What its children have spent, which `stats` leaves out."""

    @property
    def status(self) -> Status:
        """One of the seven ways to end."""
        return self.stats.status


# ------------------------------------------------------------------ steps


@final
class StepStarted(FactStruct, frozen=True):
    """The model is about to be called: written down before the network is touched."""

    step: int
    attempt: int = 1
    model: str = ""
    reserved_tokens: int = 0
    """What the caller's budget holds back for this call until its outcome is known."""
    reserved_usd: float = 0.0


@final
class StepCompleted(FactStruct, frozen=True):
    """The model answered step `step`. `took_ms`: how long it took."""

    step: int
    reply: tuple[ReplyPart, ...]
    usage: Usage = Usage()
    stop: StopReason = "stop"
    model: str = ""
    """The model that answered, when the provider says so."""
    response_id: str = ""
    took_ms: int = 0
    recorded: bool = False
    """The reply is that of the source's same step, the model was not asked, and nothing was spent."""


@final
class StepFailed(FactStruct, frozen=True):
    """An attempt got no answer. With `retry_at_ms` (run's clock) it is tried again then, without it never."""

    step: int
    attempt: int
    error: str
    kind: Literal["unavailable", "refused", "interrupted"]
    retry_at_ms: int | None = None


# ------------------------------------------------------------------ tools


@final
class ToolStarted(FactStruct, frozen=True):
    """The tool is about to be run: its arguments are those of the reply's call, its idempotency key is
    `idempotency_key(run_id, call)`.
    """

    call: str
    name: str
    effect: EffectClass = "never_retry"


@final
class ToolRefused(FactStruct, frozen=True):
    """The call never started: no such tool, arguments that do not fit, or a dry run. The model is told `reason`."""

    call: str
    name: str
    reason: str


@final
class ToolFinished(FactStruct, frozen=True):
    """The tool returned `result`, or failed and `result` says how. It is never run again (P4)."""

    call: str
    result: str
    is_error: bool = False
    took_ms: int = 0


@final
class ToolOutcomeUnknown(FactStruct, frozen=True):
    """The tool was started and nobody can know whether it took effect; it may not be run again. The model is told."""

    call: str
    reason: str


@final
class ReconcileStarted(FactStruct, frozen=True):
    """The tool is about to be asked, for the `attempt`th time, what became of a call that a host left when it died."""

    call: str
    attempt: int


@final
class ToolReconciled(FactStruct, frozen=True):
    """The tool said what became of the call: it `happened`, and its result follows, or it did not, and it is run."""

    call: str
    attempt: int
    happened: bool


# ------------------------------------------------------------------ host


@final
class NoteLogged(FactStruct, frozen=True):
    """The host wrote something of its own into the run's log; allowed after the end too."""

    type: str
    payload: dict[str, Any] = {}


@final
class ErrorLogged(FactStruct, frozen=True):
    """Something failed beside the run's own work; allowed after the end too."""

    message: str


@final
class Opaque(FactStruct, frozen=True):
    """A fact of a newer version: kept byte for byte, not understood. It makes its run read-only."""

    tag: str
    schema: int
    payload: bytes


Fact: TypeAlias = (
    RunStarted
    | RunResumed
    | RunFinished
    | StepStarted
    | StepCompleted
    | StepFailed
    | ToolStarted
    | ToolRefused
    | ToolFinished
    | ToolOutcomeUnknown
    | ReconcileStarted
    | ToolReconciled
    | CallerSteered
    | InputAwaited
    | InputReceived
    | CancelRequested
    | ApprovalRequested
    | ApprovalAwaited
    | ApprovalGranted
    | ApprovalDenied
    | ApprovalExpired
    | SoftTimeoutReached
    | CriticObserved
    | CriticSteered
    | DeadlineExtended
    | CeilingRaised
    | CriticKilled
    | CriticReviewed
    | CriticLost
    | HostSlept
    | BudgetNoticed
    | BudgetExceeded
    | ChildStarted
    | ChildFinished
    | ChildWaited
    | ChildWentOn
    | FamilyAwaited
    | PhaseStarted
    | PhaseFinished
    | OutputRefused
    | RunForked
    | RunBegun
    | InputStaged
    | ArtifactStored
    | DeliveryAttempted
    | Delivered
    | DeliveryFailed
    | NoteLogged
    | ErrorLogged
    | ContentErased
    | Opaque
)


def idempotency_key(run_id: str, call: str) -> str:
    """The key a tool receives for `call`: the same for every attempt, unlike that of any other call of any run.

    The rule is `RUN:CALL` and is for ever: a log made today must yield the same keys in every later version.
    """
    return f"{run_id}:{call}"
