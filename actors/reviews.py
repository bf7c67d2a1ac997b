"""Reviews under way: a critic is asked on the loop or on threads of critics' own, and its answer becomes orders."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from ..ports import Critic
from ..ports.saying import said
from ..projections.trace import Trace
from .limits import Call, TimeLimits
from .loop import LoopThread, TaskOnLoop
from .pooled import Cancellable
from .threads import ThreadPool
from .verdicts import Judgement, Reviewed, judgement

REVIEWS_AT_ONCE = 8
"""Threads for critics that block; as many more when some hang."""
HUNG_FOR_ONE = 2
"""Reviews of one critic that may hang before it is asked no more, so that it leaves the threads to others."""
WORDS = 1_000
"""Characters kept of what a critic's failure said."""


class Reviewer:
    """Asks critics. They share no thread with tools, so that one that hangs starves only other critics."""

    def __init__(self, limits: TimeLimits, loop: LoopThread) -> None:
        self._limits = limits
        self._loop = loop
        self._threads = ThreadPool("critics", REVIEWS_AT_ONCE)
        self._lock = threading.Lock()
        self._hung: Counter[int] = Counter()

    def review(
        self, critic: Critic, by: str, trace: Trace, now: float, timeout_s: float, reply: Callable[[Reviewed], None]
    ) -> Cancellable:
        """Ask `critic`, named `by`, for its verdict; answered once, within `timeout_s` awake seconds."""
        call = Call(reply, self._limits)
        if inspect.iscoroutinefunction(getattr(critic, "review", None)):
            self._limits.watch(call, timeout_s, partial(_late, timeout_s))
            self._on_loop(call, by, partial(critic.review, trace, now))
            return call
        with self._lock:
            hung = self._hung[id(critic)]
        if hung >= HUNG_FOR_ONE:
            call.answer(Reviewed(error=f"{hung} earlier reviews of it have not returned"))
            return call
        job = _ThreadReview(self, call, critic, by, trace, now)
        # Counted from here, also while it waits in line: it must have an outcome though every thread hangs.
        self._limits.watch(call, timeout_s, partial(_late, timeout_s))
        call.carry(job)
        job.under_way = self._threads.submit(job.run, job.done)
        return call

    def _on_loop(self, call: Call, by: str, begin: Callable[[], Any]) -> None:
        task = TaskOnLoop(self._loop, self._answered(call, by, begin))
        call.carry(task)
        self._loop.call(task.begin)

    async def _answered(self, call: Call, by: str, begin: Callable[[], Any]) -> None:
        try:
            answer = begin()
            review = await answer if inspect.isawaitable(answer) else answer
            reviewed = Reviewed(judgement(review, by))
        except BaseException as error:  # SystemExit in a critic is its failure; it would end the loop
            if isinstance(error, asyncio.CancelledError) and call.over:
                raise
            reviewed = _failed(error)
        call.answer(reviewed)

    def hangs(self, critic: Critic, more: int) -> None:
        """So many reviews of `critic` more, or fewer, hang on a thread."""
        with self._lock:
            self._hung[id(critic)] += more
            if not self._hung[id(critic)]:
                del self._hung[id(critic)]

    def on_loop(self, call: Call, by: str, answer: Any) -> None:
        """A plain function returned something to be awaited."""
        self._on_loop(call, by, lambda: answer)

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.close()


class _ThreadReview:
    """A review on a thread: knows whether it hangs."""

    def __init__(self, reviewer: Reviewer, call: Call, critic: Critic, by: str, trace: Trace, now: float) -> None:
        self._reviewer, self._call, self._critic, self._by = reviewer, call, critic, by
        self._trace, self._now = trace, now
        self._lock = threading.Lock()
        self._state: Literal["waiting", "running", "hung", "given up", "over"] = "waiting"
        self.under_way: Cancellable | None = None

    def run(self) -> Any:
        """On the thread: ask, and check the answer there, where foreign objects in it can do no harm."""
        with self._lock:
            if self._state == "given up":
                return None
            self._state = "running"
        try:
            answer: Any = self._critic.review(self._trace, self._now)
            return answer if inspect.isawaitable(answer) else judgement(answer, self._by)
        finally:
            if self._leave() == "hung":
                self._reviewer.hangs(self._critic, -1)

    def _leave(self) -> str:
        with self._lock:
            before, self._state = self._state, "over"
        return before

    def done(self, result: Any, error: BaseException | None) -> None:
        """On the thread, unless it was given up: tell."""
        if error is not None:
            self._call.answer(_failed(error))
        elif isinstance(result, Judgement):
            self._call.answer(Reviewed(result))
        elif inspect.isawaitable(result):
            self._reviewer.on_loop(self._call, self._by, result)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        with self._lock:
            hangs = self._state == "running"
            if hangs:
                self._state = "hung"
            elif self._state == "waiting":
                self._state = "given up"
        if hangs:
            self._reviewer.hangs(self._critic, 1)
        if self.under_way is not None:
            self.under_way.cancel()


def _late(timeout_s: float) -> Reviewed:
    return Reviewed(error=f"no verdict within {timeout_s:g} s")


def _failed(error: BaseException) -> Reviewed:
    return Reviewed(error=said(error, name=True)[:WORDS])
