"""The courier of a runtime: hands the output of finished runs to the host's delivery, again and again if it must.

What happens is in the run's own log, after its end: each attempt before it is made, and how it went. So an attempt cut
short by a crash is made again by the next host, with the same key and a higher number: at least once, and a receiver
that remembers keys takes it once. Nothing here changes how a run ended.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, assert_never

from msgspec.structs import replace

from ..errors import (
    Deposed,
    ExecutusError,
    JournalConflict,
    JournalUnavailable,
    MessageRefused,
    Overloaded,
    RuntimeClosed,
)
from ..events import Delivered, DeliveryAttempted, DeliveryFailed, Event, RunFinished
from ..events.codec import encode_event
from ..ports import ArtifactStore, Delivery, Journal
from ..projections.outbox import Outbox, Sending, evolve_sending
from .errand import (
    Back,
    CatchUp,
    CourierMessage,
    DeliveryTerms,
    Due,
    Entry,
    Errand,
    Follow,
    Looked,
    Outcome,
    Page,
    Redeliver,
    StopDelivering,
    errand_of,
    next_fact,
    why_not,
)
from .parcel import LONGEST_PAUSE_S, Handed, SendingLog, read_sending
from .pooled import PooledActor
from .run.surroundings import Surroundings

log = logging.getLogger("executus.courier")

PAGE_EVENTS = 1000
"""Events of the journal read at once at opening."""

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 10.0
"""Pause before the journal is tried again while it is unavailable; it doubles, up to the last."""

CLOSED = "the runtime was closed; what is still to be delivered is delivered when it is opened again"


class CourierActor(PooledActor):
    """One a runtime; see the module. `errands`: the runs it has in hand or waits to try again."""

    urgent = PooledActor.urgent | {StopDelivering}
    bounded = frozenset((Redeliver,))

    def __init__(
        self,
        around: Surroundings,
        delivery: Delivery,
        store: ArtifactStore,
        terms: DeliveryTerms,
        outbox: Outbox | None = None,
        read_to: int = 0,
    ) -> None:
        super().__init__(around.scheduler)
        self.around = around
        self.delivery = delivery
        self.store = store
        self.terms = terms
        self.outbox = Outbox() if outbox is None else outbox
        self.errands: dict[str, Errand] = {}
        self.line: deque[Errand] = deque()
        self.in_hand: set[Errand] = set()
        self.read_to = read_to
        self.more = False
        self.page_pause_s = 0.0
        self.stopped = False

    def tell(self, message: CourierMessage) -> None:
        """Deliver `message` to this actor, from any thread."""
        self.actor_ref.tell(message)

    def on_receive(self, message: CourierMessage) -> None:
        """Handle one order, piece of news or report."""
        match message:
            case Follow():
                self.follow(message.events)
            case Entry():
                self.settle(message)
            case Looked():
                self.go_on(message.errand, message.found)
            case Back():
                self.come_back(message.errand, message.handed)
            case Due():
                if message.errand.at == "waiting" and not self.stopped:
                    self.queue(message.errand)
            case Redeliver():
                self.redeliver(message)
            case CatchUp():
                self.read_page()
            case Page():
                self.take_page(message.found)
            case StopDelivering():
                self.stop_delivering()
            case _:
                assert_never(message)

    def failed(self, error: BaseException, message: Any) -> None:
        """A mistake of ours with one parcel must not leave the others lying: drop it until the next opening, go on."""
        log.critical("the courier failed on %s", type(message).__name__, exc_info=error)
        self.actor_stopped.clear()
        failure = RuntimeError(f"the courier failed: {error!r}")
        errand = errand_of(message)
        if errand is not None:
            self.give_up(errand, failure)
        elif isinstance(message, Redeliver) and not message.asking.done():
            message.asking.set_exception(failure)
        elif isinstance(message, (Follow, Page)):  # what it did not get to is read again
            self.read_page()

    # -------------------------------------------------------------- what is owed

    def read_page(self) -> None:
        """Have the next page of the journal read."""
        if self.stopped:
            return
        self.more = False
        after = self.read_to

        def read(journal: Journal) -> list[Event]:
            return journal.scan(after, PAGE_EVENTS)

        self.around.calls.look_up(read, lambda found: self.tell(Page(found)))

    def take_page(self, found: list[Event] | Exception) -> None:
        """Note what the page says; after the last one, begin with all that is owed."""
        if isinstance(found, Exception):
            self.page_pause_s = min(max(self.page_pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
            log.warning("the journal cannot be read for deliveries: %s; again in %g s", found, self.page_pause_s)
            self.scheduler.call_later(self.page_pause_s, partial(self.tell, CatchUp()))
            return
        self.page_pause_s = 0.0
        for event in found:
            self.read_to = event.position
            self.outbox.apply(event)
        if self.more or len(found) == PAGE_EVENTS:
            self.read_page()
            return
        for run_id, sending in list(self.outbox.owed()):
            self.take_on(run_id, sending)

    def follow(self, events: Sequence[Event]) -> None:
        """Note what is durable now; a run that has ended is taken on.

        While the journal is still read, this may say too little about a run, or be ahead of it: then it is read on, up
        to here and past it. A run that is kept in memory beside the journal is in no page: it is known from here only.
        """
        self.more = True
        for event in events:
            self.outbox.apply(event)
            if type(event.fact) is RunFinished:
                sending = self.outbox.get(event.run_id)
                if sending is not None:
                    self.take_on(event.run_id, sending)

    def take_on(self, run_id: str, sending: Sending) -> None:
        """Deliver the run's output when it is time."""
        if self.stopped or run_id in self.errands:
            return
        errand = self.errands[run_id] = Errand(run_id)
        if sending.retry_at_us is None:
            self.queue(errand)
        else:  # no longer than a day, whatever was done to the wall clock
            wait_s = (sending.retry_at_us - self.around.clock.wall_us()) / 1e6
            self.wait(errand, min(max(0.0, wait_s), LONGEST_PAUSE_S))

    def redeliver(self, order: Redeliver) -> None:
        """Try now what waits, and anew what was given up."""
        errand = self.errands.get(order.run_id) or Errand(order.run_id)
        errand.asking.append(order.asking)
        if self.stopped:
            errand.refuse(RuntimeClosed(CLOSED))
        elif errand.at == "handing":
            errand.accept(errand.log.version)
        elif errand.at == "waiting":
            self.errands[order.run_id] = errand
            self.queue(errand)

    # -------------------------------------------------------------- line, hands and pauses

    def queue(self, errand: Errand) -> None:
        """It is time: let it wait for a hand."""
        self.let_go(errand)
        errand.at = "line"
        self.line.append(errand)
        self.fill_hands()

    def fill_hands(self) -> None:
        """Take up what waits in line as far as hands are free."""
        while self.line and len(self.in_hand) < self.terms.at_once and not self.stopped:
            errand = self.line.popleft()
            if errand.at == "line":  # it may have been given up there
                self.in_hand.add(errand)
                self.look(errand)

    def let_go(self, errand: Errand) -> None:
        """Free its hand, call off its timer, forget what was read."""
        self.in_hand.discard(errand)
        under_way, errand.under_way = errand.under_way, None
        if under_way is not None:
            under_way.cancel()
        errand.entry, errand.log = None, SendingLog()

    def wait(self, errand: Errand, seconds: float) -> None:
        """Put it in line after so many seconds."""
        self.let_go(errand)
        errand.at = "waiting"
        if not self.stopped:
            errand.under_way = self.scheduler.call_later(seconds, partial(self.tell, Due(errand)))
        self.fill_hands()

    def put_off(self, errand: Errand, error: Exception) -> None:
        """The journal is unavailable: look again after a pause; nobody knows what was stored."""
        errand.pause_s = min(max(errand.pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
        log.warning("run %s: the delivery waits for the journal: %s", errand.run_id, error)
        self.wait(errand, errand.pause_s)

    def finish(self, errand: Errand, why: Exception) -> None:
        """It is done with. why: what hosts are told that wait for an attempt."""
        self.let_go(errand)
        errand.at = "done"
        self.errands.pop(errand.run_id, None)
        errand.refuse(why)
        self.fill_hands()

    def give_up(self, errand: Errand, error: Exception) -> None:
        """Its log cannot be read, or is gone: leave it as it is."""
        log.error("run %s: its output cannot be delivered: %s", errand.run_id, error)
        self.outbox.forget(errand.run_id)
        self.finish(errand, error)

    # -------------------------------------------------------------- reading

    def look(self, errand: Errand) -> None:
        """Have the run's log read."""
        errand.at, errand.entry = "reading", None
        self.around.calls.look_up(partial(read_sending, errand.run_id), lambda found: self.tell(Looked(errand, found)))

    def go_on(self, errand: Errand, found: SendingLog | Exception) -> None:
        """The log was read: say again what is not in it, or begin an attempt."""
        if errand.at != "reading" or (self.stopped and not isinstance(errand.fact, Outcome)):
            return
        if isinstance(found, (JournalUnavailable, Overloaded)):
            self.put_off(errand, found)
        elif isinstance(found, Exception):
            self.give_up(errand, found)
        else:
            errand.log = found
            if errand.fact is None:
                self.begin(errand)
            elif evolve_sending(found.sending, errand.fact) == found.sending:
                self.was_said(errand, errand.fact)
            else:
                self.say(errand, errand.fact)

    def begin(self, errand: Errand) -> None:
        """Write down the next attempt, or that there is none."""
        fact = next_fact(errand.run_id, errand.log, self.terms, asked=bool(errand.asking))
        if fact is None:
            self.finish(errand, MessageRefused(errand.run_id, "Redeliver", why_not(errand.log.sending)))
        else:
            self.say(errand, fact)

    # -------------------------------------------------------------- saying

    def say(self, errand: Errand, fact: DeliveryAttempted | Outcome) -> None:
        """Append `fact` to the run's log."""
        around, standing = self.around, errand.log
        fact = around.vault.redactor.struct(fact)
        stored = encode_event(
            fact,
            run_id=errand.run_id,
            version=standing.version + 1,
            previous=standing.hash,
            at_us=around.clock.wall_us(),
            elapsed_ms=standing.elapsed_ms,  # the run's clock stands still since its end
            cause="Redeliver" if errand.asking else "",
            epoch=around.journal.epoch,
            seal=around.journal.seal(errand.run_id),
        )
        errand.at, errand.fact = "saying", fact
        errand.entry = entry = Entry(self, errand, stored)
        try:
            around.journal.append(entry)
        except ExecutusError as error:
            self.put_off(errand, error)

    def settle(self, entry: Entry) -> None:
        """The append is durable, or failed."""
        errand, fact = entry.errand, entry.errand.fact
        if errand.entry is not entry or fact is None:
            return
        errand.entry = None
        if entry.error is None:
            event, before = entry.stored[0].event, errand.log
            sending = evolve_sending(before.sending, fact)
            errand.log = replace(before, sending=sending, version=event.version, hash=event.hash)
            self.was_said(errand, fact)
        elif isinstance(entry.error, Deposed):
            log.error("deliveries stop: %s", entry.error)
            self.stop_delivering()
        elif isinstance(entry.error, JournalConflict):  # the host wrote a note meanwhile
            self.look(errand)
        else:
            self.put_off(errand, entry.error)

    def was_said(self, errand: Errand, fact: DeliveryAttempted | Outcome) -> None:
        """The fact is durable: act on it."""
        errand.fact, errand.pause_s = None, 0.0
        match fact:
            case DeliveryAttempted():
                errand.accept(errand.log.version)
                self.hand(errand, fact.attempt)
            case Delivered():
                self.finish(errand, MessageRefused(errand.run_id, "Redeliver", "it is delivered"))
            case DeliveryFailed() if errand.asking:
                self.queue(errand)
            case DeliveryFailed(retry_at_us=None):
                log.error("run %s: its output is not delivered: %s", errand.run_id, fact.error)
                self.finish(errand, MessageRefused(errand.run_id, "Redeliver", "it was given up just now"))
            case DeliveryFailed():
                self.wait(errand, errand.wait_s)

    # -------------------------------------------------------------- handing over

    def hand(self, errand: Errand, attempt: int) -> None:
        """Hand the parcel to the delivery."""
        parcel = errand.log.parcel
        assert parcel is not None
        errand.at = "handing"
        if self.stopped:  # it was just too late; the next host goes on
            return
        errand.under_way = self.around.calls.deliver(
            self.delivery,
            replace(parcel, attempt=attempt),
            self.store,
            self.terms.timeout_s,
            lambda handed: self.tell(Back(errand, handed)),
        )

    def come_back(self, errand: Errand, handed: Handed) -> None:
        """Write down how it went."""
        if errand.at != "handing":
            return
        errand.under_way = None
        tries, attempt = errand.log.sending.tries, errand.log.sending.attempts
        if handed.error is None:
            self.say(errand, Delivered(attempt=attempt, receipt=handed.receipt))
        elif handed.final or tries >= self.terms.attempts:
            self.say(errand, DeliveryFailed(attempt=attempt, error=handed.error))
        else:
            errand.wait_s = self.terms.pause_s(tries, self.around.ids.jitter(), handed.retry_after_s)
            retry_at_us = self.around.clock.wall_us() + round(errand.wait_s * 1e6)
            self.say(errand, DeliveryFailed(attempt=attempt, error=handed.error, retry_at_us=retry_at_us))

    # -------------------------------------------------------------- the end

    def stop_delivering(self) -> None:
        """Begin nothing any more. What is under way may still come to its end, and is written down if it does."""
        self.stopped = True
        self.line.clear()
        for errand in list(self.errands.values()):
            if errand.at == "waiting":
                self.let_go(errand)
            errand.refuse(RuntimeClosed(CLOSED))
