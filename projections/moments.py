"""A run's log as a line of time: a moment for each event, with its lane and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from ..events import (
    Content,
    ContentErased,
    Event,
    Fact,
    Opaque,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolStarted,
)
from .telling import announce, tell

Lane: TypeAlias = Literal["run", "step", "tool", "child", "critic", "budget", "people", "host", "delivery"]
"""Who is at work: the run as a whole, its model, a tool, a child, its critic, a limit, people, the host, delivery."""

LANES: Final[dict[str, Lane]] = {
    "run-started": "run",
    "run-resumed": "run",
    "run-finished": "run",
    "run-forked": "run",
    "run-begun": "run",
    "phase-started": "run",
    "phase-finished": "run",
    "step-started": "step",
    "step-completed": "step",
    "step-failed": "step",
    "output-refused": "step",
    "tool-started": "tool",
    "tool-refused": "tool",
    "tool-finished": "tool",
    "tool-outcome-unknown": "tool",
    "reconcile-started": "tool",
    "tool-reconciled": "tool",
    "artifact-stored": "tool",
    "child-started": "child",
    "child-finished": "child",
    "child-waited": "child",
    "child-went-on": "child",
    "family-awaited": "child",
    "soft-timeout-reached": "critic",
    "critic-observed": "critic",
    "critic-steered": "critic",
    "deadline-extended": "critic",
    "ceiling-raised": "critic",
    "critic-killed": "critic",
    "critic-reviewed": "critic",
    "critic-lost": "critic",
    "budget-noticed": "budget",
    "budget-exceeded": "budget",
    "caller-steered": "people",
    "input-awaited": "people",
    "input-received": "people",
    "cancel-requested": "people",
    "approval-requested": "people",
    "approval-awaited": "people",
    "approval-granted": "people",
    "approval-denied": "people",
    "approval-expired": "people",
    "input-staged": "host",
    "host-slept": "host",
    "note-logged": "host",
    "error-logged": "host",
    "content-erased": "host",
    "delivery-attempted": "delivery",
    "delivered": "delivery",
    "delivery-failed": "delivery",
}
"""tag -> lane. A fact of a newer version is the host's."""

LOW: Final = frozenset(
    {
        "step-started",
        "tool-started",
        "reconcile-started",
        "input-awaited",
        "approval-awaited",
        "family-awaited",
        "delivery-attempted",
        "input-staged",
        "critic-reviewed",
        "note-logged",
    }
)
"""Only announces, or is beside the point."""
HIGH: Final = frozenset(
    {
        "run-started",
        "run-finished",
        "run-forked",
        "run-begun",
        "run-resumed",
        "phase-started",
        "critic-steered",
        "critic-killed",
        "deadline-extended",
        "ceiling-raised",
        "budget-exceeded",
        "caller-steered",
        "cancel-requested",
        "approval-requested",
        "content-erased",
    }
)
"""Somebody begins, ends or changes the course of the run. So is whatever went wrong."""

TITLE: Final = 120
"""Characters of a title, at most."""


class Moment(msgspec.Struct, frozen=True):
    """One event in a line of time.

    at_us: wall clock, microseconds. elapsed_ms: the run's own clock. importance: 0 announces, 1 happens, 2 matters.
    title: one line, not yet made harmless for terminals. step, call: to which step and tool call it belongs, 0 and ""
    if to none. wrong: an error, a refusal, a kill, a limit reached, or an end that is not a good one. content: as
    `Event.content`; of what is "locked" or "erased", the title is made of what is left.
    """

    run_id: str
    version: int
    position: int
    at_us: int
    elapsed_ms: int
    tag: str
    lane: Lane
    importance: Literal[0, 1, 2]
    title: str
    step: int = 0
    call: str = ""
    wrong: bool = False
    content: Content = "clear"


def moments(events: Iterable[Event]) -> list[Moment]:
    """The moments of `events`, in their order. Each depends on its event alone."""
    return [moment_of(event) for event in events]


def moment_of(event: Event) -> Moment:
    """The moment of one event."""
    fact, tag = event.fact, event.tag
    title, wrong = _told(fact)
    return Moment(
        event.run_id,
        event.version,
        event.position,
        event.at_us,
        event.elapsed_ms,
        tag,
        LANES.get(tag, "host"),
        2 if wrong or tag in HIGH else 0 if tag in LOW else 1,
        title,
        step_of(fact),
        getattr(fact, "call", ""),
        wrong,
        event.content,
    )


def step_of(fact: Fact) -> int:
    """The step that `fact` belongs to, by itself or by its call; 0 if to none."""
    step = getattr(fact, "step", None)
    if step is None:
        first = str(getattr(fact, "call", "")).partition(".")[0]
        return int(first) if first.isdecimal() and first.isascii() else 0
    return int(step)


def went_wrong(fact: Fact) -> bool:
    """Whether `fact` is an error, a refusal, a kill, a limit reached, a damaged event, or an end that is not good."""
    return _told(fact)[1]


def title_of(fact: Fact) -> str:
    """What `fact` says, in one short line."""
    return _told(fact)[0]


def _told(fact: Fact) -> tuple[str, bool]:
    """Its title, and whether it went wrong: of one look, since a long log has many."""
    wrong = False
    match fact:
        case StepStarted() | ToolStarted():
            title = announce(fact)
        case StepCompleted():
            said = " ".join(part.text for part in fact.reply if isinstance(part, Text) and part.text)
            asked = [part for part in fact.reply if isinstance(part, ToolCall)]
            calls = ", ".join(part.name for part in asked)
            if len(asked) == 1 and not said:
                calls = f"{calls} {asked[0].arguments[:TITLE]}"
            if said and calls:
                head = said if len(said) <= TITLE // 2 else f"{said[: TITLE // 2 - 1]}…"
                title = f"{head} (calls {calls})"
            else:
                title = said or (f"calls {calls}" if calls else "says nothing")
        case RunStarted():
            given = " ".join(part.text for part in fact.input if isinstance(part, Text))
            title = f"{fact.agent.name} starts" + (f": {given}" if given else "")
        case ContentErased():
            title = f"content erased by {fact.by or 'the host'}" + (f": {fact.reason}" if fact.reason else "")
        case Opaque() if fact.schema < 0:
            title, wrong = "this event is damaged and cannot be read", True
        case _:
            lines = tell(fact)
            title = f"{lines[0].label.strip()}: {lines[0].text[: 4 * TITLE]}" if lines else announce(fact)
            wrong = any(line.kind == "wrong" for line in lines)
            if isinstance(fact, RunFinished):
                wrong = fact.status not in ("ok", "dry_run")
    title = " ".join(title[: 8 * TITLE].split())
    return (title if len(title) <= TITLE else title[: TITLE - 1] + "…"), wrong
