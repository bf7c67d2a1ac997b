"""Signing for a journal as it grows: on a thread of its own, off every path on which somebody waits."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..errors import JournalError
from ..events import Event
from ..ports.signing import AnchorSink, Signer
from .heads import ENDING, NOTHING, Anchor, NoAnchor, advanced, anchor_of, line_of
from .placed import placed
from .sqlite import SqliteJournal

log = logging.getLogger("executus.journal")

LAST_EVENTS: Final = 50_000
"""A closing journal is read to its end for the last anchor if no more than this is left."""

LAST_PAUSE_S: Final = 300.0
UNTOLD: Final = 10_000
"""Anchors kept for a sink that fails; of more, the oldest are dropped. They are all in the file."""


class AnchorTerms(msgspec.Struct, frozen=True):
    """When to sign: after so many events, or so many seconds if there was any, and at the end."""

    every_events: int = 1_000
    every_s: float = 10.0


class Anchors:
    """Writes a signed anchor of `journal` now and then, to the file beside it and to `sink`.

    It goes on from the newest anchor in the file, if that is of the same key; else from the journal's first event.
    wall_us: the clock that anchors carry.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        signer: Signer,
        terms: AnchorTerms,
        sink: AnchorSink | None = None,
        *,
        wall_us: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._signer = signer
        self._terms = terms
        self._sink = sink
        self._wall_us = wall_us
        self.path = Path(journal.path + ENDING)
        self._wake = threading.Event()
        self._newest = journal.head()
        self._ending = False
        self._position = 0
        self._digest = NOTHING
        self._signed = 0
        self._previous = NOTHING
        self._untold: deque[str] = deque(maxlen=UNTOLD)
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._abandoned = False
        self._go_on_from_the_file()
        self._leave = journal.follow(self)
        self._thread = threading.Thread(target=self._work, name="executus-anchors", daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- from the journal's thread

    def __call__(self, events: Sequence[Event], /) -> None:
        """Told of commits."""
        self._newest = events[-1].position
        if self._newest - self._signed >= self._terms.every_events:
            self._wake.set()

    def ended(self) -> None:
        """The journal ends; this is the last moment at which it can be read."""
        try:
            if self._journal.head() - self._position <= LAST_EVENTS and self._reading.acquire(timeout=1.0):
                try:
                    self._read_on()
                finally:
                    self._reading.release()
        except Exception as error:
            log.warning("%s: the last events are not signed for: %s", self._journal.path, error)
        self._ending = True
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Wait until the last anchor is written, after the journal was closed; False if that takes longer."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout)
        with self._writing:  # another host may go on from the file now
            self._abandoned = self._thread.is_alive()
        return not self._abandoned

    # -------------------------------------------------------------- on its own

    def _work(self) -> None:
        pause_s = self._terms.every_s
        while True:
            self._wake.wait(pause_s)
            self._wake.clear()
            ending = self._ending
            try:
                if not ending:
                    with self._reading:
                        self._read_on()
                self._sign()
                self._tell()
                pause_s = self._terms.every_s
            except Exception as error:  # a key far away, a full disk: later
                log.warning("%s cannot be signed for now: %s", self._journal.path, error)
                pause_s = min(LAST_PAUSE_S, pause_s * 2)
            if ending:
                return

    def _read_on(self) -> None:
        """Move the running hash to the end of the journal."""
        journal = self._journal
        archive = journal.archive
        head = journal.head()
        for event in placed(journal, self._position, head, archived=archive is not None and archive.exists):
            self._position, self._digest = event.position, advanced(self._digest, event)

    def _sign(self) -> None:
        with self._reading:
            position, digest = self._position, self._digest
        if position == self._signed:
            return
        anchor = Anchor(
            position=position,
            digest=digest,
            at_us=max(0, self._wall_us()),
            epoch=self._journal.epoch,
            previous=self._previous,
            key=self._signer.key_id,
        )
        anchor = msgspec.structs.replace(anchor, signature=bytes(self._signer.sign(anchor.message)))
        if not self._signer.verify(anchor.message, anchor.signature):
            raise JournalError("what the signer returned is no signature of its own key")
        line = line_of(anchor)
        with self._writing:
            if self._abandoned:
                return
            self._write(line)
        self._previous, self._signed = anchor.mark, position
        if self._sink is not None:
            self._untold.append(line)

    def _write(self, line: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a host died while it wrote
            os.write(descriptor, (("\n" if torn else "") + line + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _tell(self) -> None:
        while self._untold and self._sink is not None:
            self._sink(self._untold[0])
            self._untold.popleft()

    # -------------------------------------------------------------- where it goes on

    def _go_on_from_the_file(self) -> None:
        newest = self._newest_anchor()
        if newest is None:
            return
        self._previous = newest.mark
        if newest.key != self._signer.key_id or not self._signer.verify(newest.message, newest.signature):
            log.warning("%s: its newest anchor is of another key; signing begins anew", self.path)
        elif newest.position > self._newest:
            log.critical(
                "%s ends at position %d, and was signed for up to %d: its end was cut off, or it is another file",
                self._journal.path,
                self._newest,
                newest.position,
            )
        else:
            self._position = self._signed = newest.position
            self._digest = newest.digest

    def _newest_anchor(self) -> Anchor | None:
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 65_536))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return None
        for line in reversed(lines):
            try:
                return anchor_of(line)
            except NoAnchor:
                continue
        return None
