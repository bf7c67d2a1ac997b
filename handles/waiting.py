"""Waiting for a future, on threads and on event loops."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import Future
from typing import Any

LOOK_UP_S = 0.5
"""How long the main thread waits at a time: a signal that arrives just before it begins to wait, Ctrl-C for one, is
only noticed when it looks up."""


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
