"""The actor that watches one run: it follows the run's facts, asks the critic in time, and passes on its orders.

It owns no limit: without it the run ends where its own actor ends it. All it can do is send messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, assert_never

import msgspec
from pykka import ActorDeadError
from pykka._envelope import Envelope

from ..errors import JournalConflict, JournalUnavailable, Overloaded
from ..events import Event, RunFinished, RunResumed
from ..ports import Critic
from ..ports.saying import said
from ..ports.terms import Terms, name_of, terms_of
from ..projections import worked_ms
from ..projections.rounds import (
    FIRST_PAUSE_S,
    LOST_AFTER,
    MOST_ORDERS,
    TIMER_S,
    Rounds,
    after_fact,
    after_time,
    planned,
)
from ..projections.trace import Trace, evolve_trace
from .address import Address
from .pooled import Cancellable, PooledActor
from .run.messages import LoseCritic, Order
from .run.surroundings import Surroundings
from .verdicts import Reviewed

log = logging.getLogger("executus.critics")

PAGE = 1_000
"""Events of a log read at once."""


class _Begin(msgspec.Struct, frozen=True):
    """The actor is there."""


class _History(msgspec.Struct, frozen=True):
    """A page of the run's log was read."""

    events: Sequence[Event]
    error: Exception | None = None


class _Answered(msgspec.Struct, frozen=True):
    """Review `number` has an outcome."""

    number: int
    reviewed: Reviewed


class _Regular(msgspec.Struct, frozen=True):
    """The time between two regular reviews is over."""


class _Again(msgspec.Struct, frozen=True):
    """The pause after a failure is over."""


class _Doze(msgspec.Struct, frozen=True):
    """The run has been waiting for a person for a while."""


class _ReadAgain(msgspec.Struct, frozen=True):
    """The pause after the log could not be read is over."""


CriticMessage: TypeAlias = _Begin | Event | _History | _Answered | _Regular | _Again | _Doze | _ReadAgain


class CriticActor(PooledActor):
    """Watches the run at `address` until it is over or the critic is lost; `retire` stops it.

    taken_up: the run has a log already, which is read first.
    """

    def __init__(self, around: Surroundings, address: Address, critic: Critic, *, taken_up: bool = False) -> None:
        super().__init__(around.scheduler)
        self.around = around
        self.address = address
        self.critic = critic
        self.trace = Trace()
        self.terms = Terms()
        self._taking_up = taken_up
        self._begun = False
        self._reading = False
        self._newest = self._folded = 0
        self._since: float | None = None
        """When, in awake time, the run's clock read 0: the earliest that its events allow."""
        self._due = False
        self._review: Cancellable | None = None
        self._reviews = self._failures = self._orders = 0
        self._pause: Cancellable | None = None
        self._regular: Cancellable | None = None
        self._dozes: Cancellable | None = None
        self._rounds = Rounds()
        self._unwatch: Callable[[], None] = lambda: None
        if around.observers is not None:
            self._unwatch = around.observers.watch(address.run_id, self._hear)

    def _start_actor_loop(self) -> None:
        super()._start_actor_loop()
        self._hear(_Begin())

    def retire(self) -> None:
        """Stop watching, soon; from any thread, as often as you like."""
        try:
            self.stop()
        except ActorDeadError:
            return

    def _hear(self, message: Any) -> None:
        """Put something into this actor's own mailbox; what comes too late finds nobody, and that is well."""
        try:
            self.mailbox.put(Envelope(message))
        except ActorDeadError:
            return

    # -------------------------------------------------------------- what it hears

    def on_receive(self, message: CriticMessage) -> None:
        """Take note, and ask the critic if it is time."""
        if not self._begun:
            self._begun = True
            self.begin()
        match message:
            case _Begin():
                pass
            case Event():
                self.heard(message)
            case _History():
                self.read(message)
            case _Answered():
                self.answered(message)
            case _Regular():
                self._regular = None
                self._regularly()
            case _Again():
                self._pause = None
            case _Doze():
                self._dozes = None
                self.doze()
            case _ReadAgain():
                self.catch_up()
            case _:
                assert_never(message)
        if not self.actor_stopped.is_set():
            self.go_on()

    def begin(self) -> None:
        """Look at what the critic says about itself; foreign code, so that whatever it raises ends this actor only."""
        self.terms = Terms(name=name_of(self.critic))
        self.terms = terms_of(self.critic)
        self._rounds = Rounds(self.terms.every_s, self.terms.every_steps)
        if self._taking_up:
            self.catch_up()

    def heard(self, event: Event) -> None:
        """An event became durable: fold it, unless it is known, or one before it was missed."""
        self._newest = max(self._newest, event.version)
        if self._reading or event.version <= self.trace.version:
            return
        if event.version == self.trace.version + 1:
            self.fold(event)
        else:
            self.catch_up()

    def fold(self, event: Event) -> None:
        """One event more of the trace; some are worth a review."""
        fact = event.fact
        self.trace = evolve_trace(self.trace, event)
        if event.version <= self._folded:  # read a second time, after a doze
            return
        self._folded = event.version
        since = self.scheduler.awake() - event.elapsed_ms / 1000
        if self._since is None or type(fact) is RunResumed:
            self._since = since
        else:
            self._since = min(self._since, since)
        self._rounds, due = after_fact(self._rounds, fact)
        self._due = self._due or due
        if type(fact) is RunFinished:
            self.leave()

    def now_s(self) -> float:
        """The run's own clock."""
        return 0.0 if self._since is None else max(0.0, self.scheduler.awake() - self._since)

    def worked_s(self) -> float:
        """The run's own clock without what it waited for people."""
        return worked_ms(self.trace.state, round(self.now_s() * 1000)) / 1000

    # -------------------------------------------------------------- reading the log

    def catch_up(self) -> None:
        """Have a page of the run's log read, from where the trace ends."""
        self._reading = True
        run_id, after = self.address.run_id, self.trace.version

        def told(read: Sequence[Event] | Exception) -> None:
            self._hear(_History((), read) if isinstance(read, Exception) else _History(read))

        self.around.calls.look_up(lambda journal: journal.read(run_id, after, PAGE), told)

    def read(self, page: _History) -> None:
        """A page was read, or could not be."""
        if isinstance(page.error, (JournalUnavailable, JournalConflict, Overloaded)):
            self.scheduler.call_later(FIRST_PAUSE_S, lambda: self._hear(_ReadAgain()))
            return
        if page.error is not None:
            self.lose(f"the run's log could not be read: {page.error}")
            return
        for event in page.events:
            if event.version == self.trace.version + 1:
                self.fold(event)
        if self.actor_stopped.is_set():
            return
        if len(page.events) == PAGE or (page.events and self.trace.version < self._newest):
            self.catch_up()
            return
        self._reading = False
        if self._taking_up:
            # What an earlier host's critic said about these steps is not known; only its last hour is asked for again.
            self._taking_up = False
            self._due = self.trace.soft_timeout_at_ms is not None

    def doze(self) -> None:
        """Forget the trace of a run that waits, perhaps for days; it is read again when something happens."""
        if self.trace.state.doing == "waiting" and self._review is None:
            self.trace = Trace()

    # -------------------------------------------------------------- reviews

    def go_on(self) -> None:
        """Begin what is due."""
        state = self.trace.state
        if self._reading or state.doing in ("new", "over"):
            return
        if state.doing == "waiting":
            if self._dozes is None:
                self._dozes = self.scheduler.call_later(self.around.sleep_after_s, lambda: self._hear(_Doze()))
            return
        if self._dozes is not None:
            self._dozes.cancel()
            self._dozes = None
        if self.terms.every_s is not None and self._regular is None:
            worked_s = self.worked_s()
            self._rounds = planned(self._rounds, worked_s)
            wait_s = max(0.0, (self._rounds.regular_at_s or 0.0) - worked_s)
            self._regular = self.scheduler.call_later(wait_s + TIMER_S, lambda: self._hear(_Regular()))
        if self._due and self._review is None and self._pause is None:
            self.ask()

    def _regularly(self) -> None:
        if self.trace.state.doing in ("new", "waiting"):  # new: it dozes
            return
        self._rounds, due = after_time(self._rounds, self.worked_s())
        self._due = self._due or due

    def ask(self) -> None:
        """Begin a review."""
        self._due = False
        self._reviews = number = self._reviews + 1

        def told(reviewed: Reviewed) -> None:
            self._hear(_Answered(number, reviewed))

        self._review = self.around.calls.review(
            self.critic, self.terms.name, self.trace, self.now_s(), self.terms.timeout_s, told
        )

    def answered(self, answer: _Answered) -> None:
        """A review has an outcome: pass its order on, or count a failure."""
        if answer.number != self._reviews or self._review is None:
            return
        self._review = None
        verdict = answer.reviewed.judgement
        if verdict is None:
            self._failures += 1
            why = answer.reviewed.error
            if self._failures >= LOST_AFTER:
                self.lose(f"it failed {self._failures} times in a row, the last time: {why}")
                return
            log.warning("run %s: a review by %s failed: %s", self.address.run_id, self.terms.name, why)
            self._due = True
            pause_s = FIRST_PAUSE_S * 2 ** (self._failures - 1)
            self._pause = self.scheduler.call_later(pause_s, lambda: self._hear(_Again()))
            return
        self._failures = 0
        self._orders += len(verdict.orders)
        for order in verdict.orders:
            self.tell_run(order)
        if verdict.final:
            self.leave()
        elif self._orders > MOST_ORDERS:
            self.lose(f"it gave more than {MOST_ORDERS} orders")

    def tell_run(self, order: Order) -> None:
        """Give the run an order. It answers none of them: what cannot be done is not done."""
        try:
            self.address.tell(order)
        except Exception:
            log.exception("run %s: an order of its critic was lost", self.address.run_id)

    # -------------------------------------------------------------- the end

    def lose(self, why: str) -> None:
        """Say that nobody watches any more, and stop."""
        log.warning("run %s has lost its critic %s: %s", self.address.run_id, self.terms.name, why)
        self.tell_run(LoseCritic(reason=why, by=self.terms.name))
        self.leave()

    def leave(self) -> None:
        """Stop: the run is over, or will be, or the critic is lost."""
        self.actor_stopped.set()
        self.mailbox.close()
        self.on_stop()

    def on_stop(self) -> None:
        """Let go of everything."""
        self._unwatch()
        for under_way in (self._review, self._pause, self._regular, self._dozes):
            if under_way is not None:
                under_way.cancel()
        self._review = self._pause = self._regular = self._dozes = None
        self.trace = Trace()

    def failed(self, error: BaseException, message: Any) -> None:
        """Our own code raised, or the critic's own account of itself: the run goes on without."""
        try:
            self.lose(f"watching failed: {said(error, name=True)}")
        finally:
            self.mailbox.close()
            self._unwatch()


def give_critic(around: Surroundings, address: Address, *, taken_up: bool) -> None:
    """Have the run at `address` watched, if somebody should and nobody does; before its actor appends anything."""
    if address.critic is not None or around.critic_of is None or around.observers is None:
        return
    try:
        critic = around.critic_of(address)
    except BaseException:
        log.exception("run %s: choosing its critic failed; nobody watches it", address.run_id)
        return
    if critic is not None:
        address.critic = CriticActor.spawn(around, address, critic, taken_up=taken_up)


def dismiss(address: Address) -> None:
    """The run at `address` needs no critic any more."""
    if address.critic is not None:
        address.critic.retire()
