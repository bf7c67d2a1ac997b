"""Finding events by what was said in them, by tool, by kind, or because something went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from ..events import Event, StepCompleted, ToolCall
from ..ports import Journal
from ..projections.moments import title_of, went_wrong
from ..projections.shown import is_list, is_object
from .reading import PAGE, head_of, readable

VOCABULARY: Final = frozenset({"default", "effect", "kind", "role", "stop"})
"""Fields that hold one of our own few words, which nobody said."""
AROUND: Final = 60
"""Characters of a snippet on each side of a hit."""


class Found(msgspec.Struct, frozen=True):
    """An event that matches. where: the field of the fact in which the text is, as a JSON pointer, such as
    "/reply/0/text"; "" if no text was asked for. before, hit, after: the text around it, the hit as it is written
    there; without a text, `after` is what the event says in a line.
    """

    position: int
    run_id: str
    version: int
    at_us: int
    tag: str
    where: str
    before: str
    hit: str
    after: str


def search(
    journal: Journal,
    text: str = "",
    *,
    tool: str = "",
    errors: bool = False,
    tag: str = "",
    run_ids: Sequence[str] | None = None,
    after: int = 0,
) -> Iterator[Found]:
    """The events that match everything that was asked for, in order of position; of `run_ids`, run by run.

    text: anywhere in what was said, not in names of fields; upper and lower case are the same. tool: facts of calls
    of this tool or child, from the reply that asks for it to its outcome. errors: only what went wrong
    (`Moment.wrong`), damaged events too. tag: only this kind of fact. after: only events with a higher position; a
    call that was asked for before that is not known as a call of its tool.

    Raises:
        UnknownRun: one of `run_ids` is not there.
    """
    wanted = re.compile(re.escape(text), re.IGNORECASE) if text else None
    of_tool = _Calls(tool).has if tool else None
    for event in _told(journal, run_ids, after):
        if of_tool is not None and not of_tool(event):
            continue
        if (tag and event.tag != tag) or (errors and not went_wrong(event.fact)):
            continue
        found = _found(event, wanted)
        if found is not None:
            yield found


def _told(journal: Journal, run_ids: Sequence[str] | None, after: int) -> Iterator[Event]:
    if run_ids is None:
        while page := journal.scan(after, PAGE):
            yield from page
            after = page[-1].position
        return
    for run_id in run_ids:
        for page in readable(journal, run_id, 0, head_of(journal, run_id)):
            yield from (event for event in page if not 0 < event.position <= after)  # 0: damaged, not known


class _Calls:
    """Knows which facts are about calls of one tool."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._calls: dict[tuple[str, str], None] = {}

    def has(self, event: Event) -> bool:
        """Whether `event` is about a call of the tool."""
        fact = event.fact
        if isinstance(fact, StepCompleted):
            calls = [part for part in fact.reply if isinstance(part, ToolCall)]
            mine = [index for index, part in enumerate(calls) if part.name == self._tool]
            for other in [key for key in self._calls if key[0] == event.run_id]:
                del self._calls[other]  # calls of an earlier step have their outcome
            for index in mine:
                self._calls[event.run_id, f"{fact.step}.{index}"] = None
            return bool(mine)
        call: str = getattr(fact, "call", "")
        return bool(call) and (event.run_id, call) in self._calls


def _found(event: Event, wanted: re.Pattern[str] | None) -> Found | None:
    head = (event.position, event.run_id, event.version, event.at_us, event.tag)
    if wanted is None:
        return Found(*head, "", "", "", title_of(event.fact))
    for where, said in _texts(event.fact, ""):
        hit = wanted.search(said)
        if hit is not None:
            start, end = hit.span()
            return Found(
                *head,
                where,
                ("…" if start > AROUND else "") + said[max(0, start - AROUND) : start],
                said[start:end],
                said[end : end + AROUND] + ("…" if len(said) > end + AROUND else ""),
            )
    return None


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text in `value`, with the JSON pointer to it."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name in VOCABULARY:
                continue
            yield from _texts(getattr(value, name), f"{where}/{name}")
    elif is_list(value):
        for index, one in enumerate(value):
            yield from _texts(one, f"{where}/{index}")
    elif is_object(value):
        for name, one in value.items():
            yield from _texts(one, f"{where}/{str(name).replace('~', '~0').replace('/', '~1')}")
