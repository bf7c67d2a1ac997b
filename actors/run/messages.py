"""What can be asked of a run, and what the world reports to it. Orders of people carry who gave them."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ...events import EffectClass, InputPart, RunStarted
from ...ports import Reply


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Settings shared by every message."""


class StartRun(Order, frozen=True):
    """Admit the run that `started` describes."""

    started: RunStarted


class ResumeRun(Order, frozen=True):
    """Take the run up from its log. in_flight: keys of what is still being done or already has its answer waiting."""

    epoch: int
    reason: str
    in_flight: frozenset[str] = frozenset()


class ToolPlan(msgspec.Struct, frozen=True, gc=False):
    """What is known about one call of a reply: its tool's effect class, or why it cannot be started."""

    effect: EffectClass = "never_retry"
    refusal: str | None = None


class AcceptReply(Order, frozen=True):
    """The model answered. plans: one for each tool call of the reply, in its order."""

    step: int
    attempt: int
    reply: Reply
    plans: tuple[ToolPlan, ...] = ()
    took_ms: int = 0


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


class RetryStep(Order, frozen=True):
    """The back-off of an attempt is over."""

    step: int
    attempt: int


class EndByDeadline(Order, frozen=True):
    """The run's clock has reached the deadline."""

    at_ms: int


class SteerRun(Order, frozen=True):
    """Advice for the model, to be read at its next step."""

    text: str
    by: str = ""


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
    | ResumeRun
    | AcceptReply
    | AcceptModelFailure
    | AcceptResult
    | AcceptUnknown
    | RetryStep
    | EndByDeadline
    | SteerRun
    | SendInput
    | EndRun
    | CancelRun
    | LogNote
    | LogError
)


def cause_of(message: RunMessage) -> str:
    """What the envelope says led to the facts: set for orders of people, empty for what follows by itself."""
    match message:
        case SteerRun() | SendInput() | EndRun() | CancelRun():
            name = type(message).__name__
            return f"{name} by {message.by}" if message.by else name
        case LogNote() | LogError():
            return type(message).__name__
        case _:
            return ""
