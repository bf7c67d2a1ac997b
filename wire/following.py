"""Following a host from another process, through its restarts."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from ..errors import HostUnreachable, JournalError, RuntimeClosed, UnknownRun
from ..events import Event, RunStarted
from ..journal import OutsideReader, Subscription
from .remote import RemoteJournal
from .sockets import check_fork, is_left_behind

AGAIN_S: Final = 0.25
CALLERS_KEPT: Final = 50_000


class Following:
    """Events in order, for `for` and `async for`; one consumer at a time. While the host is gone it waits.

    at: version (of one run) or position (of all) of the last event handed out: follow from there another time.
    """

    def __init__(
        self, subscription: Subscription, journal: RemoteJournal | OutsideReader, caller: str | None = None
    ) -> None:
        self._subscription = subscription
        self._journal = journal
        self._caller = caller
        self._callers: OrderedDict[str, str] = OrderedDict()
        self._closed = False

    @property
    def at(self) -> int:
        """See the class."""
        return self._subscription.at

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while True:
            check_fork()
            try:
                event = next(self._subscription)
                if self._is_wanted(event):
                    return event
            except (HostUnreachable, RuntimeClosed):
                if self._closed:
                    raise StopIteration from None
                time.sleep(AGAIN_S)

    def within(self, until: float | None) -> Iterator[Event]:
        """The events that come before `until` on the monotonic clock.

        Raises:
            TimeoutError: no more did.
        """
        while True:
            check_fork()
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                found = self._subscription.take(left)
            except (HostUnreachable, RuntimeClosed):
                if self._closed:
                    return
                if until is not None and time.monotonic() >= until:
                    raise TimeoutError("the host is gone") from None
                time.sleep(AGAIN_S)
                continue
            if not found:
                return
            for event in found:
                if self._is_wanted(event):
                    yield event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            check_fork()
            try:
                event = await anext(self._subscription)
                if self._caller is None or await asyncio.to_thread(self._is_wanted, event):
                    return event
            except (HostUnreachable, RuntimeClosed):
                if self._closed:
                    raise StopAsyncIteration from None
                await asyncio.sleep(AGAIN_S)

    def _is_wanted(self, event: Event) -> bool:
        if self._caller is None:
            return True
        known = self._callers.get(event.run_id)
        if known is None:
            known = self._read_caller(event)
            self._callers[event.run_id] = known
            if len(self._callers) > CALLERS_KEPT:
                self._callers.popitem(last=False)
        return known == self._caller

    def _read_caller(self, event: Event) -> str:
        fact = event.fact
        while not isinstance(fact, RunStarted):
            try:
                fact = self._journal.read(event.run_id, limit=1)[0].fact
            except HostUnreachable:
                if self._closed:
                    return ""
                time.sleep(AGAIN_S)
                continue
            except (JournalError, UnknownRun, IndexError):
                return ""
            if not isinstance(fact, RunStarted):
                return ""
        return fact.info.caller_id

    def close(self) -> None:
        """End it: whoever waits on it is woken. May be repeated."""
        if is_left_behind():
            return
        self._closed = True
        self._subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
