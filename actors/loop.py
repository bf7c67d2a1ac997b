"""The runtime's event loop: a thread of its own, with its executor, and what is done on it for other threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from ..ports.saying import said
from .threads import ThreadPool

log = logging.getLogger("executus.calls")

EXECUTOR_THREADS = 32


class TaskOnLoop:
    """A coroutine on the runner's loop, seen from other threads."""

    __slots__ = ("_coroutine", "_loop", "_task", "cancelled")

    def __init__(self, loop: LoopThread, coroutine: Coroutine[Any, Any, None]) -> None:
        self._loop = loop
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._task: asyncio.Task[None] | None = None
        self.cancelled = False

    def begin(self) -> None:
        """On the loop's thread: start it."""
        coroutine, self._coroutine = self._coroutine, None
        assert coroutine is not None
        if self.cancelled:
            coroutine.close()
            return
        self._task = self._loop.loop.create_task(coroutine)

    def cancel(self) -> None:
        """Cancel the task, from any thread."""
        self.cancelled = True
        self._loop.call(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class DaemonExecutor(ThreadPoolExecutor):
    """What `asyncio.to_thread` and name look-ups on the loop use: daemon threads, where the standard library's executor
    would keep the interpreter from exiting until the last call returns.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._daemons = ThreadPool("loop", EXECUTOR_THREADS)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `concurrent.futures.Executor.submit`."""
        future: Future[Any] = Future()

        def done(result: Any, error: BaseException | None) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._daemons.submit(partial(fn, *args, **kwargs), done)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; wait for nothing."""
        self._daemons.close()


class LoopThread:
    """An event loop on a daemon thread of its own. Calls from other threads share one wake-up of the loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="executus-loop", daemon=True)
        self.thread.start()

    def call(self, call: Callable[[], None]) -> None:
        """Call `call` on the loop's thread, soon; nothing happens once the loop is closed."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # closed
                self._calls.clear()

    def _drain(self) -> None:
        self._woken = False
        calls = self._calls
        while calls:
            call = calls.popleft()
            try:
                call()
            except Exception:
                log.exception("a call on the loop failed")

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_default_executor(DaemonExecutor())
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException as error:  # sys.exit in a task that a tool left behind ends run_forever
                log.error("code on the runtime's loop tried to end it: %s", said(error))
        self.loop.close()

    def close(self, timeout: float) -> bool:
        """Cancel every task, give them a moment to end, stop the loop; False if code on it does not let go."""
        self.call(self._cancel_all)
        self.thread.join(timeout)
        return not self.thread.is_alive()

    def _cancel_all(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                if not task.cancelling():  # a second time would interrupt what it does about the first
                    task.cancel()
            left: set[asyncio.Task[Any]] = set()
            if tasks:
                _, left = await asyncio.wait(tasks, timeout=0.5)
            for task in left:  # they ignore it: the loop ends under them, and nobody needs to read about that
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            try:
                await asyncio.wait_for(self.loop.shutdown_asyncgens(), 0.5)
            finally:
                self._stopping = True
                self.loop.stop()

        self._ending = self.loop.create_task(end())
