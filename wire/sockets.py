"""The only module that knows pynng: sockets that only their owner can reach, that let go in order, and that a forked
child leaves alone.

Three things pynng leaves to its user. A listener takes the place of any file at its path, so the path is looked at
first. Its sockets must be closed before the library is, at the interpreter's exit and in a forked child too, where
neither closing nor finishing returns. And messages of any size are taken, unless a limit is set.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..errors import ForkedProcess, ListenRefused
from ..journal import forks
from .terms import ClientTls, ServerTls

log = logging.getLogger("executus.wire")

MOST_PATH: Final = 107
"""Bytes of the path of a Unix socket."""
LOOK_UP_S: Final = 0.5
MEET_S: Final = 0.25
"""Seconds that a client has to connect before it is closed all the same."""
SAY_AGAIN_S: Final = 10.0
ANSWER_MS: Final = 1000
"""How long an answer may wait for a peer that takes the ones before it."""
PATIENT: Final = 8
"""Answers that may wait so long at a time; with more, others wait `HURRY_MS`, so that threads are left for the rest."""
HURRY_MS: Final = 20
RECONNECT_MS: Final = (50, 1000)

_open: set[Socket] = set()
_left: list[Any] = []
"""Sockets that somebody did not come out of: never destroyed."""
_lock = threading.RLock()  # also for a handler of signals that comes in the middle of a close
_loaded: list[Any] = []
_forked = False
_exiting = False
_inside: set[object] = set()
"""Calls that are in the library now."""

LEAVE_S: Final = 1.0
"""Seconds that calls have to come out of the library when the interpreter exits."""


def pynng() -> Any:
    """The library, imported when first used.

    Raises:
        ForkedProcess: this process was forked while sockets were open, and has not begun another program since.
    """
    check_fork()
    if not _loaded:
        import pynng as library  # pyright: ignore[reportMissingTypeStubs]

        atexit.register(_close_all)  # after the library's own: what is registered last runs first
        _loaded.append(library)
    return _loaded[0]


def is_left_behind() -> bool:
    """Whether this process was forked while sockets were open: what was made before belongs to its parent, and its
    locks may be held by threads that are not here.
    """
    return _forked


def check_fork() -> None:
    """Called before a lock is taken.

    Raises:
        ForkedProcess: see `is_left_behind`.
    """
    if _forked:
        raise ForkedProcess("the wire")


def _close_all() -> None:
    """Before the library is finished at the interpreter's exit: close everything, and wait until nobody is inside."""
    global _exiting
    _exiting = True
    for one in list(_open):
        one.close()
    until = time.monotonic() + LEAVE_S
    while _inside and time.monotonic() < until:
        time.sleep(0.001)
    if _inside:  # somebody does not come out: finishing it under them would abort the process
        atexit.unregister(_loaded[0].nng._pynng_atexit)


def _in_child() -> None:
    """A forked child has none of the library's threads: it may neither use, close nor finish anything of it."""
    global _forked, _lock
    _lock = threading.RLock()
    if not _loaded:
        return
    _forked = True
    atexit.unregister(_close_all)
    atexit.unregister(_loaded[0].nng._pynng_atexit)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Closed(Exception):
    """The socket was closed, by us."""


class TimedOut(Exception):
    """Nothing came, or could be sent, in time."""


class Socket:
    """What all of ours have in common: they are known, and closed once. See `journal.forks.Forkable`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._contexts: list[Any] = []
        self._is_closed = False
        self._idle = threading.Condition(threading.Lock())
        self._busy = 0
        forks.register(self)
        with _lock:
            _open.add(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def close(self) -> None:
        """Let go: whoever waits on it gets `Closed`. May be repeated, from any thread; nothing in a forked child."""
        if _forked:
            return
        token = object()
        _inside.add(token)  # before it is looked at: the library is not finished under whoever closes
        try:
            with _lock:
                if self._is_closed:
                    return
                self._is_closed = True
                _open.discard(self)
            forks.unregister(self)
            if self._is_left():
                self._raw.close()
            else:
                _left.append(self._raw)  # somebody does not come out: rather a socket too many than a process less
        except Exception:  # nobody is there to be told, and nothing is left to do
            log.debug("closing a socket failed", exc_info=True)
        finally:
            _inside.discard(token)

    def inside(self, call: Callable[[], Any]) -> Any:
        """`call` does something with a context of this socket. While it does, the socket is not closed: the library
        would free it under the other thread, and abort the process.

        Raises:
            TimedOut, Closed.
        """
        with self._idle:
            if self._is_closed:
                raise Closed
            self._busy += 1
        try:
            return _guarded(call)
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def _is_left(self) -> bool:
        """Have everybody come out who is in a context of this socket; False if somebody does not."""
        for context in list(self._contexts):
            with suppress(Exception):  # whoever waits in it gets `Closed`, and closes it properly
                _loaded[0].lib.nng_ctx_close(context.context)
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, LEAVE_S)

    def left_behind(self) -> list[object]:
        """See `journal.forks`: in a forked child a destructor would wait for threads that are not there."""
        self._is_closed = True
        return [self._raw, *self._contexts]


def _guarded(call: Callable[[], Any]) -> Any:
    """`call`, with the library's errors as ours; none begins once the interpreter exits."""
    library = pynng()
    token = object()
    _inside.add(token)
    try:
        if _exiting:
            raise Closed
        return call()
    except library.Timeout:
        raise TimedOut from None
    except (library.Closed, library.Canceled, library.BadState, library.NotSupported):
        raise Closed from None
    finally:
        _inside.discard(token)


# ------------------------------------------------------------------ hosts


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
                self._raw.tls_config = _server_config(library, tls)
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
        if self._made and self.path and not was and not _forked:
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
        _guarded(lambda: self._raw.send(frame))


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


def check_path(path: str) -> None:
    """Whether a socket may be made at `path`: nothing is there, or a socket of ours that nobody listens on any more.

    Raises:
        ListenRefused: something else is there; it is left as it is.
    """
    if len(os.fsencode(path)) > MOST_PATH:
        raise ListenRefused(f"{path}: the path of a socket has at most {MOST_PATH} bytes; choose a shorter one")
    parent = Path(path).parent
    try:
        room = parent.stat()
    except OSError as error:
        raise ListenRefused(f"{path}: there is no directory {parent}") from error
    if not stat.S_ISDIR(room.st_mode):
        raise ListenRefused(f"{path}: there is no directory {parent}")
    if stat.S_IMODE(room.st_mode) & 0o022 and not room.st_mode & stat.S_ISVTX:
        raise ListenRefused(f"{path}: others may change {parent}, and put their own socket there; choose another place")
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenRefused(f"{path} is there already, and is no socket; it was left as it is")
    if found.st_uid != os.getuid():
        raise ListenRefused(f"{path} is another user's socket; it was left as it is")
    if is_answered(path):
        raise ListenRefused(f"somebody listens at {path} already")
    Path(path).unlink()


def is_answered(path: str) -> bool:
    """Whether anybody listens at this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _server_config(library: Any, tls: ServerTls) -> Any:
    return _config(
        library,
        tls,
        library.TLSConfig.MODE_SERVER,
        cert_key_file=str(tls.cert_key),
        ca_files=None if tls.ca is None else [str(tls.ca)],
        auth_mode=None if tls.ca is None else library.TLSConfig.AUTH_MODE_REQUIRED,
    )


def _config(library: Any, tls: ServerTls | ClientTls, mode: Any, **options: Any) -> Any:
    """The TLS configuration of these terms, one for each state of their files: whoever looks for its host makes many
    sockets.
    """
    files = [os.fspath(path) for path in (tls.ca, tls.cert_key) if path is not None]
    key = (tls, *[Path(path).stat().st_mtime_ns if Path(path).exists() else 0 for path in files])
    found = _configs.get(key)
    if found is None:
        # The library does not hold them: freed, they would be gone under a socket. And at the end it is gone before.
        kind = type("KeptConfig", (library.TLSConfig,), {"__del__": _stays})
        found = _configs.setdefault(key, kind(mode, **options))
    return found


def _stays(config: Any) -> None:
    """In place of a destructor."""


_configs: dict[object, Any] = {}


# ------------------------------------------------------------------ clients


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
        _guarded(lambda: raw.dial(address, block=False))

    def _meets(self, pipe: Any) -> None:
        self._met.set()

    def close(self) -> None:
        """Let go. Not in the middle of connecting, if it can be helped: the library loses a descriptor then."""
        if not _forked and not self._is_closed:
            self._met.wait(MEET_S)
        super().close()


class Listening(Client):
    """Hears what a host tells everybody. Reconnects by itself."""

    def __init__(self, address: str, *, tls: ClientTls | None, recv_bytes: int) -> None:
        library = pynng()
        raw = _guarded(
            lambda: library.Sub0(
                topics=[b""],
                recv_buffer_size=1024,
                recv_max_size=recv_bytes,
                reconnect_time_min=RECONNECT_MS[0],
                reconnect_time_max=RECONNECT_MS[1],
                tls_config=None if tls is None else _client_config(library, tls),
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

        found: bytes = _guarded(receive)
        return found


class Asker(Client):
    """Asks a host, any number of questions at a time. It is closed when the connection is lost, so that whoever waits
    for an answer that cannot come any more learns that at once.
    """

    def __init__(self, address: str, *, tls: ClientTls | None, recv_bytes: int) -> None:
        library = pynng()
        raw = _guarded(
            lambda: library.Req0(
                recv_max_size=recv_bytes,
                reconnect_time_min=RECONNECT_MS[0],
                reconnect_time_max=RECONNECT_MS[1],
                resend_time=3_600_000,  # we ask again ourselves, signed anew
                tls_config=None if tls is None else _client_config(library, tls),
            )
        )
        raw.add_post_pipe_remove_cb(self._lost)
        super().__init__(raw, address)

    def _lost(self, pipe: Any) -> None:
        """On a thread of the library's, which waits for nobody; closing waits for it."""
        if not self._is_closed and not _exiting:
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


def _client_config(library: Any, tls: ClientTls) -> Any:
    try:
        return _config(
            library,
            tls,
            library.TLSConfig.MODE_CLIENT,
            server_name=tls.server_name,
            ca_files=[str(tls.ca)],
            cert_key_file=None if tls.cert_key is None else str(tls.cert_key),
        )
    except library.NNGException as error:
        raise ValueError(f"ClientTls: the certificates in {tls.ca} or {tls.cert_key} cannot be used: {error}") from None
