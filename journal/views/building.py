"""Building views outside a host: anew in their file, or somewhere else to compare, and bringing them up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import msgspec

from ...errors import JournalError, JournalUnavailable
from ...events import Event
from ...projections.rows import Table
from .advancing import advance
from .definition import Definition
from .feed import PAGE, Pages
from .file import CREATE_TRACKING, CREATE_VIEWS, ViewsFile
from .reading import ViewsReader
from .store import Moved, StoredView, ViewStore
from .tables import select_all

SLICE = 25 * PAGE

Progress = Callable[[int], None]
"""Told the position that is reached."""

ATTEMPTS = 100
"""How often another process that moves the same view is given way to."""


class ViewStopped(JournalError):
    """A view raised at an event while it was built, or is stopped: mend it, and build it anew."""

    def __init__(self, name: str, position: int, why: str) -> None:
        super().__init__(f"the view {name!r} stopped after position {position}: {why}")
        self.name, self.position, self.why = name, position, why


class TemporaryViews(ViewsFile):
    """A file of views that nobody else sees, and that is gone when it is closed."""

    def __init__(self) -> None:
        super().__init__("")

    def open(self) -> None:
        """Make it."""
        self._connection = connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(CREATE_VIEWS)
        connection.execute(CREATE_TRACKING)

    def check(self) -> None:
        """Nobody can replace it."""


@contextmanager
def writing(path: str) -> Generator[ViewsFile]:
    """The file of views at `path`, to build in.

    Raises:
        JournalUnavailable: it cannot be written now.
        JournalError: it is another program's, or another process builds the same views.
    """
    file = ViewsFile(path)
    try:
        file.open()
        yield file
        file.checkpoint()
    except (sqlite3.Error, OSError) as error:
        raise JournalUnavailable(f"{path} cannot be written now: {error}") from error
    except Moved as error:
        raise JournalError(f"another process builds the same views in {path}; try again when it is done") from error
    finally:
        file.close()


def rebuild(file: ViewsFile, definition: Definition, pages: Pages, head: int, progress: Progress) -> int:
    """Build the view anew up to `head` and swap it in; returns how many rows it has. What goes wrong, or Ctrl-C, leaves
    the old one as it is.

    Raises:
        ViewStopped: it raised. Moved: another process builds it too.
    """
    store = ViewStore(file)
    view = store.begin(definition)
    try:
        move_to(store, view, pages, head, progress)
        view = store.swap(view)
    except Moved:  # what is there now is another's
        raise
    except BaseException:
        store.drop_building(definition)
        raise
    return sum(int(file.ask(f"SELECT count(*) FROM {table.name}")[0][0]) for table in definition.tables)


def move_to(store: ViewStore, view: StoredView, pages: Pages, head: int, progress: Progress) -> None:
    """Move the view to `head`, or to the last event before it.

    Raises:
        ViewStopped: it raised, or is stopped.
    """
    while True:
        if view.status == "stopped":
            raise ViewStopped(view.name, view.position, view.error)
        found = pages_until(pages, view.position, head)
        if not found:
            return
        advance(store, [view], found)
        progress(view.position)


def pages_until(pages: Pages, at: int, head: int) -> list[Sequence[Event]]:
    """The next pages after `at`, about `SLICE` events at most, none after `head`."""
    found: list[Sequence[Event]] = []
    count = 0
    while at < head and count < SLICE:
        page = pages.after(at)
        if page and page[-1].position > head:
            page = [event for event in page if event.position <= head]
        if not page:
            break
        found.append(page)
        at, count = page[-1].position, count + len(page)
    return found


def bring_up_to_date(
    file: ViewsFile, definitions: Sequence[Definition], pages: Pages, head: int, progress: Progress
) -> None:
    """Move every view in the open file to `head`, building those that are missing or of another shape. One that stops,
    or is stopped, is left so.

    Raises:
        Moved: other processes are at it too.
    """
    store = ViewStore(file)
    for definition in definitions:
        for attempt in range(ATTEMPTS):
            try:
                view = store.kept_or_begun(definition, pages.after)
                if view.status != "stopped":
                    move_to(store, view, pages, head, progress)
                    if view.building:
                        store.swap(view)
                break
            except ViewStopped:
                break
            except Moved:
                if attempt == ATTEMPTS - 1:
                    raise


class Checked(msgspec.Struct, frozen=True):
    """What came of comparing a stored view with one built anew up to the same position.

    difference: where they differ first, empty if nowhere.
    """

    name: str
    position: int
    rows: int
    difference: str


def check(path: str, definition: Definition, pages: Pages, progress: Progress) -> Checked:
    """Compare the stored view in the file `path` with one built beside, value by value, at the same position. A host
    may be moving it.

    Raises:
        JournalError: there is no such view in the file, or it is of another shape.
        ViewStopped: it cannot be built.
    """
    beside = TemporaryViews()
    beside.open()
    try:
        store = ViewStore(beside)
        view = store.begin(definition)
        with ViewsReader(path) as stored:
            position = stored.position_of(definition)
        move_to(store, view, pages, position, progress)
        with ViewsReader(path) as stored, stored.still():
            position = stored.position_of(definition)
            move_to(store, view, pages, position, progress)
            if view.position != position:
                gone = f"it stands at position {position}, and the journal has nothing after {view.position}"
                return Checked(definition.name, position, 0, gone)
            view = store.swap(view)
            rows = 0
            for table in definition.tables:
                count, difference = _compare(table, stored.each(select_all(table)), beside.each(select_all(table)))
                rows += count
                if difference:
                    return Checked(definition.name, position, rows, difference)
        return Checked(definition.name, position, rows, "")
    finally:
        beside.close()


def _compare(table: Table, stored: Iterator[tuple[Any, ...]], built: Iterator[tuple[Any, ...]]) -> tuple[int, str]:
    names, width = table.row.__struct_fields__, len(table.key)
    count = 0
    for one, other in zip_longest(stored, built):
        if one is not None and (other is None or one[:width] < other[:width]):
            return count, f"{table.name}: {_shown(table, one)} is stored, and there is no such row when it is built"
        if other is not None and (one is None or one[:width] != other[:width]):
            return count, f"{table.name}: {_shown(table, other)} is built, and there is no such row stored"
        assert one is not None
        assert other is not None
        for name, left, right in zip(names, one, other, strict=True):
            if left != right or type(left) is not type(right):
                return count, f"{table.name}: {_shown(table, one)}, {name}: {left!r} is stored, {right!r} is built"
        count += 1
    return count, ""


def _shown(table: Table, row: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(table.key, row, strict=False))
