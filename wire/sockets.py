"""pynng, and what our sockets have in common: they let go in order, and a forked child leaves them alone.

Three things pynng leaves to its user. A listener takes the place of any file at its path, so the path is looked at
first. Its sockets must be closed before the library is, at the interpreter's exit and in a forked child too, where
neither closing nor finishing returns. And messages of any size are taken, unless a limit is set.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from ..errors import ForkedProcess
from ..journal import forks

log = logging.getLogger("executus.wire")


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


def is_exiting() -> bool:
    """Whether the interpreter exits: nothing is begun any more."""
    return _exiting


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
            return guarded(call)
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


def guarded(call: Callable[[], Any]) -> Any:
    """`call`, with the library's errors as ours; none begins once the interpreter exits.

    Raises:
        TimedOut, Closed.
    """
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
