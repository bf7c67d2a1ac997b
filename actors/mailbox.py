"""An actor's bounded mailbox with an urgent lane, and the slice in which a few of its messages are handled."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage]

from ..errors import Overloaded

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from .pooled import PooledActor

MAILBOX_LIMIT = 10_000
"""Orders that may wait in one mailbox; the sender of one more gets `Overloaded`. What the runtime itself owes an actor
(results, news of commits, timers) is bounded by what the actor asked for, and always taken."""


class Mailbox:
    """pykka's `ActorInbox`, for actors that share threads.

    Messages of one sender keep their order. Those the actor's class calls urgent overtake the others. At most one
    thread handles an actor's messages at a time: whoever turns `_scheduled` on. A deque's own operations are atomic,
    so that the lock is only for turning it on and for closing.
    """

    __slots__ = ("_actor", "_closed", "_lock", "_normal", "_scheduled", "_urgent")

    def __init__(self) -> None:
        self._actor: PooledActor | None = None
        self._lock = threading.Lock()
        self._normal: deque[Envelope[Any]] = deque()
        self._urgent: deque[Envelope[Any]] | None = None
        self._scheduled = True  # nobody may start a slice before there is an actor
        self._closed = False

    def attach(self, actor: PooledActor) -> None:
        """Start delivering to `actor` (pykka's own reference to it is weak: this one keeps it alive)."""
        self._actor = actor
        self._scheduled = False
        if self._normal or self._urgent:
            self._rouse()

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue `envelope`; never blocks.

        Raises:
            Overloaded: the message is one of the actor's `bounded` types and too many messages wait.
            ActorDeadError: the actor has stopped, and nobody waits for a reply to tell.
        """
        queue = self._normal
        actor = self._actor
        message = envelope.message
        if actor is not None:
            if type(message) in actor.urgent:
                with self._lock:
                    if self._urgent is None:
                        self._urgent = deque()
                queue = self._urgent
            if len(queue) >= MAILBOX_LIMIT and type(message) in actor.bounded:
                raise Overloaded("messages waiting in one mailbox", MAILBOX_LIMIT, "the pace of the sender")
        queue.append(envelope)
        if self._closed:
            self._give_back(envelope, queue)
        elif not self._scheduled:
            self._rouse()

    def _rouse(self) -> None:
        with self._lock:
            actor = self._actor
            if self._scheduled or actor is None:
                return
            self._scheduled = True
        actor.scheduler.schedule(self)

    def get(self) -> Envelope[Any]:
        """Take the next message, urgent ones first.

        Raises:
            IndexError: there is none.
        """
        if self._urgent:
            return self._urgent.popleft()
        return self._normal.popleft()

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._normal and not self._urgent

    def run_slice(self, messages: int) -> None:
        """Handle up to `messages` messages, then let other actors have a turn."""
        actor = self._actor
        if actor is None:
            return
        handle = actor.handle
        for _ in range(messages):
            try:
                envelope = self._urgent.popleft() if self._urgent else self._normal.popleft()
            except IndexError:
                break
            handle(envelope)
            if self._closed:
                return
        self._scheduled = False
        if self._normal or self._urgent:  # also what came in between those lines
            self._rouse()

    def close(self) -> list[Any]:
        """Refuse messages from now on; return those that nobody will handle, in order, without askers."""
        with self._lock:
            self._closed = True
            self._scheduled = True
            self._actor = None
            left = [*_drained(self._urgent), *_drained(self._normal)]
        for envelope in left:
            if envelope.reply_to is not None:
                _answer_dead(envelope)
        return [envelope.message for envelope in left if envelope.reply_to is None]

    def _give_back(self, envelope: Envelope[Any], queue: deque[Envelope[Any]]) -> None:
        """The mailbox was closed meanwhile: either `close` took the message along, or its sender is told."""
        with self._lock:
            try:
                queue.remove(envelope)
            except ValueError:
                return
        _answer_dead(envelope)


def _drained(queue: deque[Envelope[Any]] | None) -> list[Envelope[Any]]:
    if queue is None:
        return []
    left: list[Envelope[Any]] = []
    while queue:  # one by one: whatever is put in meanwhile is either taken here or given back by its sender
        left.append(queue.popleft())
    return left


def _answer_dead(envelope: Envelope[Any]) -> None:
    """Nobody is left waiting: pykka itself leaves the future of an `ask` that races with `stop` unresolved."""
    error = ActorDeadError("the actor has stopped")
    if envelope.reply_to is None:
        if not isinstance(envelope.message, _ActorStop):
            raise error
    elif isinstance(envelope.message, _ActorStop):
        envelope.reply_to.set(None)
    else:
        envelope.reply_to.set_exception((ActorDeadError, error, None))
