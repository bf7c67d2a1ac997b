"""Who wrote what stands at places of a run, kept and grown with its log: a second look reads only what is new."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from ..errors import LogCorrupt
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.shown import MISSING, pointer, raw_at, shaped
from ..projections.writes import Write, writes
from ..travel.reading import folded, pages
from .shaping import cut

PLACES: Final = 32
"""Places of a run whose writes are kept."""
VALUE: Final = 1_000
"""Characters of a text that are sent of a value that is watched."""

Place: TypeAlias = tuple[str, ...]


class _Kept:
    def __init__(self) -> None:
        self.checkpoint = Checkpoint()
        self.writes: list[Write] = []


class Writings:
    """The writes of some places of one run. Not thread-safe."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()

    def of(self, journal: Journal, places: Sequence[Place], at: int, to: int) -> list[list[Write]]:
        """For each place its writes, oldest first, up to version `to`; if the log is damaged after version `at`, up to
        there. Places that are new are looked for in one reading of the log.

        Raises:
            LogCorrupt: an event up to `at` does not decode or fold.
        """
        kept = [self._kept.setdefault(place, _Kept()) for place in places]
        for place in places:
            self._kept.move_to_end(place)
        try:
            self._grow(journal, places, to)
        except LogCorrupt as error:
            if error.version <= at:
                raise
            self._grow(journal, places, error.version - 1)
        while len(self._kept) > max(PLACES, len(places)):
            self._kept.popitem(last=False)
        return [one.writes for one in kept]

    def _grow(self, journal: Journal, places: Sequence[Place], to: int) -> None:
        behind: dict[int, list[Place]] = {}
        for place in dict.fromkeys(places):
            behind.setdefault(self._kept[place].checkpoint.version, []).append(place)
        for version, alike in behind.items():
            checkpoint = self._kept[alike[0]].checkpoint
            for page in pages(journal, self._run_id, version, to):
                story = list(zip(page, folded(self._run_id, checkpoint, page), strict=True))
                for place in alike:
                    kept = self._kept[place]
                    kept.writes += writes(story, place, checkpoint)
                    kept.checkpoint = story[-1][1]
                checkpoint = story[-1][1]


def write_shape(one: Write) -> dict[str, Any]:
    """A write, with what was there and what came cut to a few words."""
    return {
        "version": one.version,
        "tag": one.tag,
        "by": one.by,
        "title": one.title,
        "op": one.op,
        "before": cut(one.before, 300, 20),
        "after": cut(one.after, 300, 20),
    }


def watch_shape(path: str, place: Place, checkpoint: Checkpoint, found: Sequence[Write]) -> dict[str, Any]:
    """What stands at a place after `checkpoint`, who wrote it last, and where it was another before and will be after.

    there: whether anything stands there. writes: how many up to here, of `total`. previous, next: the nearest version
    before and after this one that wrote it, or None.
    """
    raw = raw_at(checkpoint, place)
    version = checkpoint.version
    many = bisect_right(found, version, key=lambda one: one.version)
    earlier = bisect_left(found, version, key=lambda one: one.version)
    return {
        "path": path,
        "place": pointer(place),
        "there": raw is not MISSING,
        "value": cut(shaped(raw, place), VALUE, 20),
        "writes": many,
        "total": len(found),
        "last": write_shape(found[many - 1]) if many else None,
        "previous": found[earlier - 1].version if earlier else None,
        "next": found[many].version if many < len(found) else None,
    }
