"""The sockets of a client: they connect in the background, to a host of this user's or one that TLS vouches for."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from typing import Any, Final

from .listeners import peer_of
from .sockets import Closed, Socket, guarded, is_exiting, is_left_behind, pynng
from .terms import ClientTls
from .tls import client_config

log = logging.getLogger("executus.wire")

LOOK_UP_S: Final = 0.5
MEET_S: Final = 0.25
"""Seconds that a client has to connect before it is closed all the same."""
RECONNECT_MS: Final = (50, 1000)


def _must_be_ours(pipe: Any, address: str) -> None:
    """On a thread of the library's: a connection to a host of another user's comes to nothing."""
    try:
        ours = peer_of(pipe).uid == os.getuid()
    except BaseException:
        pipe.close()
        raise
    if not ours:
        pipe.close()
        log.warning("%s is not this user's: nothing is asked there", address)


class Client(Socket):
    """A socket that connects, in the background, to one address."""

    def __init__(self, raw: Any, address: str) -> None:
        super().__init__(raw)
        self._met = threading.Event()
        raw.add_post_pipe_connect_cb(self._meets)
        if address.startswith("ipc://"):
            raw.add_pre_pipe_connect_cb(partial(_must_be_ours, address=address))
        guarded(lambda: raw.dial(address, block=False))

    def _meets(self, pipe: Any) -> None:
        self._met.set()

    def close(self) -> None:
        """Let go. Not in the middle of connecting, if it can be helped: the library loses a descriptor then."""
        if not is_left_behind() and not self._is_closed:
            self._met.wait(MEET_S)
        super().close()


class Listening(Client):
    """Hears what a host tells everybody. Reconnects by itself."""

    def __init__(self, address: str, *, tls: ClientTls | None, recv_bytes: int) -> None:
        library = pynng()
        raw = guarded(
            lambda: library.Sub0(
                topics=[b""],
                recv_buffer_size=1024,
                recv_max_size=recv_bytes,
                reconnect_time_min=RECONNECT_MS[0],
                reconnect_time_max=RECONNECT_MS[1],
                tls_config=None if tls is None else client_config(library, tls),
            )
        )
        super().__init__(raw, address)

    def take(self, timeout_s: float) -> bytes:
        """The next frame.

        Raises:
            TimedOut, Closed.
        """

        def receive() -> bytes:
            self._raw.recv_timeout = max(1, round(timeout_s * 1000))
            frame: bytes = self._raw.recv()
            return frame

        found: bytes = guarded(receive)
        return found


class Asker(Client):
    """Asks a host, any number of questions at a time. It is closed when the connection is lost, so that whoever waits
    for an answer that cannot come any more learns that at once.
    """

    def __init__(self, address: str, *, tls: ClientTls | None, recv_bytes: int) -> None:
        library = pynng()
        raw = guarded(
            lambda: library.Req0(
                recv_max_size=recv_bytes,
                reconnect_time_min=RECONNECT_MS[0],
                reconnect_time_max=RECONNECT_MS[1],
                resend_time=3_600_000,  # we ask again ourselves, signed anew
                tls_config=None if tls is None else client_config(library, tls),
            )
        )
        raw.add_post_pipe_remove_cb(self._lost)
        super().__init__(raw, address)

    def _lost(self, pipe: Any) -> None:
        """On a thread of the library's, which waits for nobody; closing waits for it."""
        if not self._is_closed and not is_exiting():
            with suppress(RuntimeError):  # the interpreter exits, and begins no threads
                threading.Thread(target=self.close, name="executus-losing", daemon=True).start()

    def ask(self, frame: bytes, timeout_s: float) -> bytes:
        """Ask one question. Blocks.

        Raises:
            TimedOut, Closed.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._exchange(frame, timeout_s)
        # The library waits where no signal is noticed; so the main thread, which gets Ctrl-C, has somebody else wait.
        asking: Future[bytes] = Future()

        def ask() -> None:
            try:
                asking.set_result(self._exchange(frame, timeout_s))
            except BaseException as error:
                asking.set_exception(error)

        threading.Thread(target=ask, name="executus-asking", daemon=True).start()
        while True:
            try:
                return asking.result(LOOK_UP_S)
            except FutureTimeout:
                if asking.done():
                    raise

    def _exchange(self, frame: bytes, timeout_s: float) -> bytes:
        wait_ms = max(1, round(timeout_s * 1000))
        library = pynng()

        def exchange() -> bytes:
            with self._raw.new_context() as context:
                self._contexts.append(context)
                try:
                    if self._is_closed:
                        raise Closed  # after it was added: whoever closes has seen it, or this sees that it is closed
                    for option in (b"send-timeout", b"recv-timeout"):
                        library.check_err(library.lib.nng_ctx_set_ms(context.context, option, wait_ms))
                    context.send(frame)
                    reply: bytes = context.recv()
                    return reply
                finally:
                    self._contexts.remove(context)

        found: bytes = self.inside(exchange)
        return found
