"""The thread that actors share, and the one that watches the clock for them."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable

from ..ports import Clock
from .awake import AwakeClock
from .mailbox import Mailbox

log = logging.getLogger("executus.actors")

MESSAGES_A_SLICE = 32
TICK_S = 0.5

BURST_S = 50e-6
"""A lent thread that wants another slice so soon after its last one is in a burst."""
_INSIDE = float("inf")


class Timer:
    """A call to be made later. `cancel` lets go of the call at once."""

    __slots__ = ("_call", "_owner")

    def __init__(self, owner: Dispatcher, call: Callable[[], None]) -> None:
        self._owner = owner
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Call it off; too late or twice does nothing."""
        if self._call is not None:
            self._call = None
            self._owner.forget_one()

    def fire(self) -> None:
        """Make the call, unless it was called off."""
        call, self._call = self._call, None
        if call is not None:
            try:
                call()
            except Exception:
                log.exception("a timer's call failed")

    @property
    def live(self) -> bool:
        """Whether the call is still to be made."""
        return self._call is not None


class Dispatcher:
    """`Scheduler` on real threads, both daemons: one runs the actors' slices, the other watches the clock.

    One thread for all actors: decisions are short and pure, and a second would only fight for the interpreter.
    woke: told, on the timers' thread, for how many seconds the host stood still, whenever it did.
    """

    def __init__(self, clock: Clock, woke: Callable[[float], None] | None = None) -> None:
        self._monotonic = clock.monotonic
        self._awake = AwakeClock(clock)
        self.awake = self._awake.now
        """Seconds of awake time from an arbitrary start."""
        self._woke = woke
        self._ready: deque[Mailbox] = deque()
        self._wake = threading.Lock()  # held while there is nothing to wake up for
        self._wake.acquire()
        self._idle = False
        self._lent: dict[int, float] = {}
        self._stopping = False
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._dropped = 0
        self._timing = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name="executus-actors", daemon=True),
            threading.Thread(target=self._watch, name="executus-timers", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # -------------------------------------------------------------- slices

    def schedule(self, mailbox: Mailbox) -> None:
        """Give `mailbox` a slice, soon."""
        if self._idle:
            here = threading.get_ident()
            last = self._lent.get(here)
            if last is not None and self._monotonic() - last > BURST_S:
                self._lent[here] = _INSIDE
                try:
                    mailbox.run_slice(MESSAGES_A_SLICE)
                finally:
                    self._lent[here] = self._monotonic()
                return
            self._ready.append(mailbox)
            self._idle = False
            self._rouse()
        else:
            self._ready.append(mailbox)
            if self._idle:  # it went idle between those lines
                self._rouse()

    def lend(self) -> None:
        """The calling thread, one of the runtime's own, may be used for a slice when the actors' thread is idle.

        Waking another thread costs more than most slices; with little to do, this halves the time of a step. In a
        burst only the first message is handled here, and the actors' thread takes the rest.
        """
        here = threading.get_ident()
        if here not in self._lent:
            self._lent[here] = 0.0

    def _rouse(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:  # already released: it is waking up
            pass

    def _work(self) -> None:
        ready = self._ready
        while not self._stopping:
            try:
                mailbox = ready.popleft()
            except IndexError:
                self._idle = True
                if not ready:  # whoever appended before that line did not rouse us
                    self._wake.acquire(timeout=TICK_S)
                self._idle = False
                continue
            mailbox.run_slice(MESSAGES_A_SLICE)

    # -------------------------------------------------------------- time

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call `call` on the timer thread after `seconds` of awake time."""
        timer = Timer(self, call)
        due = self.awake() + max(0.0, seconds)
        with self._timing:
            first = not self._timers or due < self._timers[0][0]
            heapq.heappush(self._timers, (due, next(self._numbers), timer))
            if first:
                self._timing.notify()
        return timer

    def forget_one(self) -> None:
        """A timer was cancelled: when most of the heap is such, rebuild it."""
        with self._timing:
            self._dropped += 1
            if self._dropped > 64 and self._dropped * 2 > len(self._timers):
                self._timers = [entry for entry in self._timers if entry[2].live]
                heapq.heapify(self._timers)
                self._dropped = 0

    def _watch(self) -> None:
        while not self._stopping:
            with self._timing:
                wait = TICK_S if not self._timers else min(TICK_S, self._timers[0][0] - self.awake())
                if wait > 0:
                    self._timing.wait(wait)
            self._look_for_sleep()
            due: list[Timer] = []
            with self._timing:
                now = self.awake()
                while self._timers and self._timers[0][0] <= now:
                    due.append(heapq.heappop(self._timers)[2])
            for timer in due:
                timer.fire()

    def _look_for_sleep(self) -> None:
        self.awake()
        slept = self._awake.slept()
        if not slept:
            return
        log.warning("the host stood still for %.1f s; no deadline counts them", slept)
        if self._woke is not None:
            try:
                self._woke(slept)
            except Exception:
                log.exception("telling that the host stood still failed")

    # -------------------------------------------------------------- end

    def owns(self, thread: threading.Thread) -> bool:
        """Whether `thread` is one of these: waiting for an actor's answer on it would never end."""
        return thread in self._threads

    def close(self, timeout: float) -> bool:
        """Stop after the slices under way; False if they took longer than `timeout` seconds."""
        self._stopping = True
        self._rouse()
        with self._timing:
            self._timing.notify_all()
        deadline = self._monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - self._monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
