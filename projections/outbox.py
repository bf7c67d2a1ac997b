"""Which runs owe a delivery of their output, folded from the facts of all runs; and how one run's delivery stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import ContentErased, Delivered, DeliveryAttempted, DeliveryFailed, Event, Fact, RunFinished, RunStarted

DELIVERY_TAGS: Final = frozenset(
    {"run-started", "run-finished", "delivery-attempted", "delivered", "delivery-failed", "content-erased"}
)
"""Tags of the facts that say how a delivery stands; every other event changes nothing here."""

Settled: TypeAlias = Literal["", "delivered", "dead"]


def delivery_key(run_id: str) -> str:
    """The key of a run's parcel: the same at every attempt, unlike that of any other run.

    The rule is `RUN:delivery` and is for ever: a receiver may keep it for years.
    """
    return f"{run_id}:delivery"


class Sending(msgspec.Struct, frozen=True):
    """How the delivery of one run stands.

    wanted: the run was started with `deliver`. over: the run has ended. attempts: so far, all rounds together.
    earlier: those of them before the last dead letter: a round of attempts begins anew after one. open: the newest
    attempt has no outcome yet, or the host died in it. retry_at_us: wall clock of the next attempt, None for at once.
    settled: "delivered", "dead" (given up), or empty.
    """

    wanted: bool = False
    over: bool = False
    attempts: int = 0
    earlier: int = 0
    open: bool = False
    retry_at_us: int | None = None
    settled: Settled = ""

    @property
    def owed(self) -> bool:
        """Whether the output is still to be delivered, now or later."""
        return self.wanted and self.over and not self.settled

    @property
    def tries(self) -> int:
        """Attempts of this round."""
        return self.attempts - self.earlier


def evolve_sending(sending: Sending, fact: Fact) -> Sending:
    """Return where the delivery stands after `fact`."""
    match fact:
        case RunStarted():
            return Sending(wanted=fact.deliver)
        case RunFinished():
            return replace(sending, over=True)
        case DeliveryAttempted():
            # What was settled is tried anew: a new round. That there is an attempt says that it is wanted, and over.
            return Sending(
                wanted=True,
                over=True,
                attempts=fact.attempt,
                earlier=fact.attempt - 1 if sending.settled else sending.earlier,
                open=True,
            )
        case Delivered():
            return replace(sending, open=False, retry_at_us=None, settled="delivered")
        case DeliveryFailed():
            settled: Settled = "dead" if fact.retry_at_us is None else ""
            return replace(sending, open=False, retry_at_us=fact.retry_at_us, settled=settled)
        case ContentErased():
            return replace(sending, open=False, retry_at_us=None, settled=sending.settled or "dead")
        case _:
            return sending


class Outbox:
    """The runs with something to deliver: `apply` each run's events in order.

    Positions do not matter, so runs of two journals may be in one outbox. Events may be told again, from any of a run's
    events up to its newest: then it is what it was. A run that is not to be delivered is never kept, and one whose
    delivery is settled is forgotten. kept: runs to begin with, in the order in which they came in.
    """

    __slots__ = ("_sendings",)

    def __init__(self, kept: Iterable[tuple[str, Sending]] = ()) -> None:
        self._sendings: dict[str, Sending] = dict(kept)

    def __eq__(self, other: object) -> bool:
        return self._sendings == other._sendings if isinstance(other, Outbox) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._sendings)

    def apply(self, event: Event) -> None:
        """Take note of `event`."""
        if event.tag not in DELIVERY_TAGS:
            return
        run_id, fact = event.run_id, event.fact
        before = self._sendings.get(run_id)
        if before is None:
            if type(fact) is DeliveryAttempted:  # of a run that was settled, or it would be here
                before = Sending(settled="dead")
            elif type(fact) is RunStarted:
                before = Sending()
            else:
                return
        after = evolve_sending(before, fact)
        if after.settled or not after.wanted:
            self._sendings.pop(run_id, None)
        else:
            self._sendings[run_id] = after

    def get(self, run_id: str) -> Sending | None:
        """How the delivery of an unsettled run stands; None for every other run."""
        return self._sendings.get(run_id)

    def forget(self, run_id: str) -> None:
        """The run is gone from the journal, or its log cannot be read: nothing can be delivered."""
        self._sendings.pop(run_id, None)

    def owed(self) -> Iterator[tuple[str, Sending]]:
        """The runs that have ended and whose output is to be delivered, in the order in which they started."""
        return ((run_id, sending) for run_id, sending in self._sendings.items() if sending.owed)


def outbox(events: Iterable[Event]) -> Outbox:
    """The outbox after `events`, from nothing."""
    found = Outbox()
    for event in events:
        found.apply(event)
    return found
