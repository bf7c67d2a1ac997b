"""The stored views as a reading command needs them: up to date, whoever keeps them; if need be made for it alone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import msgspec

from ...errors import JournalError
from ..outside import OutsideReader
from .building import Progress, TemporaryViews, bring_up_to_date
from .builtin import builtin_views
from .definition import Definition
from .feed import Pages
from .file import ForeignViews, ViewsFile, views_path
from .reading import ViewsReader
from .store import Moved

PATIENCE_S = 1.0
"""How long a host is given to store what was just committed."""

LOOK_S = 0.02


class Current(msgspec.Struct, frozen=True):
    """Views to be read. remark: what a reader should know of them, empty if they are stored and up to date."""

    reader: ViewsReader
    remark: str = ""


@contextmanager
def current_views(journal: OutsideReader, *, hosted: bool, progress: Progress) -> Generator[Current]:
    """The built-in views with everything in the journal.

    With a live host (`hosted`) they are its own, read as they are after a moment's patience; without one their file is
    brought up to date, or made. Where that cannot be, they are made in a place that is gone afterwards.

    Raises:
        JournalError: they, or the journal, cannot be read.
    """
    definitions, head = builtin_views(), journal.head()
    found = _of_the_host(journal, definitions, head) if hosted else _brought_up(journal, definitions, head, progress)
    if found is None:
        file = TemporaryViews()
        file.open()
        bring_up_to_date(file, definitions, Pages(journal.scan), head, progress)
        why = "the host keeps no views of this version" if hosted else "the stored views cannot be written here"
        found = Current(ViewsReader("the views made for this answer", file), f"{why}; these were made for this answer")
    try:
        yield found
    finally:
        found.reader.close()


def _of_the_host(journal: OutsideReader, definitions: Sequence[Definition], head: int) -> Current | None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            reader = ViewsReader(views_path(journal.path))
        except JournalError:
            return None
        try:
            standing = {
                name: one for name, (one, shape) in reader.standing().items() if (name, shape) in _shapes(definitions)
            }
        except JournalError:
            reader.close()
            return None
        if len(standing) == len(definitions):
            stopped = [one for one in standing.values() if one.status == "stopped"]
            behind = head - min(one.position for one in standing.values())
            if stopped:
                return Current(reader, _stopped(stopped[0].name, stopped[0].position, stopped[0].error))
            if behind <= 0:
                return Current(reader)
            if time.monotonic() > until:
                return Current(reader, f"the host is still storing: {behind:,} newer events are not in here")
        reader.close()
        if time.monotonic() > until:
            return None
        time.sleep(LOOK_S)


def _shapes(definitions: Sequence[Definition]) -> set[tuple[str, str]]:
    return {(one.name, one.shape) for one in definitions}


def _brought_up(
    journal: OutsideReader, definitions: Sequence[Definition], head: int, progress: Progress
) -> Current | None:
    file = ViewsFile(views_path(journal.path))
    try:
        file.open()
        bring_up_to_date(file, definitions, Pages(journal.scan), head, progress)
        reader = ViewsReader(file.path, file)
        standing = [one for one, _ in reader.standing().values() if one.status == "stopped"]
    except (ForeignViews, Moved, sqlite3.Error, OSError):
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    mine = [one for one in standing if one.name in {definition.name for definition in definitions}]
    return Current(reader, _stopped(mine[0].name, mine[0].position, mine[0].error) if mine else "")


def _stopped(name: str, position: int, error: str) -> str:
    return f"the view {name!r} stopped after position {position}: {error}; `executus rebuild {name}` builds it anew"
