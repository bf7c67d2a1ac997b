"""What is kept between requests: a recording and a line for each page that looks at a run. Bounded and thread-safe.

Every page has its own, so that two people who look at different ends of a long run do not take each other's stretches.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from ..errors import UnknownRun
from ..ports import Journal
from ..travel import Kin, Recording, search
from ..travel.reading import readable
from .line import Line
from .watching import Writings

KEPT: Final = 24
"""Pages whose recordings are kept."""
LINES: Final = 8
"""Runs whose line is kept."""
BEFORE: Final = 64
"""Events before a window that are looked at for the names of tools."""
MATCHES: Final = 16
"""Texts whose hits in one run are kept."""


class Book:
    """One run, as one page looks at it. To be used inside `Shelf.open` only."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self.recording = Recording(journal, run_id)
        self.lock = threading.Lock()
        self._journal = journal
        self._kin: Kin | None = None

    def kin(self) -> Kin:
        """The run's family."""
        if self._kin is None:
            self._kin = Kin(self._journal, self.recording.run_id)
        self._kin.refresh()
        return self._kin


class Lined:
    """The line of one run, shared by its pages. `lock` is held while it grows or is looked at."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.line = Line()
        self.lock = threading.Lock()
        self._hits: OrderedDict[str, tuple[int, set[int]]] = OrderedDict()

    def grow(self, journal: Journal, head: int) -> None:
        """Take in what the log has up to version `head`; of an event that cannot be read, that it is damaged."""
        for page in readable(journal, self.run_id, self.line.head, head):
            self.line.take(page)

    def hits(self, journal: Journal, text: str) -> set[int]:
        """The versions whose events say `text`."""
        head, found = self._hits.get(text, (0, set[int]()))
        if head < self.line.head:
            after = self.line.moments[head - 1].position if head else 0
            found |= {one.version for one in search(journal, text, run_ids=[self.run_id], after=after)}
            self._hits[text] = (self.line.head, found)
            while len(self._hits) > MATCHES:
                self._hits.popitem(last=False)
        return found


class Shelf:
    """The books and lines of one journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._lock = threading.Lock()
        self._books: OrderedDict[tuple[str, str], Book] = OrderedDict()
        self._lines: OrderedDict[str, Lined] = OrderedDict()
        self._writings: OrderedDict[str, tuple[threading.Lock, Writings]] = OrderedDict()

    @contextmanager
    def open(self, client: str, run_id: str) -> Generator[Book]:
        """The run for one page, taken in up to now.

        Raises:
            UnknownRun: no such run.
        """
        key = client, run_id
        with self._lock:
            book = self._books.get(key)
            if book is not None:
                self._books.move_to_end(key)
        if book is None:
            made = Book(self.journal, run_id)
            with self._lock:
                book = self._books.setdefault(key, made)
                while len(self._books) > KEPT:
                    self._books.popitem(last=False)
        with book.lock:
            book.recording.refresh()
            yield book

    @contextmanager
    def lined(self, run_id: str) -> Generator[Lined]:
        """The line of a run, taken in up to now.

        Raises:
            UnknownRun: no such run.
        """
        summary = self.journal.run(run_id)
        if summary is None:
            raise UnknownRun(run_id)
        with self._lock:
            lined = self._lines.setdefault(run_id, Lined(run_id))
            self._lines.move_to_end(run_id)
            while len(self._lines) > LINES:
                self._lines.popitem(last=False)
        with lined.lock:
            lined.grow(self.journal, summary.version)
            yield lined

    @contextmanager
    def writings(self, run_id: str) -> Generator[Writings]:
        """Who wrote what in a run. It does not wait for the run's line."""
        with self._lock:
            lock, writings = self._writings.setdefault(run_id, (threading.Lock(), Writings(run_id)))
            self._writings.move_to_end(run_id)
            while len(self._writings) > LINES:
                self._writings.popitem(last=False)
        with lock:
            yield writings

    def known(self, run_id: str) -> tuple[int, int]:
        """The run's newest version, and up to which its line is there already.

        Raises:
            UnknownRun: no such run.
        """
        summary = self.journal.run(run_id)
        if summary is None:
            raise UnknownRun(run_id)
        with self._lock:
            lined = self._lines.get(run_id)
        return summary.version, lined.line.head if lined is not None else 0

    def glance(self, run_id: str, skip: int, limit: int) -> list[dict[str, Any]]:
        """`limit` rows of the list after version `skip`, of the log alone. The name of a tool is missing if the reply
        that asked for it is more than a few events before.
        """
        line = Line(max(0, skip - BEFORE))
        for page in readable(self.journal, run_id, line.first, skip + limit):
            line.take(page)
        return [line.row(moment) for moment in line.moments[skip - line.first :]]
