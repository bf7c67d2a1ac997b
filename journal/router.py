"""One follower for many subscriptions: a batch is looked at once, and each event goes where it is wanted."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from ..events import Event
from ..ports import Journal


class Receiver(Protocol):
    """Where a router sends events. Both calls return at once and never raise."""

    def push(self, events: Sequence[Event], /) -> None:
        """Take events that were just committed, in order."""
        ...

    def reread(self) -> None:
        """Forget what was pushed and not yet handed out; it is in the log."""
        ...

    def journal_ended(self) -> None:
        """No more will come."""
        ...


class Router:
    """Follows `journal` while anybody subscribes through it. With 10,000 runs and one subscription each, a batch costs
    what its events cost. Thread-safe.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._by_run: dict[str, tuple[Receiver, ...]] = {}
        self._all: tuple[Receiver, ...] = ()
        self._leave: Callable[[], None] | None = None
        self._closed = False

    def add(self, run_id: str | None, receiver: Receiver) -> None:
        """Send `receiver` the events of a run, or of all runs, from now on."""
        with self._lock:
            if not self._closed:
                if self._leave is None:
                    self._leave = self._journal.follow(self)
                if run_id is None:
                    self._all = (*self._all, receiver)
                else:
                    self._by_run[run_id] = (*self._by_run.get(run_id, ()), receiver)
                return
        receiver.journal_ended()

    def remove(self, run_id: str | None, receiver: Receiver) -> None:
        """Send it no more; harmless when repeated."""
        with self._lock:
            if run_id is None:
                self._all = tuple(one for one in self._all if one is not receiver)
            elif rest := tuple(one for one in self._by_run.get(run_id, ()) if one is not receiver):
                self._by_run[run_id] = rest
            else:
                self._by_run.pop(run_id, None)
            if self._leave is not None and not self._all and not self._by_run:
                self._leave()  # under the lock: outside it, a subscription that comes meanwhile would be dropped too
                self._leave = None

    def __call__(self, events: Sequence[Event], /) -> None:
        """Told by the journal, in order."""
        for receiver in self._all:
            receiver.push(events)
        by_run = self._by_run
        if not by_run:
            return
        wanted: dict[str, list[Event]] = {}
        for event in events:
            if event.run_id in by_run:
                wanted.setdefault(event.run_id, []).append(event)
        for run_id, some in wanted.items():
            for receiver in by_run.get(run_id, ()):
                receiver.push(some)

    def reread(self) -> None:
        """Have everybody forget what was not yet handed out, and read it again: content of it was erased."""
        with self._lock:
            receivers = {id(one): one for some in (self._all, *self._by_run.values()) for one in some}
        for receiver in receivers.values():
            receiver.reread()

    def ended(self) -> None:
        """The journal is closed: every subscription ends once it has handed out what it has."""
        self.close()

    def close(self) -> None:
        """End every subscription and take no more. May be repeated."""
        with self._lock:
            self._closed = True
            receivers = {id(one): one for some in (self._all, *self._by_run.values()) for one in some}
            self._all, self._by_run = (), {}
            leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        for receiver in receivers.values():
            receiver.journal_ended()


_routers: weakref.WeakKeyDictionary[Journal, Router] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _in_a_forked_child() -> None:
    global _making
    _making = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_forked_child)


def router_of(journal: Journal) -> Router:
    """The router that subscriptions of `journal` share when they are given none."""
    with _making:
        router = _routers.get(journal)
        if router is None:
            # the router must not keep the journal alive, or the table would keep both for ever
            router = _routers[journal] = Router(weakref.proxy(journal))
        return router
