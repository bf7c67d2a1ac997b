"""Reading a run's log a page at a time, and folding it with errors that name the place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import LogCorrupt, UnknownRun
from ..events import Event, Opaque
from ..ports import Journal
from ..projections import Checkpoint, advance

PAGE = 1_000
"""Events read at once when a whole log is gone through."""


def head_of(journal: Journal, run_id: str) -> int:
    """The run's newest version.

    Raises:
        UnknownRun: no such run.
    """
    row = journal.run(run_id)
    if row is None:
        raise UnknownRun(run_id)
    return row.version


def pages(journal: Journal, run_id: str, after: int, to: int) -> Iterator[list[Event]]:
    """The run's events with versions from `after` + 1 to `to`, in pages."""
    while after < to:
        page = journal.read(run_id, after, min(PAGE, to - after))
        if not page:
            return
        yield page
        after = page[-1].version


def readable(journal: Journal, run_id: str, after: int, to: int) -> Iterator[list[Event]]:
    """The same; in place of an event that does not decode, or is missing, stands one that says so: `Opaque` with schema
    -1, as in `ports.Journal.scan`. Their fold is not the run's.
    """
    while after < to:
        try:
            page = journal.read(run_id, after, min(PAGE, to - after))
        except LogCorrupt as error:
            bad = error.version
            if not after < bad <= to:
                raise
            page = [*journal.read(run_id, after, bad - 1 - after)] if bad > after + 1 else []
            page.append(_damaged(run_id, bad))
        if not page:
            return
        yield page
        after = page[-1].version


def _damaged(run_id: str, version: int) -> Event:
    """A stand-in. Its position is not known."""
    fact = Opaque(tag="damaged", schema=-1, payload=b"")
    return Event(run_id=run_id, version=version, tag="damaged", fact=fact)


def folded(run_id: str, start: Checkpoint, events: Iterable[Event]) -> Iterator[Checkpoint]:
    """The checkpoint after each of `events`.

    Raises:
        LogCorrupt: an event decodes, and makes no sense where it stands.
    """
    checkpoint = start
    for event in events:
        try:
            checkpoint = advance(checkpoint, event)
        except Exception as error:
            raise LogCorrupt(run_id, event.version, f"the log does not fold: {error!r}") from error
        yield checkpoint


def checked(run_id: str, version: int, head: int) -> int:
    """`version`, if the run has it.

    Raises:
        ValueError: it has not.
    """
    if not 0 <= version <= head:
        raise ValueError(f"run {run_id} has versions 0 (before its first event) to {head}, not {version}")
    return version
