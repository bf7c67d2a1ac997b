"""Where two runs part: the first thing in which they differ that matters, and what each did there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

import msgspec

from ..events import Event, InputStaged, Message, RunForked, RunStarted, StepCompleted
from ..ports import Journal
from ..projections.changes import Change, changes
from ..projections.essence import essence_of, essences
from ..projections.moments import Moment, moment_of
from ..projections.run import calls_of
from ..projections.shown import as_json
from .descent import opening, source_of
from .reading import head_of, pages
from .recording import state_at

BEGINNINGS: Final = (RunStarted, InputStaged, RunForked)
"""Facts of how a run was started."""


class Call(msgspec.Struct, frozen=True):
    """A tool call that a model asked for. version: of the reply. call: such as "3.0". arguments: as the model wrote it,
    JSON or not.
    """

    version: int
    call: str
    name: str
    arguments: str


class Divergence(msgspec.Struct, frozen=True):
    """How two runs compare, by what was asked, said, done and decided; not by ids, times and cost.

    source, common: both are the same up to version `common` of the run `source`, which one or both go on from; "" and 0
    if they are not related. given: how they were started differently: input, agent, model, limits, attachments; of
    related runs also the messages that were carried over otherwise than they were, and of others the edits of what they
    go on from. None of that counts in the rest. alike: facts after the start in which they agree. a, b: the first
    moments in which they do not; None where a run has no more. changes: from what matters of a's fact to what matters
    of b's.

    calls: the first so many tool calls that the models asked for are the same, by name and arguments, whatever was said
    beside them and answered to them. call_a, call_b: the first that are not; None where a run asked for no more.
    """

    run_a: str
    run_b: str
    source: str
    common: int
    given: list[Change]
    alike: int
    a: Moment | None
    b: Moment | None
    changes: list[Change]
    calls: int = 0
    call_a: Call | None = None
    call_b: Call | None = None

    @property
    def same(self) -> bool:
        """Whether nothing that matters is different."""
        return not self.parts and not self.given

    @property
    def parts(self) -> bool:
        """Whether they did something different after their start."""
        return self.a is not None or self.b is not None


class Part(NamedTuple):
    """Versions after `after` up to `to` of a run, as one part of the life that led to another."""

    run_id: str
    after: int
    to: int


def diff_runs(journal: Journal, a: str, b: str) -> Divergence:
    """Where the runs `a` and `b` part. Forks are compared from the point they were forked at, others from after their
    start: two runs with other input that call the same tools for a while part where they do so no more.

    Raises:
        UnknownRun: no such run. LogCorrupt: a log does not decode, or not fold.
    """
    mine, theirs = _life(journal, a), _life(journal, b)
    source, common = "", 0
    while mine and theirs and mine[0].run_id == theirs[0].run_id:
        source, common = mine[0].run_id, min(mine[0].to, theirs[0].to)
        mine, theirs = _without(mine, common), _without(theirs, common)
    given = _given(journal, a, b, source, common) if source else _begun_otherwise(journal, mine, theirs)
    calls, call_a, call_b = _calls_apart(journal, mine, theirs)
    alike = 0
    moment_a = moment_b = None
    apart: list[Change] = []
    for one, other in zip_longest(essences(_events(journal, mine)), essences(_events(journal, theirs))):
        if one is None or other is None or one.shape != other.shape:
            moment_a = None if one is None else moment_of(one.event)
            moment_b = None if other is None else moment_of(other.event)
            apart = [] if one is None or other is None else list(changes(one.shape, other.shape))
            break
        alike += 1
    return Divergence(a, b, source, common, given, alike, moment_a, moment_b, apart, calls, call_a, call_b)


def _life(journal: Journal, run_id: str) -> list[Part]:
    """What led to a run, oldest first: the parts of the runs that it goes on from, and its own."""
    parts: list[Part] = []
    to, seen = head_of(journal, run_id), set[str]()
    while True:
        seen.add(run_id)
        found = source_of(journal, run_id)
        if found is None or found[0].source in seen or journal.run(found[0].source) is None:
            return [Part(run_id, 0, to), *parts]
        fork, version = found
        parts.insert(0, Part(run_id, version, to))
        run_id, to = fork.source, fork.version


def _without(parts: list[Part], common: int) -> list[Part]:
    first, rest = parts[0], parts[1:]
    return [Part(first.run_id, common, first.to), *rest] if first.to > common else rest


def _events(journal: Journal, parts: list[Part]) -> Iterator[Event]:
    """The events of `parts`, without how they were started: that is told by `given`."""
    for part in parts:
        for event in chain.from_iterable(pages(journal, part.run_id, part.after, part.to)):
            if not isinstance(event.fact, BEGINNINGS):
                yield event


def _calls_apart(journal: Journal, mine: list[Part], theirs: list[Part]) -> tuple[int, Call | None, Call | None]:
    """How many tool calls are the same, and the first that are not."""
    same = 0
    for one, other in zip_longest(_calls(journal, mine), _calls(journal, theirs)):
        if one is None or other is None or _asked(one) != _asked(other):
            return same, one, other
        same += 1
    return same, None, None


def _calls(journal: Journal, parts: list[Part]) -> Iterator[Call]:
    for event in _events(journal, parts):
        if isinstance(event.fact, StepCompleted):
            for index, call in enumerate(calls_of(event.fact.reply)):
                yield Call(event.version, f"{event.fact.step}.{index}", call.name, call.arguments)


def _asked(call: Call) -> tuple[str, Any]:
    """What tells calls apart: not how the model spaced its arguments."""
    try:
        return call.name, msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        return call.name, call.arguments


def _begun_otherwise(journal: Journal, mine: list[Part], theirs: list[Part]) -> list[Change]:
    """How two lives that have nothing in common were begun differently."""
    return list(changes(_begun(journal, mine), _begun(journal, theirs)))


def _begun(journal: Journal, life: list[Part]) -> dict[str, Any]:
    """How a run was started: agent, limits, input, attachments; and the edits each time somebody went on from it."""
    begun = essence_of(journal.read(life[-1].run_id, 0, 1)[0].fact)
    for index, part in enumerate(life):
        for event in opening(journal, part.run_id):
            match event.fact:
                case InputStaged() if index == len(life) - 1:
                    begun.setdefault("attachments", []).append(essence_of(event.fact))
                case RunForked():
                    edits = [{"what": one.what, "after": one.after} for one in event.fact.edits]
                    if edits:
                        begun.setdefault("edits", []).extend(edits)
                    if index == 0:  # what it goes on from is not here, so that what it carries is where it begins
                        begun["messages"] = _told(event.fact.messages)
                case _:
                    pass
    return begun


def _given(journal: Journal, a: str, b: str, source: str, common: int) -> list[Change]:
    """How two that are related were started: agent, limits, input, and what they carry that is not the same."""
    begun_a, begun_b = (essence_of(journal.read(run_id, 0, 1)[0].fact) for run_id in (a, b))
    found = list(changes(begun_a, begun_b))
    if a == b:
        return found
    mine, theirs = _carried(journal, a, source, common), _carried(journal, b, source, common)
    if mine is not None and theirs is not None:
        return [*found, *changes(mine, theirs, "/messages")]
    return found


def _carried(journal: Journal, run_id: str, source: str, common: int) -> list[Any] | None:
    """The conversation that a run had at the point both have in common; None if it left later, or not from there."""
    if run_id == source:
        return _told(state_at(journal, run_id, common).transcript.messages)
    fork = source_of(journal, run_id)
    if fork is None or (fork[0].source, fork[0].version) != (source, common):
        return None
    return _told(fork[0].messages)


def _told(messages: Iterable[Message]) -> list[Any]:
    told: list[Any] = as_json(list(messages))
    return told
