"""What a runtime holds of its courier: it follows the journal for it, and passes on the host's orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ..events import Event, RunStarted
from ..ports import ArtifactStore, Delivery
from ..projections.outbox import DELIVERY_TAGS, Outbox
from .courier import CourierActor
from .errand import CatchUp, DeliveryTerms, Follow, Redeliver, StopDelivering
from .run.surroundings import Surroundings


class Courier:
    """The courier as a runtime holds it: `start` it once its runs are recovered, `close` it before the journal.

    begin: an outbox that was kept elsewhere, and the position up to which it knows the journal.
    """

    def __init__(
        self,
        around: Surroundings,
        delivery: Delivery,
        store: ArtifactStore,
        terms: DeliveryTerms | None = None,
        *,
        begin: tuple[Outbox, int] | None = None,
    ) -> None:
        self._journal = around.journal
        outbox, read_to = (Outbox(), 0) if begin is None else begin
        terms = DeliveryTerms() if terms is None else terms
        self._actor = CourierActor.spawn(around, delivery, store, terms, outbox, read_to)
        self._leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Follow the journal, and find out what is still owed from earlier.

        Raises:
            JournalUnavailable: the journal is closed.
        """
        self._leave = self._journal.follow(self._tell)
        self._actor.tell(CatchUp())

    def _tell(self, events: Sequence[Event], /) -> None:
        """Pass on what says something about deliveries; a run without one costs a look at its first and last fact."""
        of_deliveries = tuple(
            event
            for event in events
            if event.tag in DELIVERY_TAGS and (type(event.fact) is not RunStarted or event.fact.deliver)
        )
        if of_deliveries:
            self._actor.tell(Follow(of_deliveries))

    def redeliver(self, run_id: str) -> Future[int]:
        """Deliver a run's output now: what waits for its time, and anew what was given up (attempts go on counting).

        The future resolves with the run's version when the attempt is durable, or with `MessageRefused` (not over, not
        started with a delivery, delivered), `UnknownRun`, `LogCorrupt`, `UnknownFact` or `RuntimeClosed`.

        Raises:
            Overloaded: too many orders wait.
        """
        asking: Future[int] = Future()
        self._actor.tell(Redeliver(run_id, asking))
        return asking

    def close(self) -> None:
        """Begin nothing any more; returns at once. Parcels under way are the runner's to call off."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        self._actor.tell(StopDelivering())
