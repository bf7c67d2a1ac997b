"""One parcel on its way: the terms it is carried on, what a courier remembers of it, and what a courier is told."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ..errors import JournalError
from ..events import Delivered, DeliveryAttempted, DeliveryFailed, Event
from ..events.codec import Stored
from ..projections.outbox import Sending, delivery_key
from .parcel import Handed, SendingLog
from .pooled import Cancellable

if TYPE_CHECKING:
    from .courier import CourierActor

MOST_AT_ONCE = 32
"""As many as there are threads for deliveries."""

Outcome: TypeAlias = Delivered | DeliveryFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTerms:
    """How a courier tries. attempts: before it gives up. first_s, last_s: the pause after a failure doubles from the
    first to the last. timeout_s: awake seconds for one attempt. at_once: parcels handed over at the same time.

    Raises:
        ValueError: one of them makes no sense.
    """

    attempts: int = 12
    first_s: float = 1.0
    last_s: float = 3600.0
    timeout_s: float = 60.0
    at_once: int = 8

    def __post_init__(self) -> None:
        for name, value, most in (("attempts", self.attempts, 1 << 31), ("at_once", self.at_once, MOST_AT_ONCE)):
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"DeliveryTerms, {name}: expected a number from 1 to {most}, got {value!r}")
        for name, seconds in (("first_s", self.first_s), ("last_s", self.last_s), ("timeout_s", self.timeout_s)):
            if type(seconds) not in (int, float) or not 0 < seconds < inf:
                raise ValueError(f"DeliveryTerms, {name}: expected seconds > 0, got {seconds!r}")
        if self.first_s > self.last_s:
            raise ValueError(f"DeliveryTerms: expected first_s ≤ last_s, got {self.first_s!r} and {self.last_s!r}")

    def pause_s(self, tries: int, jitter: float, asked_s: float | None) -> float:
        """Seconds to wait after the failure number `tries`; jitter: in [0, 1), for the upper half of the pause."""
        full = min(self.last_s, self.first_s * 2.0 ** min(tries - 1, 60))
        return max(full * (0.5 + jitter / 2), asked_s or 0.0)


class Errand:
    """A run whose output is to be delivered.

    at: "waiting" for its time, "line" for its turn, "reading" the log, "saying" a fact, "handing" the parcel over, or
    "done" with. While it reads, says or hands it has one of the courier's hands. fact: what is to be stored and may not
    yet be. entry: the append under way. log: the run's log as last read, kept while it has a hand. under_way: the
    timer, or the delivery. wait_s: how long to wait once a failure is stored. pause_s: how long it paused the last time
    the journal was unavailable. asking: hosts that asked for the delivery and wait for the attempt.
    """

    __slots__ = ("asking", "at", "entry", "fact", "log", "pause_s", "run_id", "under_way", "wait_s")

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.at: Literal["waiting", "line", "reading", "saying", "handing", "done"] = "waiting"
        self.fact: DeliveryAttempted | Outcome | None = None
        self.entry: Entry | None = None
        self.log = SendingLog()
        self.under_way: Cancellable | None = None
        self.wait_s = 0.0
        self.pause_s = 0.0
        self.asking: list[Future[int]] = []

    def accept(self, version: int) -> None:
        """The attempt is durable: tell whoever asked for it."""
        asking, self.asking = self.asking, []
        for future in asking:
            if not future.done():
                future.set_result(version)

    def refuse(self, error: Exception) -> None:
        """There will be no attempt: tell whoever asked for it."""
        asking, self.asking = self.asking, []
        for future in asking:
            if not future.done():
                future.set_exception(error)


def next_fact(
    run_id: str, log: SendingLog, terms: DeliveryTerms, *, asked: bool
) -> DeliveryAttempted | DeliveryFailed | None:
    """What to write down before the parcel is touched: an attempt, that it is given up, or None if it is not owed.

    asked: a host asked for it, which makes what was given up owed again.
    """
    sending = log.sending
    if log.parcel is None or not (sending.owed or (asked and sending.settled == "dead")):
        return None
    if sending.tries >= terms.attempts and not asked:
        # It may be the parcel that ends the host: a crash in each attempt must not go on for ever.
        unknown = "; how the last one ended is not known" if sending.open else ""
        return DeliveryFailed(attempt=sending.attempts, error=f"given up after {sending.tries} attempts{unknown}")
    return DeliveryAttempted(attempt=sending.attempts + 1, key=delivery_key(run_id))


def why_not(sending: Sending) -> str:
    """Why there is no attempt although a host asked for one."""
    if not sending.wanted:
        return "it was not started with a delivery"
    return "it is delivered" if sending.settled == "delivered" else "it is not over"


class Entry:
    """The append of one delivery fact (`ports.Append`), and, once `done`, the message that tells the courier."""

    __slots__ = ("_courier", "errand", "error", "expected", "request_key", "run_id", "stored")

    def __init__(self, courier: CourierActor, errand: Errand, stored: Stored) -> None:
        self._courier = courier
        self.errand = errand
        self.run_id = errand.run_id
        self.expected = stored.event.version - 1
        self.stored: Sequence[Stored] = (stored,)
        self.request_key = ""
        self.error: JournalError | None = None

    def done(self, error: JournalError | None) -> None:
        """Told by the journal; passes it on to the courier."""
        self.error = error
        self._courier.scheduler.lend()
        self._courier.tell(self)


# ------------------------------------------------------------------ messages


class Follow(msgspec.Struct, frozen=True):
    """News: these facts about deliveries are durable; in order of position."""

    events: tuple[Event, ...]


class CatchUp(msgspec.Struct, frozen=True):
    """Order: read in the journal what is still owed from earlier, then begin."""


class Redeliver(msgspec.Struct, frozen=True):
    """Order of the host: deliver now, also what was given up. asking: resolves with the version of the attempt."""

    run_id: str
    asking: Future[int]


class StopDelivering(msgspec.Struct, frozen=True):
    """Order: begin nothing any more."""


class Page(msgspec.Struct, frozen=True):
    """Report: a page of the journal was read."""

    found: list[Event] | Exception


class Due(msgspec.Struct, frozen=True):
    """Report: a pause is over."""

    errand: Errand


class Looked(msgspec.Struct, frozen=True):
    """Report: a run's log was read."""

    errand: Errand
    found: SendingLog | Exception


class Back(msgspec.Struct, frozen=True):
    """Report: the delivery has an outcome."""

    errand: Errand
    handed: Handed


CourierMessage: TypeAlias = Follow | CatchUp | Redeliver | StopDelivering | Page | Due | Looked | Back | Entry


def errand_of(message: Any) -> Errand | None:
    """Whose message it is."""
    errand = getattr(message, "errand", None)
    return errand if isinstance(errand, Errand) else None
