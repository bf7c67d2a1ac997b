"""Which events wrote what stands at one place of a run's state."""

from __future__ import annotations

from collections.abc import Iterator

from ..events import Event
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.shown import place_of
from ..projections.writes import Write, writes
from .reading import checked, folded, head_of, pages


def blame(journal: Journal, run_id: str, path: str, at: int | None = None) -> list[Write]:
    """Every event up to version `at` that changed the value at `path` of the state, newest last; none if nothing ever
    stood there. path: a place in `shown`, such as "/state/limits/max_steps", "state.status" or just "status".

    Raises:
        UnknownRun: no such run. ValueError: no such version or name. LogCorrupt: an event does not decode or fold.
    """
    head = head_of(journal, run_id)
    last = head if at is None else checked(run_id, at, head)
    return list(writes(_story(journal, run_id, last), place_of(path)))


def _story(journal: Journal, run_id: str, last: int) -> Iterator[tuple[Event, Checkpoint]]:
    checkpoint = Checkpoint()
    for page in pages(journal, run_id, 0, last):
        for event, after in zip(page, folded(run_id, checkpoint, page), strict=True):
            checkpoint = after
            yield event, after
