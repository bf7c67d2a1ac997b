"""Which events wrote what stands at one place of a run's state."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import LogCorrupt
from ..events import Event
from ..ports import Journal
from ..projections.shown import place_of
from ..projections.writes import Write, writes
from .reading import checked, head_of, pages


def blame(journal: Journal, run_id: str, path: str, at: int | None = None) -> list[Write]:
    """Every event up to version `at` that changed the value at `path` of the state, newest last; none if nothing ever
    stood there. path: a place in `shown`, such as "/state/limits/max_steps", "state.status" or just "status".

    Raises:
        UnknownRun: no such run. ValueError: no such version or name. LogCorrupt: an event does not decode or fold.
    """
    head = head_of(journal, run_id)
    last = head if at is None else checked(run_id, at, head)
    newest = [0]
    try:
        return list(writes(_told(journal, run_id, last, newest), place_of(path)))
    except (LookupError, TypeError, AttributeError) as error:
        raise LogCorrupt(run_id, newest[0], f"the log does not fold: {error!r}") from error


def _told(journal: Journal, run_id: str, last: int, newest: list[int]) -> Iterator[Event]:
    for page in pages(journal, run_id, 0, last):
        for event in page:
            newest[0] = event.version
            yield event
