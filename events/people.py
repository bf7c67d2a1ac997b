"""Facts that people cause: advice, messages, cancelling, and the answers to a run that asks before it acts."""

from __future__ import annotations

from typing import Literal, final

from .shape import FactStruct
from .values import EffectClass, InputPart

OnExpiry = Literal["deny", "grant"]
"""What happens to a call whose approval nobody answered in time."""


@final
class CallerSteered(FactStruct, frozen=True):
    """Somebody gave advice; the model reads it at the next step."""

    text: str
    by: str = ""


@final
class InputAwaited(FactStruct, frozen=True):
    """An interactive run has said its say and waits for a person, from `since_ms` of its own clock."""

    since_ms: int


@final
class InputReceived(FactStruct, frozen=True):
    """A person's next message in an interactive run. `waited_ms`: how long the run had waited for it.

    `role` is "system" only in a run made elsewhere, whose recording has system messages after the first.
    """

    input: tuple[InputPart, ...]
    by: str = ""
    waited_ms: int = 0
    role: Literal["user", "system"] = "user"


@final
class CancelRequested(FactStruct, frozen=True):
    """The caller wants the run to stop."""

    by: str = ""
    reason: str = ""


@final
class ApprovalRequested(FactStruct, frozen=True):
    """The call needs a person's yes before it starts. Its arguments are those of the reply's call.

    expires_at_us: wall clock, microseconds since 1970 UTC; None waits for ever. default: what expiry means.
    question: what the person is asked, empty for the bare call.
    """

    call: str
    name: str
    effect: EffectClass = "never_retry"
    expires_at_us: int | None = None
    default: OnExpiry = "deny"
    question: str = ""


@final
class ApprovalAwaited(FactStruct, frozen=True):
    """Nothing else is under way: the run stands still, from `since_ms` of its own clock, until somebody answers."""

    since_ms: int


@final
class ApprovalGranted(FactStruct, frozen=True):
    """A person said yes; the call starts. waited_ms: how long the whole run stood still for this answer."""

    call: str
    by: str = ""
    waited_ms: int = 0


@final
class ApprovalDenied(FactStruct, frozen=True):
    """A person said no; the call never starts and the model is told why."""

    call: str
    by: str = ""
    reason: str = ""
    waited_ms: int = 0


@final
class ApprovalExpired(FactStruct, frozen=True):
    """Nobody answered in time: not a no. What the request set as its default happens, and the model is told."""

    call: str
    waited_ms: int = 0
