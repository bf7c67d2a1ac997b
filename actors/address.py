"""A run's stable address: senders keep it while the actor behind it is stopped, rebuilt from its log, or gone."""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pykka import ActorDeadError
from pykka._envelope import Envelope

from ..errors import Overloaded
from ..events import RunFinished, RunInfo, Status
from ..ports import Agent, Delta
from ..projections import OpenChild
from .mailbox import MAILBOX_LIMIT, Mailbox
from .pooled import Cancellable
from .probation import Probation

log = logging.getLogger("executus.actors")


class Address:
    """Where a run of this runtime is reached.

    running: what is being done for the run, by key; it outlives an actor that failed, so that its successor adopts a
    tool that is still running instead of calling its outcome unknown. finished: resolves with the durable
    `RunFinished`, or with the error that keeps it from coming. info: as the run was started. critic: the actor that
    watches it, if one does. ending: the run's end as soon as it is durable, for its children. bereft: the children that
    were not over when it ended. orphaned: how its parent ended while no host was there; why_orphaned: why it goes on
    without this run, if it does. probation: the attempt to take the run up, until it has survived that. wake: called
    when a message comes for a run that has given up its actor.
    """

    __slots__ = (
        "_asleep",
        "_backlog",
        "_finished",
        "_kept_waiting",
        "_lock",
        "_mailbox",
        "_waits",
        "agent",
        "bereft",
        "critic",
        "doomed",
        "end",
        "ending",
        "info",
        "losses",
        "on_delta",
        "orphaned",
        "pause_s",
        "probation",
        "run_id",
        "running",
        "since",
        "wake",
        "why_orphaned",
    )

    def __init__(self, info: RunInfo, agent: Agent, on_delta: Any = None) -> None:
        self.run_id = info.run_id
        self.info = info
        self.critic: Any = None
        self.ending: RunFinished | None = None
        self.bereft: tuple[OpenChild, ...] = ()
        self.orphaned: Status | None = None
        self.probation: Probation | None = None
        self.why_orphaned = ""
        self.agent = agent
        self.on_delta: Any = on_delta
        self.running: dict[str, Cancellable] = {}
        self.losses: tuple[float, ...] = ()
        self.doomed = ""
        """Why it is to be set aside, unless its log turns out to be over."""
        self.pause_s = 0.0
        """How long the run paused the last time the journal was unavailable; 0 since an append went well."""
        self.end: RunFinished | Exception | None = None
        self.since: float | None = None
        """Awake time at which the run's clock began, of a run that has slept: the clock goes on meanwhile."""
        self.wake: Callable[[Address], None] | None = None
        self._asleep = False
        self._lock = threading.Lock()
        self._mailbox: Mailbox | None = None
        self._backlog: deque[Any] | None = None
        self._finished: set[Future[RunFinished]] | None = None
        self._waits: bool | None = None
        self._kept_waiting: Callable[[bool], None] | None = None

    def tell(self, message: Any) -> None:
        """Deliver `message` to the run's actor, now or when there is one again. A run that is over ignores it.

        Raises:
            Overloaded: too many messages wait.
        """
        mailbox = self._mailbox
        if mailbox is None:
            wake = None
            with self._lock:
                mailbox = self._mailbox
                if mailbox is None:
                    self._keep(message)
                    wake = self._roused()
            if mailbox is None:
                if wake is not None:
                    wake(self)
                return
        try:
            mailbox.put(Envelope(message))
        except ActorDeadError:  # it failed between those lines; its successor will want to know
            with self._lock:
                self._keep(message)
                wake = self._roused()
            if wake is not None:
                wake(self)

    def _keep(self, message: Any) -> None:
        refuse = getattr(message, "refuse", None)
        if self.end is not None:
            if refuse is not None:
                refuse(self.end)
            return
        if self._backlog is None:
            self._backlog = deque()
        elif len(self._backlog) >= MAILBOX_LIMIT and refuse is not None:
            raise Overloaded(f"messages waiting for run {self.run_id}", MAILBOX_LIMIT, "the pace of the sender")
        self._backlog.append(message)

    def attach(self, mailbox: Mailbox) -> None:
        """From now on an actor with this mailbox answers; what waited is in it before anybody else finds it.

        The mailbox has no actor yet, so that nothing is handled, and nothing refused, while the lock is held.
        """
        with self._lock:
            backlog, self._backlog = self._backlog, None
            for message in backlog or ():
                mailbox.put(Envelope(message))
            self._mailbox = mailbox

    def sleep(self, left: list[Any]) -> None:
        """The actor was given up while the run waits; the next message, or one of `left`, calls `wake`."""
        with self._lock:
            self._mailbox = None
            self._asleep = True
            if left and self.end is None:
                self._backlog = deque([*left, *(self._backlog or ())])
            wake = self._roused() if self._backlog else None
        if wake is not None:
            wake(self)

    @property
    def asleep(self) -> bool:
        """Whether the run has given up its actor while it waits for a person."""
        return self._asleep

    def _roused(self) -> Callable[[Address], None] | None:
        """Whom to tell that there is a message for a run that sleeps; once for each sleep. The lock is held."""
        if not self._asleep or self.end is not None:
            return None
        self._asleep = False
        return self.wake

    def detach(self, left: list[Any]) -> None:
        """The actor is gone; `left` are the messages it did not get to, kept before any later ones."""
        with self._lock:
            self._mailbox = None
            end = self.end
            if left and end is None:
                self._backlog = deque([*left, *(self._backlog or ())])
        for message in left if end is not None else ():
            refuse = getattr(message, "refuse", None)
            if refuse is not None:
                refuse(end)

    def prepend(self, messages: list[Any]) -> None:
        """Keep `messages` for the next actor, before everything else that waits."""
        with self._lock:
            self._backlog = deque([*messages, *(self._backlog or ())])

    # -------------------------------------------------------------- waiting for people

    def stands(self, waits: bool) -> None:
        """By its durable facts, the run waits for a person with everything that is under way of it, or does not.

        Told by the run's actor alone.
        """
        if waits == self._waits:
            return
        with self._lock:
            self._waits = waits
            if self._kept_waiting is not None:
                self._kept_waiting(waits)

    def keep_waiting(self, told: Callable[[bool], None]) -> None:
        """Have the run's parent told whether it waits: now, if that is known, and whenever it changes. One such call
        replaces another.

        told: called with this address locked, so that what it is told last is how it is; it may tell another address.
        """
        with self._lock:
            self._kept_waiting = told
            if self._waits is not None:
                told(self._waits)

    # -------------------------------------------------------------- the end

    def finish(self, end: RunFinished | Exception) -> None:
        """The run is over, durably, or will not be finished by this runtime: tell everybody who waits, once."""
        with self._lock:
            if self.end is not None:
                return
            self.end = end
            waiting, self._finished = self._finished, None
            backlog, self._backlog = self._backlog, None
        for future in waiting or ():
            _resolve(future, end)
        for message in backlog or ():
            refuse = getattr(message, "refuse", None)
            if refuse is not None:
                refuse(end)

    def finished(self) -> Future[RunFinished]:
        """A future that resolves with the end of the run; cancel it when you stop waiting."""
        future: Future[RunFinished] = Future()
        with self._lock:
            if self.end is None:
                if self._finished is None:
                    self._finished = set()
                self._finished.add(future)
                future.add_done_callback(self._forget)
                return future
        _resolve(future, self.end)
        return future

    def _forget(self, future: Future[RunFinished]) -> None:
        """Nobody waits on it any more: a host may ask again and again, each time for a moment."""
        with self._lock:
            if self._finished is not None:
                self._finished.discard(future)

    def watch(self, delta: Delta) -> None:
        """Show a piece of a reply to whoever asked at the start; whatever that raises stays here."""
        if self.on_delta is not None:
            try:
                self.on_delta(delta)
            except BaseException:  # also sys.exit: it would end the reply, not the host
                log.warning("run %s: on_delta raised; it is not called again", self.run_id, exc_info=True)
                self.on_delta = None


def _resolve(future: Future[RunFinished], end: RunFinished | Exception) -> None:
    if future.cancelled():
        return
    try:
        if isinstance(end, RunFinished):
            future.set_result(end)
        else:
            future.set_exception(copy.copy(end))  # each raise adds to an exception's traceback
    except Exception:  # cancelled between those lines
        return
