"""The one place of a runtime where budgets are asked: it knows which caller pays for which run, and owns the actors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from pykka import ActorDeadError

from ..events import Event, RunFinished, RunStarted
from ..ports import Allowance, Budget, Clock, Prices
from ..ports.allowances import checked_allowances
from ..projections.allowing import Refused, Want
from ..projections.ledger import Ledger
from .budget import (
    Allow,
    Answer,
    BudgetActor,
    BudgetMessage,
    Follow,
    Gate,
    GiveUp,
    Reserve,
    Show,
    Withdraw,
    answer,
    counted,
    no_answer,
)
from .pooled import Scheduler
from .pricing import contained

log = logging.getLogger("executus.budget")


class BudgetDesk:
    """Thread-safe; no call of it waits for anything but, at most, the host's `Budget`, which must return at once.

    A journal follower: give it to `Journal.follow`, after `rebuild` and before anything runs. It then counts every run
    of that journal whose `RunStarted` it saw, in `rebuild` or since, bounded or not: a caller's budget may be set
    later.
    """

    def __init__(self, scheduler: Scheduler, clock: Clock, budget: Budget, prices: Prices | None = None) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._budget = budget
        self._price = None if prices is None else contained(prices)
        self._lock = threading.RLock()
        self._callers: dict[str, str] = {}
        self._actors: dict[str, BudgetActor] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._allowances: dict[str, tuple[Allowance, ...]] = {}
        self._gates: dict[str, Gate] = {}

    # -------------------------------------------------------------- at the start of a run

    def allowances(self, caller: str) -> tuple[Allowance, ...]:
        """Ask the host what the caller may spend; from now on that holds for all of the caller's runs.

        Raises:
            TypeError, ValueError: the host's `Budget` answered nonsense; says what was expected.
            Exception: whatever the host's `Budget` raised.
        """
        found = checked_allowances(self._budget.allowances(caller))
        with self._lock:
            changed = self._allowances.get(caller) != found
            self._allowances[caller] = found
            new = caller not in self._actors
            actor = self._actor(caller)
        if changed and not new:
            self._tell(actor, Allow(found))
        return found

    def check(self, caller: str, now_us: int) -> Refused | None:
        """Whether nothing is left of one of the caller's allowances; for the gate, before a run starts.

        By what was last published: call `allowances` first. The reservation of each call is what decides.
        """
        for refusal, until_us in self._gates.get(caller, ()):
            if until_us is None or now_us < until_us:
                return refusal
        return None

    # -------------------------------------------------------------- around a model call

    def reserve(self, caller: str, want: Want, reply: Answer) -> Reservation:
        """Ask for room; `reply` is called once, on the actors' thread, unless the run ends first or the request is
        cancelled while it waits.

        If the host's `Budget` cannot say what the caller may spend, the answer is a refusal that says so.
        """
        if caller not in self._allowances:  # a run taken up after a restart: its caller was not asked about yet
            try:
                self.allowances(caller)
            except Exception as error:
                log.exception("the budget of %r cannot be told", caller)
                answer(reply, no_answer(want, f"the host's budget failed: {type(error).__name__}: {error}"))
                return Reservation(None, want)
        with self._lock:
            actor = self._actor(caller)
        self._tell(actor, Reserve(want, reply))
        return Reservation(partial(self._tell, actor), want)

    def give_up(self, run_id: str) -> None:
        """This host set the run aside: what is held back for it is free for the caller's other runs."""
        caller = self._callers.get(run_id)
        if caller is not None:
            with self._lock:
                actor = self._actor(caller)
            self._tell(actor, GiveUp(run_id))

    # -------------------------------------------------------------- what became durable

    def __call__(self, events: Sequence[Event]) -> None:
        """Pass committed events on to their callers' actors, in order."""
        try:
            by_caller: dict[str, list[Event]] = {}
            for event in events:
                caller = self._payer(event)
                if caller is not None:
                    by_caller.setdefault(caller, []).append(event)
            for caller, theirs in by_caller.items():
                with self._lock:
                    actor = self._actor(caller)
                self._tell(actor, Follow(theirs))
        except Exception:
            log.exception("budgets missed %d events; they are counted when the journal is opened again", len(events))

    def take_up(self, caller: str, ledger: Ledger, runs: Iterable[str]) -> None:
        """Begin with the caller's `ledger` as it was kept elsewhere, made with this desk's prices, and with the `runs`
        it pays for; before `rebuild`, which then counts what happened after.
        """
        self._ledgers[caller] = ledger
        self._callers.update(dict.fromkeys(runs, caller))

    def rebuild(self, events: Iterable[Event]) -> None:
        """Count everything that happened before, in order of position; once, before anything runs.

        Then the host is asked about the callers of unfinished runs; what that raises is logged, and asked again when
        one of them wants to call a model.
        """
        for event in events:
            caller = self._payer(event)
            if caller is not None:
                ledger = self._ledgers.get(caller)
                if ledger is None:
                    ledger = self._ledgers[caller] = Ledger(self._price)
                counted(ledger, event)
        for caller in dict.fromkeys(self._callers.values()):
            try:
                self.allowances(caller)
            except Exception:
                log.exception("the budget of %r cannot be told; asked again when it is needed", caller)

    def standing(self, caller: str) -> Future[dict[str, Any]]:
        """How the caller's ledger stands when the actor gets to it; equal to that of a recount from the log."""
        shown: Future[dict[str, Any]] = Future()
        with self._lock:
            actor = self._actor(caller)
        self._tell(actor, Show(shown))
        return shown

    def close(self) -> None:
        """Stop the actors; nobody who still waits is answered."""
        with self._lock:
            actors, self._actors = list(self._actors.values()), {}
        for actor in actors:
            actor.actor_ref.stop(block=False)

    # -------------------------------------------------------------- inside

    def _payer(self, event: Event) -> str | None:
        fact = event.fact
        if type(fact) is RunStarted and not fact.imported_from:
            self._callers[event.run_id] = fact.info.caller_id
        elif type(fact) is RunFinished:
            return self._callers.pop(event.run_id, None)
        return self._callers.get(event.run_id)

    def _actor(self, caller: str) -> BudgetActor:
        actor = self._actors.get(caller)
        if actor is None:
            ledger = self._ledgers.pop(caller, None) or Ledger(self._price)
            publish = partial(self._gates.__setitem__, caller)
            allowed = self._allowances.get(caller, ())
            actor = BudgetActor.spawn(self._scheduler, self._clock, caller, ledger, allowed, publish)
            self._actors[caller] = actor
        return actor

    @staticmethod
    def _tell(actor: BudgetActor, message: BudgetMessage) -> None:
        try:
            actor.actor_ref.tell(message)
        except ActorDeadError:  # the runtime is closing: nothing is begun any more
            pass


class Reservation:
    """A request for room that may still be waiting."""

    __slots__ = ("_key", "_tell")

    def __init__(self, tell: Callable[[BudgetMessage], None] | None, want: Want) -> None:
        self._tell = tell
        self._key = want.key

    def cancel(self) -> None:
        """Wait no more; what was granted already stays granted until the log says otherwise."""
        if self._tell is not None:
            self._tell(Withdraw(self._key))
