"""The live feed of a host: every durable fact, told once to whoever listens, by a thread of its own.

Nobody waits for it. What is not sent in time, or not heard, is missed, and each frame says which position it follows,
so that a listener knows, and asks for what is missing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from ..events import Event
from .frames import Frame, encode_frame, frames_of
from .listeners import Publisher
from .sockets import Closed

log = logging.getLogger("executus.wire")

BEAT_S: Final = 0.5
"""Seconds between two frames at most: a listener that hears nothing for longer has lost its host."""

MOST_WAITING: Final = 4096
"""Events that wait to be sent; with more, all are left out, and whoever listens asks."""


class Feed:
    """Follows a journal whose head was at `head`. content: whether events are sent, or only that there are some."""

    def __init__(self, publisher: Publisher, boot: str, head: int, *, content: bool) -> None:
        self._publisher = publisher
        self._boot = boot
        self._content = content
        self._wake = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[int, Sequence[Event]]] = deque()
        self._held = 0
        self._last = head
        self._news = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="executus-feed", daemon=True)
        self._thread.start()

    def __call__(self, events: Sequence[Event], /) -> None:
        """Told by the journal, in order; returns at once."""
        if not events:
            return
        with self._wake:
            after, self._last = self._last, events[-1].position
            if not self._publisher.peers:
                return  # the next beat says how far it is
            if not self._content:
                self._news = True
                self._wake.notify()
                return
            if self._held + len(events) > MOST_WAITING:
                self._waiting.clear()
                self._held = 0
                return
            self._waiting.append((after, events))
            self._held += len(events)
            self._wake.notify()

    def close(self, timeout: float) -> bool:
        """Send what waits, and end; False if that took longer than `timeout` seconds."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._beat():
                pass
        except Closed:
            pass
        except Exception:  # the feed is a convenience: whoever listens asks instead
            log.exception("the live feed has failed; whoever follows this host asks for events instead")

    def _beat(self) -> bool:
        """Wait for events, or for the next beat, and send; False at the end."""
        with self._wake:
            if not (self._waiting or self._news or self._stopping):
                self._wake.wait(BEAT_S)
            some, self._waiting = self._waiting, deque()
            self._held, self._news = 0, False
            last, stopping = self._last, self._stopping
        if some:  # what waits follows without a gap: with too much of it, all was left out
            together = [event for _, events in some for event in events]
            for frame in frames_of(self._boot, some[0][0], together):
                self._publisher.send(encode_frame(frame))
        elif not stopping:
            self._publisher.send(encode_frame(Frame(self._boot, last, last)))
        return not stopping
