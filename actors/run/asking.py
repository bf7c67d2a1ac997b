"""Orders whose sender waits, and the appends of a run: what is told once it is durable, or failed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from ...errors import JournalError, MessageRefused
from ...events import RunFinished
from ...events.codec import Stored
from ...ports.journal import request_key_of as request_key_of
from ..address import Address
from ..pooled import Scheduler
from .messages import RunMessage


class Asked:
    """A message whose sender waits until what it led to is durable. ack: resolves with the run's version then."""

    __slots__ = ("ack", "message", "run_id")

    def __init__(self, message: RunMessage, ack: Future[int] | None = None, run_id: str = "") -> None:
        self.message = message
        self.run_id = run_id
        self.ack: Future[int] = Future() if ack is None else ack

    def accept(self, version: int) -> None:
        """It is durable."""
        if not self.ack.done():
            self.ack.set_result(version)

    def refuse(self, error: Any) -> None:
        """It will not be done. error: why, or the end of the run that came first."""
        if not self.ack.done():
            if isinstance(error, RunFinished):
                why = f"it is over, with status {error.status}"
                error = MessageRefused(self.run_id, type(self.message).__name__, why)
            self.ack.set_exception(error)


class UrgentAsked(Asked):
    """An `Asked` that overtakes other messages."""

    __slots__ = ()


class RunAppend:
    """One append of a run (`ports.Append`), and, once `done`, the message that tells its actor."""

    __slots__ = (
        "_address",
        "_scheduler",
        "asked",
        "error",
        "expected",
        "message",
        "own",
        "request_key",
        "run_id",
        "stored",
        "unheard",
    )

    def __init__(
        self,
        address: Address,
        scheduler: Scheduler,
        expected: int,
        stored: Sequence[Stored],
        message: RunMessage,
        asked: Asked | None,
        request_key: str,
    ) -> None:
        self._address = address
        self._scheduler = scheduler
        self.run_id = address.run_id
        self.expected = expected
        self.stored = stored
        self.message = message
        self.own = asked
        """Who asked for `message`; None for what the world reported."""
        self.asked = [] if asked is None else [asked]
        """Everybody who waits for this append, also those whose message changed nothing."""
        self.unheard: list[RunMessage] = []
        """What the world reported that changed nothing: said again if this append is not stored, for it may then."""
        self.request_key = request_key
        self.error: JournalError | None = None

    @property
    def version(self) -> int:
        """The run's version after this append."""
        return self.expected + len(self.stored)

    def done(self, error: JournalError | None) -> None:
        """Told by the journal; passes it on to the actor."""
        self.error = error
        self._scheduler.lend()
        self._address.tell(self)
