"""One run's log for random access: any version in milliseconds, its neighbours at once."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from typing import Final, NamedTuple

from ..errors import LogCorrupt
from ..events import ChildStarted, Event
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.moments import Moment, moment_of
from .reading import checked, folded, head_of, pages, readable

EVERY: Final = 128
"""Versions from one kept checkpoint to the next."""
STRETCHES: Final = 4
"""Stretches between two kept checkpoints that stay decoded."""


class Stretch(NamedTuple):
    """The events from one kept checkpoint to the next, and the checkpoint after each."""

    events: list[Event]
    checkpoints: list[Checkpoint]


class Recording:
    """The log of one run, to be looked at anywhere. Not thread-safe.

    It keeps a checkpoint every so many versions, which share what they hold, and the last few stretches that were
    looked at. The first look at a version reads and folds the log up to there, once; to pay for that at the beginning,
    ask for `at(head)`. head: the newest version known; `refresh` looks for newer ones.

    Raises:
        UnknownRun: no such run.
    """

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal = journal
        self.run_id = run_id
        self.head = head_of(journal, run_id)
        self._kept = [Checkpoint()]
        self._positions = [0]  # of the versions that are kept
        self._births: list[tuple[int, ChildStarted]] = []
        self._stretches: OrderedDict[int, Stretch] = OrderedDict()

    def refresh(self) -> int:
        """Take in what was appended since; returns the new head."""
        self.head = max(self.head, head_of(self._journal, self.run_id))
        return self.head

    def events(self, after: int = 0, limit: int | None = None) -> list[Event]:
        """The run's events with version > `after`, in order; at most `limit`, and none beyond `head`.

        Raises:
            LogCorrupt: one of them does not decode, or is missing.
        """
        many = max(0, self.head - after) if limit is None else min(limit, self.head - after)
        return self._journal.read(self.run_id, after, many) if many > 0 else []

    def moments(self, after: int = 0, limit: int | None = None) -> list[Moment]:
        """The moments of the same events; a damaged one has its own, which says so."""
        to = self.head if limit is None else min(self.head, after + limit)
        return [moment_of(event) for page in readable(self._journal, self.run_id, after, to) for event in page]

    def event(self, version: int) -> Event:
        """The event of `version`, from 1 on.

        Raises:
            ValueError: there is no such version. LogCorrupt: see `at`.
        """
        if version == 0:
            raise ValueError("version 0 is before the first event")
        return self._stretch_of(version).events[(version - 1) % EVERY]

    def at(self, version: int) -> Checkpoint:
        """The fold of the events 1 to `version`; 0 is before the first.

        Raises:
            ValueError: there is no such version. LogCorrupt: an event up to there does not decode or fold.
        """
        if version == 0:
            return self._kept[0]
        return self._stretch_of(version).checkpoints[(version - 1) % EVERY]

    def version_at(self, position: int) -> int:
        """The newest version whose position in the whole journal is at most `position`; 0 if there is none."""
        low = (bisect_right(self._positions, position) - 1) * EVERY
        if low + EVERY <= (len(self._kept) - 1) * EVERY:  # between two that are kept
            positions = [event.position for event in self._stretch_of(low + 1).events]
            return low + bisect_right(positions, position)
        high = self.head
        while low < high:
            middle = (low + high + 1) // 2
            [event] = self._journal.read(self.run_id, middle - 1, 1)
            if event.position <= position:
                low = middle
            else:
                high = middle - 1
        return low

    def born(self, version: int) -> list[ChildStarted]:
        """The children that the run had started up to `version`, in order; those that are over, too."""
        if version == 0:
            return []
        stretch = self._stretch_of(version)
        first = (version - 1) // EVERY * EVERY
        before = [child for at, child in self._births if at <= first]
        here = [event.fact for event in stretch.events[: version - first] if isinstance(event.fact, ChildStarted)]
        return [*before, *here]

    def _stretch_of(self, version: int) -> Stretch:
        checked(self.run_id, version, self.head)
        number = (version - 1) // EVERY
        found = self._stretches.get(number)
        if found is None or len(found.events) < version - number * EVERY:
            self._keep_up_to(number)
            found = self._stretches[number] = self._told(number, version)
            while len(self._stretches) > STRETCHES:
                self._stretches.popitem(last=False)
        self._stretches.move_to_end(number)
        return found

    def _told(self, number: int, version: int) -> Stretch:
        """A stretch; up to an event that does not decode or fold, if that is not needed for `version`."""
        after, many = number * EVERY, EVERY
        while True:
            try:
                events = self.events(after, many)
                return Stretch(events, list(folded(self.run_id, self._kept[number], events)))
            except LogCorrupt as error:
                if error.version <= version:
                    raise
                many = error.version - 1 - after

    def _keep_up_to(self, number: int) -> None:
        checkpoint = self._kept[-1]
        births: list[tuple[int, ChildStarted]] = []
        for page in pages(self._journal, self.run_id, (len(self._kept) - 1) * EVERY, number * EVERY):
            for event, after in zip(page, folded(self.run_id, checkpoint, page), strict=True):
                checkpoint = after
                if isinstance(event.fact, ChildStarted):
                    births.append((event.version, event.fact))
                if event.version % EVERY == 0:  # all of it, or nothing: a read that fails is made again
                    self._births += births
                    births = []
                    self._kept.append(checkpoint)
                    self._positions.append(event.position)


def history(journal: Journal, run_id: str, after: int = 0, limit: int | None = None) -> list[Moment]:
    """The moments of the run's events with version > `after`; at most `limit`. A damaged event has its own moment,
    which says so.

    Raises:
        UnknownRun: no such run.
    """
    return Recording(journal, run_id).moments(after, limit)


def state_at(journal: Journal, run_id: str, version: int) -> Checkpoint:
    """The fold of the run's events 1 to `version`, without keeping anything for a second look.

    Raises:
        UnknownRun: no such run. ValueError: no such version. LogCorrupt: an event up to there does not decode or fold.
    """
    head = head_of(journal, run_id)
    if checked(run_id, version, head) == head:
        with suppress(LogCorrupt):  # folding it here says which event it is
            newest = journal.load(run_id)
            if newest.version == version:
                return newest
    checkpoint = Checkpoint()
    for page in pages(journal, run_id, 0, version):
        *_, checkpoint = folded(run_id, checkpoint, page)
    return checkpoint
