"""The actor of one caller's budget: who may call a model now, who waits, who is refused.

It decides nothing itself: the ledger says what was spent, `projections.allowing` whether there is room.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

from pykka import ActorDeadError

from ..events import Event, RunFinished, StepStarted
from ..ports import Allowance, Clock
from ..projections.allowing import Granted, Refused, Wait, Want, exhausted, moves_us, room
from ..projections.ledger import Held, Key, Ledger
from .pooled import Cancellable, PooledActor, Scheduler

log = logging.getLogger("executus.budget")

LOOK_AGAIN_S = 60.0
"""The longest time between two looks at the wall clock while somebody waits: it may be set, or the host may sleep."""

Answer: TypeAlias = Callable[[Granted | Refused], None]
Gate: TypeAlias = tuple[tuple[Refused, int | None], ...]
"""What is used up, and until when (wall clock, microseconds; None: for ever)."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Hold back room for a model call; `reply` is called once, on the actor's thread: now, or when there is room.

    Asking again for the same call is answered with what it was already granted. It is never called if the run ends
    first, or the request is withdrawn.
    """

    want: Want
    reply: Answer


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nobody waits for this call's answer any more; what was granted already stays granted."""

    key: Key


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This host does not go on with the run: nothing is held back for it until it is heard of again."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Follow:
    """These became durable, in this order."""

    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Allow:
    """What the caller may spend from now on."""

    allowances: tuple[Allowance, ...]


@dataclass(frozen=True, slots=True)
class Show:
    """Tell how the caller's ledger stands (`Ledger.standing`)."""

    standing: Future[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Time has passed; a window may have moved."""


BudgetMessage: TypeAlias = Reserve | Withdraw | GiveUp | Follow | Allow | Show | LookAgain


@dataclass(slots=True)
class _Waiting:
    want: Want
    replies: list[Answer] = field(default_factory=list[Answer])


class BudgetActor(PooledActor):
    """One caller's budget. First come, first served: a call that fits does not overtake one that waits, unless only
    the other's own family is in its way.

    What was granted is held back twice nowhere: in memory until its `StepStarted` is durable, by the log from then on.
    publish: told, on the actor's thread, what is used up, whenever that may have changed.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Clock,
        caller: str,
        ledger: Ledger,
        allowances: tuple[Allowance, ...],
        publish: Callable[[Gate], None],
    ) -> None:
        super().__init__(scheduler)
        self.clock = clock
        self.caller = caller
        self.ledger = ledger
        self.account = ledger.account(caller)
        self.allowances = allowances
        self.publish = publish
        self.granted = Held()
        """Granted, and not yet in the log."""
        self.waiting: dict[Key, _Waiting] = {}
        self._timer: Cancellable | None = None
        self._told: Gate | None = None
        self.tell_gate()

    def on_receive(self, message: BudgetMessage) -> None:
        """Handle one request, or news of what became durable."""
        match message:
            case Reserve():
                self.reserve(message)
            case Follow():
                for event in message.events:
                    self.follow(event)
                self.tell_gate()
            case Withdraw():
                self.waiting.pop(message.key, None)
            case GiveUp():
                self.drop(message.run_id)
                for key in self.account.held.of_run(message.run_id):
                    self.account.held.remove(key)
            case Allow():
                self.allowances = message.allowances
                self.tell_gate()
            case Show():
                message.standing.set_result(self.ledger.standing())
                return
            case LookAgain():
                self._timer = None
                self.tell_gate()
            case _:
                assert_never(message)
        if self.waiting:
            self.examine()

    def failed(self, error: BaseException, message: Any) -> None:
        """A mistake of ours in one message must not leave the caller without a budget: say no to it, and go on."""
        log.critical("the budget of %r failed on %s", self.caller, type(message).__name__, exc_info=error)
        self.actor_stopped.clear()
        if isinstance(message, Reserve):
            self.waiting.pop(message.want.key, None)
            answer(message.reply, no_answer(message.want, f"the budget failed: {error}"))

    # -------------------------------------------------------------- requests

    def reserve(self, message: Reserve) -> None:
        """Queue the request, unless it was granted before or its run is over, or its family's root.

        A child that is born in the moment in which its root ends is about to end too. What its family spent is
        forgotten by then: it would have a whole allowance again.
        """
        want = message.want
        if self.ledger.is_over(want.run_id) or self.ledger.is_over(want.root):
            return
        held = self.granted.get(want.key) or self.account.held.get(want.key)
        if held is not None:
            run_id, step, attempt = want.key
            again = Granted(run_id=run_id, step=step, attempt=attempt, tokens=held.tokens, usd=held.cost_usd)
            answer(message.reply, again)
            return
        self.waiting.setdefault(want.key, _Waiting(want)).replies.append(message.reply)

    def examine(self) -> None:
        """Answer everybody who waits, in order, until somebody has to wait on."""
        now_us = self.clock.wall_us()
        families: set[str] = set()
        for key, one in list(self.waiting.items()):
            if one.want.root in families:
                continue
            verdict = self.verdict(one.want, now_us)
            if isinstance(verdict, Wait):
                if verdict.window != "run":
                    break
                families.add(one.want.root)
                continue
            if isinstance(verdict, Granted):
                self.granted.add(key, one.want.root, one.want.amount)
            del self.waiting[key]
            for reply in one.replies:
                answer(reply, verdict)
        if self.waiting and self._timer is None:
            self.look_again(now_us)

    def verdict(self, want: Want, now_us: int) -> Granted | Wait | Refused:
        """Whether there is room; a method so that a test can plant a mistake here."""
        return room(self.account, self.allowances, want, now_us, self.granted)

    def look_again(self, now_us: int) -> None:
        """Look again when a window moves."""
        moves = moves_us(self.account, self.allowances, now_us)
        seconds = LOOK_AGAIN_S if moves is None else min(LOOK_AGAIN_S, max(0.0, (moves - now_us) / 1e6) + 0.001)
        self._timer = self.scheduler.call_later(seconds, self.time_passed)

    def time_passed(self) -> None:
        """Told by the timer."""
        try:
            self.actor_ref.tell(LookAgain())
        except ActorDeadError:  # it was stopped meanwhile
            pass

    def on_stop(self) -> None:
        """Nobody who waits is answered any more."""
        if self._timer is not None:
            self._timer.cancel()

    # -------------------------------------------------------------- news

    def follow(self, event: Event) -> None:
        """Count a durable fact."""
        counted(self.ledger, event)
        fact = event.fact
        if type(fact) is StepStarted:
            for key in self.granted.of_run(event.run_id):
                if key[1:] <= (fact.step, fact.attempt):  # an earlier call that is not in the log was never made
                    self.granted.remove(key)
        elif type(fact) is RunFinished:
            self.drop(event.run_id)

    def drop(self, run_id: str) -> None:
        """Nothing is granted to this run any more, and it waits for nothing."""
        for key in self.granted.of_run(run_id):
            self.granted.remove(key)
        for key in [key for key in self.waiting if key[0] == run_id]:
            del self.waiting[key]

    def tell_gate(self) -> None:
        """Publish what is used up, if that changed."""
        gate = tuple(exhausted(self.account, self.allowances, self.clock.wall_us()))
        if gate != self._told:
            self._told = gate
            self.publish(gate)


def counted(ledger: Ledger, event: Event) -> None:
    """Count `event`; a mistake of ours with one must not keep those after it, or a host's opening, from going on."""
    try:
        ledger.apply(event)
    except Exception:
        log.critical("event %d of run %s was not counted", event.version, event.run_id, exc_info=True)


def no_answer(want: Want, why: str) -> Refused:
    """The refusal when nobody can tell whether there is room: money is not spent on a guess."""
    return Refused(run_id=want.run_id, step=want.step, attempt=want.attempt, failure=why)


def answer(reply: Answer, verdict: Granted | Refused) -> None:
    """Tell whoever asked; what that raises stays here."""
    try:
        reply(verdict)
    except BaseException:
        log.exception("run %s: telling the answer of the budget failed", verdict.run_id)
