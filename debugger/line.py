"""A run's whole log, as small as a list and a timeline need it: moments, groups of them, and what tools did.

Grows as the log does. Not thread-safe.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..events import (
    ChildStarted,
    Event,
    StepCompleted,
    ToolCall,
    ToolFinished,
)
from ..projections.moments import Lane, Moment, moment_of

LANES: Final[tuple[Lane, ...]] = ("run", "step", "tool", "child", "critic", "budget", "people", "host", "delivery")
LIMIT_TAGS: Final = frozenset(
    {"deadline-extended", "ceiling-raised", "budget-exceeded", "budget-noticed", "soft-timeout-reached"}
)
BUCKETS: Final = 500
"""Pieces of a timeline, unless the page asks for others."""
REPEATED: Final = 3
"""Times that a call with the same arguments is made before it looks like a loop."""
ARGUMENTS: Final = 200
"""Characters of a call's arguments that are shown of a loop."""


class Group(msgspec.Struct):
    """The events of one step or one call, or one that stands for itself. outcome: title of the newest, "" if there is
    none but the first. took_ms: as measured, or None.
    """

    first: int
    last: int
    lane: Lane
    title: str
    outcome: str = ""
    step: int = 0
    call: str = ""
    events: int = 1
    wrong: bool = False
    importance: int = 0
    took_ms: int | None = None
    tokens: int = 0


class ToolUse(msgspec.Struct):
    """What one tool, or one kind of child, did in the run so far."""

    name: str
    calls: int = 0
    wrong: int = 0
    took_ms: int = 0


class Loop(msgspec.Struct):
    """A call with the same arguments, made again and again."""

    name: str
    arguments: str
    times: int
    first: int
    last: int


class Line:
    """moments: of every event after version `first` up to `head`. tools: the name of the tool at the same index, "" if
    it is none's.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.moments: list[Moment] = []
        self.tools: list[str] = []
        self.groups: list[Group] = []
        self.uses: dict[str, ToolUse] = {}
        self._open: dict[str, Group] = {}
        self._names: dict[str, str] = {}
        self._calls: dict[tuple[str, str], Loop] = {}

    @property
    def head(self) -> int:
        """The newest version taken in."""
        return self.first + len(self.moments)

    def take(self, events: Iterable[Event]) -> None:
        """Take in the next events of the run, in order."""
        for event in events:
            moment = moment_of(event)
            self.moments.append(moment)
            self.tools.append(self._tool_of(event, moment))
            self._group(event, moment)

    def shape(self, buckets: int) -> dict[str, Any]:
        """The timeline as the page draws it: marks by lane, what tools did, and what looks like a loop."""
        return {
            "head": self.head,
            "buckets": buckets,
            "marks": self.marks(buckets),
            "lanes": self.lanes(),
            "wrong": sum(moment.wrong for moment in self.moments),
            "elapsed_ms": self.moments[-1].elapsed_ms if self.moments else 0,
            "tools": sorted(self.uses.values(), key=lambda use: -use.calls)[:50],
            "loops": self.loops(),
            "tags": sorted({moment.tag for moment in self.moments}),
        }

    def row(self, moment: Moment) -> dict[str, Any]:
        """A moment as a row of the list, with the name of its tool."""
        shape: dict[str, Any] = msgspec.to_builtins(moment)
        return {**shape, "tool": self.tools[moment.version - 1 - self.first]}

    def loops(self) -> list[Loop]:
        """The calls that were repeated most."""
        found = [one for one in self._calls.values() if one.times >= REPEATED]
        return sorted(found, key=lambda one: -one.times)[:10]

    def marks(self, buckets: int) -> dict[str, list[list[int]]]:
        """By lane, [bucket, events, how many of them went wrong, highest importance], for those with any."""
        found: dict[str, dict[int, list[int]]] = {}
        head = max(1, len(self.moments))
        for index, moment in enumerate(self.moments):
            bucket = index * buckets // head
            mark = found.setdefault(moment.lane, {}).setdefault(bucket, [bucket, 0, 0, 0])
            mark[1] += 1
            mark[2] += moment.wrong
            mark[3] = max(mark[3], moment.importance)
        return {lane: list(marks.values()) for lane, marks in found.items()}

    def next(self, what: str, after: int, step: int) -> int | None:
        """The nearest version after (step 1) or before (step -1) `after` that is an "error", "critic" act or "limit"
        change; None if there is none.
        """
        place = after - 1 - self.first + step
        while 0 <= place < len(self.moments):
            moment = self.moments[place]
            if (
                (what == "error" and moment.wrong)
                or (what == "critic" and moment.lane == "critic")
                or (what == "limit" and moment.tag in LIMIT_TAGS)
            ):
                return moment.version
            place += step
        return None

    def at_time(self, elapsed_ms: int) -> int:
        """The newest version at which the run's clock showed at most `elapsed_ms`; the one before the first if none."""
        return self.first + bisect_right(self.moments, elapsed_ms, key=lambda one: one.elapsed_ms)

    def lanes(self) -> dict[str, int]:
        """How many events each lane has."""
        return dict(Counter(moment.lane for moment in self.moments))

    # -------------------------------------------------------------- one event

    def _tool_of(self, event: Event, moment: Moment) -> str:
        fact = event.fact
        if isinstance(fact, StepCompleted):
            self._names.clear()  # calls of an earlier step have their outcome
            for index, part in enumerate(part for part in fact.reply if isinstance(part, ToolCall)):
                self._names[f"{fact.step}.{index}"] = part.name
                self._repeated(part, event.version)
            return ""
        if not moment.call:
            return ""
        name: str = self._names.get(moment.call, "") or getattr(fact, "name", "")
        if not name:
            return ""
        use = self.uses.setdefault(name, ToolUse(name))
        if moment.tag in ("tool-started", "tool-refused", "child-started"):
            use.calls += 1
        use.wrong += moment.wrong
        use.took_ms += fact.took_ms if isinstance(fact, ToolFinished) else 0
        return name

    def _repeated(self, call: ToolCall, version: int) -> None:
        key = (call.name, call.arguments)
        loop = self._calls.get(key)
        if loop is None:
            self._calls[key] = Loop(call.name, call.arguments[:ARGUMENTS], 1, version, version)
        else:
            loop.times += 1
            loop.last = version

    def _group(self, event: Event, moment: Moment) -> None:
        fact = event.fact
        key = f"call {moment.call}" if moment.call else f"step {moment.step}" if moment.step else ""
        group = self._open.get(key) if key else None
        if group is None:
            group = Group(
                moment.version,
                moment.version,
                moment.lane,
                moment.title,
                step=moment.step,
                call=moment.call,
                wrong=moment.wrong,
                importance=moment.importance,
            )
            self.groups.append(group)
            if key:
                self._open[key] = group
        else:
            group.last = moment.version
            group.events += 1
            group.outcome = moment.title
            group.wrong = group.wrong or moment.wrong
            group.importance = max(group.importance, moment.importance)
        if isinstance(fact, (StepCompleted, ToolFinished)):
            group.took_ms = fact.took_ms
        if isinstance(fact, StepCompleted):
            group.tokens = fact.usage.input + fact.usage.output
        if isinstance(fact, ChildStarted):
            group.lane = "child"
