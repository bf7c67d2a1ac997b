"""The thread that keeps a journal's stored views up to date while a host runs. Nothing ever waits for it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

from ...errors import JournalError
from ...events import Event
from ...ports import Journal
from ...ports.views import ViewStanding
from .. import forks
from .advancing import advance, why
from .definition import Definition
from .feed import PAGE, Feed, Pages, Reduce
from .file import ForeignViews, Replaced, ViewsFile, is_damage
from .store import Moved, StoredView, ViewStore

log = logging.getLogger("executus.views")

GATHER_S = 0.1
"""Seconds for which events are gathered before they are applied: a transaction for each would cost more than it is
worth to a reader."""

SLICE = 25 * PAGE
"""Events of one transaction while a view is far behind."""

FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
"""Pause before the file is tried again after a failure; it doubles, up to the last."""


class ViewsKeeper:
    """Keeps `definitions` in the file `path`, from the events of `journal`. Thread-safe.

    A view that is not yet in the file, or is there in another shape, is built beside what is there and swapped in;
    meanwhile the others move on. What is wrong with the file, or with a view, is logged once and hurts nobody else.
    making: shared by the keepers of one file.
    """

    def __init__(
        self,
        journal: Journal,
        definitions: Sequence[Definition],
        path: str,
        *,
        reduce: Reduce | None = None,
        making: threading.Lock | None = None,
    ) -> None:
        self.path = path
        self._journal = journal
        self._definitions = tuple(definitions)
        self._pages = Pages(journal.scan, reduce)
        self._file = ViewsFile(path, guarded=True, making=making)
        self._store = ViewStore(self._file)
        self._feed = Feed(self._pages, 0)
        self._views: list[StoredView] = []
        self._moved = threading.Condition(threading.Lock())
        self._closing = False
        self._quiet = False
        self._why = ""
        self.finished = threading.Event()
        self._leave = journal.follow(self._feed)
        forks.register(self)
        self._thread = threading.Thread(target=self._work, name="executus-views", daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- from any thread

    def standing(self, head: int) -> list[ViewStanding]:
        """How each view stands when the journal's newest position is `head`."""
        known = {view.name: view for view in self._views}
        found: list[ViewStanding] = []
        for one in self._definitions:
            view = known.get(one.name)
            if view is None:
                found.append(ViewStanding(one.name, 0, head, "stopped" if self._why else "building", self._why))
            else:
                status = "stopped" if self._why else view.status
                behind = max(0, head - view.position)
                found.append(ViewStanding(one.name, view.position, behind, status, view.error or self._why))
        return found

    def wait(self, position: int, timeout: float) -> bool:
        """Wait until every view that is not stopped has what is stored up to `position`; False if that takes longer."""
        self._feed.call()
        with self._moved:
            self._moved.wait_for(lambda: self.finished.is_set() or self._has(position), timeout)
        return self._has(position)

    def _has(self, position: int, near: int | None = None) -> bool:
        """Whether the views, or with `near` those that are no further behind, have what is stored up to `position`."""
        known = {view.name: view for view in self._views}

        def has(view: StoredView | None) -> bool:
            if view is None:
                return False
            if view.status == "stopped" or (near is not None and position - view.position > near):
                return True
            return view.status == "kept" and view.position >= position

        return bool(self._why) or all(has(known.get(one.name)) for one in self._definitions)

    def finish(self, position: int, timeout: float) -> bool:
        """Before the journal closes: wait until every view that is not far behind has what is stored up to `position`.
        False if that takes longer than `timeout` seconds.
        """
        self._closing = True
        self._feed.call()
        with self._moved:
            self._moved.wait_for(lambda: self.finished.is_set() or self._has(position, SLICE), timeout)
        return self._has(position, SLICE)

    def close(self, timeout: float) -> bool:
        """End it, after the journal; False if that takes longer than `timeout` seconds: what is missing is caught up
        with at the next opening.
        """
        self._closing = True
        self._leave()
        self._feed.ended()
        return self.finished.wait(timeout)

    def left_behind(self) -> list[object]:
        """In a forked child: the file and the thread are the parent's."""
        forks.left_in_use()
        return [self._thread, *self._file.left_behind()]

    # -------------------------------------------------------------- on its thread

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                try:
                    self._begin()
                    while self._turn():
                        pause_s, self._quiet = FIRST_PAUSE_S, False
                    return
                except (Moved, Replaced):
                    self._feed.wait(0.05)
                except ForeignViews as error:
                    self._why = str(error)
                    log.error("%s", error)
                    return
                except Exception as error:
                    self._failed(error)
                    self._feed.wait(pause_s, for_events=False)
                    pause_s = min(2 * pause_s, LAST_PAUSE_S)
                if self._closing or self._feed.has_ended:
                    return
        finally:
            self._end()

    def _failed(self, error: Exception) -> None:
        """Forget what may not be true, and say so once."""
        if not self._quiet and not self._closing:
            self._quiet = True
            unusual = not isinstance(error, (sqlite3.Error, OSError, JournalError))
            log.error("the stored views wait: %s", why(error), exc_info=error if unusual else None)
        if isinstance(error, sqlite3.Error) and is_damage(error):
            self._file.throw_away()
        self._file.drop_connection()

    def _begin(self) -> None:
        """Look where every view stands, and go on from there."""
        self._file.check()
        self._file.open()
        self._views = [self._store.kept_or_begun(one, self._pages.after) for one in self._definitions]
        self._feed.go_back(max((view.position for view in self._views if view.status != "stopped"), default=0))
        self._tell()

    def _turn(self) -> bool:
        """Move what is at the tip by what came, and what is behind by a slice. False at the end."""
        self._file.check()
        tip = [view for view in self._views if view.status != "stopped" and view.position == self._feed.at]
        behind = [view for view in self._views if view.status != "stopped" and view.position < self._feed.at]
        pages = self._feed.slice(SLICE) if tip else []
        if pages:
            self._advance(tip, pages)
        if not self._feed.behind:
            self._swap(tip)
        if behind:
            self._catch_up(behind)
        elif not pages:
            if self._feed.has_ended:
                return False
            if not self._feed.wait(None, for_events=bool(tip)) and not self._closing:
                self._feed.gather(GATHER_S)
        return True

    def _catch_up(self, behind: Sequence[StoredView]) -> None:
        """Move those that are furthest behind, at most up to the tip."""
        at = min(view.position for view in behind)
        views = [view for view in behind if view.position == at]
        pages: list[Sequence[Event]] = []
        count = 0
        while at < self._feed.at and count < SLICE:
            page = [event for event in self._pages.after(at) if event.position <= self._feed.at]
            if not page:
                break
            pages.append(page)
            at, count = page[-1].position, count + len(page)
        if not pages:  # the events up to the tip are gone
            raise Moved
        self._advance(views, pages)

    def _advance(self, views: Sequence[StoredView], pages: Sequence[Sequence[Event]]) -> None:
        advance(self._store, views, pages)
        self._tell()

    def _swap(self, tip: Sequence[StoredView]) -> None:
        """What was built and is at the tip takes the place of what was there."""
        for view in tip:
            if view.building and view.status != "stopped":
                new = self._store.swap(view)
                self._views = [new if one is view else one for one in self._views]
                log.info("the view %r was built, up to position %d", view.name, view.position)
                self._tell()

    def _tell(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def _end(self) -> None:
        try:
            self._leave()
            self._file.checkpoint()
        except Exception as error:
            log.info("the stored views at their end: %s", error)
        finally:
            self._file.close()
            forks.unregister(self)
            self.finished.set()
            self._tell()
