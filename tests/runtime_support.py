"""What the tests of the runtime share: gates that hold a model or a tool until the test says go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

from executus import ModelRequest, Reply, Run, Text
from executus.events import Event, Fact

DEADLINE_S = 20.0
"""After this a test has failed; nothing here takes as long."""


class Gate:
    """Something that runs on a thread waits here until `open`."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        """Tell that somebody is here, wait."""
        self.entered.set()
        assert self._open.wait(DEADLINE_S)
        self.left.set()

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    def wait_entered(self) -> None:
        """Wait until somebody is there."""
        assert self.entered.wait(DEADLINE_S)


class AsyncGate:
    """The same for coroutines; `cancelled` is set when whoever waited was cancelled."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self._opened = False

    async def pass_through(self) -> None:
        """Tell that somebody is here, wait."""
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        if self._opened:
            return
        self.entered.set()
        try:
            await asyncio.wait_for(self._event.wait(), DEADLINE_S)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def open(self) -> None:
        """Let everybody through."""
        self._opened = True
        if self._loop is not None and self._event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def wait_entered(self) -> None:
        """Wait until somebody is there."""
        assert self.entered.wait(DEADLINE_S)


class FunctionModel:
    """A model that is one function; `threaded` runs it on the runtime's threads."""

    name = "function"

    def __init__(self, answer: Callable[[ModelRequest], Any]) -> None:
        self._answer = answer

    async def reply(self, request: ModelRequest) -> Reply:
        """See `Model`."""
        return self._answer(request)


class ThreadModel(FunctionModel):
    """The same on a thread."""

    def reply(self, request: ModelRequest) -> Reply:  # type: ignore[override]
        """See `Model`."""
        return self._answer(request)


def said(text: str) -> Reply:
    """A reply of one text."""
    return Reply((Text(text),))


def facts(run: Run) -> list[Fact]:
    """The run's facts so far, of a run that is over or waits."""
    return [event.fact for event in stored(run)]


def stored(run: Run) -> list[Event]:
    """The run's events that are durable now."""
    events = run.events()
    try:
        return events.poll()
    finally:
        events.close()


def tags(run: Run) -> list[str]:
    """The tags of the run's events so far."""
    return [event.tag for event in stored(run)]


def wait_for(run: Run, tag: str, count: int = 1) -> None:
    """Wait until the run has so many durable facts with that tag."""
    with run.events() as events:
        seen = 0
        while seen < count:
            more = events.take(DEADLINE_S)
            assert more, f"the run ended without {tag}"
            seen += sum(event.tag == tag for event in more)


def texts_heard(request: ModelRequest) -> list[str]:
    """The texts of the user's messages in a request."""
    return [
        part.text
        for message in request.messages
        if message.role == "user"
        for part in message.parts
        if isinstance(part, Text)
    ]


def everywhere(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call `call(n)` on `count` threads at the same moment; return results or exceptions in order."""
    results: list[Any] = [None] * count
    together = threading.Barrier(count)

    def one(number: int) -> None:
        together.wait(DEADLINE_S)
        try:
            results[number] = call(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    return results


def all_ok(runs: Iterable[Run]) -> bool:
    """Whether every run ends well."""
    return all(run.result(DEADLINE_S).status == "ok" for run in runs)
