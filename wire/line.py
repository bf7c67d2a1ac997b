"""A client's line to a host: finds it, says who it is, asks, and finds it again when it was opened anew."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ..errors import (
    BudgetSpent,
    ControlRefused,
    ExecutusError,
    HostUnreachable,
    JournalUnavailable,
    MessageRefused,
    OutcomeUnknown,
    RuntimeClosed,
    UnknownAgent,
    UnknownRun,
)
from . import places
from .dialers import Asker
from .host import next_port
from .requests import (
    FRAME_BYTES,
    READS,
    REPLY_BYTES,
    VERSION,
    AnyReply,
    AnyRequest,
    Done,
    GiveReview,
    Hello,
    Order,
    Outcome,
    Refused,
    Reply,
    Unheard,
    Welcome,
)
from .signing import grant_of, key_of, signed, unsigned
from .socket_paths import is_answered
from .sockets import Closed, TimedOut, check_fork, is_left_behind
from .terms import ClientTls

HELLO_S: Final = 2.0
"""Seconds that a host has to say that it is there."""
AGAIN_S: Final = 0.1
NOT_NOW: Final = ("busy", "too-many", "closing", "expired", "unauthenticated")
"""Refusals of a question that say nothing of what it is about."""
TOKEN_VARIABLE: Final = "EXECUTUS_TOKEN"  # noqa: S105 - the name of a variable

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyReply).decode

R = TypeVar("R", bound=Reply)


class Where(msgspec.Struct, frozen=True):
    """How a host is reached. room: where its card lies; None for an address that was given."""

    control: str
    feed: str
    token: str
    room: Path | None = None
    tls: Any = None


def where_is(target: str | os.PathLike[str], token: str, tls: ClientTls | None) -> Where:
    """Where the host of this journal, or at this address, is reached now.

    Raises:
        HostUnreachable: no host of this journal listens. ValueError: no such address, or no token for it.
    """
    text = os.fspath(target)
    given = os.environ.get(TOKEN_VARIABLE, "")
    if text.startswith(("ipc://", "tls+tcp://")):
        token = token or places.token_of(text) or given
        if not token:
            raise ValueError(f"attach: an address needs the token of a grant; pass token=..., or set {TOKEN_VARIABLE}")
        if text.startswith("tls+tcp://") and tls is None:
            raise ValueError("attach: tls+tcp:// needs tls=ClientTls(ca=...)")
        feed = f"{text}.feed" if text.startswith("ipc://") else next_port(text)
        return Where(text, feed, token, None, tls)
    if text.startswith("tcp://"):
        raise ValueError("attach: no host listens on tcp without TLS; say tls+tcp://")
    room = places.room_of(text)
    card = places.card_in(room)
    if card is None:
        raise HostUnreachable(f'no host has {text} open for others now: Runtime({text!r}, listen="ipc") would')
    token = token or places.token_in(room) or given
    if not token:
        if places.card_in(room) != card:  # it was taken down between two looks
            raise HostUnreachable(f"the host of {text} has just closed")
        raise ValueError(f"attach: the host of {text} listens at {card.control}; pass the token of a grant")
    return Where(card.control, card.feed, token, room, tls)


class Line:
    """Asks one host. Thread-safe. target: a journal's path, or an address.

    Raises:
        HostUnreachable: nobody answers within `timeout` seconds. ValueError: see `where_is`.
        ControlRefused: the host speaks another version.
    """

    def __init__(
        self, target: str | os.PathLike[str], *, token: str = "", tls: ClientTls | None = None, timeout: float = HELLO_S
    ) -> None:
        self._target, self._token, self._tls = target, token, tls
        self._lock = threading.Lock()
        self._asker: Asker | None = None
        self._where: Where | None = None
        self._boot = ""
        self._ahead_us = 0
        self._is_closed = False
        self.program = ""
        self._meet(time.monotonic() + timeout)

    @property
    def where(self) -> Where:
        """Where the host was found last."""
        assert self._where is not None
        return self._where

    @property
    def boot(self) -> str:
        """The opening of the host that was met last."""
        return self._boot

    @property
    def is_closed(self) -> bool:
        """Whether it was closed here."""
        return self._is_closed

    def close(self) -> None:
        """Let go. May be repeated."""
        if is_left_behind():
            return
        self._is_closed = True
        with self._lock:
            asker, self._asker = self._asker, None
        if asker is not None:
            asker.close()

    # -------------------------------------------------------------- asking

    def ask(self, request: AnyRequest, kind: type[R], timeout: float = 30.0) -> R:
        """The host's answer. Blocks. Reading is asked again when the host was opened anew meanwhile.

        Raises:
            HostUnreachable: nobody answered within `timeout` seconds.
            UnknownRun, MessageRefused, ControlRefused, …: what the host says against it.
        """
        until = time.monotonic() + timeout
        while True:
            try:
                reply = self._ask_once(request, until)
            except _Missed as missed:
                if time.monotonic() >= until:
                    raise HostUnreachable(f"the host at {self.where.control} does not answer: {missed}") from None
                continue
            if isinstance(reply, kind):
                return reply
            if isinstance(reply, Refused):
                # What was sent twice by the library, or is one too many now, is asked anew.
                again = reply.kind == "replayed" or (reply.kind in ("busy", "too-many") and isinstance(request, READS))
                if again and time.monotonic() < until:
                    time.sleep(AGAIN_S)
                    continue
                raise error_of(reply)
            raise ControlRefused("version", f"the host answered with {type(reply).__name__}, not {kind.__name__}")

    def order(self, order: Order, timeout: float = 30.0) -> Done:
        """Have an order carried out, once; returns when it is durable. Blocks.

        Raises:
            OutcomeUnknown: the host was lost meanwhile, and nobody can tell.
            HostUnreachable: it was not given: no host answers. Others as `ask`.
            TimeoutError: it is given, and not yet durable after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        sent = False
        while True:
            try:
                reply = self._ask_once(Outcome(id=order.id) if sent else order, until)
            except _Missed as missed:
                sent = sent or missed.may_be_heard
                if time.monotonic() < until:
                    continue
                if not sent:
                    raise HostUnreachable(f"the host does not answer: {missed}") from None
                raise OutcomeUnknown(order.id, "the host does not answer any more") from None
            except HostUnreachable as gone:
                if not sent:
                    raise
                raise OutcomeUnknown(order.id, str(gone)) from None
            match reply:
                case Done():
                    return reply
                case Unheard():
                    sent = False  # nobody has heard it: give it again
                case Refused(kind="replayed"):
                    sent = True
                case Refused() if sent and reply.kind in NOT_NOW:  # the question, not the order
                    if time.monotonic() >= until:
                        raise OutcomeUnknown(order.id, f"the host does not say: {reply.why}") from None
                    time.sleep(AGAIN_S)
                case Refused(kind="not-yet") if time.monotonic() < until:
                    sent = True
                    time.sleep(AGAIN_S)
                case Refused(kind="unknown"):
                    raise OutcomeUnknown(order.id, reply.why)
                case Refused():
                    raise error_of(reply)
                case _:
                    raise ControlRefused("version", f"the host answered with {type(reply).__name__}")

    def _ask_once(self, request: AnyRequest | Order, until: float) -> AnyReply:
        """One answer of the host that is there now.

        Raises:
            _Missed: there was none.
        """
        check_fork()
        asker, where, boot, ahead_us = self._met(until)
        now_us = time.monotonic_ns() // 1000 + ahead_us
        token = where.token
        frame = signed(key_of(token), boot, grant_of(token), now_us, _encode(request), version=VERSION)
        if len(frame) > FRAME_BYTES:  # a host would drop the connection
            raise ControlRefused("oversize", f"a request has at most {FRAME_BYTES:,} bytes, this one {len(frame):,}")
        # Not longer than it takes to notice that the host is another one by now, and never beyond the end. What became
        # of an order that takes longer is asked for.
        patience = max(0.05, min(until - time.monotonic(), getattr(request, "wait_s", 0.0) + HELLO_S))
        try:
            reply: AnyReply = _decode(asker.ask(frame, patience))
        except TimedOut:
            self._forget(asker)
            raise _Missed("it took too long", may_be_heard=True) from None
        except Closed:
            if self._is_closed:
                raise HostUnreachable("this was closed") from None
            raise _Missed("the connection was closed", may_be_heard=True) from None
        except Exception as error:
            raise ControlRefused("malformed", f"the host's answer cannot be read: {error}") from None
        if isinstance(reply, Refused) and reply.kind == "unauthenticated" and self._is_new(asker, boot, until):
            raise _Missed("the host was opened anew", may_be_heard=False)
        if isinstance(reply, Refused) and reply.kind == "expired" and not isinstance(request, GiveReview):
            self._forget(asker)  # this machine slept, or was stopped: learn anew what time it is there
            if time.monotonic() < until:
                time.sleep(AGAIN_S)
                raise _Missed("the clocks differ", may_be_heard=False)
        if isinstance(reply, Refused) and reply.kind == "closing" and not isinstance(request, Order):
            self._forget(asker)
            time.sleep(AGAIN_S)
            raise _Missed("it closes", may_be_heard=False)
        return reply

    # -------------------------------------------------------------- meeting

    def _met(self, until: float) -> tuple[Asker, Where, str, int]:
        with self._lock:
            asker, where = self._asker, self._where
            if asker is not None and where is not None and not asker.closed:
                return asker, where, self._boot, self._ahead_us
        self._meet(until)
        with self._lock:
            if self._asker is None or self._where is None:
                raise _Missed("it is gone", may_be_heard=False)
            return self._asker, self._where, self._boot, self._ahead_us

    def _meet(self, until: float) -> None:
        """Find the host and learn which opening it is."""
        while True:
            if self._is_closed:
                raise HostUnreachable("this was closed")
            asker: Asker | None = None
            try:
                where = where_is(self._target, self._token, self._tls)
                path = where.control.removeprefix("ipc://")
                if path != where.control and not is_answered(path):  # of a host that was lost; the next one may be near
                    raise HostUnreachable(f"nobody listens at {where.control} any more")
                asker = Asker(where.control, tls=where.tls, recv_bytes=REPLY_BYTES)
                hello = asker.ask(
                    unsigned(_encode(Hello()), version=VERSION), max(0.05, min(HELLO_S, until - time.monotonic()))
                )
                reply = _welcomed(hello)
            except (HostUnreachable, TimedOut, Closed) as error:
                if asker is not None:
                    asker.close()
                if time.monotonic() >= until:
                    if isinstance(error, HostUnreachable):
                        raise
                    raise HostUnreachable(f"the host of {os.fspath(self._target)} does not answer") from None
                time.sleep(AGAIN_S)
                continue
            except BaseException:
                if asker is not None:
                    asker.close()
                raise
            with self._lock:
                before, self._asker = self._asker, asker
                self._where, self._boot, self.program = where, reply.boot, reply.program
                self._ahead_us = reply.now_us - time.monotonic_ns() // 1000
            if before is not None and before is not asker:
                before.close()
            return

    def _is_new(self, asker: Asker, boot: str, until: float) -> bool:
        """Whether the host is another opening than the one that the request was signed for."""
        with self._lock:
            if self._boot != boot:
                return True
        self._forget(asker)
        try:
            self._meet(max(until, time.monotonic() + AGAIN_S))
        except HostUnreachable:
            return True
        return self._boot != boot

    def _forget(self, asker: Asker) -> None:
        with self._lock:
            if self._asker is asker:
                self._asker = None
        asker.close()


def _welcomed(hello: bytes) -> Welcome:
    """What a host says of itself.

    Raises:
        ControlRefused: it is none, or speaks another version. Others: what it says against it.
    """
    try:
        reply = _decode(hello)
    except Exception:  # msgspec raises plain UnicodeDecodeError and RecursionError too
        raise ControlRefused("version", "this is no host of executus") from None
    if isinstance(reply, Refused):
        raise error_of(reply)
    if not isinstance(reply, Welcome) or reply.version != VERSION:
        raise ControlRefused("version", "this is no host of executus that this version can talk to")
    return reply


class _Missed(Exception):
    """There was no answer. may_be_heard: the question may have been heard."""

    def __init__(self, why: str, *, may_be_heard: bool) -> None:
        super().__init__(why)
        self.may_be_heard = may_be_heard


def error_of(refused: Refused) -> ExecutusError | TimeoutError | ValueError:
    """The error that the host's own code would have raised."""
    match refused.kind:
        case "unknown-run":
            return UnknownRun(refused.run)
        case "unknown-agent":
            return UnknownAgent(refused.names[0] if refused.names else "", refused.names[1:])
        case "refused":
            return MessageRefused(refused.run or "(none)", "the order", refused.why)
        case "invalid":
            return ValueError(refused.why)
        case "budget-spent":
            return BudgetSpent(refused.names[0] if refused.names else "", refused.why, refused.run)
        case "not-yet":
            return TimeoutError(refused.why)
        case "failed":
            return JournalUnavailable(refused.why)
        case "closing":
            return RuntimeClosed(refused.why)
        case "unknown":
            return OutcomeUnknown("", refused.why)
        case _:
            return ControlRefused(refused.kind, refused.why)


__all__ = ["Line", "Where", "error_of", "where_is"]
