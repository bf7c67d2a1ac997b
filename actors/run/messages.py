"""What can be asked of a run, and what the world reports to it. Orders of people carry who gave them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from ...events import (
    ArtifactStored,
    BudgetExceeded,
    EffectClass,
    InputPart,
    InputStaged,
    Limits,
    Measure,
    OnExpiry,
    RunForked,
    RunStarted,
    Status,
    Totals,
    Usage,
)
from ...ports import Reply


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Settings shared by every message."""


class BeginRun(Order, frozen=True):
    """A person wants a paused fork to begin."""

    by: str = ""


class StartRun(Order, frozen=True):
    """Admit the run that `started` describes.

    staged: its attachments. forked: what it goes on from. refused: the caller's budget has nothing left, so that it
    ends at once. errors: what went wrong before it began, to be recorded. begin: a paused fork is begun at once.
    """

    started: RunStarted
    staged: tuple[InputStaged, ...] = ()
    forked: RunForked | None = None
    refused: BudgetExceeded | None = None
    errors: tuple[str, ...] = ()
    begin: BeginRun | None = None


class ResumeRun(Order, frozen=True):
    """Take the run up from its log. in_flight: keys of what is still being done or already has its answer waiting.

    woken: it was only put to sleep while it waited for a person, by this very host; that is no news.
    """

    epoch: int
    reason: str
    in_flight: frozenset[str] = frozenset()
    woken: bool = False


class ApprovalPlan(msgspec.Struct, frozen=True, gc=False):
    """The call needs a person's yes. expires_at_us: wall clock, None for never."""

    expires_at_us: int | None = None
    default: OnExpiry = "deny"
    question: str = ""


class ChildPlan(msgspec.Struct, frozen=True, gc=False):
    """The call is a run of its own. run_id: of that run to be. limits: what it would have if its parent had enough."""

    run_id: str
    kind: Literal["agent", "skill"]
    limits: Limits


class ToolPlan(msgspec.Struct, frozen=True, gc=False):
    """What is known about one call of a reply: its tool's effect class, or why it cannot be started; what must be asked
    first; and the child run that it is, if it is one.
    """

    effect: EffectClass = "never_retry"
    refusal: str | None = None
    approval: ApprovalPlan | None = None
    child: ChildPlan | None = None


class AcceptReply(Order, frozen=True):
    """The model answered. plans: one for each tool call of the reply, in its order. misfit: why its words do not fit
    the schema asked for, if they are its last.
    """

    step: int
    attempt: int
    reply: Reply
    plans: tuple[ToolPlan, ...] = ()
    misfit: str | None = None
    took_ms: int = 0
    recorded: bool = False
    """It is a source's reply to the same; the model was not asked."""


class AcceptPlans(Order, frozen=True):
    """It was looked at what the calls are that a fork has inherited: a plan for each, in their order."""

    step: int
    plans: tuple[ToolPlan, ...]


class AcceptModelFailure(Order, frozen=True):
    """The model did not answer. final: asking again is no use. jitter: a random number in [0, 1)."""

    step: int
    attempt: int
    error: str
    final: bool = False
    retry_after_s: float | None = None
    jitter: float = 0.0


class AcceptResult(Order, frozen=True):
    """A tool returned, or failed and `text` says how."""

    call: str
    text: str
    is_error: bool = False
    took_ms: int = 0


class AcceptUnknown(Order, frozen=True):
    """A tool was given up on, and whether it took effect is unknown."""

    call: str
    reason: str


class AcceptReconciled(Order, frozen=True):
    """The tool was asked what became of a call. unknown: why that cannot be told; else the call `happened`, with `text`
    for its result, or did not. attempt: of the asking.
    """

    call: str
    attempt: int
    happened: bool = False
    text: str = ""
    is_error: bool = False
    unknown: str | None = None


class RetryStep(Order, frozen=True):
    """The back-off of an attempt is over."""

    step: int
    attempt: int


class EndByDeadline(Order, frozen=True):
    """The run's clock has reached the deadline."""

    at_ms: int


class ReachSoftTimeout(Order, frozen=True):
    """The run's clock has reached the soft timeout."""

    at_ms: int


class AcceptGrant(Order, frozen=True):
    """The caller's budget holds `tokens` and `usd` back for this attempt."""

    step: int
    attempt: int
    tokens: int = 0
    usd: float = 0.0


class AcceptRefusal(Order, frozen=True):
    """The caller's budget has no room for this attempt."""

    step: int
    attempt: int
    measure: Measure
    limit: float
    spent: float
    window: str = ""
    why: str = ""
    """A sentence; empty if the numbers say it."""


class AcceptChild(Order, frozen=True):
    """A child run is over. spent: by it and its own children."""

    call: str
    run_id: str
    status: Status
    output: str = ""
    spent: Totals = Totals()


class AcceptChildWait(Order, frozen=True):
    """A child run waits for a person, with everything that is under way of it; or it goes on."""

    call: str
    run_id: str
    waits: bool


class EndWithParent(Order, frozen=True):
    """The run that started this one has ended, with `status`, or wants it no more."""

    status: Status
    reason: str = ""


class SteerRun(Order, frozen=True):
    """Advice for the model, to be read at its next step. critic, here and below: whether a critic gave the order, which
    is silently ignored where a person would be told why it cannot be taken.
    """

    text: str
    by: str = ""
    critic: bool = False
    evidence: dict[str, Any] = {}


class ObserveRun(Order, frozen=True):
    """A critic noticed something worth a fact."""

    text: str
    by: str = "critic"
    evidence: dict[str, Any] = {}


class ExtendRun(Order, frozen=True):
    """Move the hard deadline; a critic only up to the cap given at start."""

    seconds: float
    by: str = ""
    reason: str = ""
    critic: bool = False


class RaiseCeiling(Order, frozen=True):
    """Raise a limit by `more`; a critic only steps, and up to the cap given at start."""

    limit: Measure
    more: float
    by: str = ""
    reason: str = ""
    critic: bool = False


class KillRun(Order, frozen=True):
    """End the run with status "killed"."""

    reason: str = ""
    by: str = ""
    critic: bool = False
    evidence: dict[str, Any] = {}


class ChargeReview(Order, frozen=True):
    """A review by a model cost tokens."""

    usage: Usage
    model: str = ""
    by: str = "critic"


class LoseCritic(Order, frozen=True):
    """The critic failed and watches no more."""

    reason: str
    by: str = "critic"


class NoteSleep(Order, frozen=True):
    """The host stood still for so many seconds."""

    slept_s: float


class ApproveCall(Order, frozen=True):
    """A person's yes."""

    call: str
    by: str = ""


class DenyCall(Order, frozen=True):
    """A person's no."""

    call: str
    by: str = ""
    reason: str = ""


class ExpireApproval(Order, frozen=True):
    """Nobody answered; now_us: the wall clock."""

    call: str
    now_us: int
    at_us: int = 0


class StoreArtifact(Order, frozen=True):
    """A file was made and its bytes are safe."""

    artifact: ArtifactStored


class SendInput(Order, frozen=True):
    """A person's next message in an interactive run."""

    input: tuple[InputPart, ...]
    by: str = ""


class EndRun(Order, frozen=True):
    """The person is done with an interactive run; `input`: their last words, which no model answers."""

    input: tuple[InputPart, ...] = ()
    by: str = ""


class CancelRun(Order, frozen=True):
    """Stop, keep what there is."""

    by: str = ""
    reason: str = ""


class LogNote(Order, frozen=True):
    """The host's own entry in the run's log."""

    type: str
    payload: dict[str, Any] = {}


class LogError(Order, frozen=True):
    """Something failed beside the run's own work."""

    message: str


RunMessage: TypeAlias = (
    StartRun
    | BeginRun
    | ResumeRun
    | AcceptReply
    | AcceptPlans
    | AcceptModelFailure
    | AcceptResult
    | AcceptUnknown
    | AcceptReconciled
    | RetryStep
    | EndByDeadline
    | ReachSoftTimeout
    | AcceptGrant
    | AcceptRefusal
    | AcceptChild
    | AcceptChildWait
    | EndWithParent
    | SteerRun
    | ObserveRun
    | ExtendRun
    | RaiseCeiling
    | KillRun
    | ChargeReview
    | LoseCritic
    | NoteSleep
    | ApproveCall
    | DenyCall
    | ExpireApproval
    | StoreArtifact
    | SendInput
    | EndRun
    | CancelRun
    | LogNote
    | LogError
)


FROM_PEOPLE = (
    BeginRun,
    SteerRun,
    ExtendRun,
    RaiseCeiling,
    KillRun,
    ApproveCall,
    DenyCall,
    SendInput,
    EndRun,
    CancelRun,
    LogNote,
    LogError,
)
"""Orders whose sender is told when they cannot be taken."""
