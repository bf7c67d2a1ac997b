"""The sockets of a host: only its own user reaches them, nobody keeps them waiting, and they leave no file behind."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import ListenRefused
from .socket_paths import check_path
from .sockets import Socket, TimedOut, guarded, is_left_behind, pynng
from .terms import ServerTls
from .tls import server_config

log = logging.getLogger("executus.wire")

SAY_AGAIN_S: Final = 10.0
ANSWER_MS: Final = 1000
"""How long an answer may wait for a peer that takes the ones before it."""
PATIENT: Final = 8
"""Answers that may wait so long at a time; with more, others wait `HURRY_MS`, so that threads are left for the rest."""
HURRY_MS: Final = 20


class Listener(Socket):
    """A socket of a host. path: of its file, for ipc; "" for a network."""

    def __init__(self, raw: Any, address: str, *, tls: ServerTls | None, peers: int, recv_bytes: int) -> None:
        super().__init__(raw)
        self.when_left: Callable[[int], None] = lambda number: None
        """Told of a connection that is gone, on a thread of the library's; returns at once and never raises."""
        self._most = peers
        self._made = False
        self._peers: dict[int, Peer] = {}
        self._said_at = -SAY_AGAIN_S
        raw.recv_max_size = recv_bytes
        raw.add_pre_pipe_connect_cb(self._arrives)
        raw.add_post_pipe_remove_cb(self._leaves)
        try:
            self.path = address.removeprefix("ipc://") if address.startswith("ipc://") else ""
            self.address = self._listen(address, tls)
            self._made = True
        except BaseException:
            self.close()
            raise

    def _listen(self, address: str, tls: ServerTls | None) -> str:
        library = pynng()
        try:
            if tls is not None:
                self._raw.tls_config = server_config(library, tls)
            if self.path:
                check_path(self.path)
                listener = library.ffi.new("nng_listener *")
                library.check_err(library.lib.nng_listener_create(listener, self._raw.socket, address.encode()))
                # Before it starts: from its first moment on the file is its owner's alone.
                library.check_err(library.lib.nng_listener_set_int(listener[0], b"ipc:permissions", 0o600))
                library.check_err(library.lib.nng_listener_start(listener[0], 0))
                return address
            found = self._raw.listen(address)
            host, _, port = address.removeprefix("tls+tcp://").rpartition(":")
            if port == "0":
                at = str(found.local_address).rpartition(":")[2]
                return f"tls+tcp://{host}:{at}"
            return address
        except library.NNGException as error:
            raise ListenRefused(f"{address} cannot be listened on: {error}") from error

    @property
    def peers(self) -> int:
        """How many are connected."""
        return len(self._peers)

    def _arrives(self, pipe: Any) -> None:
        """On a thread of the library's, before a connection counts. What fails here would be let in: so it is not."""
        try:
            peer = peer_of(pipe) if self.path else Peer(pipe.id)
            foreign = bool(self.path) and peer.uid != os.getuid()
            if foreign or len(self._peers) >= self._most:
                pipe.close()
                self._turned_away(f"from {peer.said}" if foreign else "too many are connected")
                return
            self._peers[peer.number] = peer
        except BaseException:
            pipe.close()
            raise

    def _turned_away(self, why: str) -> None:
        """Say so, not more than once in a while: whoever is turned away comes again."""
        now = time.monotonic()
        if now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            log.warning("a connection was refused: %s", why)

    def _leaves(self, pipe: Any) -> None:
        if self._peers.pop(pipe.id, None) is not None:
            self.when_left(pipe.id)

    def has(self, number: int) -> bool:
        """Whether this connection is there; `when_left` is told after it is not."""
        return number in self._peers

    def close(self) -> None:
        """Let go, and leave no file behind; what was there before is not ours to remove."""
        was = self._is_closed
        super().close()
        if self._made and self.path and not was and not is_left_behind():
            try:
                if stat.S_ISSOCK(os.lstat(self.path).st_mode):
                    Path(self.path).unlink()
            except OSError:
                pass


class Publisher(Listener):
    """Tells everybody who listens; whoever is too slow misses it, and nobody waits."""

    def __init__(self, address: str, *, tls: ServerTls | None, peers: int) -> None:
        raw = pynng().Pub0(send_buffer_size=1024)
        super().__init__(raw, address, tls=tls, peers=peers, recv_bytes=1024)

    def send(self, frame: bytes) -> None:
        """Tell everybody.

        Raises:
            Closed: it was closed.
        """
        guarded(lambda: self._raw.send(frame))


class Answerer(Listener):
    """Takes questions; each is answered through the `Slot` that took it."""

    def __init__(self, address: str, *, tls: ServerTls | None, peers: int, recv_bytes: int) -> None:
        super().__init__(
            pynng().Rep0(send_timeout=ANSWER_MS),
            address,
            tls=tls,
            peers=peers,
            recv_bytes=recv_bytes,
        )
        self._answering: set[object] = set()

    def slot(self) -> Slot:
        """One more question at a time."""
        context = self._raw.new_context()
        self._contexts.append(context)
        return Slot(self, context, self._peers, self._answering)


class Slot:
    """Where one question at a time is taken and answered. Of one thread."""

    def __init__(self, socket: Socket, context: Any, peers: Mapping[int, Peer], answering: set[object]) -> None:
        self._socket, self._context, self._peers, self._answering = socket, context, peers, answering
        self._patience_ms = ANSWER_MS
        self._asker: Any = None

    def take(self) -> tuple[bytes, Peer]:
        """The next question, and who asks.

        Raises:
            Closed: there will be none.
        """
        message = self._socket.inside(self._context.recv_msg)
        pipe = self._asker = message.pipe
        return message.bytes, self._peers.get(0 if pipe is None else pipe.id, Peer(0))

    def answer(self, reply: bytes) -> None:
        """Answer it; if whoever asked is gone, nobody hears. Whoever does not take its answers loses its connection: it
        shall not keep one thread after the other waiting.

        Raises:
            Closed: the socket was closed.
        """
        asker, self._asker = self._asker, None
        self._answering.add(self)
        try:
            self._be_patient(ANSWER_MS if len(self._answering) <= PATIENT else HURRY_MS)
            self._socket.inside(lambda: self._context.send(reply))
        except TimedOut:
            log.debug("nobody took an answer")
            if asker is not None:
                with suppress(Exception):  # another answer that it did not take came first
                    asker.close()
        finally:
            self._answering.discard(self)

    def _be_patient(self, wait_ms: int) -> None:
        if wait_ms != self._patience_ms:
            library = pynng()
            library.check_err(library.lib.nng_ctx_set_ms(self._context.context, b"send-timeout", wait_ms))
            self._patience_ms = wait_ms

    def close(self) -> None:
        """Called by its thread at the end: the library complains of a context that outlives its socket."""
        with suppress(Exception):
            self._context.close()


@dataclass(frozen=True)
class Peer:
    """Who is at the other end. number: of the connection. uid, pid: of the process, -1 if that cannot be told."""

    number: int
    uid: int = -1
    pid: int = -1

    @property
    def key(self) -> tuple[str, int]:
        """By which it is known again: the process, however often it connects, if that can be told."""
        return ("process", self.pid) if self.pid > 0 else ("connection", self.number)

    @property
    def said(self) -> str:
        """For people."""
        return f"process {self.pid} of user {self.uid}" if self.uid >= 0 else f"connection {self.number}"


def peer_of(pipe: Any) -> Peer:
    """The process at the other end of a Unix socket, as the system tells it."""
    return Peer(pipe.id, _credential(pipe, b"ipc:peer-uid"), _credential(pipe, b"ipc:peer-pid"))


def _credential(pipe: Any, option: bytes) -> int:
    library = pynng()
    value = library.ffi.new("uint64_t *")
    failed = library.lib.nng_pipe_get_uint64(pipe.pipe, option, value)
    return -1 if failed else int(value[0])
