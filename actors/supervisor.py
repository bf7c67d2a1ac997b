"""Starts runs, rebuilds those whose actor failed from their log, and sets aside those that keep failing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import msgspec

from ..errors import (
    ContentWithheld,
    Deposed,
    DiskFull,
    ExecutusError,
    JournalConflict,
    JournalUnavailable,
    Overloaded,
    RequestRepeated,
    RunQuarantined,
    RuntimeClosed,
    UnknownRun,
)
from ..events import RunFinished, RunInfo, RunStarted, Status
from ..ports import NOBODY, Agent
from ..projections import OpenChild, RunState, ended
from .address import Address
from .calls import Loaded
from .children import ChildCall, child_started
from .critic import dismiss, give_critic
from .delegating import ChildOrder
from .pooled import PooledActor
from .probation import Failed, TakenUp
from .run.actor import RunActor
from .run.answers import answered_key
from .run.asking import Asked
from .run.messages import AcceptChildWait, EndWithParent, NoteSleep, ResumeRun, StartRun
from .run.surroundings import Recover, RunLost, RunOver, Surroundings, TakeUp, WantChild

log = logging.getLogger("executus.supervisor")

LOSSES = 3
WITHIN_S = 60.0
"""A run whose actor failed more than `LOSSES` times within `WITHIN_S` awake seconds is quarantined."""

CLOSED = "the runtime was closed; a run in a stored journal resumes when it is opened again"

NO_ROOM_S = 0.5
"""Pause before a run is looked at again that found no room on the disk."""

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 10.0
"""Pause before a lost run is read again; while the journal is unavailable it doubles, up to the last."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Start a new run at `address`. asked: told when `RunStarted` is durable."""

    address: Address
    started: RunStarted
    asked: Asked


@dataclass(frozen=True, slots=True)
class WakeUp:
    """There is a message for a run that gave up its actor while it waited."""

    address: Address


@dataclass(frozen=True, slots=True)
class HostWoke:
    """Report: the host stood still for so many seconds."""

    slept_s: float


@dataclass(frozen=True, slots=True)
class CloseDown:
    """Stop: call off what is under way; the runs stay as their logs have them. error: what whoever waits is told."""

    error: ExecutusError | None = None


class _Reread(msgspec.Struct, frozen=True):
    """The pause after a loss is over."""

    lost: RunLost
    pause_s: float


class _Read(msgspec.Struct, frozen=True):
    """The log of a lost or recovered run was read."""

    address: Address
    loaded: Loaded
    lost: RunLost | None
    pause_s: float
    woken: bool = False


class _Looked(msgspec.Struct, frozen=True):
    """Whether the child that a parent wants was already started before."""

    want: WantChild
    loaded: Loaded


class Supervisor(PooledActor):
    """One a runtime. `directory`: run id -> address of every run it has; others may read it at any time."""

    urgent = PooledActor.urgent | {CloseDown}

    def __init__(self, around: Surroundings, directory: dict[str, Address]) -> None:
        super().__init__(around.scheduler)
        self.around = around
        self.directory = directory
        self.closing = False
        self.closed_by: ExecutusError = RuntimeClosed("the runtime is closing")

    def on_receive(
        self,
        message: Admit
        | Recover
        | WakeUp
        | WantChild
        | RunOver
        | RunLost
        | HostWoke
        | _Reread
        | _Read
        | _Looked
        | CloseDown,
    ) -> None:
        """Handle one order or report."""
        match message:
            case Admit():
                self.admit(message)
            case RunOver():
                dismiss(message.address)
                self.directory.pop(message.address.run_id, None)
                if message.address.ending is not None:
                    self.bereave(message.address, message.address.ending)
            case RunLost():
                self.lost(message)
            case Recover():
                if self.directory.setdefault(message.address.run_id, message.address) is message.address:
                    self.read(message.address, None, 0.0)
            case HostWoke():
                for address in list(self.directory.values()):
                    if not address.asleep:
                        address.tell(NoteSleep(slept_s=round(message.slept_s, 3)))
            case WakeUp():
                self.read(message.address, None, 0.0, woken=True)
            case WantChild():
                self.want_child(message)
            case _Looked():
                self.found_child(message)
            case _Reread() if self.around.journal.short(message.lost.address.run_id):
                self.scheduler.call_later(NO_ROOM_S, partial(_tell, self, message))
            case _Reread():
                self.read(message.lost.address, message.lost, message.pause_s)
            case _Read():
                self.rebuild(message)
            case CloseDown():
                self.close_down(message.error)
            case _:
                assert_never(message)

    def failed(self, error: BaseException, message: Any) -> None:
        """A mistake of ours in one message must not leave the other runs without a supervisor: go on."""
        log.critical("the supervisor failed on %s", type(message).__name__, exc_info=error)
        self.actor_stopped.clear()
        for part in (message, getattr(message, "lost", None)):
            address = getattr(part, "address", None)
            if isinstance(address, Address):
                self.set_aside(address, part if isinstance(part, RunLost) else None, f"its supervision failed: {error}")

    # -------------------------------------------------------------- new runs

    def admit(self, order: Admit) -> None:
        """Give a new run its actor."""
        if self.closing:
            self.directory.pop(order.address.run_id, None)
            order.asked.refuse(self.closed_by)
            return
        self.directory[order.address.run_id] = order.address
        order.address.tell(order.asked)
        self.employ(order.address, None)

    def want_child(self, want: WantChild) -> None:
        """A parent's call is a run of its own: find it, or start it."""
        call = want.call
        if self.closing or call.over:
            return
        address = self.directory.get(call.child.run_id)
        if address is not None:
            call.follow(address)
            return
        # It may have been started by a host before this one, or before the parent's actor was rebuilt.
        self.around.calls.load(call.child.run_id, (), lambda loaded: _tell(self, _Looked(want, loaded)))

    def found_child(self, looked: _Looked) -> None:
        """The log says whether the child was started before."""
        call, order, loaded = looked.want.call, looked.want.order, looked.loaded
        if self.closing or call.over:
            return
        if call.child.run_id in self.directory:
            call.follow(self.directory[call.child.run_id])
            return
        end = None if loaded.checkpoint is None else ended(loaded.checkpoint.state)
        if end is not None:
            call.finish(end)
        elif isinstance(loaded.error, (JournalUnavailable, JournalConflict, Overloaded)):
            self.scheduler.call_later(LAST_PAUSE_S / 10, partial(_tell, self, looked.want))
        elif loaded.error is not None and not isinstance(loaded.error, UnknownRun):
            address = self.orphan(call.child, call.parent, "cancelled")
            call.follow(address)  # hears what comes now, so that the parent goes on
            self.set_aside(address, None, str(loaded.error))
        elif isinstance(order, ChildOrder):
            self.start_child(call, order, loaded)
        elif loaded.checkpoint is None:
            call.fail(order)
        else:  # nobody can carry it on here: it ends, and its parent goes on, charged for what it has spent
            address = self.orphan(call.child, call.parent, "cancelled", order)
            self.take_up(address, loaded)
            call.follow(address)

    def orphan(self, child: OpenChild, parent: Address, status: Status, why: str = "") -> Address:
        """A child of an earlier host that may only end; its parent ended with `status`, or goes on without it, as `why`
        says.
        """
        info = RunInfo(
            run_id=child.run_id, name=child.name, caller_id=parent.info.caller_id, parent_run_id=parent.run_id
        )
        address = Address(info, Agent(child.name, model=NOBODY))  # it is never asked anything
        address.orphaned, address.why_orphaned = status, why
        self.directory[address.run_id] = address
        return address

    def bereave(self, address: Address, end: RunFinished) -> None:
        """A run is over: its children that are not end too, also those that an earlier host left and this one has not
        yet taken up.
        """
        if self.closing:
            return
        bereft, address.bereft = address.bereft, ()
        for child in bereft:
            if child.run_id not in self.directory:
                self.take_up(self.orphan(child, address, end.status))

    def start_child(self, call: ChildCall, order: ChildOrder, loaded: Loaded) -> None:
        """Start the child, or take it up from its log."""
        started = child_started(call, order, self.around.clock.wall_us())
        address = Address(started.info, order.agent)
        self.directory[address.run_id] = address
        if loaded.checkpoint is None:
            call.progress("started", "🚀")
            address.tell(Asked(StartRun(started=started)))
            self.employ(address, None)
        else:
            self.take_up(address, loaded)
        call.follow(address)

    def take_up(self, address: Address, loaded: Loaded | None = None) -> None:
        """Take up a child of an earlier host, when it is its turn."""
        if self.around.tell_recoverer is None:
            self.read(address, None, 0.0)
        else:
            version = 0 if loaded is None or loaded.checkpoint is None else loaded.checkpoint.version
            self.around.tell_recoverer(TakeUp(address, version))

    def employ(self, address: Address, loaded: Loaded | None) -> None:
        """Give the run an actor; from now on a message wakes it if it sleeps."""
        address.wake = self.wake
        self.hire(address, loaded)

    def hire(self, address: Address, loaded: Loaded | None) -> None:
        """Start an actor at `address`; a method so that a simulation can start another kind."""
        give_critic(self.around, address, taken_up=loaded is not None)
        RunActor.spawn(self.around, address, None if loaded is None else loaded.checkpoint)

    def wake(self, address: Address) -> None:
        """A message came for a run that sleeps; called on any thread."""
        _tell(self, WakeUp(address))

    # -------------------------------------------------------------- lost runs

    def lost(self, report: RunLost) -> None:
        """A run's actor stopped: read its log again after a pause, or set it aside."""
        address, error = report.address, report.error
        key = answered_key(report.poison)
        if key is not None:
            address.running.pop(key, None)  # its answer is gone with the actor that choked on it
        if isinstance(report.poison, Asked):
            report.poison.refuse(RunQuarantined(address.run_id, f"the message made its actor fail: {error}"))
        if isinstance(report.poison, (EndWithParent, AcceptChildWait)):
            # No child outlives its parent because of a mistake of ours, and what a parent was told it still knows.
            address.prepend([report.poison])
        if self.closing or isinstance(error, (RequestRepeated, Deposed)):
            self.let_go(address, report, self.closed_by if self.closing else error)
            return
        log.warning(
            "run %s lost its actor: %s", address.run_id, error, exc_info=None if report.poison is None else error
        )
        now = self.scheduler.awake()
        pause_s = FIRST_PAUSE_S
        if isinstance(error, DiskFull):
            pause_s = NO_ROOM_S
        elif isinstance(error, (JournalUnavailable, Overloaded)):
            pause_s = address.pause_s = min(max(address.pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
        else:
            address.losses = (*(at for at in address.losses if now - at < WITHIN_S), now)
            if len(address.losses) > LOSSES:
                address.doomed = f"its actor failed {len(address.losses)} times, the last time: {error}"
                self.read(address, report, FIRST_PAUSE_S)  # if its log says that it is over, it is that
                return
        self.pause(report, pause_s)

    def pause(self, report: RunLost, seconds: float) -> None:
        """Read the log after so many seconds."""
        again = _Reread(report, min(seconds * 2, LAST_PAUSE_S))
        self.scheduler.call_later(seconds, partial(_tell, self, again))

    def read(
        self,
        address: Address,
        lost: RunLost | None,
        pause_s: float,
        *,
        woken: bool = False,
    ) -> None:
        """Have the log read; the answer is a message."""
        if self.closing:
            self.let_go(address, lost, self.closed_by)
            return
        versions = tuple(append.version for append in lost.appends) if lost is not None else ()
        self.around.calls.load(
            address.run_id,
            versions,
            lambda loaded: _tell(self, _Read(address, loaded, lost, pause_s, woken)),
        )

    def rebuild(self, read: _Read) -> None:
        """Go on from what the log says: what was stored is acknowledged, what was not is said again."""
        address, loaded, lost = read.address, read.loaded, read.lost
        if address.end is not None:  # it was set aside, or let go, meanwhile
            for append in lost.appends if lost is not None else ():
                for asked in append.asked:
                    asked.refuse(address.end)
            return
        if self.closing:
            self.let_go(address, lost, self.closed_by)
            return
        error = loaded.error
        never_stored = isinstance(error, UnknownRun) and lost is not None
        if isinstance(error, (JournalUnavailable, JournalConflict, Overloaded)):
            self.pause(lost or RunLost(address, error), max(read.pause_s, FIRST_PAUSE_S))
            return
        if isinstance(error, UnknownRun) and address.orphaned is not None:  # it was never born
            self.let_go(address, lost, error)
            return
        if error is not None and not never_stored:
            self.set_aside(address, lost, str(error), counts=not isinstance(error, ContentWithheld))
            return
        again = self.not_stored(lost, loaded)
        end = None if loaded.checkpoint is None else ended(loaded.checkpoint.state)
        if loaded.checkpoint is not None and not read.woken and not (address.doomed and end is None):
            # Also after a loss: the first reading may have failed.
            self.tell_taken_up(address.run_id, loaded.checkpoint.state)
        if end is not None:
            address.ending = end
            for running in address.running.values():
                running.cancel()
            address.running.clear()
            for message in again:
                if isinstance(message, Asked):
                    message.refuse(end)
            dismiss(address)
            if address.probation is not None:
                address.probation.survived()
            address.finish(end)
            self.directory.pop(address.run_id, None)
            self.bereave(address, end)
            return
        if address.doomed:
            self.set_aside(address, lost, address.doomed)
            return
        if loaded.checkpoint is not None and loaded.checkpoint.state.read_only:
            why = "its log holds facts of a newer executus; upgrade to continue it"
            self.set_aside(address, lost, why, counts=False)
            return
        if loaded.checkpoint is not None and address.orphaned is not None:
            why = address.why_orphaned or (
                f"its parent went on without it, or ended with status {address.orphaned}, before this host took over"
            )
            address.prepend([EndWithParent(status=address.orphaned, reason=why), *again])
            self.employ(address, loaded)
        elif loaded.checkpoint is not None:
            resume = ResumeRun(
                epoch=self.around.journal.epoch,
                reason="a new host took over" if lost is None else f"its actor was rebuilt: {lost.error}"[:200],
                in_flight=frozenset(address.running),
                woken=read.woken,
            )
            address.prepend([resume, *again])
            self.employ(address, loaded)
        elif any(isinstance(_plain(message), StartRun) for message in again):
            address.prepend(again)
            self.employ(address, None)
        else:
            self.set_aside(address, lost, "it was never stored, and what started it is lost")

    def not_stored(self, lost: RunLost | None, loaded: Loaded) -> list[Any]:
        """Acknowledge the appends that are in the log, by their hash; return the messages of the others."""
        again: list[Any] = []
        for append in lost.appends if lost is not None else ():
            if loaded.hashes.get(append.version) == append.stored[-1].event.hash:
                for asked in append.asked:
                    asked.accept(append.version)
            else:
                if append.own is None:
                    again.append(append.message)
                again += append.asked
                again += append.unheard
        return again

    # -------------------------------------------------------------- letting go

    def set_aside(self, address: Address, lost: RunLost | None, why: str, *, counts: bool = True) -> None:
        """Quarantine: the log is intact, nobody works on the run or its children, and whoever waits is told. counts:
        whether it is held against the run when the next host opens the journal.
        """
        log.error("run %s is quarantined: %s", address.run_id, why)
        if address.probation is not None:
            address.probation.over = True
        self.let_go(address, lost, RunQuarantined(address.run_id, why))
        if not isinstance(address.end, RunQuarantined):
            return
        self.directory[address.run_id] = address  # visible as quarantined until this host ends (P5)
        if self.around.budget is not None:
            self.around.budget.give_up(address.run_id)
        resting = tuple(self.rest(address.run_id))
        if self.around.tell_recoverer is not None:
            self.around.tell_recoverer(Failed(address.run_id, why, counts, resting))

    def rest(self, parent: str) -> list[tuple[str, str]]:
        """Stop the runs below one that is quarantined: what they do would be for nobody. They go on when it does.

        Returns each with its parent.
        """
        resting: list[tuple[str, str]] = []
        for child in list(self.directory.values()):
            if child.info.parent_run_id == parent and child.end is None:
                self.let_go(child, None, RunQuarantined(child.run_id, f"its parent {parent} is quarantined"))
                resting += [(child.run_id, parent), *self.rest(child.run_id)]
        return resting

    def tell_taken_up(self, run_id: str, state: RunState) -> None:
        """Say who of its children the run still waits for."""
        if self.around.tell_recoverer is not None:
            children = frozenset(child.run_id for child in state.governed.children)
            self.around.tell_recoverer(TakenUp(run_id, children, state.status))

    def let_go(self, address: Address, lost: RunLost | None, error: BaseException) -> None:
        """Call off what is under way for a run and tell everybody who waits."""
        dismiss(address)
        if address.probation is not None:
            address.probation.let_go()
        for running in list(address.running.values()):
            running.cancel()
        address.running.clear()
        for append in lost.appends if lost is not None else ():
            for asked in append.asked:
                asked.refuse(error)
        address.finish(error if isinstance(error, Exception) else RunQuarantined(address.run_id, repr(error)))
        self.directory.pop(address.run_id, None)

    def close_down(self, error: ExecutusError | None) -> None:
        """Stop everything; what is unfinished stays so in its log."""
        self.closing = True
        if error is not None:
            self.closed_by = error
        for address in list(self.directory.values()):
            self.let_go(address, None, error if error is not None else RuntimeClosed(CLOSED))


def _tell(supervisor: Supervisor, message: Any) -> None:
    if not supervisor.actor_stopped.is_set():
        supervisor.actor_ref.tell(message)


def _plain(message: Any) -> Any:
    return message.message if isinstance(message, Asked) else message
