"""The actor of one run: read, decide, fold, append, tell. It decides nothing itself.

It goes on deciding on facts that are not yet durable; what touches the world, and every answer to a caller, waits until
all of them are. If an append fails, nobody knows what was stored: the actor stops, and its successor looks.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, TypeVar, assert_never

import msgspec

from ...errors import ExecutusError, MessageRefused
from ...events import Fact, RunFinished, RunStarted, Seal, Withheld, idempotency_key
from ...events.codec import Stored, encode_event
from ...events.shape import FactStruct
from ...ports import Clock, ModelRequest, ToolContext
from ...projections import (
    AskTool,
    CallModel,
    CallTool,
    Checkpoint,
    Expire,
    OpenChild,
    Owed,
    PlanCalls,
    Reserve,
    RunChild,
    RunState,
    Wake,
    estimated_tokens,
    evolve,
    evolve_transcript,
    outstanding,
)
from ..address import Address
from ..children import ChildCall
from ..delegating import ChildOrder
from ..pooled import Cancellable, PooledActor, Waiting
from .answers import answered_key
from .asking import Asked, RunAppend, UrgentAsked, request_key_of
from .decide import decide
from .intake import cleaned
from .messages import (
    AcceptGrant,
    ChargeReview,
    EndByDeadline,
    ExpireApproval,
    KillRun,
    ReachSoftTimeout,
    ResumeRun,
    RetryStep,
    RunMessage,
    StartRun,
)
from .refusal import Refusal
from .surroundings import RunLost, RunOver, Surroundings, WantChild

T = TypeVar("T")

TIMED = frozenset((RetryStep, EndByDeadline, ReachSoftTimeout, ExpireApproval))
"""Messages of timers, which may be early: then they are owed again."""
LONGEST_WAIT_S = 3_600.0
"""The wall clock is looked at this often: people and daylight saving set it."""


class Doze(msgspec.Struct, frozen=True):
    """To itself: it has been waiting for a while."""


class RunActor(PooledActor):
    """One run. At most one message at a time, from its mailbox; see the module."""

    urgent = PooledActor.urgent | {UrgentAsked, EndByDeadline, ChargeReview, KillRun}
    bounded = frozenset((Asked, UrgentAsked))

    def __init__(self, around: Surroundings, address: Address, checkpoint: Checkpoint | None = None) -> None:
        super().__init__(around.scheduler)
        checkpoint = Checkpoint() if checkpoint is None else checkpoint
        self.around = around
        self.address = address
        self.state: RunState = checkpoint.state
        self.transcript = checkpoint.transcript
        self.version = checkpoint.version
        self.hash = checkpoint.hash
        self.unacked: deque[RunAppend] = deque()
        self._end: RunFinished | None = None
        self._dozes: Cancellable | None = None
        self._taken_up = checkpoint.version == 0
        self._seal: Seal | Withheld | None = None
        self._seal_known = False
        since = address.since
        self._since = around.scheduler.awake() - checkpoint.elapsed_ms / 1000 if since is None else since
        address.attach(self.mailbox)

    # -------------------------------------------------------------- messages in

    def on_receive(self, message: RunMessage | Asked | RunAppend | Doze) -> None:
        """Handle one message of the run, or the news that an append is done."""
        if isinstance(message, RunAppend):
            self.settle(message)
        elif isinstance(message, Doze):
            self.doze()
        elif isinstance(message, Asked):
            self.take(message.message, message)
        else:
            self.take(message, None)

    def take(self, message: RunMessage, asked: Asked | None) -> None:
        """Decide on `message` and append what it led to."""
        message = cleaned(self.redact(message))  # in this order: a cut could leave half of a secret
        now_ms = self.now_ms()
        try:
            facts = self.decide(message, now_ms)
        except Refusal as refusal:
            if asked is not None:
                asked.refuse(MessageRefused(self.address.run_id, type(message).__name__, str(refusal)))
            return
        kind = type(message)  # not isinstance: on a Struct that is slow
        if kind is ResumeRun:
            self._taken_up = True
        elif kind in TIMED:
            # The timer is spent. If it was early (set by a predecessor, whose clock was ahead), it is owed again.
            self.address.running.pop(answered_key(message) or "", None)
        if facts:
            self.append(facts, message, asked, now_ms)
        elif asked is not None:
            self.nothing_new(asked)
        elif self.unacked:
            self.unacked[-1].unheard.append(message)
        else:
            self.reconcile()

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        """The run's decision; a method so that a simulation can plant a mistake here."""
        return decide(self.state, message, now_ms)

    def redact(self, told: T) -> T:
        """A message or a fact without secrets; a method so that a simulation can plant a mistake here."""
        redactor = self.around.vault.redactor
        return redactor.struct(told) if isinstance(told, FactStruct) else redactor.texts(told)

    def append(self, facts: list[Any], message: RunMessage, asked: Asked | None, now_ms: int) -> None:
        """Encode `facts`, fold them, and hand them to the journal."""
        around, address = self.around, self.address
        at_us, epoch = around.clock.wall_us(), around.journal.epoch
        cause = _cause(message) if asked is not None else ""
        stored: list[Stored] = []
        seal = self.seal(facts[0])
        version, previous, state, transcript = self.version, self.hash, self.state, self.transcript
        for fact in map(self.redact, facts):  # again: JSON, and what was harmless in pieces and is put together here
            version += 1
            one = encode_event(
                fact,
                run_id=address.run_id,
                version=version,
                previous=previous,
                at_us=at_us,
                elapsed_ms=now_ms,
                cause=cause,
                epoch=epoch,
                seal=seal,
            )
            previous = one.event.hash
            if type(fact) is RunFinished:
                self._end = fact
                address.bereft = state.governed.children
            state = evolve(state, fact)
            transcript = evolve_transcript(transcript, fact)
            stored.append(one)
        request_key = ""
        if type(message) is StartRun:
            request_key = request_key_of(message.started.info.caller_id, message.started.info.request_id)
        append = RunAppend(address, self.scheduler, self.version, stored, message, asked, request_key)
        self.version, self.hash, self.state, self.transcript = version, previous, state, transcript
        self.unacked.append(append)
        try:
            around.journal.append(append)
        except ExecutusError as error:
            self.lose(error)

    def seal(self, first: Fact) -> Seal | Withheld | None:
        """With what the run's events are encoded."""
        if not self._seal_known:
            root = first.info.root_run_id if isinstance(first, RunStarted) else ""
            self._seal = self.around.journal.seal(self.address.run_id, new=self.version == 0, root=root)
            self._seal_known = True
        return self._seal

    def nothing_new(self, asked: Asked) -> None:
        """The message changed nothing: its sender is told as soon as all that it rests on is durable."""
        if self.unacked:
            self.unacked[-1].asked.append(asked)
        else:
            asked.accept(self.version)

    # -------------------------------------------------------------- what became durable

    def settle(self, append: RunAppend) -> None:
        """An append is durable, or failed."""
        if not self.unacked or self.unacked[0] is not append:
            return  # of the actor that stood here before
        if append.error is not None:
            self.lose(append.error)
            return
        self.unacked.popleft()
        self.address.pause_s = 0.0
        for asked in append.asked:
            asked.accept(append.version)
        if self.address.probation is not None:
            self.address.probation.settled(self.state)
        if not self.unacked:
            self.address.ending = self._end
            self.reconcile()
            if self._end is not None:
                self.leave(self._end)

    def reconcile(self) -> None:
        """Everything decided is durable: start what the world owes and is not yet doing, call off what is owed no more.

        Not before `ResumeRun` was taken: until then a tool whose outcome nobody knows still looks as if it were owed.
        Nor when the runtime has let go of the run: what was called off then looks as if it were not under way.
        """
        if not self._taken_up or self.address.end is not None:
            return
        if not self.state.over:
            self.address.stands(self.state.doing == "waiting")
        running = self.address.running
        owed = outstanding(self.state)
        if running:
            keys = {one.key for one in owed}
            for key in [key for key in running if key not in keys]:
                running.pop(key).cancel()
        for one in owed:
            if one.key not in running:
                running[one.key] = self.begin(one)
        if self.state.doing == "waiting" and self._dozes is None:
            self._dozes = self.scheduler.call_later(self.around.sleep_after_s, partial(self.address.tell, Doze()))

    def begin(self, owed: Owed) -> Cancellable:
        """Have the world do what it owes."""
        around, address, agent = self.around, self.address, self.address.agent
        match owed:
            case CallModel():
                agent = agent.in_phase(self.state.phase)
                request = ModelRequest(
                    messages=self.transcript.messages,
                    tools=tuple([tool.spec for tool in agent.tools]),
                    settings=agent.settings,
                    run_id=address.run_id,
                    step=owed.step,
                    attempt=owed.attempt,
                    caller_id=self.state.caller,
                    on_delta=None if address.on_delta is None else address.watch,
                )
                return around.calls.model(agent, request, address.tell, self.state.governed.reuses)
            case PlanCalls():
                return around.calls.plan(agent.in_phase(self.state.phase), owed, self.state.caller, address.tell)
            case CallTool() | AskTool():
                call = owed.call
                key = idempotency_key(address.run_id, call.call)
                desk = None if around.desk is None else around.desk(self, call.call)
                context = ToolContext(address.run_id, call.call, key, self.state.caller, desk, around.journal.epoch)
                do = around.calls.tool if isinstance(owed, CallTool) else around.calls.reconcile
                return do(agent.in_phase(self.state.phase), call, context, address.tell)
            case RunChild():
                return self.begin_child(owed.child)
            case Reserve():
                return self.begin_reserving(owed)
            case Wake(what="retry"):
                message: RunMessage = RetryStep(step=self.state.step, attempt=self.state.attempt)
            case Wake(what="soft"):
                message = ReachSoftTimeout(at_ms=owed.at_ms)
            case Wake():
                message = EndByDeadline(at_ms=owed.at_ms)
            case Expire():
                wait_s = min((owed.at_us - around.clock.wall_us()) / 1e6, LONGEST_WAIT_S)
                expire = partial(self.expire, address, around.clock, owed)
                return self.scheduler.call_later(wait_s + 0.001, expire)
            case _:
                assert_never(owed)
        seconds = (owed.at_ms - self.now_ms()) / 1000
        # A millisecond more, so that the rounded clock has passed the mark when the message is read.
        return around.scheduler.call_later(seconds + 0.001, partial(address.tell, message))

    def begin_child(self, child: OpenChild) -> Cancellable:
        """Have the palette resolve what the child is, and the supervisor start it, or find it again after a restart."""
        around, address = self.around, self.address
        agent = address.agent.in_phase(self.state.phase)
        call = ChildCall(address, child, self.state.governed.budgeted)

        def resolved(order: ChildOrder | str) -> None:
            if isinstance(order, ChildOrder):
                call.delegate = order.delegate
            around.tell_supervisor(WantChild(call, order))

        call.carry(around.calls.child(agent, child.name, child.arguments, self.state.caller, resolved))
        return call

    def begin_reserving(self, owed: Reserve) -> Cancellable:
        """Ask the caller's budget for room, when the back-off is over."""
        waiting = Waiting()
        reserver = self.around.budget
        if reserver is None:  # this host has no budgets: what an earlier one wanted is granted
            grant = AcceptGrant(step=owed.step, attempt=owed.attempt)
            waiting.carry(self.scheduler.call_later(self.seconds_to(owed.at_ms), partial(self.address.tell, grant)))
            return waiting
        context_tokens = self.state.context_tokens or estimated_tokens(self.transcript.messages)

        def ask() -> None:
            waiting.carry(reserver.reserve(self.address, owed.step, owed.attempt, context_tokens, self.address.tell))

        seconds = self.seconds_to(owed.at_ms)
        if seconds > 0:
            waiting.carry(self.scheduler.call_later(seconds, ask))
        else:
            ask()
        return waiting

    def seconds_to(self, at_ms: int) -> float:
        """Seconds until the run's clock reads `at_ms`; not below 0."""
        return max(0.0, (at_ms - self.now_ms()) / 1000)

    @staticmethod
    def expire(address: Address, clock: Clock, owed: Expire) -> None:
        """The time for an answer is over, or the wall clock has been set: then it is owed again."""
        address.tell(ExpireApproval(call=owed.call, now_us=clock.wall_us(), at_us=owed.at_us))

    # -------------------------------------------------------------- leaving

    def doze(self) -> None:
        """Give up the actor while the run waits for a person; timers stay, and any message wakes it."""
        self.stay_awake()  # the timer may be another than the one that this comes from
        if self.state.doing != "waiting" or self.unacked or not self._taken_up:
            return
        self.actor_stopped.set()
        left = self.mailbox.close()
        self.address.since = self._since
        self.address.sleep(left)

    def stay_awake(self) -> None:
        """Call off the timer: one that outlived its actor would wake the sleeping run, again and again."""
        if self._dozes is not None:
            self._dozes.cancel()
            self._dozes = None

    def leave(self, end: RunFinished) -> None:
        """The end is durable: tell, and go."""
        self.actor_stopped.set()
        self.stay_awake()
        left = self.mailbox.close()
        self.address.finish(end)
        self.address.detach([])
        for message in left:
            if isinstance(message, Asked):
                message.refuse(end)
        self.around.tell_supervisor(RunOver(self.address))

    def lose(self, error: BaseException, poison: Any = None) -> None:
        """Stop; a successor will read what was stored and go on from there."""
        self.actor_stopped.set()
        self.stay_awake()
        appends = tuple(self.unacked)
        self.unacked.clear()
        left = [one for one in self.mailbox.close() if not isinstance(one, RunAppend)]
        self.address.detach(left)
        self.around.tell_supervisor(RunLost(self.address, error, appends, poison))

    def failed(self, error: BaseException, message: Any) -> None:
        """Our own code raised: a mistake of ours, contained in this run."""
        self.lose(error, poison=message)

    def now_ms(self) -> int:
        """The run's clock."""
        return round((self.scheduler.awake() - self._since) * 1000)


def _cause(message: RunMessage) -> str:
    name = type(message).__name__
    by = getattr(message, "by", "")
    return f"{name} by {by}" if by else name
