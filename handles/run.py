"""A run, as a host holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import JournalError, LogCorrupt, RunQuarantined, UnknownFact, UnknownRun
from ..events import ArtifactStored, ChildFinished, ChildStarted, Message, RunFinished, Status
from ..projections import NOT_BEGUN, Checkpoint, PendingApproval, RunState
from ..projections.result import Result
from ..redaction.raised import masks_errors
from .orders import Orders
from .waiting import wait, wait_async

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..journal import Subscription
    from ..runtime import Runtime

RunStatus: TypeAlias = Status | Literal["running", "waiting", "quarantined", "suspended"]
"""How a run stands. waiting: for a person's message or approval, its own or its children's, to be begun, for room on
the disk (`Runtime.no_room`), or for what `Run.reason` says. quarantined: set aside, as it failed repeatedly or its log
cannot be read. suspended: it is unfinished, and nobody takes it up here."""


@masks_errors(lambda run: run._runtime.redactor)
class Run(Orders):
    """A run of a runtime, live or finished. Thread-safe; every order returns when what it led to is durable.

    Each order has an `_async` form for event loops. All raise `MessageRefused` when the run cannot take the order,
    `RuntimeClosed` when the runtime closed first (it may be durable then), and `TimeoutError` if it took longer than
    `timeout` seconds.
    """

    def __init__(self, runtime: Runtime, run_id: str) -> None:
        self._runtime = runtime
        self.id = run_id

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    # -------------------------------------------------------------- looking

    @property
    def status(self) -> RunStatus:
        """How the run stands, from what is durable."""
        address = self._runtime.address(self.id)
        if address is not None and isinstance(address.end, RunFinished):
            return address.end.status
        if address is not None and isinstance(address.end, RunQuarantined):
            return "quarantined"
        try:
            state = self.state()
        except (LogCorrupt, UnknownFact):
            return "quarantined"
        except UnknownRun:  # it was not recorded: its end is all there is
            return self._runtime.finished(self.id).result().status
        if state.status is not None:
            return state.status
        if address is None or address.end is not None:
            return "waiting" if self.reason else "suspended"
        return "waiting" if state.doing == "waiting" or self._runtime.journal.short(self.id) else "running"

    @property
    def reason(self) -> str:
        """Why the run is not at work in this runtime, which should have it: no agent of its name is registered, its
        parent is quarantined, or what led to its own quarantine; or it is a fork that nobody has begun. "" for every
        other run.
        """
        why = self._runtime.why_waiting(self.id)
        if why:
            return why
        try:
            return NOT_BEGUN if self.state().governed.paused else ""
        except (JournalError, UnknownRun):
            return ""

    def checkpoint(self) -> Checkpoint:
        """The fold of the run's durable facts: state, transcript and version."""
        return self._runtime.load(self.id)

    def state(self) -> RunState:
        """Where the run stands, folded from its durable facts."""
        return self.checkpoint().state

    def transcript(self) -> list[Message]:
        """The conversation as the model has seen, or will next see it."""
        return list(self.checkpoint().transcript.messages)

    def events(self, after: int = 0) -> Subscription:
        """The run's durable facts with version > `after`, live, for `for` and `async for`; ends after the run's end."""
        return self._runtime.subscribe(self.id, after)

    def approvals(self) -> tuple[PendingApproval, ...]:
        """The calls that wait for a person's yes, to be answered with `approve` or `deny`."""
        return self.state().governed.approvals

    def children(self) -> list[Run]:
        """The runs that this one started, in that order, finished ones too; each can be steered and cancelled alone.

        Left out: those that were announced and never came to be, as the palette or the end of this run kept them from
        it. One that is only being started is listed.
        """
        journal = self._runtime.journal
        facts = [event.fact for event in journal.read(self.id)]
        over = {fact.run_id for fact in facts if isinstance(fact, ChildFinished)}
        if any(isinstance(fact, RunFinished) for fact in facts):
            over |= {fact.run_id for fact in facts if isinstance(fact, ChildStarted)}
        started = [fact.run_id for fact in facts if isinstance(fact, ChildStarted)]
        return [Run(self._runtime, one) for one in started if one not in over or journal.run(one) is not None]

    def artifacts(self) -> list[ArtifactStored]:
        """What the run made, in that order; `Runtime.artifact` returns the bytes."""
        facts = [event.fact for event in self._runtime.journal.read(self.id)]
        return [fact for fact in facts if isinstance(fact, ArtifactStored)]

    # -------------------------------------------------------------- the result

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end of the run.

        Raises:
            TimeoutError: it goes on after `timeout` seconds; nothing happened to it.
            RunQuarantined, RuntimeClosed: it will not end in this runtime.
        """
        self._runtime.may_block("result")
        future = self._runtime.finished(self.id)
        try:
            return Result.of(self.id, wait(future, timeout, f"run {self.id} goes on"))
        finally:
            future.cancel()

    async def result_async(self, timeout: float | None = None) -> Result:
        """`result` for event loops; cancelling it leaves the run alone."""
        future = self._runtime.finished(self.id)
        try:
            return Result.of(self.id, await wait_async(future, timeout, f"run {self.id} goes on"))
        finally:
            future.cancel()

    def __await__(self) -> Generator[Any, None, Result]:
        return self.result_async().__await__()
