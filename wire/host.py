"""The host's side of the wire, put together: it opens before the first order and closes before anything else does."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..ports import Journal, LiveHost
from ..ports.orders import OrderBook
from . import places
from .answering import Desk
from .critics import Critics
from .feed import Feed
from .gate import Gate
from .listeners import Answerer, Publisher, Slot
from .requests import FRAME_BYTES
from .sockets import Closed
from .terms import OPERATOR, Grant, Listen

log = logging.getLogger("executus.wire")

WORKERS: Final = 20
"""Threads that answer: more than orders, questions and critics may keep waiting, so that a kill is always heard."""

AGAIN_S: Final = 0.05
"""Pause of a thread that answers, after it has failed."""


class HostWire:
    """Lets other processes follow and steer the runs of `host`, on these terms.

    path: of the journal, "" for one in memory. journal: what is stored. book: where orders are kept; closed with it.

    Raises:
        ListenRefused: it cannot listen there.
    """

    def __init__(
        self,
        terms: Listen,
        host: LiveHost,
        journal: Journal,
        book: OrderBook,
        *,
        path: str,
        agents: Sequence[str],
        mask: Callable[[str], str],
        wall_us: Callable[[], int],
        program: str,
    ) -> None:
        self._terms, self._journal, self._book = terms, journal, book
        self._boot = uuid.uuid4().hex
        grants = list(terms.grants)
        self._operator: Grant | None = None
        if not terms.is_tcp:
            self._operator = Grant(OPERATOR, "operator")
            grants.append(self._operator)
        self._critics = Critics(terms.critics)
        self._desk = Desk(
            host,
            journal,
            book,
            Gate(self._boot, grants),
            self._critics,
            boot=self._boot,
            agents=agents,
            mask=mask,
            wall_us=wall_us,
            steady_us=steady(wall_us()),
            program=program,
        )
        self._closing = threading.Lock()
        self._closed = False
        self.room: Path | None = None
        self._open(path, wall_us, program)

    def _open(self, path: str, wall_us: Callable[[], int], program: str) -> None:
        terms = self._terms
        control, feed = self._addresses(path)
        self._answerer = Answerer(control, tls=terms.tls, peers=terms.peers, recv_bytes=FRAME_BYTES)
        self._critics.is_there, self._answerer.when_left = self._answerer.has, self._critics.left
        try:
            self._publisher = Publisher(feed or next_port(self._answerer.address), tls=terms.tls, peers=terms.peers)
            try:
                self._feed = Feed(self._publisher, self._boot, self._journal.head(), content=not terms.is_tcp)
                self._unfollow = self._journal.follow(self._feed)
                slots = [self._answerer.slot() for _ in range(WORKERS)]
                self._workers = [
                    threading.Thread(target=self._work, args=(slot,), name=f"executus-control-{number}", daemon=True)
                    for number, slot in enumerate(slots)
                ]
                for worker in self._workers:
                    worker.start()
                self._put_up_the_card(path, wall_us(), program)
            except BaseException:
                self._publisher.close()
                raise
        except BaseException:
            self._answerer.close()
            raise

    def _addresses(self, path: str) -> tuple[str, str]:
        """(control, feed); "" for the port after the one of control."""
        given = self._terms.address
        if given.startswith("tls+tcp://"):
            return given, "" if given.rpartition(":")[2] != "0" else given
        if given != "ipc":
            return given, f"{given}.feed"
        self.room = places.private_room(places.room_of(path or f"memory:{os.getpid()}:{self._boot}"))
        places.sweep(self.room)
        short = self._boot[:8]
        return f"ipc://{self.room / f'control-{short}'}", f"ipc://{self.room / f'feed-{short}'}"

    def _put_up_the_card(self, path: str, now_us: int, program: str) -> None:
        """Clients find a host by its journal, also one that listens elsewhere."""
        if self.room is None and path:
            self.room = places.private_room(places.room_of(path))
        if self.room is None:
            return
        self.card = places.Card(
            boot=self._boot,
            pid=os.getpid(),
            control=self._answerer.address,
            feed=self._publisher.address,
            journal=path,
            started_us=now_us,
            program=program,
        )
        if self._operator is not None:
            places.put(self.room, places.TOKEN, self._operator.token.encode())
        places.put(self.room, places.CARD, msgspec.json.encode(self.card))

    @property
    def control(self) -> str:
        """The address that takes orders."""
        return self._answerer.address

    @property
    def feed(self) -> str:
        """The address of the live feed."""
        return self._publisher.address

    def _work(self, slot: Slot) -> None:
        try:
            while not self._answerer.closed:
                try:
                    frame, peer = slot.take()
                    slot.answer(self._desk.answer(frame, peer))
                except Closed:
                    if not self._answerer.closed:  # the library said so of one question only
                        time.sleep(AGAIN_S)
                except Exception:
                    if not self._answerer.closed:
                        log.exception("answering another process failed")
                        time.sleep(AGAIN_S)
        finally:
            slot.close()

    def stop_taking(self) -> None:
        """Begin nothing more; what is under way is still answered. May be repeated."""
        self._desk.closing = True
        if self.room is not None:
            try:
                places.leave(self.room, self._boot)
            except OSError as error:
                log.warning("the host's card in %s cannot be taken down: %s", self.room, error)

    def close(self, timeout: float) -> bool:
        """Send what is known, and let go; False if that took longer than `timeout` seconds. May be repeated."""
        with self._closing:
            if self._closed:
                return True
            self._closed = True
        until = time.monotonic() + timeout
        self.stop_taking()
        self._unfollow()
        let_go = self._feed.close(max(0.05, (until - time.monotonic()) / 2))
        self._publisher.close()
        self._answerer.close()
        for worker in self._workers:
            if worker is not threading.current_thread():
                worker.join(max(0.0, until - time.monotonic()))
                let_go = let_go and not worker.is_alive()
        self._book.close()
        return let_go


def steady(now_us: int) -> Callable[[], int]:
    """A clock that begins at `now_us`, and which nobody sets: requests would be let in twice if it went back."""
    begun = time.monotonic_ns() // 1000
    return lambda: now_us + time.monotonic_ns() // 1000 - begun


def next_port(address: str) -> str:
    """The address one port further."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1}"
