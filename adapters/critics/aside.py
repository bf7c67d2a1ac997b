"""Blocking calls beside an event loop, on threads that never keep the interpreter from exiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Blocked(Exception):
    """Too many earlier calls hang: this one was not begun."""


class Aside:
    """Calls what blocks on daemon threads, at most `limit` at a time; one that hangs keeps its thread and its place.

    asyncio's own threads are waited for when the interpreter exits, for ever if one hangs; these are not.
    """

    def __init__(self, limit: int = 16) -> None:
        self._limit = limit
        self._busy = 0
        self._lock = threading.Lock()

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`. Cancelling gives it up; its thread goes on alone.

        Raises:
            Blocked: `limit` calls are under way.
            Exception: whatever `call` raises; what is no `Exception`, such as SystemExit, as a RuntimeError.
        """
        with self._lock:
            if self._busy >= self._limit:
                raise Blocked(f"{self._busy} earlier calls have not come back")
            self._busy += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():  # given up
                return
            if error is None:
                future.set_result(result)
            elif isinstance(error, Exception) and not isinstance(error, StopIteration):
                future.set_exception(error)
            else:  # would end the loop, or cannot stand in a future
                wrapped = RuntimeError(f"the call raised {type(error).__name__}")
                wrapped.__cause__ = error
                future.set_exception(wrapped)

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:
                error = raised
            finally:
                with self._lock:
                    self._busy -= 1
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                pass

        try:
            threading.Thread(target=work, name="executus-aside", daemon=True).start()
        except BaseException:
            with self._lock:
                self._busy -= 1
            raise
        return await future
