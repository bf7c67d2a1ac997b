"""What must be true of runs that stand still because a child of theirs waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from executus.events import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    Event,
    FamilyAwaited,
    InputAwaited,
    InputReceived,
    RunFinished,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolStarted,
)

if TYPE_CHECKING:
    from sim_world import World

AWAITED = (ApprovalAwaited, FamilyAwaited, InputAwaited)
GONE_ON = (ApprovalGranted, ApprovalDenied, ApprovalExpired, ChildWentOn, InputReceived, RunFinished)
TOLD_WITHIN_S = 5.0
"""How long the news that a child waits, or goes on, takes to its parent where no disk fails and no host dies."""
TOLD_LATE_S = 60.0
"""And where they do."""


def judge_waiting(world: World, run_id: str, logs: dict[str, list[Event]]) -> list[str]:
    """Whether the run stood still when, and only when, everything under way of it waited for people."""
    events = logs[run_id]
    if not any(isinstance(event.fact, ChildStarted) for event in events):
        return []
    problems: list[str] = []
    calls: set[str] = set()
    open_children: dict[str, str] = {}
    waits: set[str] = set()
    still: Event | None = None
    for event in events:
        fact: Any = event.fact
        if still is not None and isinstance(fact, GONE_ON):
            problems += judge_still(world, event, list(open_children.values()), logs)
            still = None
        match fact:
            case ToolStarted():
                calls.add(fact.call)
            case ToolFinished() | ToolOutcomeUnknown():
                calls.discard(fact.call)
            case ChildStarted():
                open_children[fact.call] = fact.run_id
            case ChildFinished():
                open_children.pop(fact.call, None)
                if fact.call in waits:
                    problems.append("family: a child that is over still waits")
            case ChildWaited():
                if fact.call in waits or not has_waited(logs.get(fact.run_id, []), event):
                    problems.append("family: a child is told to wait that does not")
                waits.add(fact.call)
            case ChildWentOn():
                if fact.call not in waits:
                    problems.append("family: a child went on that did not wait")
                waits.discard(fact.call)
            case FamilyAwaited():
                still = event
                if calls or not open_children or not waits >= set(open_children):
                    problems.append("family: a run stands still and something of it does not wait")
            case RunFinished(by="deadline") if open_children and not calls:
                problems += judge_timeout(world, event, list(open_children.values()), logs)
            case _:
                pass
    return problems


def judge_timeout(world: World, end: Event, children: list[str], logs: dict[str, list[Event]]) -> list[str]:
    """A run's time does not run out while all that is under way of it has long been waiting."""
    stood = [standing(logs.get(child, []), end) for child in children]
    if all(still and was_told(world, since, end) for still, since in stood):
        return ["family: the time of a run ran out while its children waited for people"]
    return []


def judge_still(world: World, news: Event, children: list[str], logs: dict[str, list[Event]]) -> list[str]:
    """A run does not stand still for long after a child of it went on."""
    for child in children:
        still, since = standing(logs.get(child, []), news)
        if not still and was_told(world, since, news):
            return ["family: a run stood still and its child had long gone on"]
    return []


def has_waited(events: list[Event], until: Event) -> bool:
    return any(isinstance(event.fact, AWAITED) for event in events if event.position < until.position)


def standing(events: list[Event], until: Event) -> tuple[bool, Event | None]:
    """Whether the run stood still when `until` happened elsewhere, and since which event it did, or no more did."""
    still, since = False, None
    for event in events:
        if event.position > until.position:
            break
        if isinstance(event.fact, AWAITED):
            still, since = True, event
        elif still and isinstance(event.fact, GONE_ON):
            still, since = False, event
    return still, since


def was_told(world: World, since: Event | None, until: Event) -> bool:
    """Whether one host had time enough to tell; nobody knows where threads are stuck, or a run is set aside.

    A host that stands still tells nobody.
    """
    who = world.personality
    if since is None or since.epoch != until.epoch or who.longest_wait_s > 1 or world.hurt:
        return False
    quiet = not (who.commit_fails or who.load_fails or who.crash or who.closes)
    within_s = TOLD_WITHIN_S if quiet else TOLD_LATE_S
    begin, end = world.times[since.position - 1], world.times[until.position - 1]
    stood_s = sum(max(0.0, min(end, at + gap_s) - max(begin, at)) for at, gap_s in world.stood_still)
    return end - begin - stood_s > within_s
