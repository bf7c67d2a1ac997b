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

    Messages of one sender keep their order. Those the actor's class calls urgent overtake the others. At most one thread handles an actor's messages at a time. Queues exist only while they hold something:
    an idle actor costs a lock and four slots.
    """

    __slots__ = ("_actor", "_closed", "_lock", "_normal", "_scheduled", "_urgent")

    def __init__(self) -> None:
        self._actor: PooledActor | None = None
        self._lock = threading.Lock()
        self._normal: deque[Envelope[Any]] | None = None
        self._urgent: deque[Envelope[Any]] | None = None
        self._scheduled = False
        self._closed = False

    def attach(self, actor: PooledActor) -> None:
        """Start delivering to `actor` (pykka's own reference to it is weak: this one keeps it alive)."""
        with self._lock:
            self._actor = actor
            self._scheduled = waiting = self._normal is not None or self._urgent is not None
        if waiting:
            actor.scheduler.schedule(self)

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue `envelope`; never blocks.

        Raises:
            Overloaded: the message is one of the actor's `bounded` types and too many messages wait.
            ActorDeadError: the actor has stopped, and nobody waits for a reply to tell.
        """
        with self._lock:
            if not self._closed:
                actor = self._actor
                if actor is not None and isinstance(envelope.message, actor.urgent):
                    queue = self._urgent
                    if queue is None:
                        queue = self._urgent = deque()
                else:
                    queue = self._normal
                    if queue is None:
                        queue = self._normal = deque()
                if len(queue) >= MAILBOX_LIMIT and actor is not None and isinstance(envelope.message, actor.bounded):
                    raise Overloaded("messages waiting in one mailbox", MAILBOX_LIMIT, "the pace of the sender")
                queue.append(envelope)
                if self._scheduled or actor is None:
                    return
                self._scheduled = True
                actor.scheduler.schedule(self)
                return
        _answer_dead(envelope)

    def get(self) -> Envelope[Any]:
        """Take the next message, urgent ones first.

        Raises:
            IndexError: there is none.
        """
        with self._lock:
            envelope = self._take()
        if envelope is None:
            raise IndexError("the mailbox is empty")
        return envelope

    def empty(self) -> bool:
        """Whether no message waits."""
        return self._normal is None and self._urgent is None

    def run_slice(self, messages: int) -> None:
        """Handle up to `messages` messages, then let other actors have a turn."""
        for _ in range(messages):
            with self._lock:
                actor = self._actor
                envelope = self._take() if actor is not None else None
                if envelope is None or actor is None:
                    self._scheduled = False
                    return
            actor.handle(envelope)
            if actor.actor_stopped.is_set():
                return
        with self._lock:
            if self._normal is None and self._urgent is None:
                self._scheduled = False
                return
            actor = self._actor
        if actor is not None:
            actor.scheduler.schedule(self)

    def close(self) -> list[Any]:
        """Refuse messages from now on; return those that nobody will handle, in order, without askers."""
        with self._lock:
            self._closed = True
            self._actor = None
            left = [*(self._urgent or ()), *(self._normal or ())]
            self._normal = self._urgent = None
        for envelope in left:
            if envelope.reply_to is not None:
                _answer_dead(envelope)
        return [envelope.message for envelope in left if envelope.reply_to is None]

    def _take(self) -> Envelope[Any] | None:
        if self._urgent is not None:
            envelope = self._urgent.popleft()
            if not self._urgent:
                self._urgent = None
            return envelope
        if self._normal is not None:
            envelope = self._normal.popleft()
            if not self._normal:
                self._normal = None
            return envelope
        return None


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
