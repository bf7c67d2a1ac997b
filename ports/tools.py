"""The port to tools, and what crosses it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from ..events import EffectClass, OnExpiry
from ..redaction import Secret
from .models import ToolSpec


class ToolContext(msgspec.Struct, frozen=True):
    """What a tool is told about its call. key: the idempotency key, the same for every attempt of this call.

    desk: what the tool may ask of its run; None in a child process. epoch: the host's ownership of the journal, higher
    with each host: something that remembers the highest it has seen can refuse a host that was stopped on its way to it
    and succeeded meanwhile. secrets: those that the tool needs, by name (`NeedsSecrets`).
    """

    run_id: str
    call: str
    key: str
    caller_id: str = ""
    desk: Desk | None = None
    epoch: int = 0
    secrets: Mapping[str, Secret] = {}


class Desk(Protocol):
    """What a tool may ask of its run while it works. Thread-safe."""

    def status(self) -> dict[str, Any]:
        """The run's live tallies, what is left of each limit, and its deadline (`projections.self_status`)."""
        ...

    def open_file(self, file_id: str) -> bytes:
        """The content of an attachment of this run.

        Raises:
            FileRefused: no such file in this run.
        """
        ...

    def keep(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> str:
        """Store an artifact of the run; returns its address (SHA-256, hex) as soon as the bytes are safe.

        Raises:
            FileRefused: a bad name, or too large.
        """
        ...


class ApprovalTerms(msgspec.Struct, frozen=True):
    """What a call needs before it starts: somebody's yes.

    expires_s: wall-clock seconds until `default` happens; None waits for ever. question: what the person is asked.
    """

    expires_s: float | None = None
    default: OnExpiry = "deny"
    question: str = ""


@runtime_checkable
class AsksFirst(Protocol):
    """A tool some of whose calls need approval."""

    def approval(self, arguments: str) -> ApprovalTerms | None:
        """The terms for a call with these arguments (JSON text that passed `check`), or None if it may just start."""
        ...


@runtime_checkable
class NeedsSecrets(Protocol):
    """A tool that is given registered secrets when it runs."""

    @property
    def secrets(self) -> Sequence[str]:
        """Their names; `ToolContext.secrets` has their values."""
        ...


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """The call took effect; `result` is told to the model as the tool's, an error if `is_error`."""

    result: str = ""
    is_error: bool = False


class DidNotHappen(msgspec.Struct, frozen=True, tag="did-not-happen"):
    """The call took no effect, and never will: it may be run."""


class CannotTell(msgspec.Struct, frozen=True, tag="cannot-tell"):
    """Nobody can say, for the reason `why`: the outcome is recorded as unknown."""

    why: str = ""


Reconciled: TypeAlias = Happened | DidNotHappen | CannotTell
"""What became of a call whose host died while it ran."""


@runtime_checkable
class Reconciles(Protocol):
    """A tool of the effect class `reconcilable`: it can be asked what became of a call."""

    @property
    def reconcile_timeout_s(self) -> float:
        """Seconds after which an answer no longer counts."""
        ...

    def reconcile(self, arguments: str, context: ToolContext) -> Reconciled | Awaitable[Reconciled]:
        """Say what became of the call of `context.key`, which a dead host started. Asking must change nothing: it may
        be repeated. A plain method runs on the runtime's threads. What raises cannot tell.
        """
        ...


ToolMode: TypeAlias = Literal["async", "thread", "process"]
"""Where a tool runs: on the runtime's event loop, on its bounded threads, or in a child process that can be killed."""


@runtime_checkable
class Tool(Protocol):
    """Something a model may ask for."""

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        ...

    @property
    def effect(self) -> EffectClass:
        """What running it twice means; decides what happens to a call that a crash interrupted."""
        ...

    @property
    def mode(self) -> ToolMode:
        """Where it runs."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds until a call is given up, or None for the run's own deadline only."""
        ...

    def check(self, arguments: str) -> str | None:
        """Return None if `arguments` (JSON text) fit, else one sentence that tells the model what was expected."""
        ...

    def call(self, arguments: str, context: ToolContext) -> str | Awaitable[str]:
        """Run it; return the text for the model. An exception is told to the model as an error."""
        ...
