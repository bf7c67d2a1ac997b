"""Our flavour of pykka actor: many on few threads, a failure contained and told, nothing registered globally."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop  # pyright: ignore[reportPrivateUsage]

from .mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka import Future
    from pykka._envelope import Envelope

log = logging.getLogger("executus.actors")

_PYKKAS_OWN = frozenset((_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr))


class Cancellable(Protocol):
    """Something under way that can be called off; calling it off twice, or too late, does nothing."""

    def cancel(self) -> None:
        """Call it off."""
        ...


class Waiting:
    """First one thing is under way, then another (`Cancellable`)."""

    __slots__ = ("_cancelled", "_under_way")

    def __init__(self) -> None:
        self._under_way: Cancellable | None = None
        self._cancelled = False

    def carry(self, under_way: Cancellable) -> None:
        """What is under way now."""
        self._under_way = under_way
        if self._cancelled:
            under_way.cancel()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._cancelled = True
        if self._under_way is not None:
            self._under_way.cancel()


class Scheduler(Protocol):
    """Gives actors their turns and wakes them in time: threads in production, one seeded loop in a simulation."""

    def schedule(self, mailbox: Mailbox) -> None:
        """Give `mailbox` a slice, soon, on one thread at a time."""
        ...

    def lend(self) -> None:
        """Say that the calling thread may be used for a short slice now and then."""
        ...

    def awake(self) -> float:
        """Seconds of awake time; stands still while the host sleeps (P13)."""
        ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Cancellable:
        """Call `call` after so many awake seconds; it must be short and not raise."""
        ...


class PooledActor(pykka.Actor):
    """An actor that runs on its scheduler's threads, one message at a time.

    Unlike pykka's own flavours: whatever a message raises, `BaseException` too, stops this actor only and is told to
    `failed`; `stop` is urgent; actors are not in `pykka.ActorRegistry`, so a host's `stop_all` does not reach them.
    """

    urgent: ClassVar[frozenset[type]] = frozenset((_ActorStop,))
    """Exact types of message that overtake the others."""
    bounded: ClassVar[frozenset[type]] = frozenset()
    """Exact types of message that are refused when too many wait."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self.scheduler = scheduler

    @classmethod
    def spawn(cls, *args: Any, **kwargs: Any) -> Self:
        """Create the actor and start delivering its messages."""
        actor = cls(*args, **kwargs)
        actor._start_actor_loop()
        return actor

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> Future[Any]:
        return pykka.ThreadingFuture()

    @property
    def mailbox(self) -> Mailbox:
        """The actor's inbox by its real type."""
        inbox = self.actor_inbox
        assert isinstance(inbox, Mailbox)
        return inbox

    def _start_actor_loop(self) -> None:
        self.mailbox.attach(self)

    def handle(self, envelope: Envelope[Any]) -> None:
        """Handle one message; contain whatever it raises."""
        message = envelope.message
        try:
            response = self._handle_receive(message) if type(message) in _PYKKAS_OWN else self.on_receive(message)
        except BaseException as error:  # SystemExit in pykka's own loop would stop every actor of the process
            if envelope.reply_to is not None:
                envelope.reply_to.set_exception(sys.exc_info())
            self.actor_stopped.set()
            self._report(error, message)
        else:
            if envelope.reply_to is not None:
                envelope.reply_to.set(response)

    def _stop(self) -> None:
        self.actor_stopped.set()
        self.mailbox.close()
        try:
            self.on_stop()
        except BaseException as error:
            self._report(error, None)

    def _report(self, error: BaseException, message: Any) -> None:
        try:
            self.failed(error, message)
        except BaseException:
            log.exception("telling the failure of %s failed", self)
            self.mailbox.close()

    def failed(self, error: BaseException, message: Any) -> None:
        """Told once when handling `message` raised `error`; the actor has stopped. Close the mailbox here."""
        log.error("%s failed on %s", self, type(message).__name__, exc_info=error)
        self.mailbox.close()
