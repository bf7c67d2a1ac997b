"""Being a critic for a host in another process: take a trace, ask the critic, give its verdict back."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

from ..adapters.critics.outside import trace_of, verdict_json
from ..errors import ControlRefused, HostUnreachable, RuntimeClosed
from ..events.clean import clean_text
from .line import Line
from .requests import Done, GiveReview, NextReview, ReviewWanted

log = logging.getLogger("executus.wire")

WAIT_S: Final = 1.0
"""Seconds that a question for a review waits in the host: also how long it takes to notice that this is to end."""
ASK_S: Final = 5.0
AGAIN_S: Final = 0.5
WORDS: Final = 1_000
"""Characters told of what a critic raised."""


class Server:
    """Serves the critic of this name, a review at a time.

    Raises:
        TypeError: the critic has no `review`.
    """

    def __init__(self, line: Line, critic: Any, name: str, until: threading.Event) -> None:
        if not callable(getattr(critic, "review", None)):
            raise TypeError(f"serve_critic: expected a Critic, with review(trace, now), got {critic!r}")
        self._line, self._critic, self._name, self._until = line, critic, name, until

    @property
    def goes_on(self) -> bool:
        """Whether it is not to end yet."""
        return not self._until.is_set() and not self._line.is_closed

    def next(self) -> ReviewWanted | None:
        """The next review, or None if there is none now: ask again. Blocks for a moment, while the host is gone too.

        Raises:
            ControlRefused: the host wants no critic of this name, or not from here.
        """
        try:
            wanted = self._line.ask(NextReview(critic=self._name, wait_s=WAIT_S), ReviewWanted, ASK_S)
        except (HostUnreachable, RuntimeClosed):
            self._until.wait(AGAIN_S)
            return None
        except ControlRefused as refused:
            if refused.kind not in ("busy", "too-many"):
                raise
            self._until.wait(AGAIN_S)
            return None
        return wanted if wanted.id else None

    def asked(self, wanted: ReviewWanted) -> Any:
        """What the critic answers, or what is to be awaited for it. Raises what the critic raises."""
        return self._critic.review(trace_of(wanted.trace), wanted.now)

    def judged(self, wanted: ReviewWanted, answer: Any) -> None:
        """Give the verdict back."""
        try:
            verdict = verdict_json(answer)
        except Exception as error:  # what foreign objects in it raise, too
            self.failed(wanted, error)
            return
        self._give(GiveReview(critic=self._name, review=wanted.id, verdict=verdict))

    def failed(self, wanted: ReviewWanted, error: BaseException) -> None:
        """Say that the critic has failed at this review."""
        log.error("the critic %s failed at a review", self._name, exc_info=error)
        try:
            why = clean_text(f"{type(error).__name__}: {error}", WORDS)
        except Exception:
            why = type(error).__name__
        self._give(GiveReview(critic=self._name, review=wanted.id, error=why))

    def _give(self, given: GiveReview) -> None:
        try:
            self._line.ask(given, Done, ASK_S)
        except (HostUnreachable, RuntimeClosed) as gone:
            log.info("a review by %s came to nothing: %s", self._name, gone)
        except ControlRefused as refused:  # most often nobody waits for it any more
            log.info("a review by %s was not taken: %s", self._name, refused)


def serve(line: Line, critic: Any, name: str, until: threading.Event) -> None:
    """Serve until `until` is set or the line is closed. An async critic is asked on one event loop of its own.

    Raises:
        ControlRefused: the host wants no critic of this name. TypeError: the critic has no `review`.
    """
    server = Server(line, critic, name, until)
    with asyncio.Runner() as runner:  # makes its loop when it is first needed
        while server.goes_on:
            wanted = server.next()
            if wanted is None:
                continue
            try:
                answer = server.asked(wanted)
                if inspect.isawaitable(answer):
                    answer = runner.run(_awaited(answer, wanted.until_s))
            except (Exception, asyncio.CancelledError) as error:
                server.failed(wanted, error)
            else:
                server.judged(wanted, answer)


async def serve_async(line: Line, critic: Any, name: str, until: threading.Event) -> None:
    """`serve` for event loops: an async critic is asked on this loop, another one on a thread.

    Raises:
        ControlRefused, TypeError: see `serve`.
    """
    server = Server(line, critic, name, until)
    is_async = inspect.iscoroutinefunction(critic.review)
    while server.goes_on:
        wanted = await asyncio.to_thread(server.next)
        if wanted is None:
            continue
        try:
            answer = server.asked(wanted) if is_async else await asyncio.to_thread(server.asked, wanted)
            if inspect.isawaitable(answer):
                answer = await _awaited(answer, wanted.until_s)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await asyncio.to_thread(partial(server.failed, wanted, error))
        except Exception as error:
            await asyncio.to_thread(partial(server.failed, wanted, error))
        else:
            await asyncio.to_thread(partial(server.judged, wanted, answer))


async def _awaited(answer: Awaitable[Any], timeout_s: float) -> Any:
    async with asyncio.timeout(timeout_s or None):
        return await answer
