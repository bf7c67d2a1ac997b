"""Waiting for a future, on threads and on event loops."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

LOOK_UP_S = 0.5
"""How long the main thread waits at a time: a signal that arrives just before it begins to wait, Ctrl-C for one, is
only noticed when it looks up. The same is true of an event loop there that has nothing else to do."""

_waiters: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
"""How many wait on each loop of the main thread."""


def wait(future: Future[Any], timeout: float | None, what: str) -> Any:
    """The future's result, or `TimeoutError` saying `what` after so many seconds.

    It waits on a bare lock: a Ctrl-C in the middle of a condition's wait can leave the condition broken.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    longest = LOOK_UP_S if threading.current_thread() is threading.main_thread() else threading.TIMEOUT_MAX
    bell = threading.Lock()
    bell.acquire()
    future.add_done_callback(lambda _: bell.release())
    while not bell.acquire(timeout=min(longest, max(0.0, until - time.monotonic()))):
        if future.done():
            break
        if time.monotonic() >= until:
            raise TimeoutError(f"{what} after {timeout:g} s")
    return future.result()


async def wait_async(future: Future[Any], timeout: float | None, what: str) -> Any:
    """`wait` for event loops; cancelling it leaves the future alone."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(_seen)
    try:
        with _looking_up():
            async with asyncio.timeout(timeout):  # `wait_for` of 3.11 may swallow a cancel that comes with the answer
                return await asyncio.shield(waiting)
    except TimeoutError:
        if waiting.done():
            raise
        raise TimeoutError(f"{what} after {timeout:g} s") from None


def _seen(future: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone: asyncio would complain that nobody looked at the error."""
    if not future.cancelled():
        future.exception()


@contextmanager
def _looking_up() -> Generator[None]:
    """While this is open, a loop of the main thread wakes up now and then; one timer serves all who wait on it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    waiters = _waiters.get(loop)
    if waiters is None:
        loop.call_later(LOOK_UP_S, _look_up, loop)
    _waiters[loop] = (waiters or 0) + 1
    try:
        yield
    finally:
        _waiters[loop] -= 1


def _look_up(loop: asyncio.AbstractEventLoop) -> None:
    if _waiters[loop]:
        loop.call_later(LOOK_UP_S, _look_up, loop)
    else:
        del _waiters[loop]
