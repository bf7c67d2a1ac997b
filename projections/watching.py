"""A run as whoever operates its host watches it: what it does now and since when, and what its critic said last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import (
    ApprovalRequested,
    CeilingRaised,
    ChildStarted,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticSteered,
    DeadlineExtended,
    Event,
    OnExpiry,
    ReconcileStarted,
    RunResumed,
    ToolStarted,
)
from .bounds import deadline_ms
from .overview import Overview, evolve_overview
from .run import RunState

WORDS = 500
"""Characters kept of a critic's last word."""

WaitKind: TypeAlias = Literal[
    "model", "retry", "tool", "asking", "child", "approval", "message", "begin", "plan", "budget", "step"
]
"""What a run can wait for. model: a reply. retry: the next attempt to call it. tool: a result. asking: a tool that was
asked what became of a call. child: the end of a child run. approval, message, begin: a person's. plan: its own look at
calls it inherited. budget: a reservation with its caller's budget. step: the next step, which is about to begin."""


class Begun(msgspec.Struct, frozen=True, gc=False):
    """A call that has no outcome yet, and the wall clock when it was begun."""

    call: str
    at_us: int


class Word(msgspec.Struct, frozen=True, gc=False):
    """What supervision did last: the fact's tag, what it said, by whom, and the wall clock."""

    kind: str
    text: str
    by: str
    at_us: int


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a run waits for. since_us: wall clock. name, call, arguments: of a tool's or child's call. run_id:
    of the child; waits: it waits for a person. retry_at_ms: on the run's own clock. expires_at_us, default: of an
    approval, and what silence means. question: what the person is asked.
    """

    kind: WaitKind
    since_us: int
    name: str = ""
    call: str = ""
    arguments: str = ""
    run_id: str = ""
    waits: bool = False
    retry_at_ms: int = 0
    expires_at_us: int | None = None
    default: OnExpiry = "deny"
    question: str = ""


class Watched(msgspec.Struct, frozen=True):
    """row: as lists show the run. since_us: wall clock when its newest step, attempt or waiting began. begun: calls
    that are under way, or wait for approval. word: of its critic, or of whoever moved its limits.
    """

    row: Overview = Overview()
    since_us: int = 0
    begun: tuple[Begun, ...] = ()
    word: Word | None = None

    @property
    def waits(self) -> list[Wait]:
        """Everything it waits for now; nothing when it is over."""
        return _waits(self)

    @property
    def last_step(self) -> int:
        """The step after which its ceiling is reached."""
        return self.row.state.turn_from + self.row.state.limits.max_steps

    def clock_ms(self, now_us: int) -> int:
        """The run's own clock when the wall clock reads `now_us`, if its host was awake since the newest event."""
        return self.row.elapsed_ms + max(0, now_us - self.row.changed_at_us) // 1000

    def left_ms(self, clock_ms: int) -> int | None:
        """What is left to its deadline, or its phase's; below 0 when it has passed. None if it has none."""
        state = self.row.state
        due = deadline_ms(state)
        if due is None or state.over:
            return None
        return due - (min(clock_ms, state.waiting_since_ms) if state.doing == "waiting" else clock_ms)


def evolve_watched(watched: Watched, event: Event) -> Watched:
    """Return the run as watched after `event`."""
    fact, at_us = event.fact, event.at_us
    before, row = watched.row.state, evolve_overview(watched.row, event)
    since_us, begun, word = watched.since_us, watched.begun, watched.word
    match fact:
        case ToolStarted() | ChildStarted() | ApprovalRequested():
            begun = (*[one for one in begun if one.call != fact.call], Begun(fact.call, at_us))
        case ReconcileStarted():
            begun = tuple([Begun(one.call, at_us) if one.call == fact.call else one for one in begun])
        case RunResumed():  # what was under way is begun anew; a person goes on thinking
            asked = {one.call for one in row.state.governed.approvals}
            begun = tuple([one if one.call in asked else Begun(one.call, at_us) for one in begun])
        case CriticObserved() | CriticSteered():
            word = Word(event.tag, fact.text[:WORDS], fact.by, at_us)
        case CeilingRaised():
            moved = f"{fact.limit} from {fact.old:g} to {fact.new:g}"
            word = Word(event.tag, f"{moved}: {fact.reason[:WORDS]}" if fact.reason else moved, fact.by, at_us)
        case CriticKilled() | CriticLost() | DeadlineExtended():
            word = Word(event.tag, fact.reason[:WORDS], fact.by, at_us)
        case _:
            pass
    if begun:
        open_now = _open(row.state)
        begun = tuple([one for one in begun if one.call in open_now])
    if _place(before) != _place(row.state) or isinstance(fact, RunResumed):
        since_us = at_us
    return replace(watched, row=row, since_us=since_us, begun=begun, word=word)


def watched_of(events: Iterable[Event], start: Watched | None = None) -> Watched:
    """Fold `events` onto `start`, or onto nothing."""
    watched = start if start is not None else Watched()
    for event in events:
        watched = evolve_watched(watched, event)
    return watched


def _place(state: RunState) -> tuple[object, ...]:
    """What changes when a run begins to do something else; calls have times of their own."""
    return state.doing, state.step, state.attempt, state.between_steps


def _open(state: RunState) -> frozenset[str]:
    governed = state.governed
    return frozenset([one.call for of in (state.open_calls, governed.children, governed.approvals) for one in of])


def _waits(watched: Watched) -> list[Wait]:
    state, governed, since_us = watched.row.state, watched.row.state.governed, watched.since_us
    if state.doing in ("new", "over"):
        return []
    began = {one.call: one.at_us for one in watched.begun}
    found: list[Wait] = []
    if state.doing == "model":
        found.append(Wait(kind="model", since_us=since_us))
    elif state.doing == "backoff":
        found.append(Wait(kind="retry", since_us=since_us, retry_at_ms=state.retry_at_ms))
    for call in state.open_calls:
        found.append(
            Wait(
                kind="asking" if call.asking else "tool",
                since_us=began.get(call.call, since_us),
                name=call.name,
                call=call.call,
                arguments=call.arguments,
            )
        )
    for child in governed.children:
        found.append(
            Wait(
                kind="child",
                since_us=began.get(child.call, since_us),
                name=child.name,
                call=child.call,
                arguments=child.arguments,
                run_id=child.run_id,
                waits=child.waits,
            )
        )
    for asked in governed.approvals:
        found.append(
            Wait(
                kind="approval",
                since_us=began.get(asked.call, since_us),
                name=asked.name,
                call=asked.call,
                arguments=asked.arguments,
                expires_at_us=asked.expires_at_us,
                default=asked.default,
                question=asked.question,
            )
        )
    if governed.paused:
        found.append(Wait(kind="begin", since_us=since_us))
    elif governed.unplanned:
        found.append(Wait(kind="plan", since_us=since_us))
    elif state.awaits_message:
        found.append(Wait(kind="message", since_us=since_us))
    elif state.between_steps:
        found.append(Wait(kind="budget" if governed.budgeted else "step", since_us=since_us))
    return found
