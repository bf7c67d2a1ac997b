"""A run, or a part of it, as one file: the page with all its answers in it, read-only, for who has no server.

What cannot be known without the log is made here, with the same projections that the server uses: moments, groups, what
every event changed in the state. The page goes from one moment to another by those changes, and looks for what was said
by itself. Not in the file: other runs (of the family, how they stood), artifacts, and what the page could have changed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from ..adapters.shapes import event_shape
from ..errors import FileRefused, LogCorrupt, UnknownFact
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.changes import changed, changes, patch
from ..projections.shown import is_list, is_object, shown
from ..projections.writes import author_of
from ..travel import Kin
from ..travel.reading import checked, folded, head_of, pages
from .line import BUCKETS, LIMIT_TAGS, Line
from .page import one_file
from .rows import run_row
from .shaping import bounds_shape, member_shape

MOST_EVENTS: Final = 20_000
"""Events in one file: as many as a page opens within a few seconds."""
MOST_BYTES: Final = 200_000_000
"""Bytes of the answers in one file, before they are compressed."""


def recorded_page(journal: Journal, run_id: str, first: int = 1, last: int | None = None) -> bytes:
    """One HTML file that shows events `first` to `last` of the run, by default all, as the debugger's page does.

    It is complete in itself and asks nobody for anything. Made of the same events, it is the same to the byte.

    Raises:
        UnknownRun: no such run. ValueError: no such events. FileRefused: too much for one file. LogCorrupt: an event
        up to `last` does not decode or fold.
    """
    recorded = record(journal, run_id, first, last)
    return one_file(recorded, f"{recorded['run']['name'] or run_id} · executus")


def record(journal: Journal, run_id: str, first: int = 1, last: int | None = None) -> dict[str, Any]:
    """What stands in the file; `recorded_page` says what of, and what is raised."""
    head = head_of(journal, run_id)
    to = checked(run_id, head if last is None else last, head)
    if not 1 <= first <= to:
        raise ValueError(f"events {first} to {to}: expected the first from 1 on, and not after the last")
    if to - first + 1 > MOST_EVENTS:
        raise FileRefused(
            f"events {first:,} to {to:,} are {to - first + 1:,}; one file holds {MOST_EVENTS:,}: choose a part of them"
        )
    line = Line(first - 1)
    events: list[dict[str, Any]] = []
    steps: list[Any] = []
    authors: list[str] = []
    checkpoint, size = Checkpoint(), 0
    base: dict[str, Any] = _shape(checkpoint)
    bounds = bounds_shape(checkpoint)
    for page in pages(journal, run_id, 0, to):
        for event, after in zip(page, folded(run_id, checkpoint, page), strict=True):
            if event.version == first:
                base, bounds = _shape(checkpoint), bounds_shape(checkpoint)
            if event.version >= first:
                line.take([event])
                now = bounds_shape(after)
                step = [_steps(patch(changed(checkpoint, after))), _steps(patch(changes(bounds, now)))]
                shape = event_shape(event)
                size += len(msgspec.json.encode(shape)) + len(msgspec.json.encode(step))
                if size > MOST_BYTES:
                    raise FileRefused(
                        f"events {first:,} to {event.version:,} are {size / 10**6:,.0f} MB already; one file holds "
                        f"{MOST_BYTES // 10**6:,} MB: choose a part of them"
                    )
                events.append(shape)
                steps.append(step)
                authors.append(author_of(event))
                bounds = now
            checkpoint = after
    summary = journal.run(run_id)
    assert summary is not None  # it has a head
    row = {**run_row(journal, summary), "head": to, "over": True, "live": None, "first": first - 1}
    return {
        "run": row,
        "withheld": checkpoint.withheld,
        "base": base,
        "steps": steps,
        "events": events,
        "authors": authors,
        "moments": [line.row(moment) for moment in line.moments],
        "groups": line.groups,
        "line": line.shape(BUCKETS),
        "limit_tags": sorted(LIMIT_TAGS),
        "families": _families(journal, run_id, line),
    }


def _shape(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"shown": _light(shown(checkpoint)), "bounds": bounds_shape(checkpoint)}


def _steps(operations: list[dict[str, Any]]) -> list[list[Any]]:
    """A patch as short as it can be: a path alone is removed, with a value it is added or replaced."""
    return [
        [one["path"]]
        if one["op"] == "remove"
        else [one["path"], _light(one["value"]), *([1] if one["op"] == "add" else [])]
        for one in operations
    ]


def _light(value: Any) -> Any:
    """`value` without the bytes of images, of which the page tells the size."""
    if is_list(value):
        return [_light(one) for one in value]
    if is_object(value):
        data = value.get("data")
        if value.get("type") == "image" and isinstance(data, str):
            rest = {name: one for name, one in value.items() if name != "data"}
            return {**rest, "bytes": len(data) * 3 // 4}
        return {name: _light(one) for name, one in value.items()}
    return value


def _families(journal: Journal, run_id: str, line: Line) -> list[Any]:
    """[version, family as it stood then], at both ends and wherever a child of the run began, waited or ended. Not
    where the log of one of them is damaged.
    """
    kin = Kin(journal, run_id)
    found: list[Any] = []
    for moment in line.moments:
        if moment.lane == "child" or moment.version in (line.first + 1, line.head):
            with suppress(LogCorrupt, UnknownFact):
                root = member_shape(kin.at(moment.position).root)
                found.append([moment.version, {"position": moment.position, "root": root}])
    return found
